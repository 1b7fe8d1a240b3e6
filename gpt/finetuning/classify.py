"""Text classification: a linear head on the final hidden states of a GPT. Command `python -m gpt classify`.

Trained in addition to the head, selected by name: nothing (frozen body), the last blocks, or all.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.console import Parser
from gpt.data.batches import Ints
from gpt.data.examples import LikeLengths, padded
from gpt.finetuning.base import Task, trained_weights
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.checkpoint import load_checkpoint
from gpt.weights.load import load
from gpt.weights.run import existing_runs
from tinytensor import nn
from tinytensor.files import PathLike
from tinytensor.interop.safetensors_file import Array

FIELDS = ("text", "label")


class Classifier:
    """A GPT with a classification head `model.score`, a submodule that is trained and clipped with it."""

    def __init__(self, model: GPT, labels: Sequence[str]) -> None:
        if len(labels) < 2:
            raise tt.ArgumentError(
                f"Classifier: the labels are {list(labels)}",
                why="a classifier needs two labels or more",
                fix="give two labels",
            )
        self.model, self.labels = model, list(labels)
        model.score = nn.Linear(model.config.n_embd, len(labels)).to(model.device)
        for p in model.score.parameters():
            nn.init.zeros_(p)

    def __call__(self, ids: tt.Tensor, lengths: tt.Tensor) -> tt.Tensor:
        """Logits of the labels, (B, K), for padded ids (B, T) with lengths (B,)."""
        states = final_states(self.model, ids)  # (B, T, C)
        places = tt.arange(ids.shape[1], device=ids.device)  # (T,)
        weights = (places < lengths.reshape(-1, 1)).astype(states.dtype)  # (B, T)
        weights = weights / weights.sum(1, keepdims=True)
        pooled = (weights.reshape(*ids.shape, 1) * states).sum(1)  # (B, C)
        logits: tt.Tensor = self.model.score(pooled)
        return logits

    def probabilities(self, texts: Sequence[str], tokenizer: Tokenizer) -> Array:
        """Probabilities of the labels, (N, K); texts longer than the context are truncated to their end."""
        found = []
        with tt.no_grad():
            for first in range(0, len(texts), 16):
                ids = [encoded(self.model, tokenizer, text) for text in texts[first : first + 16]]
                found.append(tt.softmax(self(*self.arrays(ids)), -1).cpu().numpy())
        return np.concatenate(found)

    def arrays(self, rows: Sequence[Ints]) -> tuple[tt.Tensor, tt.Tensor]:
        """Texts as padded ids (B, T) and lengths (B,), on the model's device."""
        lengths = np.array([len(row) for row in rows])
        ids, ends = [tt.from_numpy(x).to(self.model.device) for x in (padded(rows, 0), lengths)]
        return ids, ends


def final_states(model: GPT, ids: tt.Tensor) -> tt.Tensor:
    """Hidden states after the last block and the final norm, (B, T) → (B, T, C)."""
    x_BTC = model.through(model.embed(ids), None, 0, len(model.h))
    return model.ln_f(x_BTC) if model.config.norm_position == "pre" else x_BTC


def encoded(model: GPT, tokenizer: Tokenizer, text: str) -> Ints:
    """Ids of a text, truncated to the last block_size ones."""
    ids = np.array(tokenizer.encode(text)[-model.config.block_size :], np.int64)
    if not len(ids):
        raise tt.ArgumentError("classify: an empty text", why="it has no tokens", fix="leave it out")
    return ids


