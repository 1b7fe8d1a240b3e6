"""Generation: one token after another, with a cache of keys and values, for one text or several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.generation.sampling import Past, Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache

__all__ = ["Context", "Reader", "cache_for", "generate", "generate_rows", "on_host"]

Floats = npt.NDArray[np.floating[Any]]


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

    Beyond the context the last `block_size` tokens are read anew for each token, since their positions shift.

    Args:
        model: in evaluation mode, or its dropout will act.
        prompt: token ids, at least one; only the last block_size of them are read.
        max_new_tokens: how many to draw.
        generator: of the draws; default: tinytensor's.
        use_cache: keep keys and values of what was read; the tokens are the same without, only slower.
        how: fields of SamplingConfig.

    Returns:
        An iterator of ids, each drawn when it is asked for.

    Raises:
        ArgumentError: an empty prompt, a negative number of tokens, or a parameter outside its domain.
        IndexRangeError: an id of the prompt is not in the vocabulary.

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
    """Continue several prompts side by side, each as if it were alone.

    Token t of all texts is read at once, at position t: a text whose prompt has ended goes on with what it
    draws, while another still reads its prompt. So no row needs padding before it, or positions of its own.

    Args:
        model: in evaluation mode.
        prompts: token ids of each row, at least one; only the last block_size of them are read.
        max_new_tokens: how many to draw for each.
        sampler: what chooses the tokens.
        generators: of the draws of each row; default: tinytensor's for all.
        use_cache: keep keys and values of what was read.

    Returns:
        An iterator of (row, token); the tokens of a row come in their order.

    Raises:
        ArgumentError: no prompts, an empty prompt, or a negative number of tokens.
        ShapeError: not one generator for each prompt.
        IndexRangeError: an id of a prompt is not in the vocabulary.

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
            why="the model continues at least one token",
            fix="begin with a separator or newline token",
        )
    generators = [tt.default_generator] * len(prompts) if generators is None else generators
    if len(generators) != len(prompts):
        raise tt.ShapeError(
            f"generate: {len(generators)} generators for {len(prompts)} prompts",
            why="each row draws from its own",
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
                continue  # its prompt goes on, or it has ended
            past = pasts[row]
            token = sampler.draw(logits[row], past, generators[row])
            text.append(token)
            past.answer.append(token)
            if len(past.answer) == count:  # it goes on with zeros, which nobody looks at
                text += [0] * (longest - len(text))
            yield row, token


class Context:
    """What a model sees of texts that grow, with a cache for as long as they fit; then the window slides.

    Args:
        model: in evaluation mode.
        rows: B, texts side by side.
        tokens: how long they become; the cache has room for so many, at most for the context.
        use_cache: keep keys and values of what was read; the logits are the same without.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> context = Context(model, 1, 6)
        >>> [context.logits([[1, 2, 3, 4, 0, 1]], end).shape for end in (2, 3, 6)]
        [(1, 5), (1, 5), (1, 5)]
    """

    def __init__(self, model: GPT, rows: int, tokens: int, *, use_cache: bool = True) -> None:
        self._model, self._size = model, model.config.block_size
        self._cache = cache_for(model, rows, tokens) if use_cache else None
        self._read = Reader(model, self._cache)
        self._begin = 0  # of what is read next

    def logits(self, texts: Sequence[Sequence[int]], end: int) -> Floats:
        """Logits (B, V) after the first `end` tokens of each text. With a cache, only those are read that
        came since the last call; the texts before must be the same.
        """
        if self._cache is not None and end > self._size:
            self._cache, self._read = None, Reader(self._model)  # full: from here on the window slides
        begin = max(0, end - self._size) if self._cache is None else self._begin
        with tt.no_grad():
            logits = on_host(self._read([text[begin:end] for text in texts]))
        self._begin = end
        return logits

    def repeated(self, times: int) -> Context:
        """A context of `times` texts that all go on from the first text of this one."""
        wide = Context(self._model, times, 0, use_cache=False)
        wide._begin = self._begin
        wide._cache = None if self._cache is None else self._cache.repeated(times)
        wide._read = Reader(self._model, wide._cache)
        return wide

    def choose(self, rows: Sequence[int]) -> None:
        """Let text i go on from what text rows[i] was."""
        if self._cache is not None:
            self._cache.choose(rows)


def cache_for(model: GPT, rows: int, tokens: int, *, keep: bool = False) -> KVCache:
    """An empty cache for texts that become so long, or as long as the context: no larger than it must be.

    Args:
        model: what it is for.
        rows: texts side by side.
        tokens: how long they become.
        keep: keep all tokens, so that the last ones can be taken back, also where a window hides the first.
    """
    config = model.config
    length = min(config.block_size, max(tokens, 1))
    small = replace(config, block_size=max(length, config.sliding_window))
    return KVCache(small, rows, model.device, model.wte.weight.dtype, room=length if keep else 0)


class Reader:
    """Logits of the token after those of each call. With a cache, calls continue each other.

    As many tokens again are the same work again, so it is captured then, and replayed from there on: the
    engine would take longer than the kernels of a small model.

    Args:
        model: in evaluation mode.
        cache: keys and values of what was read.
        every: give the logits after each token of a call, not only after the last.

    Example:
        >>> from gpt.config import GPTConfig
        >>> config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)
        >>> read = Reader(GPT(config).eval(), KVCache(config, 1))
        >>> with tt.no_grad():
        ...     [read([ids]).shape for ids in ([1, 2], [3], [4])]
        [(1, 5), (1, 5), (1, 5)]
    """

    def __init__(self, model: GPT, cache: KVCache | None = None, *, every: bool = False) -> None:
        self._model, self._cache, self._every = model, cache, every
        self._last = (0, 0)  # shape of the ids of the last call
        self._steps: dict[tuple[int, int], tuple[tt.Tensor, tt.CapturedGraph]] = {}  # by the shape of the ids

    def __call__(self, rows: Sequence[Sequence[int]]) -> tt.Tensor:
        """Logits (B, V), or (B, T, V) of every token, after the ids (B, T); the next call may write over
        them.
        """
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
        logits: tt.Tensor = self._model(idx, self._cache, last_only=not self._every)
        return logits if self._every else logits[:, -1]

    def _repeats(self, B: int, T: int) -> bool:
        """Whether so many tokens are the same work each time: experts sort theirs, if there are many."""
        config = self._model.config
        return not config.n_expert or B * T * config.n_expert_active <= config.n_expert


def on_host(logits: tt.Tensor) -> Floats:
    """Numbers of a tensor in float32 at least, on the host; the tensor's own memory where it can be."""
    there = logits.cpu()
    return (there.astype(tt.float32) if there.itemsize == 2 else there).numpy()
