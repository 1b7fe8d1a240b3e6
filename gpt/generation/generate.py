"""Autoregressive generation with a KV cache, for one prompt or a batch of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tinytensor as tt
from gpt.generation.context import Context
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.models.gpt import GPT


def generate(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    generator: tt.Generator | None = None,
    use_cache: bool = True,
    **how: Any,
) -> Iterator[int]:
    """Continue a prompt, token by token.

    Beyond the context length the last `block_size` tokens are recomputed for each token, since positions
    shift.

    Args:
        model: in evaluation mode; otherwise dropout is active.
        prompt: token ids, at least one; only the last block_size of them are read.
        max_new_tokens: number of tokens to sample.
        generator: random generator; default: tinytensor's.
        use_cache: use a KV cache; without it the tokens are the same, but slower.
        how: fields of SamplingConfig.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> len(list(generate(model, [1, 2], 6, temperature=0)))
        6
    """
    generators = None if generator is None else [generator]
    sampler = Sampler(SamplingConfig(**how), model.config.vocab_size)
    rows = generate_rows(model, [prompt], max_new_tokens, sampler, generators=generators, use_cache=use_cache)
    return (token for _, token in rows)


def generate_rows(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampler: Sampler,
    *,
    generators: Sequence[tt.Generator] | None = None,
    use_cache: bool = True,
) -> Iterator[tuple[int, int]]:
    """Continue a batch of prompts, each as if it were alone.

    Token t of all texts is processed at once, at position t: a text whose prompt has ended continues with its
    samples, while others still process their prompts. So no row needs left padding or its own positions.

    Args:
        prompts: token ids of each row, at least one; only the last block_size of them are read.
        generators: random generator of each row; default: tinytensor's for all.

    Returns:
        An iterator of (row, token); the tokens of a row are in order.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> greedy = Sampler(SamplingConfig(temperature=0), 5)
        >>> [row for row, _ in generate_rows(model, [[1, 2], [1, 2, 3, 4]], 3, greedy)]
        [0, 0, 0, 1, 1, 1]
    """
    if not len(prompts) or not all(map(len, prompts)) or max_new_tokens < 0:
        raise tt.ArgumentError(
            f"generate: prompts of {[len(p) for p in prompts]} tokens, {max_new_tokens} new ones",
            why="a prompt has at least one token",
            fix="start with a separator or newline token",
        )
    generators = [tt.default_generator] * len(prompts) if generators is None else generators
    if len(generators) != len(prompts):
        raise tt.ShapeError(
            f"generate: {len(generators)} generators for {len(prompts)} prompts",
            why="each row samples from its own",
            fix="pass one generator for each prompt",
        )
    return _rows(model, [list(p) for p in prompts], max_new_tokens, sampler, generators, use_cache)


def _rows(
    model: GPT,
    prompts: list[list[int]],
    count: int,
    sampler: Sampler,
    generators: Sequence[tt.Generator],
    use_cache: bool,
) -> Iterator[tuple[int, int]]:
    texts = [prompt[-model.config.block_size :] for prompt in prompts]
    left = [count] * len(prompts)  # tokens to sample
    longest = max(map(len, texts)) + count
    context = Context(model, len(texts), longest, use_cache=use_cache)
    while count and (end := min(map(len, texts))) < longest:
        logits = context.logits(texts, end)  # (B, V)
        for row, text in enumerate(texts):
            if len(text) > end:
                continue  # still in its prompt, or finished
            token = sampler.draw(logits[row], generators[row])
            text.append(token)
            left[row] -= 1
            if not left[row]:  # finished: continues with zeros, which are not used
                text += [0] * (longest - len(text))
            yield row, token
