"""Rows of tinytensor/ops/attention: attention, causal_self_attention, cached_attention."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Call, Row, bools, both, floats
from tinytensor.ops.attention.attention import scaled_dot_product_attention as op
from tinytensor.ops.random import philox

OPS = ("attention", "attention_backward")
PACKED = ("causal_self_attention", "causal_self_attention_backward")
Q, K, V = floats((2, 3, 4, 5)), floats((2, 3, 6, 5)), floats((2, 3, 6, 2))
LARGE = "2 3 t d, 2 3 s d, 2 3 s d"


def attention(q: Any, k: Any, v: Any, allowed: Any = True, bias: Any = 0.0, scale: Any = None) -> Any:
    """y and weights from the definition; a query that may see nothing gives 0."""
    s = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    e = np.exp(s) * allowed
    total = e.sum(-1, keepdims=True)
    w = e / np.where(total == 0, 1, total)
    return w @ v, w


def past(q: Any, k: Any) -> Any:
    """Query i sees the keys up to i + Tk - Tq."""
    Tq, Tk = q.shape[2], k.shape[2]
    return np.arange(Tk) <= np.arange(Tq)[:, None] + Tk - Tq


def causal_self_attention(x: Any, n_head: int) -> Any:
    B, T, C = x.shape[0], x.shape[1], x.shape[2] // 3
    q, k, v = (a.reshape(B, T, n_head, C // n_head).swapaxes(1, 2) for a in np.split(x, 3, -1))
    return attention(q, k, v, past(q, k))[0].swapaxes(1, 2).reshape(B, T, C)


def dropping(xp: Any, q: Any, k: Any, v: Any) -> Any:
    return op(q, k, v, dropout=0.3, generator=xp.Generator(7))


def dropped(q: Any, k: Any, v: Any) -> Any:
    """Each query has whole blocks of 4 random words, one word for each key."""
    weights = attention(q, k, v)[1]
    *rows, keys = weights.shape
    u = np.empty((*rows, keys + -keys % 4), np.float32)
    philox.uniform_float32(7, 0, u)
    return np.where(u[..., :keys] >= 0.3, weights / 0.7, 0.0) @ v


def causal_in_torch(torch: Any, q: Any, k: Any, v: Any) -> Any:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def row(name: str, numpy: Call, params: Any = (), inputs: Any = (Q, K, V), **more: Any) -> Row:
    """A row of scaled_dot_product_attention, of q, k, v and perhaps a mask, with parameters.

    The result lies in memory as (B, T, H, D). Tensor cores take weights that are rounded first.
    """

    def expression(xp: Any, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return op(q, k, v, mask=mask, **dict(params))

    defaults = {"ops": OPS, "contiguous": False, "roundings": 2, "large": ""}
    return Row(f"scaled_dot_product_attention{name}", inputs, expression, numpy, **{**defaults, **more})


def cached(xp: Any, x: Any, keys: Any, values: Any) -> Any:
    """Attention through a cache that already has one token, if that leaves room."""
    return xp.cached_self_attention(x, keys, values, xp.tensor([before(x, keys)], device=x.device))


def before(x: Any, keys: Any) -> Any:
    return min(1, keys.shape[2] - x.shape[1])


def cached_reference(x: Any, keys: Any, values: Any) -> tuple[Any, ...]:
    (B, T), (H, D), start = x.shape[:2], keys.shape[1::2], before(x, keys)
    q, k, v = (a.reshape(B, T, H, D).swapaxes(1, 2) for a in np.split(x, 3, -1))
    keys, values = keys.copy(), values.copy()
    keys[:, :, start : start + T], values[:, :, start : start + T] = k, v
    seen = keys[:, :, : start + T], values[:, :, : start + T]
    return attention(q, *seen, past(q, seen[0]))[0].swapaxes(1, 2).reshape(B, T, H * D), keys, values


CAUSAL = {"causal": True}
ROWS = [
    row("", lambda q, k, v: attention(q, k, v)[0], torch="torch.nn.functional.scaled_dot_product_attention",
        also=(((1, 1, 1, 1),) * 3, ((2, 1, 0, 3), (2, 1, 2, 3), (2, 1, 2, 3)), ((0, 1, 2, 3),) * 3,
              ((1, 2, 70, 8),) * 3), large=LARGE),
    row(":causal", lambda q, k, v: attention(q, k, v, past(q, k), scale=0.7)[0], {**CAUSAL, "scale": 0.7},
        torch=lambda torch, q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, torch.ones(4, 6).tril(2).bool(), scale=0.7),
        also=(((1, 1, 1, 2), (1, 1, 9, 2), (1, 1, 9, 2)), ((1, 2, 150, 8), (1, 2, 170, 8), (1, 2, 170, 8)))),
    row(":square", lambda q, k, v: attention(q, k, v, past(q, k))[0], CAUSAL, (Q, Q, Q),
        torch=causal_in_torch, second=False, large="1 h t 64, 1 h t 64, 1 h t 64", timed=both("attention")),
    row(":mask", lambda q, k, v, m: attention(q, k, v, m)[0], inputs=(Q, K, V, bools((3, 4, 6))),
        also=(((1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2), (3,)),), large=f"{LARGE}, 2 1 t s"),
    row(":bias", lambda q, k, v, b: attention(q, k, v, past(q, k), b)[0], CAUSAL,
        (Q, K, V, floats((2, 1, 4, 6))), ops=()),
    row(":weights", lambda q, k, v: attention(q, k, v, past(q, k)), {**CAUSAL, "need_weights": True}, ops=(),
        tol=8.0),  # rounded after each op
    Row("scaled_dot_product_attention:dropout", (Q, K, V), dropping, dropped, ops=OPS, random=True,
        contiguous=False, roundings=2, also=(((2, 3, 70, 20), (2, 3, 130, 20), (2, 3, 130, 20)),)),
    Row("causal_self_attention", (floats((2, 5, 12)),), lambda xp, x: xp.causal_self_attention(x, 2),
        lambda x: causal_self_attention(x, 2), ops=PACKED, roundings=2,
        also=(((1, 1, 6),), ((0, 2, 6),), ((2, 0, 6),), ((1, 130, 12),)), large="2 t 144"),
    Row("causal_self_attention:one", (floats((2, 5, 9)),), lambda xp, x: xp.causal_self_attention(x, 1),
        lambda x: causal_self_attention(x, 1), ops=PACKED, roundings=2, large="b t 192",
        torch=lambda torch, x: causal_in_torch(torch, *x.chunk(3, -1)),
        timed=both("causal self-attention")),
    Row("cached_self_attention", (floats((2, 3, 30)), floats((2, 2, 6, 5)), floats((2, 2, 6, 5))), cached,
        cached_reference, writes=(1, 2), ops=("cached_self_attention",), grad=False, roundings=2,
        also=(((1, 1, 6), *[(1, 1, 2, 2)] * 2), ((0, 2, 6), *[(0, 1, 3, 2)] * 2),
              ((1, 70, 60), *[(1, 1, 90, 20)] * 2)),
        large="b t 192, b 1 t 64, b 1 t 64", timed="attention through a cache"),
]  # fmt: skip
