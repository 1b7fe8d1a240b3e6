"""Logits after growing texts: by a KV cache while they fit, by captured steps where these repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tinytensor as tt
from gpt.generation.sampling import Floats
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache


class Context:
    """Context of a batch of growing texts: a KV cache while they fit, then a sliding window.

    Args:
        rows: B, number of texts.
        tokens: their final length; capacity of the cache, limited to the context.
        use_cache: use a KV cache, if the device has kernels for it; the logits are the same without.
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
        """Forget all but the first `length` tokens; ArgumentError if a sliding window has dropped some."""
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
