"""Scaled dot-product attention on (B, H, T, D), fused, and the same in ordinary ops for all that is rarer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

from ..autograd import Grads, Needs, Saved
from ..device import Device, cpu
from ..dispatch import Op, Spec, Specs, apply, apply_all, empty, floating, register, requires, same_dtype
from ..dtypes import DType, accumulator, bool_, finfo, float32
from ..errors import DTypeError, ShapeError
from ..grad_mode import grad_enabled
from ..inplace import store
from ..launching import Launch, View
from ..layout import Shape, broadcast_shapes
from ..runtime.host import Array
from ..runtime.host_kernels import HostKernels
from . import attention_blocks, attention_tiles
from .arithmetic import add, multiply
from .blocks import need_tensors
from .comparison import greater, logical_and, where
from .dropout import dropout as drop
from .extremes import any as any_of
from .manipulation import cast, reshape
from .masking import tril
from .matmul import product
from .plain import partial_vjp
from .softmax import softmax

if TYPE_CHECKING:
    from ..random import Generator
    from ..tensor import Tensor

kernels = HostKernels("attention")
KEEP = 1 << 22  # scores (16 MiB of float32): up to here forward keeps them, beyond backward forms them again
INTERLEAVED = (0, 2, 1, 3)  # results lie in memory as (B, T, H, D), so that merging the heads is a view


def kept_scores(
    device: Device, dtype: DType, batch: Shape, Tq: int, Tk: int, *, causal: bool, masked: bool = False
) -> int:
    """How many scores forward keeps for backward; 0: none, backward forms them again. Kernels keep none."""
    if device is not cpu or (not masked and accumulator(dtype) is float32 and kernels.usable()):
        return 0
    count = attention_blocks.scores(batch[0], batch[1], Tq, Tk, causal)
    return count if count <= KEEP else 0


def row_caches(batch: Shape, Tq: int, like: Spec, *, keep: int) -> Specs:
    """Specs of the hidden outputs: (kept scores, 1 / row sums, None) or (None, None, logsumexp)."""
    wide = accumulator(like.dtype)
    rows = Spec((*batch, Tq), wide)
    return (Spec((keep,), wide), rows, None) if keep else (None, None, rows)


def problem(q: View, k: View, v: View, *, causal: bool, scale: float) -> attention_tiles.Problem:
    """What kernels are asked for."""
    B, H, Tq, D = q.shape
    return attention_tiles.Problem(q.dtype, B, H, Tq, k.shape[2], D, v.shape[3], causal, scale)


def heads(**views: View) -> dict[str, attention_tiles.Heads]:
    """Where operands (B, H, T, D) are."""
    return {name: attention_tiles.Heads(view.ptr, view.strides) for name, view in views.items()}


@register
class Attention(Op):
    """Hidden: what backward needs of the scores, kept if they are few, else one logsumexp per row."""

    inputs = ("q", "k", "v", "mask")
    outputs = ("y", "kept", "inv", "lse")
    saves = ("q", "k", "v", "mask", "y", "kept", "inv", "lse")

    @staticmethod
    def infer(
        q: Spec, k: Spec, v: Spec, mask: Spec | None, *, causal: bool, scale: float, keep: int
    ) -> Specs:
        y = Spec((*q.shape[:3], v.shape[3]), q.dtype, INTERLEAVED)
        return y, *row_caches(q.shape[:2], q.shape[2], q, keep=keep)

    @staticmethod
    def cpu(*arrays: Any, causal: bool, scale: float, keep: int) -> None:
        attention_blocks.forward(*arrays, causal=causal, scale=scale)

    @staticmethod
    def host(
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None,
        *,
        causal: bool,
        scale: float,
        keep: int,
    ) -> bool:
        plain = kept is None and mask is None
        return plain and kernels.attention_forward(y, lse, q, k, v, causal, scale)

    @staticmethod
    def cuda(
        launch: Launch,
        y: View,
        kept: View | None,
        inv: View | None,
        lse: View | None,
        q: View,
        k: View,
        v: View,
        mask: View | None,
        *,
        causal: bool,
        scale: float,
        keep: int,
    ) -> None:
        at = heads(y=y, q=q, k=k, v=v)
        attention_tiles.forward(launch, problem(q, k, v, causal=causal, scale=scale), at, lse, mask)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, causal: bool, scale: float, keep: int) -> Grads:
        ins = (saved.q, saved.k, saved.v, saved.mask, saved.y, saved.kept, saved.inv, saved.lse)
        return (*apply_all(AttentionBackward, grads[0], *ins, causal=causal, scale=scale), None)


@register
class AttentionBackward(Op):
    inputs = ("grad", "q", "k", "v", "mask", "y", "kept", "inv", "lse")
    outputs = ("dq", "dk", "dv")
    visible = 3
    saves = ("grad", "q", "k", "v", "mask")

    @staticmethod
    def infer(grad: Spec, q: Spec, k: Spec, v: Spec, *_: Spec | None, causal: bool, scale: float) -> Specs:
        return tuple([Spec(x.shape, x.dtype, INTERLEAVED) for x in (q, k, v)])

    cpu = staticmethod(attention_blocks.backward)

    @staticmethod
    def host(
        dq: Array,
        dk: Array,
        dv: Array,
        grad: Array,
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None,
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        *,
        causal: bool,
        scale: float,
    ) -> bool:
        plain = lse is not None and mask is None
        return plain and kernels.attention_backward(dq, dk, dv, grad, q, k, v, y, lse, causal, scale)

    @staticmethod
    def cuda(
        launch: Launch,
        dq: View,
        dk: View,
        dv: View,
        grad: View,
        q: View,
        k: View,
        v: View,
        mask: View | None,
        y: View,
        kept: View | None,
        inv: View | None,
        lse: View,
        *,
        causal: bool,
        scale: float,
    ) -> None:
        at = heads(dq=dq, dk=dk, dv=dv, grad=grad, q=q, k=k, v=v, y=y)
        attention_tiles.backward(launch, problem(q, k, v, causal=causal, scale=scale), at, lse, mask)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, causal: bool, scale: float) -> Grads:
        inputs = (saved.grad, saved.q, saved.k, saved.v)
        params = {"mask": saved.mask, "causal": causal, "scale": scale}
        return (*partial_vjp(_attention_backward, inputs, grads, needs[:4], **params), *[None] * 5)


def _attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool, scale: float
) -> Grads:
    """AttentionBackward in ordinary ops, for its own gradient."""
    every = (True, True, True)
    return partial_vjp(_plain_result, (q, k, v), (grad,), every, mask=mask, causal=causal, scale=scale)


def _plain_result(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool, scale: float
) -> tuple[Tensor]:
    return (plain_attention(q, k, v, mask=mask, causal=causal, scale=scale)[0],)


def plain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """(y, weights) in ordinary ops: all scores in memory, differentiable in the mask, too."""
    s = multiply(product(q, k, False, True), scale)  # (B, H, Tq, Tk)
    allowed = None
    if mask is not None:
        allowed = mask if mask.storage.dtype is bool_ else greater(mask, -math.inf)
        if mask.storage.dtype is not bool_:
            s = add(s, where(allowed, mask, 0.0))
    if causal:
        past = _past(q.layout.shape[2], k.layout.shape[2], q.storage.device)
        allowed = past if allowed is None else logical_and(allowed, past)
    if allowed is not None:  # the lowest number in place of -inf: a row that sees nothing must not give nan
        s = where(allowed, s, finfo(s.storage.dtype).min)
    w = softmax(s)
    if allowed is not None and mask is not None:
        w = multiply(w, cast(any_of(allowed, -1, keepdims=True), w.storage.dtype))
    return product(drop(w, dropout, generator=generator), v), w


def _past(Tq: int, Tk: int, device: Device) -> Tensor:
    """Which query may see which key: (Tq, Tk), aligned at the end."""
    pairs = empty((Tq, Tk), bool_, device=device)
    store(pairs, True)
    return tril(pairs, Tk - Tq)


def check_attention(what: str, qkv: list[Spec], mask: Spec | None, causal: bool) -> None:
    """ShapeError or DTypeError unless the operands fit."""
    q, k, v = qkv
    floating(what, q)
    same_dtype(what, q, k, v)
    fits = (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[:2] == k.shape[:2] == v.shape[:2]
        and q.shape[3] == k.shape[3]
        and k.shape[2] == v.shape[2]
    )
    if not fits:
        raise ShapeError(
            f"{what}: q {q.shape}, k {k.shape} and v {v.shape} do not fit",
            why="they are (B, H, Tq, D), (B, H, Tk, D) and (B, H, Tk, Dv) with the same B, H, Tk and D",
            fix="split the heads first: x.reshape(B, T, H, D).transpose(1, 2)",
        )
    Tq, Tk = q.shape[2], k.shape[2]
    if (causal and Tq > Tk) or not Tk:
        raise ShapeError(
            f"{what}: {Tq} queries and {Tk} keys{' with causal=True' if causal else ''}",
            why="the last query sees all keys, the one before all but the last, …: the first ones see none",
            fix="give at least as many keys as queries" if causal else "give at least one key",
        )
    if mask is None:
        return
    if mask.dtype is not bool_ and mask.dtype is not q.dtype:
        raise DTypeError(
            f"{what}: the mask has dtype {mask.dtype}, q has {q.dtype}",
            why="a mask is bool (True: may be seen), or it is added to the scores and has their dtype",
            fix=f"mask.astype(tt.bool) or mask.astype(tt.{q.dtype})",
        )
    whole = (*q.shape[:2], Tq, Tk)
    if mask.ndim > 4 or broadcast_shapes(mask.shape, whole, what=f"{what} (mask)") != whole:
        raise ShapeError(
            f"{what}: the mask has shape {mask.shape}",
            why=f"it must broadcast to (B, H, Tq, Tk) = {whole}",
            fix="give it axes of these sizes, or 1",
        )


@overload
def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = ...,
    causal: bool = ...,
    scale: float | None = ...,
    dropout: float = ...,
    generator: Generator | None = ...,
    need_weights: Literal[False] = ...,
) -> Tensor: ...
@overload
def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = ...,
    causal: bool = ...,
    scale: float | None = ...,
    dropout: float = ...,
    generator: Generator | None = ...,
    need_weights: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
    need_weights: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Average of the values v, weighted by how well each query fits each key.

    y = softmax(scale * q k' + mask) v

    Causal attention is aligned at the end: query i sees the keys up to i + Tk - Tq. So with the keys of a KV
    cache and the queries of the newest tokens alone, each token sees itself and all before it.

    Args:
        q: queries, shape (B, H, Tq, D); floating.
        k: keys, shape (B, H, Tk, D).
        v: values, shape (B, H, Tk, Dv).
        mask: broadcasts to (B, H, Tq, Tk). bool: True where a query may see a key; floating: added to the
            scores. A query that may see no key gives 0.
        causal: no query sees a key after it, in addition to the mask.
        scale: factor of the scores; default 1 / sqrt(D).
        dropout: probability of dropping a weight; 0 outside of training.
        generator: of the dropout; default the global one.
        need_weights: return the weights, too.

    Returns:
        shape (B, H, Tq, Dv), dtype of q; with need_weights a tuple (y, weights (B, H, Tq, Tk)), the weights
        as they were before dropout.

    Raises:
        ShapeError: the shapes do not fit, or causal with more queries than keys.
        DTypeError: q is not floating, or the dtypes differ.

    Memory: keeps q, k, v, y, and for backward one number per query, from which it forms the scores again:
        memory grows with Tq + Tk, not with Tq * Tk. Where NumPy computes, up to 2**22 exponentials of scores
        are kept instead. With dropout, need_weights, or a mask that requires grad, all scores are in memory.
    Accuracy: large scores are safe: where they could overflow, the maximum of each row is taken off. 16-bit
        floats are computed in float32.
    Differs from: torch.nn.functional.scaled_dot_product_attention, whose is_causal is aligned at the start
        (query i sees keys up to i) and excludes a mask.
    Source: Vaswani et al. 2017, arXiv:1706.03762; recomputation: Rabe, Staats 2021, arXiv:2112.05682.

    Example:
        >>> q = tt.zeros(1, 1, 2, 4)
        >>> v = tt.tensor([[[[1.0], [3.0]]]])
        >>> tt.scaled_dot_product_attention(q, q, v, causal=True).tolist()
        [[[[1.0], [2.0]]]]
    """
    what = "scaled_dot_product_attention"
    need_tensors(what, q, k, v, mask)
    checked = [Spec(x.layout.shape, x.storage.dtype) for x in (q, k, v)]
    masked = None if mask is None else Spec(mask.layout.shape, mask.storage.dtype)
    check_attention(what, checked, masked, causal)
    if mask is not None:
        mask = reshape(mask, (1,) * (4 - len(mask.layout.shape)) + mask.layout.shape)
    if scale is None:
        scale = max(q.layout.shape[3], 1) ** -0.5
    learned = mask is not None and grad_enabled() and requires(mask)
    device, (B, H, Tq, D), (Tk, Dv) = q.storage.device, q.layout.shape, v.layout.shape[2:]
    too_large = not attention_tiles.fit(device, q.storage.dtype, max(D, Dv))
    if dropout or need_weights or learned or too_large:
        y, weights = plain_attention(
            q, k, v, mask=mask, causal=causal, scale=scale, dropout=dropout, generator=generator
        )
        return (y, weights) if need_weights else y
    keep = kept_scores(device, q.storage.dtype, (B, H), Tq, Tk, causal=causal, masked=mask is not None)
    return apply(Attention, q, k, v, mask, causal=causal, scale=scale, keep=keep)
