"""Generation: one token after another, with a cache of keys and values, for one text or several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.model import GPT, KVCache
from gpt.sampling import Past, Sampler, SamplingConfig

__all__ = ["Reader", "generate", "generate_rows"]

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
    context = model.config.block_size
    cache = KVCache(model.config, len(prompts), model.device, model.wte.weight.dtype) if use_cache else None
    read = Reader(model, cache)
    texts = [prompt[-context:] for prompt in prompts]
    pasts = [Past(prompt, []) for prompt in prompts]
    longest = max(map(len, texts)) + count
    begin = 0  # of what is read next
    while count and (end := min(map(len, texts))) < longest:
        if cache is not None and end > context:
            cache, read = None, Reader(model)  # full: from here on the window slides
        if cache is None:
            begin = max(0, end - context)
        with tt.no_grad():
            logits = _numbers(read([text[begin:end] for text in texts]))  # (B, V)
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
        begin = end


class Reader:
    """Logits of the token after those of each call. With a cache, calls continue each other.

    As many tokens again are the same work again, so it is captured then, and replayed from there on: the
    engine would take longer than the kernels of a small model.

    Args:
        model: in evaluation mode.
        cache: keys and values of what was read.

    Example:
        >>> from gpt.config import GPTConfig
        >>> config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)
        >>> read = Reader(GPT(config).eval(), KVCache(config, 1))
        >>> with tt.no_grad():
        ...     [read([ids]).shape for ids in ([1, 2], [3], [4])]
        [(1, 5), (1, 5), (1, 5)]
    """

    def __init__(self, model: GPT, cache: KVCache | None = None) -> None:
        self._model, self._cache = model, cache
        self._shape = (0, 0)  # of the ids of the last call
        self._idx = tt.zeros(0, 0, dtype=tt.int64, device=model.device)  # what a replay reads
        self._step: tt.CapturedGraph | None = None

    def __call__(self, rows: Sequence[Sequence[int]]) -> tt.Tensor:
        """Logits (B, V) after the ids (B, T); the next call may write over them."""
        shape = len(rows), len(rows[0])
        again = shape == self._shape
        if again and self._step is None:
            self._step = tt.capture(self._logits, device=self._model.device, warmup=0)
        elif not again:
            self._idx, self._step = tt.zeros(shape, dtype=tt.int64, device=self._model.device), None
            self._shape = shape
        self._idx.copy_(rows[0][0] if shape == (1, 1) else tt.tensor(rows))
        logits: tt.Tensor = self._logits() if self._step is None else self._step.replay()
        return logits

    def _logits(self) -> tt.Tensor:
        logits: tt.Tensor = self._model(self._idx, self._cache, last_only=True)[:, -1]
        return logits


def _numbers(logits: tt.Tensor) -> Floats:
    """In float32 at least, on the host."""
    on_host = logits.cpu()
    return (on_host.astype(tt.float32) if on_host.itemsize == 2 else on_host).numpy()
