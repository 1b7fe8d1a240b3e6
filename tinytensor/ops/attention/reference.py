"""Unfused reference attention: gradients of masks and slopes, dropout, returned weights, double backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from tinytensor.autograd.modes import inputs_of, using
from tinytensor.device import Device
from tinytensor.dispatch.batching import sampling
from tinytensor.dtypes import accumulator, bool_, finfo, int64
from tinytensor.generator import Generator
from tinytensor.ops.elementwise.comparison import greater, logical_and, where
from tinytensor.ops.indexing.masking import tril, triu
from tinytensor.ops.inplace import copy_
from tinytensor.ops.joining.padding import pad
from tinytensor.ops.matmul.matmul import product
from tinytensor.ops.nn.dropout import dropped
from tinytensor.ops.nn.softmax import softmax
from tinytensor.ops.random.philox import blocks_needed
from tinytensor.ops.reductions.min_max import any as any_of
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.reductions.scan import cumulative_sum
from tinytensor.ops.views.manipulation import cast, expand, reshape
from tinytensor.random_streams import Stream
from tinytensor.tensor import Tensor, empty

Drop = Callable[[Tensor], Tensor]


def plain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    window: int = 0,
    slopes: Tensor | None = None,
    drop: Drop | None = None,
) -> tuple[Tensor, Tensor]:
    """(y, weights) by unfused ops, with all scores in memory; differentiable in the mask and slopes, too.

    Scores and weights of 16-bit operands are float32, as in the fused ops, and under autocast.
    """
    q, k, v, mask, slopes = inputs_of("narrow", q, k, v, mask, slopes)
    with using(None):
        return _attend(q, k, v, mask, causal, scale, window, slopes, drop)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    window: int,
    slopes: Tensor | None,
    drop: Drop | None,
) -> tuple[Tensor, Tensor]:
    """Attention of operands that already have the dtype of the computation."""
    (H, Tq), Tk = q.layout.shape[1:3], k.layout.shape[2]
    dtype = q.storage.dtype
    q, k, v = [cast(for_all_heads(x, H), accumulator(dtype)) for x in (q, k, v)]
    s = product(q, k, False, True) * scale  # (B, H, Tq, Tk)
    if slopes is not None:
        distances = cast(_distances(Tq, Tk, q.storage.device), s.storage.dtype)
        s = s - reshape(cast(slopes, s.storage.dtype), (H, 1, 1)) * distances
    allowed = None
    if mask is not None:
        allowed = mask if mask.storage.dtype is bool_ else greater(mask, -math.inf)
        if mask.storage.dtype is not bool_:
            s = s + where(allowed, cast(mask, s.storage.dtype), 0.0)
    if causal:
        seen = _seen(Tq, Tk, window, q.storage.device)
        allowed = seen if allowed is None else logical_and(allowed, seen)
    if allowed is not None:  # the lowest number instead of -inf: a fully masked row must not give nan
        s = where(allowed, s, finfo(s.storage.dtype).min)
    w = softmax(s, -1)
    if allowed is not None and mask is not None:
        w = w * cast(any_of(allowed, -1, keepdims=True), w.storage.dtype)
    return cast(product(w if drop is None else drop(w), v), dtype), w


def blocks_of(queries: int, keys: int) -> int:
    """Number of Philox blocks from which dropout draws for so many queries: each begins a block."""
    return queries * blocks_needed(keys, 1)


def redrawn(dropout: float, stream: Stream) -> Drop | None:
    """The dropout of a fused op, for its unfused reference; None if it drops nothing."""
    return partial(_rows_dropped, p=dropout, stream=stream) if dropout else None


@sampling(0)
def draw_and_drop(w: Tensor, p: float, generator: Generator) -> Tensor:
    """Dropout of weights (..., Tq, Tk), by the bits that the fused ops draw."""
    *others, keys = w.layout.shape
    return _rows_dropped(w, p, Stream(generator.seed, generator.advance(blocks_of(math.prod(others), keys))))


def _rows_dropped(w: Tensor, p: float, stream: Stream) -> Tensor:
    keys = w.layout.shape[-1]
    if keys % 4 == 0:
        return dropped(w, p, stream)
    filled = pad(w, ((0, 0),) * (len(w.layout.shape) - 1) + ((0, -keys % 4),))
    return dropped(filled, p, stream)[..., :keys]


def for_all_heads(x: Tensor, H: int) -> Tensor:
    """Repeat grouped keys or values (B, Hkv, Tk, D) for each query head: (B, H, Tk, D)."""
    B, shared, Tk, D = x.layout.shape
    if shared == H:
        return x
    return reshape(expand(reshape(x, (B, shared, 1, Tk, D)), (B, shared, H // shared, Tk, D)), (B, H, Tk, D))


def sum_of_groups(x: Tensor, shared: int) -> Tensor:
    """The adjoint of `for_all_heads`: sums (B, H, Tk, D) over groups of heads to (B, shared, Tk, D)."""
    B, H, Tk, D = x.layout.shape
    return x if shared == H else sum(reshape(x, (B, shared, H // shared, Tk, D)), 2)


def _seen(Tq: int, Tk: int, window: int, device: Device) -> Tensor:
    """Whether each query attends to each key, (Tq, Tk), bool: the last `window` keys, or with 0 all."""
    seen = tril(copy_(empty((Tq, Tk), bool_, device=device), True), Tk - Tq)
    return triu(seen, Tk - Tq + 1 - window) if window else seen


def _distances(Tq: int, Tk: int, device: Device) -> Tensor:
    """Distance from each query back to each key, (Tq, Tk), aligned at the end."""
    ones = copy_(empty((Tq if Tq > Tk else Tk,), int64, device=device), 1)
    places = cumulative_sum(ones)  # computed on the device, so that it can be captured
    queries = places[Tk - Tq :] if Tq <= Tk else places - (Tq - Tk)
    return reshape(queries, (Tq, 1)) - places[:Tk]
