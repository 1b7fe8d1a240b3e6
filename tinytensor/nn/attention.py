"""Scaled dot-product attention, and MultiheadAttention of several heads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tinytensor.api as tt
from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import NN_ATTENTION as _NN_ATTENTION
from tinytensor.nn import init
from tinytensor.nn.linear import Linear
from tinytensor.nn.module import Module, Parameter, check_share, check_size
from tinytensor.ops.attention.attention import scaled_dot_product_attention as _attention

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]


def _both_masks(mask: tt.Tensor, seen: tt.Tensor) -> tt.Tensor:
    """A mask, bool or floating, that also hides what is not seen."""
    return mask & seen if mask.dtype is tt.bool else tt.where(seen, mask, -math.inf)


def scaled_dot_product_attention(
    query: tt.Tensor,
    key: tt.Tensor,
    value: tt.Tensor,
    attn_mask: tt.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    window: int = 0,
    slopes: tt.Tensor | None = None,
    generator: tt.Generator | None = None,
    need_weights: bool = False,
) -> Any:
    """softmax(scale * query key' + mask) value; with is_causal query i attends to the keys up to i.

    Args:
        query: shape (B, H, Tq, D), (B, Tq, D) or (Tq, D).
        key: shape (B, H, Tk, D); with enable_gqa fewer heads, of which H is a multiple. A batch of 1, of any
            of the three, is repeated.
        value: shape (B, H, Tk, Dv).
        attn_mask: broadcasts to (B, H, Tq, Tk); bool (True: attend), or floating (added to the scores).
        dropout_p: probability of dropping a weight, also outside training.
        scale: default 1 / sqrt(D).
        window: with is_causal, the number of last keys a query attends to; 0: all.
        slopes: with is_causal, shape (H,): slope times distance is subtracted from the scores (ALiBi).

    Returns:
        shape (B, H, Tq, Dv), without the axes that query lacks; with need_weights a tuple of this and the
        weights (B, H, Tq, Tk).

    >>> q, v = tt.zeros(1, 1, 2, 4), tt.tensor([[[[1.0], [3.0]]]])
    >>> tt.nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True).tolist()
    [[[[1.0], [2.0]]]]
    """
    what = "scaled_dot_product_attention"
    options: Any = {
        "scale": scale,
        "window": window,
        "slopes": slopes,
        "generator": generator,
        "need_weights": need_weights,
    }
    if query.ndim < 4:
        at = 0 if enable_gqa else -3  # the heads, or a batch of one head
        q, k, v = query.unsqueeze(at), key.unsqueeze(at), value.unsqueeze(at)
        mask = attn_mask.unsqueeze(at) if attn_mask is not None and attn_mask.ndim > 2 else attn_mask
        options["enable_gqa"] = enable_gqa
        found = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal, **options)
        return tuple([x.squeeze(at) for x in found]) if need_weights else found.squeeze(at)
    if not enable_gqa and key.ndim == 4 and key.shape[1] not in (1, query.shape[1]):
        raise tt.ShapeError(
            f"{what}: {query.shape[1]} heads of queries and {key.shape[1]} of keys",
            why="each head has its own keys, unless heads share them in groups",
            fix="enable_gqa=True",
        )
    batch = next((x.shape[0] for x in (query, key, value) if x.shape[0] != 1), 1)
    query, key, value = [x.expand(batch, *x.shape[1:]) if len(x) == 1 else x for x in (query, key, value)]
    queries, keys = query.shape[2], key.shape[2]
    if is_causal and queries != keys:  # aligned at the start; that of the op at the end
        if window or slopes is not None:
            raise tt.ShapeError(
                f"{what}: window or slopes, of {queries} queries and {keys} keys",
                why="their distances are those of one sequence",
                fix="as many queries as keys, or tt.cached_self_attention",
            )
        is_causal, lower = False, tt.tril(tt.ones(queries, keys, dtype=tt.bool, device=query.device))
        attn_mask = lower if attn_mask is None else _both_masks(attn_mask, lower)
    return _attention(query, key, value, mask=attn_mask, causal=is_causal, dropout=dropout_p, **options)


class MultiheadAttention(Module):
    """Multi-head attention: softmax(q k' / sqrt(D)) v of each head, times a matrix.

    A mask excludes where it is True, and the batch is axis 1, as in PyTorch; the mask of
    `nn.functional.scaled_dot_product_attention` includes.

    Shapes:
        query (Tq, N, C), key and value (Tk, N, C), all without N for one sequence → (Tq, N, C);
        in_proj_weight (3 * C, C), in_proj_bias (3 * C,), out_proj: a Linear, whose weight is the transpose
        of PyTorch's.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.

    >>> y, weights = tt.nn.MultiheadAttention(8, 2)(*[tt.ones(3, 1, 8)] * 3)
    >>> y.shape, weights.shape
    ((3, 1, 8), (1, 3, 3))
    """

    in_proj_weight: tt.Tensor
    in_proj_bias: tt.Tensor | None
    out_proj: Linear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim = check_size("MultiheadAttention", "embed_dim", embed_dim)
        self.num_heads = check_size("MultiheadAttention", "num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            fitting = [h for h in range(1, min(self.num_heads, 1000)) if self.embed_dim % h == 0]
            raise tt.ArgumentError(
                f"MultiheadAttention: {num_heads} heads of {embed_dim} channels",
                why="each head has the same number of channels",
                fix=f"num_heads={max(fitting)}",
            )
        self.dropout = check_share("MultiheadAttention", "dropout", dropout)
        self.batch_first, self.generator = batch_first, generator
        self.in_proj_weight = Parameter(
            init.xavier_uniform_(tt.empty(3 * embed_dim, embed_dim), 1.0, generator)
        )
        self.register_parameter("in_proj_bias", Parameter(tt.zeros(3 * embed_dim)) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        self.to(device, dtype)

    def forward(
        self,
        query: tt.Tensor,
        key: tt.Tensor,
        value: tt.Tensor,
        key_padding_mask: tt.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: tt.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[tt.Tensor, tt.Tensor | None]:
        """Attend from the queries to the keys.

        Args:
            key_padding_mask: (N, Tk): True, or -inf, for keys that are padding.
            attn_mask: (Tq, Tk) or (N * H, Tq, Tk): True where a query may not attend, or added to the scores.
            average_attn_weights: over the heads: (N, Tq, Tk), not (N, H, Tq, Tk).
        """
        if query.ndim == 2:
            padding = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
            at = 0 if self.batch_first else 1
            q, k, v = [x.unsqueeze(at) for x in (query, key, value)]
            y, weights = self.forward(
                q, k, v, padding, need_weights, attn_mask, average_attn_weights, is_causal
            )
            return y.squeeze(at), None if weights is None else weights.squeeze(0)
        biases = [None] * 3 if self.in_proj_bias is None else tt.chunk(self.in_proj_bias, 3)
        matrices = tt.chunk(self.in_proj_weight, 3)
        q, k, v = [
            self._heads(tt.linear(x if self.batch_first else x.transpose(0, 1), w, b))
            for x, w, b in zip((query, key, value), matrices, biases, strict=True)
        ]
        mask = self._mask(q, k, key_padding_mask, attn_mask, is_causal)
        dropout = self.dropout if self.training else 0.0
        options: Any = {"dropout": dropout, "need_weights": need_weights, "generator": self.generator}
        found: Any = _attention(q, k, v, mask=mask, **options)
        y, weights = found if need_weights else (found, None)
        y = self.out_proj(tt.flatten(y.transpose(1, 2), 2))  # (N, Tq, C)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, x: tt.Tensor) -> tt.Tensor:
        """(N, T, C) → (N, H, T, C / H)."""
        return tt.unflatten(x, 2, (self.num_heads, -1)).transpose(1, 2)

    def _mask(
        self, q: tt.Tensor, k: tt.Tensor, padding: tt.Tensor | None, given: tt.Tensor | None, causal: bool
    ) -> tt.Tensor | None:
        """Mask that is added to the scores (N, H, Tq, Tk), or None."""
        shape = (q.shape[2], k.shape[2])
        masks = (
            []
            if given is None
            else [given if given.ndim == 2 else tt.unflatten(given, 0, (-1, self.num_heads))]
        )
        if padding is not None:
            masks.append(padding.unsqueeze(1).unsqueeze(1))  # (N, 1, 1, Tk)
        if causal and given is None:
            masks.append(tt.triu(tt.ones(*shape, dtype=tt.bool, device=q.device), 1))
        total = None
        for mask in masks:
            added = tt.where(mask, -math.inf, 0.0).astype(q.dtype) if mask.dtype is tt.bool else mask
            total = added if total is None else total + added
        return total

    def extra_repr(self) -> str:
        """Heads."""
        return f"num_heads={self.num_heads}"


if not TYPE_CHECKING:
    _publish(globals(), _NN_ATTENTION)