class Classifying(Task):
    """Classification task: texts and their labels."""

    def __init__(
        self,
        classifier: Classifier,
        tokenizer: Tokenizer,
        records: Sequence[Mapping[str, str]],
        held_out: Sequence[Mapping[str, str]],
        batch_size: int,
        seed: int,
    ) -> None:
        self.classifier, self.model, self.batch_size = classifier, classifier.model, batch_size
        (self.texts, self.labels), (self.held_texts, self.held_labels) = [
            ([encoded(self.model, tokenizer, r["text"]) for r in part], self._numbers(part))
            for part in (records, held_out)
        ]
        self.order = LikeLengths([len(ids) for ids in self.texts], batch_size, seed)

    def _numbers(self, records: Sequence[Mapping[str, str]]) -> Ints:
        known = {label: number for number, label in enumerate(self.classifier.labels)}
        if strange := sorted({r["label"] for r in records} - known.keys()):
            raise tt.ArgumentError(
                f"classify: the label {strange[0]!r} is unknown",
                why=f"the labels are {', '.join(known)}",
                fix="train with examples of this label",
            )
        return np.array([known[r["label"]] for r in records], np.int64)

    def batch(self, step: int) -> tuple[Array, ...]:
        """Ids (B, T), lengths (B,) and labels (B,)."""
        numbers = self.order.batch(step)
        rows = [self.texts[i] for i in numbers]
        return padded(rows, 0), np.array([len(row) for row in rows]), self.labels[numbers]

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy of the labels."""
        ids, lengths, labels = batch
        return tt.cross_entropy(self.classifier(ids, lengths), labels)

    def logits(self) -> Array:
        """Logits of the held-out texts, (N, K)."""
        with tt.no_grad():
            parts = [
                self.classifier(*self.classifier.arrays(self.held_texts[first : first + self.batch_size]))
                for first in range(0, len(self.held_texts), self.batch_size)
            ]
        return np.concatenate([part.cpu().numpy() for part in parts])

    def metrics(self) -> dict[str, float]:
        """Loss and accuracy on held-out texts, and the accuracy of the majority-class baseline."""
        logits = self.logits()
        loss = tt.cross_entropy(tt.tensor(logits), tt.tensor(self.held_labels)).item()
        right = (logits.argmax(1) == self.held_labels).mean()
        commonest = np.bincount(self.held_labels).max() / len(self.held_labels)
        return {"val_loss": loss, "accuracy": float(right), "commonest": float(commonest)}

    def confusion(self) -> Ints:
        """Confusion matrix of the held-out texts, (K, K): rows are true labels, columns predictions."""
        count = len(self.classifier.labels)
        said = self.logits().argmax(1)
        cells = np.bincount(self.held_labels * count + said, minlength=count * count)
        return cells.reshape(count, count).astype(np.int64)

    def show(self) -> str:
        """Confusion matrix of the held-out texts, as text."""
        return confusion_table(self.classifier.labels, self.confusion())

    def keeps(self) -> dict[str, Any]:
        """Labels, which `load_classifier` reads."""
        return {"labels": self.classifier.labels, "pool": "mean"}


def confusion_table(labels: Sequence[str], confusion: Ints) -> str:
    """Format a confusion matrix: rows are true labels, columns predictions."""
    width = max(8, *map(len, labels)) + 2
    head = " " * width + "".join(f"{label:>{width}}" for label in labels)
    rows = [
        f"{label:<{width}}" + "".join(f"{n:>{width}}" for n in row)
        for label, row in zip(labels, confusion, strict=True)
    ]
    return "\n".join([head, *rows])


def load_classifier(run_dir: PathLike, which: str | int = "best") -> tuple[Classifier, Tokenizer]:
    """Load the classifier of a run directory, in evaluation mode, and its tokenizer."""
    if not Path(run_dir).is_dir():
        raise tt.ArgumentError(
            f"classify: there is no run {str(run_dir)!r}",
            why=existing_runs(),
            fix=f"train a classifier: python -m gpt finetune classify --out_dir={shlex.quote(str(run_dir))}",
        )
    model, tokenizer = load(run_dir, checkpoint=which)
    checkpoint = load_checkpoint(run_dir, which)
    kept, trained = checkpoint.state.get("task", {}), trained_weights(checkpoint.optimizer)
    if tokenizer is None or "labels" not in kept:
        raise tt.FormatError(
            f"load_classifier: {run_dir} has no classifier",
            why="its checkpoint has no labels",
            fix="train one: python -m gpt finetune classify",
        )
    if kept.get("pool") != "mean":
        raise tt.FormatError(
            f"load_classifier: {run_dir} takes the state of the last token alone",
            why="that was removed: states of all tokens are averaged",
            fix="train it again: python -m gpt finetune classify",
        )
    classifier = Classifier(model, kept["labels"])
    head = {name: tt.tensor(np.asarray(a)) for name, a in trained.items() if name.startswith("score.")}
    model.load_state_dict(head, strict=False)
    model.eval()
    return classifier, tokenizer


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt classify RUN TEXT…`."""
    parser = Parser(
        prog="python -m gpt classify",
        description="Label texts by a run of finetune classify; a long text is judged by its end.",
    )
    parser.add_argument("run", help="run directory, for example runs/classify")
    parser.add_argument("text", nargs="+", help="what is labelled; there may be several")
    args = parser.parse_args(argv)
    classifier, tokenizer = load_classifier(args.run)
    for text, row in zip(args.text, classifier.probabilities(args.text, tokenizer), strict=True):
        order = row.argsort()[::-1]
        print(f"{text!r}: {', '.join([f'{classifier.labels[i]} {row[i]:.1%}' for i in order])}")
    return 0
