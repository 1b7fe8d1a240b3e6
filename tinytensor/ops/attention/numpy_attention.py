"""Attention on NumPy arrays (B, H, T, D), forward and backward: the specification of the kernels.

One item of the batch at a time, since all its scores (H, Tq, Tk) are in memory.
"""

from __future__ import annotations

import numpy as np

from tinytensor.ops.random.philox import blocks_needed, dropout_keep
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import Array


def _for_heads(x: Array, H: int) -> Array:
    """Keys or values (Hkv, Tk, D) of each query head, (H, Tk, D): several may share one."""
    return x if len(x) == H else np.repeat(x, H // len(x), 0)


def _scores(
    q: Array, k: Array, mask: Array | None, slopes: Array | None, causal: bool, scale: float, window: int
) -> Array:
    """scale q k' - slopes * distances + mask, (H, Tq, Tk); -inf where a query does not attend to a key."""
    s: Array = (q * scale) @ k.swapaxes(-1, -2)
    queries, keys = s.shape[1:]
    distance = np.arange(queries)[:, None] + (keys - queries) - np.arange(keys)
    if slopes is not None:
        s -= slopes[:, None, None] * distance.astype(s.dtype)
    if causal:
        s = np.where((distance < 0) | (distance >= (window or keys + 1)), s.dtype.type(-np.inf), s)
    if mask is not None:
        s += np.where(mask, s.dtype.type(0), s.dtype.type(-np.inf)) if mask.dtype == bool else mask
    return s


def _shares(shape: tuple[int, ...], item: int, p: float, stream: Stream, like: Array) -> Array:
    """Dropout's factors of the weights of an item: 0 or 1 / (1 - p). Word j % 4 of block j // 4 of a query is
    that of key j; the blocks of all queries, (B, H, Tq), follow each other.
    """
    H, queries, keys = shape
    each = blocks_needed(keys, 1)
    first = (stream.offset + item * H * queries * each) % (1 << 64)
    kept = dropout_keep(stream.seed, first, p, 4 * H * queries * each).reshape(H, queries, 4 * each)
    shares: Array = kept[..., :keys] * like.dtype.type(1.0 / (1.0 - p) if p < 1.0 else 0.0)
    return shares


def forward(
    y: Array,
    lse: Array | None,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    slopes: Array | None,
    stream: Stream,
    *,
    causal: bool,
    scale: float,
    window: int = 0,
    dropout: float = 0.0,
) -> None:
    """y = dropout(softmax(scores)) v, and the logsumexp of each row of scores; a row without keys gives 0."""
    H = q.shape[1]
    for b in range(len(q)):
        keys, values = _for_heads(k[b], H), _for_heads(v[b], H)
        s = _scores(q[b], keys, _item(mask, b), slopes, causal, scale, window)
        top = s.max(-1, keepdims=True, initial=-np.inf)
        top[top == -np.inf] = 0
        e = np.exp(s - top)
        total = e @ np.ones((e.shape[-1], 1), e.dtype)
        total[total == 0] = np.inf
        w = e / total
        if dropout:
            w *= _shares(e.shape, b, dropout, stream, e)
        y[b] = w @ values
        if lse is not None:
            lse[b] = (np.log(total) + top)[..., 0]


def backward(
    dq: Array,
    dk: Array,
    dv: Array,
    grad: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    slopes: Array | None,
    stream: Stream,
    y: Array,
    lse: Array,
    *,
    causal: bool,
    scale: float,
    window: int = 0,
    dropout: float = 0.0,
) -> None:
    """With P = softmax, dP = grad v' and dS = P * (dP - rowsum(grad * y)): dq = scale dS k, dk = scale dS' q,
    dv = P' grad. dk and dv are per query head, also if heads share keys. Dropout D: dv = (D * P)' grad, and
    D * dP in place of dP.
    """
    H = q.shape[1]
    for b in range(len(q)):
        keys, values, g = _for_heads(k[b], H), _for_heads(v[b], H), grad[b]
        s = _scores(q[b], keys, _item(mask, b), slopes, causal, scale, window)
        p, dp = np.exp(s - lse[b][..., None]), g @ values.swapaxes(-1, -2)
        shares = _shares(p.shape, b, dropout, stream, p) if dropout else p.dtype.type(1)
        ds = p * (dp * shares - np.vecdot(g, y[b])[..., None])
        dq[b] = scale * (ds @ keys)
        dk[b] = scale * (ds.swapaxes(-1, -2) @ q[b])
        dv[b] = (p * shares).swapaxes(-1, -2) @ g


def _item(mask: Array | None, b: int) -> Array | None:
    """The mask (H or 1, Tq or 1, Tk or 1) of an item; all may share one."""
    return None if mask is None else mask[b if len(mask) > 1 else 0]
