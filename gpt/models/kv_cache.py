"""KV cache for generation."""

from __future__ import annotations

from collections.abc import Sequence

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.positions import Rotary


class KVCache:
    """Preallocated keys and values of past tokens per layer. For evaluation: no gradients and no dropout.

    With unlimited positions (RoPE, ALiBi, none) the length of a text is unlimited: when the cache is full,
    tokens outside the attention window are dropped.

    Attributes:
        length: number of tokens so far; at most `config.block_size` if positions are limited.
        step: number of tokens per call that always fit, with unlimited positions.
        positions: positions of the newest tokens, (T,).
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        device: tt.Device | str = "cpu",
        dtype: tt.DType = tt.float32,
    ) -> None:
        self.config = config
        # moving the keys costs as much as attending to them once, so it is done for many tokens at a time
        more = 0 if config.positions_end else max(config.window // 4, 16)
        self.room = config.block_size if config.positions_end else config.window + more
        self.step = more + 1
        shape = (batch_size, config.kv_heads, self.room, config.head_size)  # (B, nkv, N, hs)
        self.keys = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.values = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.length = 0
        self._dropped = 0  # number of dropped tokens
        self._first = tt.zeros(1, dtype=tt.int64, device=device)  # position of the first new token
        self._start = tt.zeros(1, dtype=tt.int64, device=device)  # its index in the cache
        self._steps = tt.arange(self.room, device=device)
        self.positions = self._steps[:0]
        self._angles: tt.Tensor | None = None

    def claim(self, count: int) -> tt.Tensor:
        """Reserve slots for `count` new tokens; returns their positions (T,). A captured step reserves them
        at each replay.
        """

        def take() -> None:
            if self.config.positions_end:
                check_context(self.length + count, self.room)
            self._make_room(count)
            self._first.copy_(self.length)
            self._start.copy_(self.length - self._dropped)
            self.length += count

        tt.before_replay(take)
        self.positions = self._first + self._steps[:count]
        self._angles = None
        return self.positions

    def angles(self, rotary: Rotary) -> tt.Tensor:
        """RoPE angles of the newest tokens, (2, T, hs): shared by all layers."""
        if self._angles is None:
            self._angles = rotary.angles(self.positions).astype(rotary.table.dtype)
        return self._angles

    def pieces(self, count: int) -> list[int]:
        """Chunk sizes in which to process `count` tokens: one chunk if they fit, else several."""
        first = self.room - (self.length - self._dropped)
        if self.config.positions_end or count <= first:
            return [count]
        rest = count - first
        sizes = [first, *[self.step] * (rest // self.step), rest % self.step]
        return [size for size in sizes if size]

    def _make_room(self, count: int) -> None:
        """Drop tokens outside the window, if `count` more do not fit."""
        used = self.length - self._dropped
        if used + count <= self.room:
            return
        kept = min(used, self.config.window - 1)
        if kept + count > self.room:
            raise tt.ShapeError(
                f"KVCache: {count} tokens at once after {self.length} others",
                why=f"the capacity is {self.room}, and the first of them attends to {kept} others",
                fix=f"pass at most {self.step} tokens at a time",
            )
        with tt.no_grad():
            for memory in (*self.keys, *self.values):
                memory[:, :, :kept] = memory[:, :, used - kept : used].clone()
        self._dropped = self.length - kept

    def rewind(self, length: int) -> None:
        """Truncate to the first `length` tokens."""
        if not 0 <= length <= self.length or (self._dropped and length < self.length):
            raise tt.ArgumentError(
                f"KVCache: rewind to {length} of {self.length} tokens",
                why="there are fewer tokens, or the earlier ones were dropped already",
                fix="start with an empty cache",
            )
        self.length = length

    def selected(self, rows: Sequence[int]) -> KVCache:
        """New cache whose row i is a copy of row rows[i]."""
        device = self.keys[0].device
        other = KVCache(self.config, len(rows), device, self.keys[0].dtype)
        other.length, other._dropped = self.length, self._dropped
        picked, used = tt.tensor(list(rows), device=device), self.length - self._dropped
        with tt.no_grad():
            for new, old in zip((*other.keys, *other.values), (*self.keys, *self.values), strict=True):
                new[:, :, :used] = tt.take(old[:, :, :used], picked, 0)
        return other

    def attend(self, layer: int, qkv: tt.Tensor, slopes: tt.Tensor | None = None) -> tt.Tensor:
        """Append the keys and values of packed new tokens, (B, T, (nh + 2 nkv) hs), and attend: (B, T, C)."""
        window = self.config.window if self.config.window < self.room else 0
        memory = self.keys[layer], self.values[layer]
        return tt.cached_self_attention(qkv, *memory, self._start, window=window, slopes=slopes)


def check_context(count: int, block_size: int) -> None:
    """Raise ShapeError if `count` tokens exceed the context."""
    if count > block_size:
        raise tt.ShapeError(
            f"GPT: {count} tokens are longer than the context of {block_size}",
            why=f"there are {block_size} position embeddings",
            fix="pass the last tokens only: idx[:, -model.config.block_size:]",
        )
