"""Sampling from logits: SamplingConfig, its filters (top-k, temperature, top-p), and Sampler.

Each filter takes candidates, and returns the remaining ones with their logits. Transformers' `generate`
divides by the temperature before top-k, which keeps the same tokens; here only k values are divided.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.fields import check_types

Floats = npt.NDArray[np.floating[Any]]
Tokens = npt.NDArray[np.intp]
ROW = 64  # adjacent logits per row in `_largest`


@dataclass(frozen=True)
class SamplingConfig:
    """Sampling parameters; the defaults sample from the model's own probabilities.

    Source: top-p: Holtzman et al. 2020, arXiv:1904.09751.
    """

    temperature: float = 1.0  # divides the logits: below 1 sharpens, 0 is greedy
    top_k: int | None = None  # keep the k most likely tokens (and all that tie with the k-th)
    top_p: float | None = None  # keep the fewest most likely tokens whose probabilities sum to at least p

    def __post_init__(self) -> None:
        check_types(self)
        for name, right, why, example in (
            ("temperature", self.temperature >= 0, "it is not negative", "0.8"),
            ("top_k", self.top_k is None or self.top_k >= 1, "one token must stay", "50"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "it is above 0, and at most 1", "0.9"),
        ):
            if not right:
                what = f"SamplingConfig: {name}={getattr(self, name)}"
                raise tt.ArgumentError(what, why=why, fix=f"for example {name}={example}")


class Candidates(NamedTuple):
    """Remaining tokens and their logits."""

    tokens: Tokens  # (n,), ascending
    logits: Floats  # (n,), theirs


def scale(candidates: Candidates, temperature: float) -> Candidates:
    """Divide logits by the temperature; 0 keeps only the most likely token, the first of ties."""
    tokens, logits = candidates
    if temperature == 0:
        likeliest = int(logits.argmax())
        _require_finite(logits[likeliest])
        return Candidates(tokens[likeliest : likeliest + 1], logits[likeliest : likeliest + 1])
    return Candidates(tokens, logits / np.float64(temperature))


def top_k(candidates: Candidates, k: int) -> Candidates:
    """Keep the k most likely tokens, and all that tie with the k-th."""
    logits = candidates.logits
    _require_finite(logits[logits.argmax()])  # comparisons would drop NaN silently
    return candidates if k >= len(logits) else _those(candidates, _largest(logits, k))


def top_p(candidates: Candidates, p: float) -> Candidates:
    """Keep the fewest most likely tokens whose probabilities sum to at least p."""
    return _those(candidates, _mass(softmax(candidates.logits), p))


class Sampler:
    """Samples the next token."""

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        self.config = config
        self.greedy = config.temperature == 0
        self._all = np.arange(vocab_size)

    def candidates(self, logits: Floats) -> Candidates:
        """Candidates left by the filters, from logits (V,)."""
        config, left = self.config, Candidates(self._all[: len(logits)], logits[: len(self._all)])
        if config.top_k is not None and not self.greedy:
            left = top_k(left, config.top_k)
        left = scale(left, config.temperature)
        if config.top_p is not None and config.top_p < 1 and not self.greedy:
            left = top_p(left, config.top_p)
        return left

    def probabilities(self, logits: Floats) -> Floats:
        """Probabilities of the next token after the filters: shape (V,), float64, sum 1."""
        left = self.candidates(logits)
        p = np.zeros(len(logits))
        p[left.tokens] = softmax(left.logits)
        return p

    def draw(self, logits: Floats, generator: tt.Generator) -> int:
        """Sample a token id from logits (V,)."""
        tokens, left = self.candidates(logits)
        return int(tokens[0 if self.greedy else draw(softmax(left), generator)])


def next_probabilities(logits: Floats, **how: Any) -> Floats:
    """Probabilities (V,) of the next token, from logits (V,), after the filters of a SamplingConfig's
    fields.
    """
    return Sampler(SamplingConfig(**how), len(logits)).probabilities(np.asarray(logits))


def softmax(logits: Floats) -> Floats:
    """Softmax of logits (n,), in float64."""
    p = logits.astype(np.float64)
    top = p[p.argmax()]
    _require_finite(top)
    p -= top
    np.exp(p, out=p)
    p /= p.sum()
    return p


def draw(p: Floats, generator: tt.Generator) -> int:
    """Sample an index from probabilities (n,): as tt.multinomial, without its checks."""
    sums = p.cumsum()
    at = int(sums.searchsorted(generator.random() * sums[-1], side="right"))
    return at if at < len(p) else int(np.flatnonzero(p)[-1])  # rounding may pass the last possible index


def _those(candidates: Candidates, kept: Tokens) -> Candidates:
    """Candidates at the given indices."""
    return Candidates(candidates.tokens[kept], candidates.logits[kept])


def _require_finite(top: float) -> None:
    if not math.isfinite(top):
        raise tt.ArgumentError(
            f"generate: the largest logit is {top}",
            why="it gives no probabilities: the weights or the logits overflowed or are NaN",
            fix="check the weights and the training loss",
        )


def _largest(x: Floats, k: int) -> Tokens:
    """Indices of the k largest values of x, and of all that tie with the smallest of them; ascending.

    The k-th largest of the maxima of rows is a lower bound of the k-th largest value, so few values remain to
    be compared.
    """
    rows = len(x) // ROW
    if rows <= 2 * k:
        likely: Tokens = (x >= np.partition(x, -k)[-k]).nonzero()[0]
        return likely
    tops = x[: rows * ROW].reshape(rows, ROW).max(1)  # (rows,)
    few = (x >= np.partition(tops, -k)[-k]).nonzero()[0]
    likely = few[x[few] >= np.partition(x[few], -k)[-k]]
    return likely


def _mass(p: Floats, least: float) -> Tokens:
    """Indices of the fewest largest probabilities that sum to `least`; ascending."""
    count = len(p)
    few = min(ROW, count)
    while True:
        likely = _largest(p, few)
        order = likely[np.argsort(-p[likely], kind="stable")]
        before = np.cumsum(p[order]) - p[order]  # mass before each: 0 for the most likely, which always stays
        if before[-1] >= least or len(order) == count:
            return np.sort(order[before < least])
        few = min(8 * few, count)
