"""Speculative decoding: a draft model proposes tokens, which the target model verifies in one pass.

A token x that the draft proposes with probability q(x) is accepted with probability min(1, p(x) / q(x)),
where p is the model's; otherwise a token is sampled from the normalized excess max(0, p - q). The output
follows p for any draft; a good one saves passes of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import tinytensor as tt
from gpt.generation.generate import Context, Reader, cache_for, on_host
from gpt.generation.sampling import Floats, Past, Sampler, draw
from gpt.models.gpt import GPT


class Speculation:
    """Speculative decoding with a model and a draft.

    Proposals end at the context length of either model; beyond it the model continues alone.

    Args:
        model: the target model, in evaluation mode.
        draft: a faster model with the same vocabulary, in evaluation mode.
        ahead: number of proposals for each pass of the model.

    Attributes:
        proposed: number of proposed tokens so far.
        accepted: number of accepted ones.
        passes: number of forward passes of the model.

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
            max_new_tokens: number of tokens to sample.
            sampler: samples the tokens; draft and model have the same filters.
            generator: random generator.

        Returns:
            An iterator of ids; their distribution is that of `generate`, and with temperature 0 they are
            equal.

        Raises:
            ArgumentError: an empty prompt, or a negative number of tokens.
        """
        if not len(prompt) or max_new_tokens < 0:
            raise tt.ArgumentError(
                f"Speculation: a prompt of {len(prompt)} tokens, {max_new_tokens} new ones",
                why="a prompt has at least one token",
                fix="start with a separator or newline token",
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
        """Tokens proposed by the draft, and the probabilities that each was sampled from."""
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
    """Accepted proposals up to the first rejection, and one token of the model.

    Args:
        logits: of the model before each proposal and after the last, (ahead + 1, V).
        proposals: of the draft.
        q: probabilities (V,) that each was sampled from.
        past: the text before them; the caller appends each token.
        sampler: applies the filters.
        generator: random generator.
    """
    for row, token, drawn_from in zip(logits, proposals, q, strict=False):
        p = sampler.probabilities(row, past)
        if generator.random() * drawn_from[token] >= p[token]:
            yield draw(np.maximum(p - drawn_from, 0), generator)
            return
        yield token
    yield draw(sampler.probabilities(logits[-1], past), generator)


class _Reading:
    """Logits of a growing text that can be truncated."""

    def __init__(self, model: GPT, tokens: int) -> None:
        self._cache = cache_for(model, 1, tokens, keep=True)
        self._read = Reader(model, self._cache, every=True)

    def logits(self, text: Sequence[int], count: int) -> Floats:
        """Logits after each of the last `count` tokens, (count, V); cached tokens are not recomputed."""
        with tt.no_grad():
            return on_host(self._read([text[self._cache.length :]]))[0, -count:]

    def forget(self, length: int) -> None:
        """Truncate the cache to the first `length` tokens."""
        self._cache.rewind(min(length, self._cache.length))
