"""Log-softmax, and the most likely next tokens with their probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.tokenizers.base import Tokenizer
from tinytensor.lab.html import visible

Array = npt.NDArray[Any]
Choices = tuple[tuple[str, float], ...]  # tokens and their probabilities, most likely first


def to_numpy(x: tt.Tensor) -> Array:
    """NumPy copy of a tensor on the host; 16-bit floats become float32."""
    on_host = x.cpu()
    return np.array(on_host.astype(tt.float32).numpy() if x.dtype in (tt.bfloat16, tt.float16) else on_host)


def tokens_of(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, ...]:
    """Text of each id decoded separately; a token that ends within a character shows U+FFFD."""
    return tuple([tokenizer.decode([i]) for i in ids])


def log_softmax(logits: Array) -> Array:
    """Log-softmax of logits (…, V) over the last axis, in float64."""
    shifted = logits - logits.max(-1, keepdims=True).astype(np.float64)
    lengths: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return lengths


def choices(p: Array, tokenizer: Tokenizer, count: int) -> Choices:
    """Most likely tokens with their probabilities."""
    p = p[: tokenizer.vocab_size]
    least = np.partition(p, -count)[-count] if count < len(p) else 0.0
    few = np.flatnonzero(p >= least)  # no need to sort the whole vocabulary
    best = few[np.argsort(-p[few], kind="stable")][:count]
    return tuple([(tokenizer.decode([int(i)]), float(p[i])) for i in best])


def in_words(choices: Sequence[tuple[str, float]]) -> str:
    """Tokens and their probabilities on one line.

    Example:
        >>> in_words([(" the", 0.5), ("a", 0.25)])
        '␣the 50.0%  a 25.0%'
    """
    return "  ".join([f"{visible(token)} {p:.1%}" for token, p in choices])
