"""Sampling from logits: SamplingConfig, logit filters (top-k, top-p, penalties, …), and Sampler.

Each filter takes candidates, and returns the remaining ones with their logits. Their order is that of
transformers' `generate` (`_get_logits_processor`): logit bias → repetition penalty → presence and frequency
penalty → top-k → temperature → top-p → min-p → typical → softmax → sample. Transformers divides by the
temperature before top-k, which keeps the same tokens; here only k values are divided.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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

    Source: top-p: Holtzman et al. 2020, arXiv:1904.09751. Typical: Meister et al. 2023, arXiv:2202.00666.
        min-p: Nguyen et al. 2024, arXiv:2407.01082. Repetition penalty: Keskar et al. 2019, arXiv:1909.05858,
        for negative logits as in transformers. Presence and frequency penalty: OpenAI's API reference; as
        there, tokens of the prompt do not count.

    Example:
        >>> SamplingConfig(temperature=0.8, logit_bias="13:-inf,7:2.5").biases
        {13: -inf, 7: 2.5}
    """

    temperature: float = 1.0  # divides the logits: below 1 sharpens, 0 is greedy
    top_k: int | None = None  # keep the k most likely tokens (and all that tie with the k-th)
    top_p: float | None = None  # keep the fewest most likely tokens whose probabilities sum to at least p
    min_p: float | None = None  # keep tokens at least this many times as likely as the most likely one
    # keep the fewest tokens whose surprise is nearest to the entropy and that sum to p
    typical_p: float | None = None
    # positive logits of tokens in the text are divided by it, negative ones multiplied; 1 changes nothing
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0  # subtracted from the logit of each token that was sampled before
    frequency_penalty: float = 0.0  # subtracted from the logit of a token for each time it was sampled before
    logit_bias: str = ""  # added to logits, as ID:BIAS,ID:BIAS; -inf forbids a token

    def __post_init__(self) -> None:
        check_types(self)
        _require(self.temperature >= 0, self, "temperature", "it is not negative", "0.8")
        _require(self.top_k is None or self.top_k >= 1, self, "top_k", "one token must stay", "50")
        for name in ("top_p", "min_p", "typical_p"):
            value = getattr(self, name)
            _require(value is None or 0 < value <= 1, self, name, "it is above 0, and at most 1", "0.9")
        _require(self.repetition_penalty > 0, self, "repetition_penalty", "logits are divided by it", "1.1")
        if self.logit_bias:
            _ = self.biases  # raises if it is malformed

    @property
    def biases(self) -> dict[int, float]:
        """Bias by token id."""
        found: dict[int, float] = {}
        for part in filter(None, self.logit_bias.split(",")):
            token, _, bias = part.partition(":")
            try:
                twice = int(token) in found
                found[int(token)] = float(bias)
            except ValueError:
                _require(False, self, "logit_bias", f"{part!r} is not a token id and a number", "13:-5,7:2")
            _require(not twice, self, "logit_bias", f"token {token} comes twice", "13:-5,7:2")
            right = int(token) >= 0 and float(bias) < math.inf
            _require(
                right, self, "logit_bias", f"{part!r}: ids begin at 0, biases are finite or -inf", "13:-5"
            )
        return found


def _require(ok: bool, config: SamplingConfig, name: str, why: str, example: str) -> None:
    if not ok:
        raise tt.ArgumentError(
            f"SamplingConfig: {name}={getattr(config, name)}", why=why, fix=f"for example {name}={example}"
        )


class Candidates(NamedTuple):
    """Remaining tokens and their logits."""

    tokens: Tokens  # (n,), ascending
    logits: Floats  # (n,), theirs


class Past(NamedTuple):
    """Text before the next token."""

    prompt: Sequence[int]
    answer: list[int]  # sampled tokens


Filter = Callable[[Candidates, Past], Candidates]


# ---- the filters ------------------------------------------------------------------------------------------


def add_bias(candidates: Candidates, biases: Mapping[int, float]) -> Candidates:
    """Add biases to logits; -inf removes a token."""
    wanted = np.array(sorted(biases))
    at, there = _places(candidates.tokens, wanted)
    logits = candidates.logits.astype(np.float64)
    logits[at] += np.array([biases[int(token)] for token in wanted[there]])
    return _those(candidates._replace(logits=logits), np.flatnonzero(logits > -np.inf))


def penalize_repetition(candidates: Candidates, seen: Sequence[int], penalty: float) -> Candidates:
    """Divide the positive logits of seen tokens by the penalty, and multiply the negative ones."""
    at, _ = _places(candidates.tokens, np.unique(np.array(seen, np.intp)))
    logits = candidates.logits.astype(np.float64)
    before = logits[at]
    logits[at] = np.where(before > 0, before / penalty, before * penalty)
    return candidates._replace(logits=logits)


def penalize_use(candidates: Candidates, drawn: Sequence[int], once: float, each: float) -> Candidates:
    """Subtract `once`, and `each` per use, from the logits of sampled tokens."""
    used, counts = np.unique(np.array(drawn, np.intp), return_counts=True)
    at, there = _places(candidates.tokens, used)
    logits = candidates.logits.astype(np.float64)
    logits[at] -= once + each * counts[there]
    return candidates._replace(logits=logits)


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


def min_p(candidates: Candidates, p: float) -> Candidates:
    """Keep tokens at least p times as likely as the most likely one."""
    logits = candidates.logits
    return _those(candidates, np.flatnonzero(logits >= logits.max() + math.log(p)))


