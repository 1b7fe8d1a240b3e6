"""The keys and values of earlier tokens, kept while text is generated."""

from __future__ import annotations

from collections.abc import Sequence

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.positions import Rotary


class KVCache:
    """Keys and values of the tokens seen so far, per layer, in memory allocated once. For evaluation: nothing
    written here has a gradient, and attention to it drops no weights.

    Where positions do not end (RoPE, ALiBi, none), neither does a text: when the memory is full, tokens that
    nobody sees any more make room.

    Args:
        config: sizes of the model.
        batch_size: B, sequences that are continued side by side.
        device: where the model is.
        dtype: of the keys and values, in which attention computes.
        room: so many tokens are kept at least, also where nobody sees them any more; where positions end, as
            many as they allow.

    Attributes:
        length: tokens seen so far; at most `config.block_size` where positions end there.
        room: tokens whose keys and values are kept.
        step: so many tokens at once always find room, where positions do not end.
        positions: those of the newest tokens, (T,).

    Example:
        >>> cache = KVCache(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=4), 1)
        >>> cache.length, cache.keys[0].shape
        (0, (1, 1, 8, 4))
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        device: tt.Device | str = "cpu",
        dtype: tt.DType = tt.float32,
        room: int = 0,
    ) -> None:
        self.config = config
        # moving the keys costs as much as looking at them once, so it is done for many tokens at a time
        more = 0 if config.positions_end else max(config.window // 4, 16)
        self.room = config.block_size if config.positions_end else max(room, config.window + more)
        self.step = more + 1
        shape = (batch_size, config.kv_heads, self.room, config.head_size)  # (B, nkv, N, hs)
        self.keys = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.values = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.length = 0
        self._dropped = 0  # tokens that were seen, and whose place others have taken
        self._first = tt.zeros(1, dtype=tt.int64, device=device)  # position of the first new token
        self._start = tt.zeros(1, dtype=tt.int64, device=device)  # its place in the memory
        self._steps = tt.arange(self.room, device=device)
        self.positions = self._steps[:0]
        self._angles: tt.Tensor | None = None

    def claim(self, count: int) -> tt.Tensor:
        """Take the next places for `count` new tokens: their positions (T,). A captured step takes them at
        each replay.
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
        """RoPE's angles of the newest tokens, (2, T, hs): the same in all layers."""
        if self._angles is None:
            self._angles = rotary.angles(self.positions).astype(rotary.table.dtype)
        return self._angles

    def pieces(self, count: int) -> list[int]:
        """How `count` tokens are read: at once where there is room, else one piece after the other."""
        first = self.room - (self.length - self._dropped)
        if self.config.positions_end or count <= first:
            return [count]
        rest = count - first
        sizes = [first, *[self.step] * (rest // self.step), rest % self.step]
        return [size for size in sizes if size]

    def _make_room(self, count: int) -> None:
        """Drop tokens that no new one sees, if `count` more have no place."""
        used = self.length - self._dropped
        if used + count <= self.room:
            return
        kept = min(used, self.config.window - 1)
        if kept + count > self.room:
            raise tt.ShapeError(
                f"KVCache: {count} tokens at once behind {self.length} others",
                why=f"there is room for {self.room}, and the first of them sees {kept} others",
                fix=f"read at most {self.step} tokens at a time",
            )
        with tt.no_grad():
            for memory in (*self.keys, *self.values):
                memory[:, :, :kept] = memory[:, :, used - kept : used].clone()
        self._dropped = self.length - kept

    def rewind(self, length: int) -> None:
        """Forget the tokens from position `length` on: what comes next takes their places."""
        if not 0 <= length <= self.length or (self._dropped and length < self.length):
            raise tt.ArgumentError(
                f"KVCache: rewind to {length} of {self.length} tokens",
                why="there are no more, or earlier ones have already made room for later ones",
                fix="begin anew with an empty cache",
            )
        self.length = length

    def repeated(self, times: int) -> KVCache:
        """A new cache of `times` rows that all go on from the first row of this one."""
        wide = KVCache(self.config, times, self.keys[0].device, self.keys[0].dtype, self.room)
        wide.length, wide._dropped = self.length, self._dropped
        used = self.length - self._dropped
        with tt.no_grad():
            for new, old in zip((*wide.keys, *wide.values), (*self.keys, *self.values), strict=True):
                new[:, :, :used] = old[:1, :, :used]
        return wide

    def choose(self, rows: Sequence[int]) -> None:
        """Let row i go on from what row rows[i] has seen."""
        picked = tt.tensor(list(rows), device=self.keys[0].device)
        used = self.length - self._dropped
        with tt.no_grad():
            for memory in (*self.keys, *self.values):
                memory[:, :, :used] = tt.take(memory[:, :, :used], picked, 0)

    def attend(self, layer: int, qkv: tt.Tensor, slopes: tt.Tensor | None = None) -> tt.Tensor:
        """Keep the keys and values of new tokens, (B, T, (nh + 2 nkv) hs), and attend to all: (B, T, C)."""
        window = self.config.window if self.config.window < self.room else 0
        memory = self.keys[layer], self.values[layer]
        return tt.cached_self_attention(qkv, *memory, self._start, window=window, slopes=slopes)


def check_context(count: int, block_size: int) -> None:
    """ShapeError if so many tokens have no positions."""
    if count > block_size:
        raise tt.ShapeError(
            f"GPT: {count} tokens are longer than the context of {block_size}",
            why=f"there are {block_size} position embeddings",
            fix="pass the last tokens only: idx[:, -model.config.block_size:]",
        )
