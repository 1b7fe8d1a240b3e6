"""Rows of tinytensor/ops/attention/attention.py and causal_self_attention.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, bools, floats

OPS = ("attention", "attention_backward")
PACKED = ("causal_self_attention", "causal_self_attention_backward")
Q, K, V = floats((2, 3, 4, 5)), floats((2, 3, 6, 5)), floats((2, 3, 6, 2))


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


def of_torch(**params: Any) -> Any:
    return lambda torch, q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, **params)


def row(name: str, call: Any, reference: Any, inputs: Any = (Q, K, V), ops: Any = OPS, **more: Any) -> Row:
    """The result lies in memory as (B, T, H, D). Tensor cores take weights that are rounded first."""
    name = f"scaled_dot_product_attention{name}"
    return Row(name, call, reference, inputs, ops=ops, contiguous=False, roundings=2, **more)


def cached(x: tt.Tensor, keys: tt.Tensor, values: tt.Tensor) -> tuple[tt.Tensor, ...]:
    """The step writes to the cache; here to a copy that already has one token."""
    keys, values = keys.clone(), values.clone()
    return tt.cached_self_attention(x, keys, values, tt.tensor([1], device=x.device)), keys, values


def cached_reference(x: Any, keys: Any, values: Any) -> tuple[Any, ...]:
    (B, T), (H, D) = x.shape[:2], keys.shape[1::2]
    q, k, v = (a.reshape(B, T, H, D).swapaxes(1, 2) for a in np.split(x, 3, -1))
    keys, values = keys.copy(), values.copy()
    keys[:, :, 1 : T + 1], values[:, :, 1 : T + 1] = k, v
    seen = keys[:, :, : T + 1], values[:, :, : T + 1]
    return attention(q, *seen, past(q, seen[0]))[0].swapaxes(1, 2).reshape(B, T, H * D), keys, values


ROWS = [
    row("", tt.scaled_dot_product_attention, lambda q, k, v: attention(q, k, v)[0], torch=of_torch(),
        also=(((1, 1, 1, 1),) * 3, ((2, 1, 0, 3), (2, 1, 2, 3), (2, 1, 2, 3)), ((0, 1, 2, 3),) * 3,
              ((1, 2, 70, 8),) * 3)),
    row(":causal", lambda q, k, v: tt.scaled_dot_product_attention(q, k, v, causal=True, scale=0.7),
        lambda q, k, v: attention(q, k, v, past(q, k), scale=0.7)[0],
        torch=lambda torch, q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, torch.ones(4, 6).tril(2).bool(), scale=0.7),
        also=(((1, 1, 1, 2), (1, 1, 9, 2), (1, 1, 9, 2)), ((1, 2, 150, 8), (1, 2, 170, 8), (1, 2, 170, 8)))),
    row(":mask", lambda q, k, v, m: tt.scaled_dot_product_attention(q, k, v, mask=m),
        lambda q, k, v, m: attention(q, k, v, m)[0], (Q, K, V, bools((3, 4, 6))),
        also=(((1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2), (3,)),)),
    row(":bias", lambda q, k, v, b: tt.scaled_dot_product_attention(q, k, v, mask=b, causal=True),
        lambda q, k, v, b: attention(q, k, v, past(q, k), b)[0], (Q, K, V, floats((2, 1, 4, 6))), ops=()),
    row(":weights", lambda q, k, v: tt.scaled_dot_product_attention(q, k, v, causal=True, need_weights=True),
        lambda q, k, v: attention(q, k, v, past(q, k)), ops=(), tol=8.0),  # rounded after each op
    Row("causal_self_attention", lambda x: tt.causal_self_attention(x, 2),
        lambda x: causal_self_attention(x, 2), (floats((2, 5, 12)),), ops=PACKED, roundings=2,
        also=(((1, 1, 6),), ((0, 2, 6),), ((2, 0, 6),), ((1, 130, 12),))),
    Row("cached_self_attention", cached, cached_reference,
        (floats((2, 3, 30)), floats((2, 2, 6, 5)), floats((2, 2, 6, 5))), ops=("cached_self_attention",),
        grad=False, roundings=2,
        also=(((1, 1, 6), *[(1, 1, 2, 2)] * 2), ((0, 2, 6), *[(0, 1, 3, 2)] * 2),
              ((1, 70, 60), *[(1, 1, 90, 20)] * 2))),
]  # fmt: skip