def typical(candidates: Candidates, mass: float) -> Candidates:
    """Keep the fewest tokens whose surprise, -log p, is nearest to its mean, the entropy, and that sum to
    `mass`; and all that tie with the last of them.
    """
    logits = candidates.logits.astype(np.float64)
    p = softmax(logits)
    top = logits.max()
    log_p = logits - top - np.log(np.exp(logits - top).sum())
    distance = np.abs(log_p - p @ log_p)
    order = np.argsort(distance, kind="stable")
    last = min(int((np.cumsum(p[order]) < mass).sum()), len(order) - 1)
    return _those(candidates, np.flatnonzero(distance <= distance[order[last]]))


def filters(config: SamplingConfig) -> list[tuple[str, Filter]]:
    """Filters of a config by name, in order.

    Example:
        >>> [name for name, _ in filters(SamplingConfig(top_k=40, temperature=0.8, min_p=0.1))]
        ['top-k 40', 'temperature 0.8', 'min-p 0.1']
    """
    found: list[tuple[str, Filter]] = []
    if biases := config.biases:
        found.append(("logit bias", lambda c, past: add_bias(c, biases)))
    if (penalty := config.repetition_penalty) != 1:
        name = f"repetition penalty {penalty:g}"
        found.append((name, lambda c, past: penalize_repetition(c, [*past.prompt, *past.answer], penalty)))
    once, each = config.presence_penalty, config.frequency_penalty
    if once or each:
        name = f"presence penalty {once:g}, frequency penalty {each:g}"
        found.append((name, lambda c, past: penalize_use(c, past.answer, once, each)))
    if (k := config.top_k) is not None and config.temperature:
        found.append((f"top-k {k}", lambda c, past: top_k(c, k)))
    found.append((f"temperature {config.temperature:g}", lambda c, past: scale(c, config.temperature)))
    if config.temperature == 0:
        return found  # one token remains
    if (p := config.top_p) is not None and p < 1:
        found.append((f"top-p {p:g}", lambda c, past: top_p(c, p)))
    if (least := config.min_p) is not None:
        found.append((f"min-p {least:g}", lambda c, past: min_p(c, least)))
    if (mass := config.typical_p) is not None and mass < 1:
        found.append((f"typical {mass:g}", lambda c, past: typical(c, mass)))
    return found


# ---- drawing ----------------------------------------------------------------------------------------------


class Sampler:
    """Samples the next token.

    Example:
        >>> sampler = Sampler(SamplingConfig(top_k=2), 3)
        >>> sampler.probabilities(np.log([0.5, 0.3, 0.2]), Past([0], [])).round(3).tolist()
        [0.625, 0.375, 0.0]
    """

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        wrong = [token for token in config.biases if token >= vocab_size]
        if wrong:
            raise tt.ArgumentError(
                f"SamplingConfig: logit_bias names token {wrong[0]}",
                why=f"the vocabulary has {vocab_size} tokens",
                fix=f"use ids from 0 to {vocab_size - 1}",
            )
        self.filters = filters(config)
        self.greedy = config.temperature == 0
        self._all = np.arange(vocab_size)

    def whole(self, logits: Floats) -> Candidates:
        """All tokens, with the logits of the model."""
        return Candidates(self._all[: len(logits)], logits[: len(self._all)])

    def candidates(self, logits: Floats, past: Past) -> Candidates:
        """Candidates left by the filters, from logits (V,)."""
        left = self.whole(logits)
        for _, keep in self.filters:
            left = keep(left, past)
        return left

    def probabilities(self, logits: Floats, past: Past) -> Floats:
        """Probabilities of the next token after the filters: shape (V,), float64, sum 1."""
        left = self.candidates(logits, past)
        p = np.zeros(len(logits))
        p[left.tokens] = softmax(left.logits)
        return p

    def draw(self, logits: Floats, past: Past, generator: tt.Generator) -> int:
        """Sample a token id from logits (V,)."""
        tokens, left = self.candidates(logits, past)
        return int(tokens[0 if self.greedy else draw(softmax(left), generator)])


def next_probabilities(logits: Floats, **how: Any) -> Floats:
    """Probabilities (V,) of the next token, from logits (V,), after the filters of a SamplingConfig's fields.

    Example:
        >>> next_probabilities(np.log([0.5, 0.3, 0.2]), top_k=2).round(3).tolist()
        [0.625, 0.375, 0.0]
    """
    return Sampler(SamplingConfig(**how), len(logits)).probabilities(np.asarray(logits), Past([], []))


def softmax(logits: Floats) -> Floats:
    """Softmax of logits (n,), in float64.

    Example:
        >>> softmax(np.log([1.0, 3.0])).tolist()
        [0.25, 0.75]
    """
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


# ---- parts of the vocabulary ------------------------------------------------------------------------------


def _those(candidates: Candidates, kept: Tokens) -> Candidates:
    """Candidates at the given indices; raises if none remain, as with a NaN logit."""
    if not len(kept):
        _require_finite(candidates.logits.max())
    return Candidates(candidates.tokens[kept], candidates.logits[kept])


def _require_finite(top: float) -> None:
    if not math.isfinite(top):
        raise tt.ArgumentError(
            f"generate: the largest logit is {top}",
            why="it gives no probabilities: the weights or the logits overflowed or are NaN, or a bias "
            "forbids all tokens",
            fix="check the weights, the training loss, and logit_bias",
        )


def _places(tokens: Tokens, wanted: Tokens) -> tuple[Tokens, Tokens]:
    """Positions of wanted tokens among the tokens, both ascending; and a mask of the wanted ones found."""
    at = np.searchsorted(tokens, wanted)
    there = np.flatnonzero((at < len(tokens)) & (tokens[np.minimum(at, len(tokens) - 1)] == wanted))
    return at[there], there


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
