"""Autoregressive generation with a KV cache, for one prompt or a batch of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import tinytensor as tt
from gpt.generation.sampling import Floats, Past, Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache


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
        model: in evaluation mode.
        prompts: token ids of each row, at least one; only the last block_size of them are read.
        max_new_tokens: number of tokens to sample for each.
        sampler: samples the tokens.
        generators: random generator of each row; default: tinytensor's for all.
        use_cache: use a KV cache.

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
    pasts = [Past(prompt, []) for prompt in prompts]
    longest = max(map(len, texts)) + count
    context = Context(model, len(texts), longest, use_cache=use_cache)
    while count and (end := min(map(len, texts))) < longest:
        logits = context.logits(texts, end)  # (B, V)
        for row, text in enumerate(texts):
            if len(text) > end:
                continue  # still in its prompt, or finished
            past = pasts[row]
            token = sampler.draw(logits[row], past, generators[row])
            text.append(token)
            past.answer.append(token)
            if len(past.answer) == count:  # finished: continues with zeros, which are not used
                text += [0] * (longest - len(text))
            yield row, token


class Context:
    """Context of a batch of growing texts: a KV cache while they fit, then a sliding window.

    Args:
        model: in evaluation mode.
        rows: B, number of texts.
        tokens: their final length; capacity of the cache, limited to the context.
        use_cache: use a KV cache, if the device has kernels for it; the logits are the same without.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> context = Context(model, 1, 6)
        >>> [context.logits([[1, 2, 3, 4, 0, 1]], end).shape for end in (2, 3, 6)]
        [(1, 5), (1, 5), (1, 5)]
    """

    def __init__(self, model: GPT, rows: int, tokens: int, *, use_cache: bool = True) -> None:
        self._model, self._size = model, model.config.block_size
        self._cache = cache_for(model, rows, tokens) if use_cache and _has_kernels(model) else None
        self._read = Reader(model, self._cache)
        self._begin = 0  # start of the next input

    def logits(self, texts: Sequence[Sequence[int]], end: int) -> Floats:
        """Logits (B, V) after the first `end` tokens of each text. With a cache, only the tokens since the
        last call are processed; those before must be the same.
        """
        if self._cache is not None and end > self._size:
            self._cache, self._read = None, Reader(self._model)  # full: the window slides from here on
        begin = max(0, end - self._size) if self._cache is None else self._begin
        with tt.no_grad():
            logits = on_host(self._read([text[begin:end] for text in texts]))
        self._begin = end
        return logits

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens; the text after them may change.

        Raises:
            ArgumentError: a sliding window has dropped tokens that are needed again.
        """
        if self._cache is not None and length < self._begin:
            self._cache.rewind(length)
            self._begin = length

    def selected(self, rows: Sequence[int]) -> Context:
        """Context of other texts: text i is a copy of text rows[i]."""
        other = Context(self._model, len(rows), 0, use_cache=False)
        other._begin = self._begin
        other._cache = None if self._cache is None else self._cache.selected(rows)
        other._read = Reader(self._model, other._cache)
        return other

    def choose(self, rows: Sequence[int]) -> None:
        """Replace text i by a copy of text rows[i]."""
        if self._cache is not None:
            self._cache.choose(rows)


def _has_kernels(model: GPT) -> bool:
    """Whether the model's device has attention with a KV cache: a GPU has plain attention alone."""
    config = model.config
    plain = config.kv_heads == config.n_head and not config.sliding_window and config.position != "alibi"
    return plain or model.device.type == "cpu"


def cache_for(model: GPT, rows: int, tokens: int) -> KVCache:
    """Empty KV cache of the smallest capacity for texts of a given final length."""
    config = model.config
    length = min(config.block_size, max(tokens, 1))
    small = replace(config, block_size=max(length, config.sliding_window))
    return KVCache(small, rows, model.device, model.dtype)


class Reader:
    """Next-token logits of the model. With a cache, each call continues the previous one.

    A second call of the same shape repeats the same work, so it is captured as a graph and replayed from then
    on: dispatch would take longer than the kernels of a small model.
    """

    def __init__(self, model: GPT, cache: KVCache | None = None) -> None:
        self._model, self._cache = model, cache
        self._last = (0, 0)  # shape of the ids of the last call
        self._steps: dict[tuple[int, int], tuple[tt.Tensor, tt.CapturedGraph]] = {}  # by shape of the ids

    def __call__(self, rows: Sequence[Sequence[int]]) -> tt.Tensor:
        """Logits (B, V) after ids (B, T); the next call may overwrite them."""
        shape, device = (len(rows), len(rows[0])), self._model.device
        if shape == self._last and shape not in self._steps and self._repeats(*shape):
            idx = tt.zeros(shape, dtype=tt.int64, device=device)
            self._steps[shape] = idx, tt.capture(lambda: self._logits(idx), device=device, warmup=0)
        self._last = shape
        if shape not in self._steps:
            return self._logits(tt.tensor(rows, dtype=tt.int64, device=device))
        idx, step = self._steps[shape]
        idx.copy_(rows[0][0] if shape == (1, 1) else tt.tensor(rows))
        logits: tt.Tensor = step.replay()
        return logits

    def _logits(self, idx: tt.Tensor) -> tt.Tensor:
        logits: tt.Tensor = self._model(idx, self._cache, last_only=True)
        return logits[:, -1]

    def _repeats(self, B: int, T: int) -> bool:
        """Whether the work depends on the shape alone: not for many tokens with experts, which sort them."""
        config = self._model.config
        return not config.n_expert or B * T * config.n_expert_active <= config.n_expert


def on_host(logits: tt.Tensor) -> Floats:
    """Values of a tensor on the host, in float32 or wider; shares its memory if possible."""
    there = logits.cpu()
    return (there.astype(tt.float32) if there.itemsize == 2 else there).numpy()
