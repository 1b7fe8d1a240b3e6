"""Attention."""

from __future__ import annotations

import math
from typing import Any

import tinytensor.api as tt
from tinytensor.api import Tensor

__all__ = [
    "scaled_dot_product_attention",
]


def _both_masks(mask: Tensor, seen: Tensor) -> Tensor:
    """A mask, bool or floating, that also hides what is not seen."""
    return mask & seen if mask.dtype is tt.bool else tt.where(seen, mask, -math.inf)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale * query key' + mask) value; with is_causal query i attends to the keys up to i.

    Args:
        query: shape (B, H, Tq, D), (B, Tq, D) or (Tq, D).
        key: shape (B, H, Tk, D); with enable_gqa fewer heads, of which H is a multiple. A batch of 1, of any
            of the three, is repeated.
        value: shape (B, H, Tk, Dv).
        attn_mask: broadcasts to (B, H, Tq, Tk); bool (True: attend), or floating (added to the scores).
        dropout_p: probability of dropping a weight, also outside training.
        is_causal: in addition to the mask.
        scale: default 1 / sqrt(D).

    Returns:
        shape (B, H, Tq, Dv), without the axes that query lacks.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> q, v = tt.zeros(1, 1, 2, 4), tt.tensor([[[[1.0], [3.0]]]])
        >>> tt.nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True).tolist()
        [[[[1.0], [2.0]]]]
    """
    what = "scaled_dot_product_attention"
    if query.ndim < 4:
        at = 0 if enable_gqa else -3  # the heads, or a batch of one head
        q, k, v = query.unsqueeze(at), key.unsqueeze(at), value.unsqueeze(at)
        mask = attn_mask.unsqueeze(at) if attn_mask is not None and attn_mask.ndim > 2 else attn_mask
        options: Any = {"scale": scale, "enable_gqa": enable_gqa}
        return scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal, **options).squeeze(at)
    if not enable_gqa and key.ndim == 4 and key.shape[1] not in (1, query.shape[1]):
        raise tt.ShapeError(
            f"{what}: {query.shape[1]} heads of queries and {key.shape[1]} of keys",
            why="each head has its own keys, unless heads share them in groups",
            fix="enable_gqa=True",
        )
    batch = next((x.shape[0] for x in (query, key, value) if x.shape[0] != 1), 1)
    query, key, value = [x.expand(batch, *x.shape[1:]) if len(x) == 1 else x for x in (query, key, value)]
    queries, keys = query.shape[2], key.shape[2]
    if is_causal and queries != keys:  # aligned at the start; that of the engine at the end
        is_causal, lower = False, tt.tril(tt.ones(queries, keys, dtype=tt.bool, device=query.device))
        attn_mask = lower if attn_mask is None else _both_masks(attn_mask, lower)
    y = tt.scaled_dot_product_attention(
        query, key, value, mask=attn_mask, causal=is_causal, scale=scale, dropout=dropout_p
    )
    assert isinstance(y, Tensor)  # a tuple only with need_weights
    return y
