"""Loss, perplexity, accuracy and bits per byte of a model on a text."""

from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.console import counted, progress_bar
from gpt.data.batches import Tokens, consecutive_blocks
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of a model on a text.

    Args:
        loss: mean cross-entropy in nats per token.
        accuracy: top-1 accuracy.
        tokens: number of predicted tokens.
        bits_per_byte: loss of the text in bits over its length in UTF-8, comparable between tokenizers: the
            separators of documents count in neither. None without a tokenizer, or without text.
        by_place: shape (T,): mean loss of tokens with 1, 2, …, T tokens before them in their block.
    """

    loss: float
    accuracy: float
    tokens: int
    bits_per_byte: float | None
    by_place: npt.NDArray[np.float64]

    @property
    def perplexity(self) -> float:
        """exp(loss): number of equally likely tokens of the same entropy; infinite beyond 1e308."""
        return exp(self.loss) if self.loss < 709 else float("inf")

    def table(self) -> str:
        """Metrics as text, with the loss by position in ranges that double."""
        rows = [("loss", f"{self.loss:.4f} nats per token"), ("perplexity", f"{self.perplexity:.3f}")]
        if self.bits_per_byte is not None:
            rows.append(("bits per byte", f"{self.bits_per_byte:.4f}"))
        rows += [("accuracy", f"{self.accuracy:.2%} of the next tokens"), ("tokens", f"{self.tokens:,}")]
        first = 0
        while first < len(self.by_place):
            part = self.by_place[first : 2 * first + 1]
            end = first + len(part)
            name = f"loss after {first + 1} to {end} tokens"
            if len(part) == 1:
                name = f"loss after {counted(end, 'token')}"
            rows.append((name, f"{np.mean(part):.4f} nats"))
            first = end
        width = max([len(name) for name, _ in rows]) + 2
        return "\n".join([f"{name:<{width}}{value}" for name, value in rows])


def score(model: GPT, tokens: Tokens, tokenizer: Tokenizer | None = None, batch_size: int = 16) -> Scores:
    """Metrics of all tokens (N,) of a text but the first, in blocks; the tokenizer counts bytes."""
    if len(tokens) < 2:
        raise tt.ArgumentError(
            f"score: {len(tokens)} tokens", why="each but the first is predicted", fix="give a longer text"
        )
    T = min(model.config.block_size, len(tokens) - 1)
    losses, counts = np.zeros(T), np.zeros(T, np.int64)
    right, text_bytes, text_nats = 0, 0, 0.0
    blocks = consecutive_blocks(tokens, model.config.block_size, batch_size)
    total = -(-(len(tokens) - 1) // (batch_size * model.config.block_size))
    with model.evaluating(), progress_bar("batches", total) as watched:
        for inputs, targets in watched(blocks):
            ids, wanted = [tt.from_numpy(x).to(model.device) for x in (inputs, targets)]
            logits = model(ids)  # (B, T, V)
            lost = tt.cross_entropy(logits.mT, wanted, reduction="none").astype(tt.float64).cpu().numpy()
            right += int((logits.argmax(-1) == wanted).sum())
            losses[: lost.shape[1]] += lost.sum(0)
            counts[: lost.shape[1]] += len(lost)
            if tokenizer is not None:
                of_text = targets != (-1 if tokenizer.separator is None else tokenizer.separator)
                text_bytes += _bytes_of(targets[of_text], tokenizer)
                text_nats += float(lost[of_text].sum())
    count = int(counts.sum())
    loss = float(losses.sum()) / count
    bits_per_byte = text_nats / log(2.0) / text_bytes if text_bytes else None
    return Scores(loss, right / count, count, bits_per_byte, losses / counts)


def _bytes_of(ids: npt.NDArray[np.int64], tokenizer: Tokenizer) -> int:
    """Length of the text of ids in bytes. Byte-level ids may begin or end within a character."""
    in_bytes = getattr(tokenizer, "decode_bytes", None)
    return len(tokenizer.decode(ids).encode("utf-8") if in_bytes is None else in_bytes(ids))
