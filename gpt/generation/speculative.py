"""Speculative decoding: a small model proposes tokens, and the large one reads them all at once.

A token x that the draft proposes with probability q(x) is taken with probability min(1, p(x) / q(x)), where p
is the large model's; else a token is drawn from what p has more than q. What comes out follows p, whatever
the draft is; a good one saves passes of the large model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import tinytensor as tt
from gpt.generation.generate import Context, Floats, Reader, cache_for, on_host
from gpt.generation.sampling import Past, Sampler, draw
from gpt.models.gpt import GPT

__all__ = ["Speculation"]


class Speculation:
    """Continues texts with a model and a draft.

    Proposals end where the context of either model does; from there on the model goes on alone.

    Args:
        model: whose text it is, in evaluation mode.
        draft: a faster model with the same vocabulary, in evaluation mode.
        ahead: tokens that the draft proposes for each pass of the model.

    Attributes:
        proposed: tokens that the draft has proposed so far.
        accepted: how many of them were taken.
        passes: of the model.

    Raises:
        ArgumentError: the vocabularies differ in size, or ahead is below 1.

    Source: Leviathan et al. 2023, arXiv:2211.17192, algorithm 1; Chen et al. 2023, arXiv:2302.01318.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.generation.sampling import SamplingConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=16, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> both = Speculation(model, model, ahead=3)
        >>> greedy = Sampler(SamplingConfig(temperature=0), 5)
        >>> len(list(both.generate([1, 2], 8, greedy))), both.passes, both.accepted
        (8, 2, 6)
    """

    def __init__(self, model: GPT, draft: GPT, ahead: int = 4) -> None:
        sizes = model.config.vocab_size, draft.config.vocab_size
        if sizes[0] != sizes[1]:
            raise tt.ArgumentError(
                f"Speculation: the model has {sizes[0]} tokens, the draft {sizes[1]}",
                why="a proposed id must mean the same token to both",
                fix="use a draft that was trained with the tokenizer of the model",
            )
        if ahead < 1:
            raise tt.ArgumentError(
                f"Speculation: ahead={ahead}", why="a draft proposes at least one token", fix="ahead=4"
            )
        self.model, self.draft, self.ahead = model, draft, ahead
        self.proposed = self.accepted = self.passes = 0

    def __str__(self) -> str:
        drawn = self.passes + self.accepted
        each = drawn / max(self.passes, 1)
        return (
            f"{self.accepted} of {self.proposed} proposed tokens taken, {each:.1f} tokens a pass of the model"
        )

    def generate(
        self,
        prompt: Sequence[int],
        max_new_tokens: int,
        sampler: Sampler,
        generator: tt.Generator = tt.default_generator,
    ) -> Iterator[int]:
        """Continue a prompt.

        Args:
            prompt: token ids, at least one; only the last block_size of them are read.
            max_new_tokens: how many to draw.
            sampler: what chooses the tokens; draft and model are filtered alike.
            generator: of the draws.

        Returns:
            An iterator of ids; their distribution is that of `generate`, and with temperature 0
            they are the same.

        Raises:
            ArgumentError: an empty prompt, or a negative number of tokens.
        """
        if not len(prompt) or max_new_tokens < 0:
            raise tt.ArgumentError(
                f"Speculation: a prompt of {len(prompt)} tokens, {max_new_tokens} new ones",
                why="the model continues at least one token",
                fix="begin with a separator or newline token",
            )
        return self._tokens(list(prompt), max_new_tokens, sampler, generator)

    def _tokens(
        self, prompt: list[int], count: int, sampler: Sampler, generator: tt.Generator
    ) -> Iterator[int]:
        text, past = prompt[-self.model.config.block_size :], Past(prompt, [])
        end = min(self.model.config.block_size, self.draft.config.block_size)
        model, draft = (_Reading(m, len(text) + count) for m in (self.model, self.draft))
        while (left := count - len(past.answer)) and len(text) < end:
            ahead = min(self.ahead, left - 1, end - len(text))
            proposals, q = self._proposed(draft, text, past, sampler, generator, ahead)
            logits = model.logits([*text, *proposals], ahead + 1)  # (ahead + 1, V)
            self.passes += 1
            before = len(text)
            for token in _taken(logits, proposals, q, past, sampler, generator):
                text.append(token)
                past.answer.append(token)
                yield token
            self.accepted += len(text) - before - 1
            for reading in (model, draft):
                reading.forget(len(text) - 1)
        context = Context(self.model, 1, len(text) + count)
        while len(past.answer) < count:
            token = sampler.draw(context.logits([text], len(text))[0], past, generator)
            self.passes += 1
            text.append(token)
            past.answer.append(token)
            yield token

    def _proposed(
        self,
        draft: _Reading,
        text: list[int],
        past: Past,
        sampler: Sampler,
        generator: tt.Generator,
        ahead: int,
    ) -> tuple[list[int], list[Floats]]:
        """Tokens that the draft goes on with, and the probabilities that each was drawn from."""
        tokens: list[int] = []
        q: list[Floats] = []
        for _ in range(ahead):
            logits = draft.logits([*text, *tokens], 1)[0]
            q.append(sampler.probabilities(logits, Past(past.prompt, [*past.answer, *tokens])))
            tokens.append(draw(q[-1], generator))
        self.proposed += ahead
        return tokens, q


def _taken(
    logits: Floats,
    proposals: Sequence[int],
    q: Sequence[Floats],
    past: Past,
    sampler: Sampler,
    generator: tt.Generator,
) -> Iterator[int]:
    """Proposals up to the first that is refused, and one token of the model's own.

    Args:
        logits: of the model before each proposal and after the last, (ahead + 1, V).
        proposals: of the draft.
        q: the probabilities (V,) that each was drawn from.
        past: the text before them; the caller adds each token to it.
        sampler: what filters.
        generator: of the draws.
    """
    for row, token, drawn_from in zip(logits, proposals, q, strict=False):
        p = sampler.probabilities(row, past)
        if generator.random() * drawn_from[token] >= p[token]:
            yield draw(np.maximum(p - drawn_from, 0), generator)
            return
        yield token
    yield draw(sampler.probabilities(logits[-1], past), generator)


class _Reading:
    """Logits of a text that grows, and can be taken back."""

    def __init__(self, model: GPT, tokens: int) -> None:
        self._cache = cache_for(model, 1, tokens, keep=True)
        self._read = Reader(model, self._cache, every=True)

    def logits(self, text: Sequence[int], count: int) -> Floats:
        """After each of the last `count` tokens, (count, V); what was read before is not read again."""
        with tt.no_grad():
            return on_host(self._read([text[self._cache.length :]]))[0, -count:]

    def forget(self, length: int) -> None:
        """Forget what was read behind the first `length` tokens."""
        self._cache.rewind(min(length, self._cache.length))
