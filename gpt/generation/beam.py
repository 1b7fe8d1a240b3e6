"""Beam search: approximate search for the most likely continuations of a prompt."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.generation.context import Context
from gpt.generation.sampling import Floats, softmax
from gpt.models.gpt import GPT

_STRONGEST = 10  # maximum |length_penalty|; much more would overflow a float


@dataclass(frozen=True)
class Hypothesis:
    """A continuation with its score."""

    tokens: tuple[int, ...]  # the last is the end token if it ended
    log_p: float
    score: float  # log_p / length ** length_penalty, by which hypotheses are ranked


def beam_search(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    beams: int,
    *,
    length_penalty: float = 1.0,
    end: int | None = None,
    vocab_size: int | None = None,
    use_cache: bool = True,
) -> list[Hypothesis]:
    """Best continuations of a prompt by sequence probability.

    Each step extends every beam by all tokens, and keeps the best `beams` of them. A finished beam makes room
    for the next best. With as many beams as there are texts the search is exhaustive.

    Args:
        model: in evaluation mode.
        prompt: token ids, at least one; only the last block_size of them are read.
        max_new_tokens: maximum length of a continuation.
        beams: number of beams.
        length_penalty: exponent of the length by which log p is divided: above 0 favors longer texts, 0 ranks
            by probability; -10 to 10.
        end: token that ends a text; None: all have max_new_tokens.
        vocab_size: number of valid ids; a padded model has more logits. None: all.
        use_cache: use a KV cache.

    Returns:
        At most `beams` hypotheses, the best first.

    Source: transformers' generate, with early_stopping="never".

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> found = beam_search(model, [1, 2], 6, beams=3)
        >>> len(found), len(found[0].tokens), found[0].score >= found[1].score
        (3, 6, True)
    """
    if not len(prompt) or max_new_tokens < 0 or beams < 1:
        raise tt.ArgumentError(
            f"beam_search: a prompt of {len(prompt)} tokens, {max_new_tokens} new ones, {beams} beams",
            why="each must be at least one",
            fix="start with a separator or newline token, and use beams=4",
        )
    if not abs(length_penalty) <= _STRONGEST:
        raise tt.ArgumentError(
            f"beam_search: length_penalty={length_penalty}",
            why=f"beyond ±{_STRONGEST} the length alone would determine the score",
            fix="for example length_penalty=1",
        )
    if vocab_size is not None and vocab_size < 1:
        raise tt.ArgumentError(
            f"beam_search: vocab_size={vocab_size}", why="there must be at least one id", fix="leave it out"
        )
    search = _Search(beams, length_penalty, max_new_tokens)
    text = list(prompt)[-model.config.block_size :]
    context = Context(model, 1, len(text) + max_new_tokens, use_cache=use_cache)
    for length in range(1, max_new_tokens + 1):
        if length == 2:
            context = context.selected([0] * beams)
        texts = [[*text, *beam] for beam in search.tokens[: 1 if length == 1 else beams]]
        logits = context.logits(texts, len(texts[0]))[:, :vocab_size]
        rows = search.grow(logits, end)
        if search.is_over(length):
            break
        if length > 1:
            context.choose(rows)
    return search.result()


class _Search:
    """Active beams and finished hypotheses."""

    def __init__(self, beams: int, length_penalty: float, longest: int) -> None:
        self._beams, self._penalty, self._longest = beams, length_penalty, longest
        self.tokens: list[tuple[int, ...]] = [()]
        self._log_p = np.zeros(1)  # per beam; -inf: an unused row
        self._ended: list[Hypothesis] = []

    def grow(self, logits: Floats, end: int | None) -> list[int]:
        """Extend the beams by one token, by logits (beams, V); returns the source row of each new beam."""
        with np.errstate(divide="ignore"):
            steps = np.array([np.log(softmax(row)) for row in logits])
        total = self._log_p[:, None] + steps  # (beams, V)
        V = total.shape[1]
        count = min(2 * self._beams, total.size)  # up to `beams` of the best may be finished
        few = np.argpartition(-total, count - 1, axis=None)[:count]
        best = few[np.lexsort((few, -total.flat[few]))]
        alive: list[int] = []
        for rank, place in enumerate(best):
            if total.flat[place] == -np.inf or len(alive) == self._beams:
                break
            if place % V != end:
                alive.append(int(place))
            elif rank < self._beams:
                self._ended.append(self._hypothesis(int(place), V, total))
        self._ended = heapq.nlargest(self._beams, self._ended, key=lambda h: h.score)
        rows = [place // V for place in alive]
        self.tokens = [(*self.tokens[row], place % V) for row, place in zip(rows, alive, strict=True)]
        missing = self._beams - len(alive)
        self._log_p = np.array([*total.flat[alive], *[-np.inf] * missing]) if alive else np.zeros(0)
        self.tokens += self.tokens[:1] * missing
        return rows + rows[:1] * missing

    def _hypothesis(self, place: int, V: int, total: Floats) -> Hypothesis:
        tokens, log_p = (*self.tokens[place // V], place % V), float(total.flat[place])
        return Hypothesis(tokens, log_p, self._score(log_p, len(tokens)))

    def _score(self, log_p: float, length: int) -> float:
        return log_p / math.pow(max(length, 1), self._penalty)

    def is_over(self, length: int) -> bool:
        """Whether no beam can still score better than the finished ones."""
        if not self.tokens:
            return True
        if len(self._ended) < self._beams:
            return False
        # log p only decreases; the best length is the longest, or with a negative exponent the present.
        best = self._score(float(self._log_p[0]), self._longest if self._penalty > 0 else length)
        return self._ended[-1].score >= best

    def result(self) -> list[Hypothesis]:
        """Best of the finished hypotheses and the beams of full length."""
        full = [
            Hypothesis(tokens, float(log_p), self._score(float(log_p), len(tokens)))
            for tokens, log_p in zip(self.tokens, self._log_p, strict=True)
            if len(tokens) == self._longest and log_p > -np.inf
        ]
        return heapq.nlargest(self._beams, self._ended + full, key=lambda h: h.score)
