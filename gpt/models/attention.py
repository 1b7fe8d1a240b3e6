"""Causal self-attention of the model: heads, positions that live in it (RoPE, ALiBi), and its cache.

Shapes: B sequences, T tokens, C = n_embd channels, nh heads of queries and nkv of keys and values, each of
hs = C / nh channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from tinytensor import nn

__all__ = ["CausalSelfAttention", "KVCache", "Rotary", "SelfAttention", "alibi_slopes", "check_context"]


def alibi_slopes(n_head: int) -> tt.Tensor:
    """How fast the scores of each head fall with the distance of a key: by slope x distance.

    For n heads, n a power of 2: 2^(-8/n), 2^(-16/n), …, 2^-8. Else those of the next lower power, and between
    them every other one of the next higher.

    Args:
        n_head: nh, number of heads.

    Returns:
        shape (nh,), float32.

    Source: Press et al. 2022, arXiv:2108.12409; the released code for other numbers of heads.

    Example:
        >>> alibi_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]
    """
    lower = 2 ** int(log2(n_head))
    slopes = 2.0 ** (-8 / lower * np.arange(1, lower + 1))
    between = 2.0 ** (-4 / lower * np.arange(1, 2 * (n_head - lower), 2))
    return tt.from_numpy(np.concatenate([slopes, between]).astype(np.float32))


class Rotary(nn.Module):
    """RoPE: turns queries and keys by angles that grow with the position, so that a score depends on the
    distance of the two alone.

    Channels i and i + hs/2 of a head are a point of the plane, turned by position / theta^(2i/hs).

    Args:
        config: block_size positions are kept in a table, size of a head, theta.

    Source: Su et al. 2021, arXiv:2104.09864; the pairs are those of Llama's released weights in HF's order.

    Example:
        >>> rotary = Rotary(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=2))
        >>> turned = rotary.turn(tt.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]]), rotary.table[:, :2])
        >>> turned[0, :, 0].tolist()  # at position 1: cos 1 and sin 1
        [[1.0, 0.0], [0.5403022766113281, 0.8414710164070129]]
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.theta = config.rope_theta
        # Integers, since a cast of the model to 16 bits must not round angles.
        self.register_buffer("pairs", tt.arange(config.head_size // 2), persistent=False)  # (hs/2,)
        table = self.angles(tt.arange(config.block_size))
        self.register_buffer("table", table, persistent=False)  # (2, block_size, hs)

    def angles(self, positions: tt.Tensor) -> tt.Tensor:
        """Cosines and signed sines of positions (T,), for each channel: (2, T, hs), float32."""
        pairs: tt.Tensor = self.pairs
        rates = (self.theta ** (pairs.astype(tt.float64) / -len(pairs))).astype(tt.float32)  # (hs/2,)
        angles = positions.astype(tt.float32).reshape(-1, 1) * rates  # (T, hs/2)
        cos, sin = tt.cos(angles), tt.sin(angles)
        return tt.stack([tt.concat([cos, cos], axis=-1), tt.concat([-sin, sin], axis=-1)])

    def first(self, count: int) -> tt.Tensor:
        """Angles of the positions from 0 on, (2, T, hs)."""
        table: tt.Tensor = self.table
        if count <= table.shape[1]:
            return table[:, :count]
        return self.angles(tt.arange(count, device=table.device)).astype(table.dtype)

    @staticmethod
    def turn(x_BTnd: tt.Tensor, angles: tt.Tensor) -> tt.Tensor:
        """(B, T, heads, hs), turned by the angles (2, T, hs) of its positions."""
        cos, sin = angles.unsqueeze(2)  # (T, 1, hs) each
        turned: tt.Tensor = x_BTnd * cos + tt.roll(x_BTnd, x_BTnd.shape[-1] // 2, axis=-1) * sin
        return turned


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


class SelfAttention(nn.Module):
    """What both kinds of self-attention have: queries, keys and values of each token, in several heads.

    Args:
        config: sizes, positions, bias and dropout.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        hs, packed = config.head_size, config.n_head + 2 * config.kv_heads
        self.c_attn = nn.Linear(config.n_embd, packed * hs, bias=config.bias)  # queries, keys, values
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.rotary = Rotary(config) if config.position == "rope" else None
        self.q_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None
        self.k_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None

    def pack(self, x_BTC: tt.Tensor, cache: KVCache | None = None) -> tt.Tensor:
        """Queries, keys and values side by side, (B, T, (nh + 2 nkv) hs): normed and turned."""
        qkv: tt.Tensor = self.c_attn(x_BTC)
        if self.q_norm is None and self.k_norm is None and self.rotary is None:
            return qkv
        B, T, _ = qkv.shape
        nh, nkv, hs = self.config.n_head, self.config.kv_heads, self.config.head_size
        qk, v = qkv.split([(nh + nkv) * hs, nkv * hs], axis=-1)
        qk = qk.reshape(B, T, nh + nkv, hs)
        if self.q_norm is not None and self.k_norm is not None:
            qk = tt.concat([self.q_norm(qk[:, :, :nh]), self.k_norm(qk[:, :, nh:])], axis=2)
        if self.rotary is not None:
            angles = self.rotary.first(T) if cache is None else cache.angles(self.rotary)
            qk = self.rotary.turn(qk, angles)
        return tt.concat([qk.reshape(B, T, (nh + nkv) * hs).to(v.dtype), v], axis=-1)

    def heads(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor, tt.Tensor]:
        """Queries (B, nh, T, hs), keys and values (B, nkv, T, hs): three views of `pack`."""
        B, T, _ = x_BTC.shape
        nh, nkv, hs = self.config.n_head, self.config.kv_heads, self.config.head_size
        every = self.pack(x_BTC).reshape(B, T, nh + 2 * nkv, hs).transpose(1, 2)
        q, k, v = every.split([nh, nkv, nkv], axis=1)
        return q, k, v

    def sight(self, count: int) -> dict[str, Any]:
        """Which of `count` tokens a token sees, as options of scaled_dot_product_attention: all of them."""
        return {}

    def merge(self, y_BHTD: tt.Tensor) -> tt.Tensor:
        """What the heads gathered, (B, nh, T, hs), through the last matrix: (B, T, C)."""
        B, nh, T, hs = y_BHTD.shape
        y: tt.Tensor = self.c_proj(y_BHTD.permute(0, 2, 1, 3).reshape(B, T, nh * hs))
        return y

    def forward_with_weights(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        """What `forward` gives in evaluation, (B, T, C), and the weights of its averages, (B, nh, T, T)."""
        q, k, v = self.heads(x_BTC)
        sight = self.sight(x_BTC.shape[1])
        y, weights = tt.scaled_dot_product_attention(q, k, v, **sight, need_weights=True)
        return self.merge(y), weights


class CausalSelfAttention(SelfAttention):
    """Each token gathers values from itself and the tokens before it, in several heads.

    Args:
        config: sizes, positions, bias and dropout.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> CausalSelfAttention(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        slopes = alibi_slopes(config.n_head) if config.position == "alibi" else None
        self.register_buffer("slopes", slopes, persistent=False)  # (nh,)

    def sight(self, count: int) -> dict[str, Any]:
        """Which of `count` tokens a token sees: those up to itself, of them the last ones of a window."""
        return {"causal": True, "window": self._window(count), "slopes": self.slopes}

    def _window(self, count: int) -> int:
        """The window, if some of so many tokens see less than all before them."""
        return self.config.window if count > self.config.window else 0

    def forward(self, x_BTC: tt.Tensor, cache: KVCache | None = None, layer: int = 0) -> tt.Tensor:
        """(B, T, C) → (B, T, C); with a cache, also looks at the tokens in it."""
        p = self.config.dropout if self.training else 0.0
        qkv = self.pack(x_BTC, cache)
        if cache is None:
            y = tt.causal_self_attention(
                qkv,
                self.config.n_head,
                n_kv_head=self.config.kv_heads,
                window=self._window(x_BTC.shape[1]),
                slopes=self.slopes,
                dropout=p,
            )  # (B, T, C)
        else:
            y = cache.attend(layer, qkv, self.slopes)  # (B, T, C)
        y = self.c_proj(y)
        return tt.dropout(y, p, training=True) if p else y
