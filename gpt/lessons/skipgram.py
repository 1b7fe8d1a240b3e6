"""Word vectors by skip-gram with negative sampling: `python -m gpt skipgram TEXT --out vectors`.

The vector of a word is trained to have a large dot product with those of the words around it, and a small one
with those of randomly sampled words.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

import tinytensor as tt
from gpt.console import Parser, command
from gpt.fields import check_types, with_changes
from gpt.lessons.neighbours import VECTORS, WORDS
from tinytensor import nn
from tinytensor.errors import ArgumentError
from tinytensor.files import atomic_folder, read_text
from tinytensor.interop.safetensors_file import Array, write_safetensors
from tinytensor.optim import AdamW

Tell = Callable[[int, float], None]
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class SkipGramConfig:
    """Hyperparameters of skip-gram; the defaults suit a text of a million words."""

    size: int = 100  # C, dimension of the vectors
    window: int = 5  # maximum distance of a neighbour, in words
    negatives: int = 5  # K, negative samples for each pair
    epochs: int = 10  # passes over the text
    batch_size: int = 8192  # B, pairs per step
    learning_rate: float = 0.003  # initial learning rate of AdamW; linear decay to 0
    at_least: int = 5  # minimum count of a word
    # frequent words are dropped at random: a word with this share of the text never, one with a hundred times
    # the share in about nine of ten cases
    subsample: float = 1e-3
    seed: int = 0  # random seed

    def __post_init__(self) -> None:
        check_types(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value >= 0 if field.name == "seed" else value > 0):
                raise ArgumentError(
                    f"SkipGramConfig: {field.name}={value}",
                    why="it must be above 0" if field.name != "seed" else "it must be 0 or more",
                    fix=f"the default is {field.default}",
                )


class SkipGram(nn.Module):
    """Skip-gram model: an embedding (V, C) of words, and one of words as neighbours.

    Source: Mikolov et al. 2013, arXiv:1310.4546.
    """

    def __init__(self, vocab_size: int, size: int, generator: tt.Generator | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, size)
        self.neighbours = nn.Embedding(vocab_size, size)
        nn.init.normal_(self.words.weight, std=0.5 / size, generator=generator)
        nn.init.zeros_(self.neighbours.weight)

    def loss(self, centers: tt.Tensor, others: tt.Tensor) -> tt.Tensor:
        """Mean over B pairs of -ln σ(v·u) for the neighbour u and -ln σ(-v·u) for negative samples.

        Args:
            centers: (B,) words.
            others: (B, 1 + K) words: the neighbour, and K negative samples.
        """
        v = self.words(centers)  # (B, C)
        u = self.neighbours(others)  # (B, 1 + K, C)
        products = (u @ v.unsqueeze(-1)).squeeze(-1)  # (B, 1 + K)
        signs = tt.where(tt.arange(others.shape[1], device=v.device) == 0, -1.0, 1.0)
        return tt.softplus(products * signs).sum() / others.shape[0]


def pairs(ids: Array, window: int, rng: np.random.Generator) -> Array:
    """Pairs (word, neighbour) of a text (N,), in random order. For each word a width from 1 to `window` is
    sampled, so that near neighbours are more frequent.

    Example:
        >>> pairs(np.array([7, 8]), 1, np.random.default_rng(0)).tolist()
        [[7, 8], [8, 7]]
    """
    widths = rng.integers(1, window, size=len(ids), endpoint=True)
    found = []
    for step in range(1, min(window, len(ids) - 1) + 1):
        left, right = ids[:-step], ids[step:]
        forward, backward = widths[:-step] >= step, widths[step:] >= step
        found.append(np.stack([left[forward], right[forward]], 1))
        found.append(np.stack([right[backward], left[backward]], 1))
    return rng.permutation(np.concatenate(found) if found else np.empty((0, 2), np.int64))


def words_of(text: str, at_least: int) -> tuple[list[str], Array]:
    """Words that occur often enough, whatever their case, and the text as their ids (N,).

    Example:
        >>> words, ids = words_of("The cat, the dog and the cat.", 2)
        >>> words, ids.tolist()
        (['the', 'cat'], [0, 1, 0, 0, 1])
    """
    found = WORD.findall(text.lower())
    counts = Counter(found)
    words = sorted((w for w, n in counts.items() if n >= at_least), key=lambda w: (-counts[w], w))
    if len(words) < 2:
        raise ArgumentError(
            f"skipgram: {len(words)} of {len(counts)} words occur {at_least} times or more",
            why="training needs pairs of different words",
            fix="use a longer text, or a smaller at_least",
        )
    rows = {word: row for row, word in enumerate(words)}
    return words, np.array([rows[w] for w in found if w in rows], np.int64)


def train(ids: Array, vocab_size: int, config: SkipGramConfig, tell: Tell | None = None) -> SkipGram:
    """Train word vectors on ids (N,); `tell` is called after each epoch with its number, from 1, and its mean
    loss.
    """
    model = SkipGram(vocab_size, config.size, tt.Generator(config.seed))
    optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    counts = np.bincount(ids, minlength=vocab_size)
    rng = np.random.default_rng(config.seed)
    for epoch in range(config.epochs):
        losses = []
        for centers, others, part in _batches(ids, counts, config, rng):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - (epoch + part) / config.epochs)
            loss = model.loss(tt.from_numpy(centers), tt.from_numpy(others))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        if not np.isfinite(losses).all() or not losses:
            raise ArgumentError(
                f"skipgram: the loss of epoch {epoch + 1} is {losses[-1] if losses else 'of no words'}",
                why="the learning rate is too high" if losses else "subsample has left no words side by side",
                fix=f"the default is --learning_rate={SkipGramConfig.learning_rate}"
                if losses
                else f"the default is --subsample={SkipGramConfig.subsample}",
            )
        if tell is not None:
            tell(epoch + 1, float(np.mean(losses)))
    return model


def _subsampled(ids: Array, counts: Array, share: float, rng: np.random.Generator) -> Array:
    """Text after random subsampling of frequent words."""
    parts = np.maximum(counts, 1) / counts.sum() / share
    keep = np.minimum(1.0, np.sqrt(1 / parts))
    kept: Array = ids[rng.random(len(ids)) < keep[ids]]
    return kept


def _batches(
    ids: Array, counts: Array, config: SkipGramConfig, rng: np.random.Generator
) -> Iterator[tuple[Array, Array, float]]:
    """Batches of an epoch: words (B,), neighbours and negative samples (B, 1 + K), and progress in 0 … 1."""
    heights = np.cumsum(counts**0.75)
    both = pairs(_subsampled(ids, counts, config.subsample, rng), config.window, rng)
    for start in range(0, len(both), config.batch_size):
        centers, near = both[start : start + config.batch_size].T
        draws = rng.random((len(near), config.negatives)) * heights[-1]
        drawn = np.searchsorted(heights, draws, side="right")  # (B, K)
        yield np.ascontiguousarray(centers), np.column_stack([near, drawn]), start / len(both)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt skipgram TEXT --out FOLDER`, with the fields of SkipGramConfig."""
    parser = Parser(
        prog="python -m gpt skipgram",
        usage="%(prog)s TEXT --out=FOLDER [--field=value ...]",
        description="Vectors of words, learned from a text file, for `python -m gpt neighbours FOLDER`.",
    )
    parser.add_argument("text", metavar="TEXT", help="file of the text")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to write")
    parser.add_fields(SkipGramConfig())
    options = parser.parse_args(argv)
    (config,), text, out = with_changes(vars(options), SkipGramConfig()), options.text, options.out
    words, ids = words_of(read_text(text, "skipgram"), config.at_least)
    print(f"{len(ids):,} words of the text, {len(words):,} different ones")
    with atomic_folder(out, "skipgram") as folder:
        model = train(ids, len(words), config, lambda n, loss: print(f"epoch {n:>3}  loss {loss:.4f}"))
        (folder / WORDS).write_text(json.dumps(words, indent=1) + "\n", encoding="ascii")
        tables = {"words": model.words, "neighbours": model.neighbours}
        write_safetensors(
            folder / VECTORS, {name: table.weight.detach().numpy() for name, table in tables.items()}
        )
    print(f"wrote {out}\nnext   {command('neighbours', out, '--test')}")
    return 0
