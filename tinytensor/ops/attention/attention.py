"""scaled_dot_product_attention on (B, H, T, D): fused ops, with an unfused fallback."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, overload

from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import grad_enabled, inputs_of
from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import VmapCall, sampling, unwrapped, vmap_loop
from tinytensor.dispatch.checks import floating, same_dtype
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import accumulator, bool_
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.generator import Generator
from tinytensor.kernels.rows import require_tensors
from tinytensor.op import Grads, HostCall, Needs, Op, Saved, Shapes, Spec, Specs, Tensor, fields_of, register
from tinytensor.ops.attention import launch as attention_tiles
from tinytensor.ops.attention import numpy_attention
from tinytensor.ops.attention.reference import (
    blocks_of,
    draw_and_drop,
    for_all_heads,
    plain_attention,
    redrawn,
    sum_of_groups,
)
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.nn.dropout import source_of
from tinytensor.ops.views.manipulation import cast, expand, reshape
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.shapes import Shape, broadcast_shapes

__all__ = ["scaled_dot_product_attention"]

kernels = HostKernels("attention")
INTERLEAVED = (0, 2, 1, 3)  # memory order (B, T, H, D) of results, so that merging the heads is a view


def row_cache(batch: Shape, Tq: int, like: Spec) -> Spec:
    """Spec of the hidden output: one logsumexp per row."""
    return Spec((*batch, Tq), accumulator(like.dtype))


def _pairs(queries: int, keys: int, causal: bool, window: int) -> float:
    """Number of pairs of a query and a key that it sees; the last query is aligned with the last key."""
    if not causal:
        return float(queries * keys)
    most = window or keys

    def up_to(last: int) -> int:  # of queries that see 1, 2, …, last keys, or no more than the window
        short = max(min(last, most), 0)
        return short * (short + 1) // 2 + max(last - most, 0) * most

    return float(up_to(keys) - up_to(keys - queries))


EXPONENTS = 4.0  # operations for one score: scaled, the maximum taken off, exp, added up


def attention_flops(ins: Shapes, causal: bool, window: int = 0) -> float:
    """Floating-point operations of attention: the scores over D, the weighted sums over Dv."""
    (B, H, Tq, D), (_, _, Tk, _), (_, _, _, Dv) = (shape or (0, 0, 0, 0) for shape in ins[:3])
    pairs = B * H * _pairs(Tq, Tk, causal, window)
    return pairs * (2.0 * D + 2.0 * Dv + EXPONENTS)


def attention_backward_flops(ins: Shapes, causal: bool, window: int = 0) -> float:
    """The scores again, dq and dk over D; the gradient of the weights and dv over Dv."""
    (B, H, Tq, D), (_, _, Tk, _), (_, _, _, Dv) = (shape or (0, 0, 0, 0) for shape in ins[1:4])
    pairs = B * H * _pairs(Tq, Tk, causal, window)
    return pairs * (6.0 * D + 4.0 * Dv + EXPONENTS + 2.0)


def problem(
    q: View, k: View, v: View, causal: bool, scale: float, dropout: float, stream: bytes
) -> attention_tiles.Problem:
    """Sizes and options of the kernels."""
    B, H, Tq, D = q.shape
    sizes = (B, H, Tq, k.shape[2], D, v.shape[3])
    return attention_tiles.Problem(q.dtype, *sizes, causal, scale, dropout, stream)


def heads(**views: View) -> dict[str, attention_tiles.Heads]:
    """Addresses and strides of operands (B, H, T, D)."""
    return {name: attention_tiles.Heads(view.ptr, view.strides) for name, view in views.items()}


def merged(value: Tensor) -> Tensor:
    """(samples, B, …) as (samples * B, …)."""
    samples, B, *rest = value.layout.shape
    return reshape(value, (samples * B, *rest))


def _attention_each(call: VmapCall) -> Any:
    if call.batched[4] or call.op.dropout:
        return vmap_loop(call)  # slopes and samples are those of the whole batch
    q, k, v = [merged(x) for x in call.values()[:3]]
    return _parted(call, scaled_dot_product_attention(q, k, v, **_options(call, 3)))


def _attention_backward_each(call: VmapCall) -> Any:
    """Compute the gradient of all samples as one batch, since the saved tensors cannot be joined."""
    if call.batched[5] or call.op.dropout or any([isinstance(x, Batched) for x in call.xs]):
        return vmap_loop(call)
    grad, q, k, v = [merged(x) for x in call.values()[:4]]
    H = q.layout.shape[1]
    options = _options(call, 4)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        return (scaled_dot_product_attention(q, k, v, **options),)

    inputs = (q, for_all_heads(k, H), for_all_heads(v, H))
    return [_parted(call, dx) for dx in partial_vjp(plain, inputs, (grad,), (True, True, True))]


def _options(call: VmapCall, at: int) -> dict[str, Any]:
    """The options of attention for all samples as one batch; input `at` is the mask, the next the slopes."""
    size, mask, B = call.level.size, call.xs[at], call.given[0].layout.shape[0]
    if call.batched[at]:
        mask = merged(expand(mask, (size, B, *mask.layout.shape[2:])))
    elif mask is not None and mask.layout.shape[0] > 1:
        mask = merged(unwrapped(mask, call.level))
    given = {"causal": call.op.causal, "scale": call.op.scale, "window": call.op.window}
    return {"mask": mask, "slopes": call.given[at + 1], **given}


def _parted(call: VmapCall, y: Tensor) -> Tensor:
    """(samples * B, …) as (samples, B, …)."""
    return reshape(y, (call.level.size, -1, *y.layout.shape[1:]))


@register
class Attention(Op):
    """Hidden output for backward: one logsumexp per row, from which the scores are computed again."""

    causal: bool
    scale: float
    window: int
    dropout: float

    inputs = ("q", "k", "v", "mask", "slopes", "stream")
    vmap = _attention_each
    jvp = through(lambda *xs, **given: _plain_result(*xs, **given))
    rows = ("q", "k", "v")
    outputs = ("y", "lse")
    saves = ("q", "k", "v", "mask", "slopes", "stream", "y", "lse")
    autocast = "narrow"

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return attention_flops(ins, self.causal, self.window)

    def infer(self, q: Spec, k: Spec, v: Spec, mask: Spec | None, slopes: Spec | None, stream: Any) -> Specs:
        y = Spec((*q.shape[:3], v.shape[3]), q.dtype, INTERLEAVED)
        return y, row_cache(q.shape[:2], q.shape[2], q)

    def cpu(self, *arrays: Any) -> None:
        given: dict[str, Any] = fields_of(self)
        numpy_attention.forward(*arrays, **given)

    def host(self, *arrays: Any) -> HostCall:
        y, lse, q, k, v, mask, slopes, stream = arrays
        plain = mask is None and slopes is None and not self.window
        given = (self.causal, self.scale, self.dropout, *stream)
        return partial(kernels.attention_forward, y, lse, q, k, v, *given) if plain else None

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        y, lse, q, k, v, mask, _, stream = views
        at = heads(y=y, q=q, k=k, v=v)
        samples = launch.stream(stream) if self.dropout else b""
        what = problem(q, k, v, self.causal, self.scale, self.dropout, samples)
        attention_tiles.forward(launch, what, at, lse, mask)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        ins = (saved.q, saved.k, saved.v, saved.mask, saved.slopes, saved.stream, saved.y, saved.lse)
        dq, dk, dv = apply_all(AttentionBackward(**fields_of(self)), grads[0], *ins)
        shared = saved.k.layout.shape[1]
        return dq, sum_of_groups(dk, shared), sum_of_groups(dv, shared), None, None, None


@register
class AttentionBackward(Op):
    """With P = softmax(scale * q @ k.T + mask) and dP = grad @ v.T: dv = P.T @ grad,
    dS = P * (dP - sum(dP * P)), dq = scale * dS @ k, dk = scale * dS.T @ q. dk and dv are per query
    head, also if heads share keys, so that no two heads add to one element.
    """

    causal: bool
    scale: float
    window: int
    dropout: float

    inputs = ("grad", "q", "k", "v", "mask", "slopes", "stream", "y", "lse")
    vmap = _attention_backward_each
    jvp = through(lambda *xs, **given: _attention_backward(*xs, **given))
    rows = ("grad", "q", "k", "v")
    outputs = ("dq", "dk", "dv")
    visible = 3
    saves = ("grad", "q", "k", "v", "mask", "slopes", "stream")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return attention_backward_flops(ins, self.causal, self.window)

    def infer(self, grad: Spec, q: Spec, k: Spec, v: Spec, *_: Spec | None) -> Specs:
        return tuple([Spec((*q.shape[:2], *x.shape[2:]), x.dtype, INTERLEAVED) for x in (q, k, v)])

    def cpu(self, *arrays: Any) -> None:
        given: dict[str, Any] = fields_of(self)
        numpy_attention.backward(*arrays, **given)

    def host(self, *arrays: Any) -> HostCall:
        dq, dk, dv, grad, q, k, v, mask, slopes, stream, y, lse = arrays
        plain = mask is None and slopes is None and not self.window
        ins = (grad, q, k, v, y, lse, self.causal, self.scale, self.dropout, *stream)
        return partial(kernels.attention_backward, dq, dk, dv, *ins) if plain else None

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        dq, dk, dv, grad, q, k, v, mask, _, stream, y, lse = views
        at = heads(dq=dq, dk=dk, dv=dv, grad=grad, q=q, k=k, v=v, y=y)
        samples = launch.stream(stream) if self.dropout else b""
        what = problem(q, k, v, self.causal, self.scale, self.dropout, samples)
        attention_tiles.backward(launch, what, at, lse, mask)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dq = scale * dS @ k, dk = scale * dS.T @ q and dv = P.T @ grad."""
        inputs = (saved.grad, saved.q, saved.k, saved.v, saved.mask, saved.slopes, saved.stream)
        needed = (*needs[:4], False, False, False)
        return (*partial_vjp(_attention_backward, inputs, grads, needed, **fields_of(self)), None, None)


def _attention_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any, **params: Any) -> Grads:
    """AttentionBackward in unfused ops, for double backward."""
    needs, H = (True, True, True, False, False, False), q.layout.shape[1]
    inputs = (q, for_all_heads(k, H), for_all_heads(v, H), *others)
    return partial_vjp(_plain_result, inputs, (grad,), needs, **params)[:3]


def _plain_result(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    slopes: Tensor | None,
    stream: Stream,
    *,
    dropout: float,
    **params: Any,
) -> tuple[Tensor]:
    drop = redrawn(dropout, stream)
    return (plain_attention(q, k, v, mask=mask, slopes=slopes, drop=drop, **params)[0],)


def check_attention(what: str, qkv: list[Spec], mask: Spec | None, causal: bool) -> None:
    """ShapeError or DTypeError unless the operands fit."""
    q, k, v = qkv
    floating(what, q)
    same_dtype(what, q, k, v)
    fits = (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[0] == k.shape[0]
        and k.shape[:2] == v.shape[:2]
        and k.shape[1] > 0
        and q.shape[1] % k.shape[1] == 0
        and q.shape[3] == k.shape[3]
        and k.shape[2] == v.shape[2]
    )
    if not fits:
        raise ShapeError(
            f"{what}: q {q.shape}, k {k.shape} and v {v.shape} do not fit",
            why="they are (B, H, Tq, D), (B, G, Tk, D) and (B, G, Tk, Dv) with the same B, G, Tk and D, and "
            "H a multiple of G",
            fix="split the heads first: x.reshape(B, T, H, D).transpose(1, 2)",
        )
    Tq, Tk = q.shape[2], k.shape[2]
    if (causal and Tq > Tk) or not Tk:
        raise ShapeError(
            f"{what}: {Tq} queries and {Tk} keys{' with causal=True' if causal else ''}",
            why="the last query attends to all keys, the one before to all but the last, …: "
            "the first ones to none",
            fix="give at least as many keys as queries" if causal else "give at least one key",
        )
    if mask is None:
        return
    if mask.dtype is not bool_ and mask.dtype is not q.dtype:
        raise DTypeError(
            f"{what}: the mask has dtype {mask.dtype}, q has {q.dtype}",
            why="a mask is bool (True: attend), or it is added to the scores and has their dtype",
            fix=f"mask.astype(tt.bool) or mask.astype(tt.{q.dtype})",
        )
    whole = (*q.shape[:2], Tq, Tk)
    if mask.ndim > 4 or broadcast_shapes(mask.shape, whole, what=f"{what} (mask)") != whole:
        raise ShapeError(
            f"{what}: the mask has shape {mask.shape}",
            why=f"it must broadcast to (B, H, Tq, Tk) = {whole}",
            fix="give it axes of these sizes, or of size 1",
        )


def check_past(what: str, H: int, causal: bool, window: int, slopes: Tensor | None) -> None:
    """ArgumentError or ShapeError unless window and slopes are valid for H heads."""
    if window < 0 or ((window or slopes is not None) and not causal):
        raise ArgumentError(
            f"{what}: window={window}{'' if slopes is None else ' and slopes'} with causal={causal}",
            why="a window is a number of last keys, and slopes multiply the distance to a key",
            fix="use causal=True, and window=0 for all keys",
        )
    if slopes is None:
        return
    floating(what, Spec(slopes.layout.shape, slopes.storage.dtype))
    if slopes.layout.shape != (H,):
        raise ShapeError(
            f"{what}: slopes of shape {slopes.layout.shape}",
            why=f"there is one slope for each of the {H} query heads",
            fix=f"give shape ({H},)",
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
    window: int = ...,
    slopes: Tensor | None = ...,
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
    window: int = ...,
    slopes: Tensor | None = ...,
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
    window: int = 0,
    slopes: Tensor | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
    need_weights: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Average of the values v, weighted by the softmax of the scaled dot products of queries and keys.

    y = softmax(scale * q k' + mask) v

    Causal attention is aligned at the end: query i attends to the keys up to i + Tk - Tq. So with a KV cache
    and the queries of the newest tokens alone, each token attends to itself and all tokens before it.

    Args:
        q: queries, shape (B, H, Tq, D); floating.
        k: keys, shape (B, G, Tk, D), with H a multiple of G: each is shared by H / G neighboring query heads.
        v: values, shape (B, G, Tk, Dv).
        mask: broadcasts to (B, H, Tq, Tk). bool: True where a query attends to a key; floating: added to
            the scores. A fully masked query gives 0.
        causal: no query attends to a later key, in addition to the mask.
        scale: factor of the scores; default 1 / sqrt(D).
        window: with causal, the number of last keys a query attends to (sliding window); 0: all.
        slopes: with causal, shape (H,), floating: slope times distance is subtracted from the scores, with
            distance 0 at the last visible key (ALiBi).
        dropout: probability of dropping a weight; 0 outside training.
        need_weights: return the weights, too.

    Returns:
        shape (B, H, Tq, Dv), dtype of q; with need_weights a tuple (y, weights (B, H, Tq, Tk)), the weights
        before dropout.

    Raises:
        ShapeError: the shapes do not fit, or causal with more queries than keys.
        ArgumentError: window is negative; window or slopes without causal.

    Memory: keeps q, k, v, y, and for backward one value per query, from which it recomputes the scores:
        memory grows with Tq + Tk, not with Tq * Tk. With need_weights, or a mask that requires grad, all
        scores are in memory; in NumPy, which computes float64, masks, windows and slopes on the CPU, those of
        one item of the batch. No mask of dropout is kept: backward draws it again.
    Accuracy: large scores are safe: where they could overflow, the row maximum is subtracted. 16-bit
        floats are computed in float32. A score s is rounded by up to 6e-8 |s|, and so is the logsumexp that
        backward uses: gradients have a relative error of about 1e-7 |s|, 5e-4 for scores of 10,000.
    Differs from: torch.nn.functional.scaled_dot_product_attention, whose is_causal is aligned at the start
        (query i sees keys up to i) and excludes a mask.
    Source: Vaswani et al. 2017, arXiv:1706.03762; recomputation: Rabe, Staats 2021, arXiv:2112.05682; groups:
        Ainslie et al. 2023, arXiv:2305.13245; slopes: Press et al. 2022, arXiv:2108.12409.
    """
    what = "scaled_dot_product_attention"
    require_tensors(what, q, k, v, mask, slopes)
    q, k, v, mask, slopes = inputs_of("narrow", q, k, v, mask, slopes)
    checked = [Spec(x.layout.shape, x.storage.dtype) for x in (q, k, v)]
    mask_spec = None if mask is None else Spec(mask.layout.shape, mask.storage.dtype)
    check_attention(what, checked, mask_spec, causal)
    check_past(what, q.layout.shape[1], causal, window, slopes)
    if mask is not None:
        mask = reshape(mask, (1,) * (4 - len(mask.layout.shape)) + mask.layout.shape)
    if scale is None:
        scale = max(q.layout.shape[3], 1) ** -0.5
    device, (_, H, _, D), Dv = q.storage.device, q.layout.shape, v.layout.shape[3]
    learned = grad_enabled() and any([x is not None and requires(x) for x in (mask, slopes)])
    too_large = not attention_tiles.fit(device, q.storage.dtype, max(D, Dv))
    rare = device is not cpu and (window or slopes is not None or k.layout.shape[1] != H)
    source = source_of(what, dropout, generator)
    mask_options: dict[str, Any] = {"causal": causal, "scale": scale, "window": window}
    if need_weights or learned or too_large or rare:
        drop = None if source is None else partial(draw_and_drop, p=float(dropout), generator=source)
        y, weights = plain_attention(q, k, v, mask=mask, slopes=slopes, drop=drop, **mask_options)
        return (y, cast(weights, y.storage.dtype)) if need_weights else y
    inputs = (q, k, v, mask, slopes)
    if source is None:
        return apply(Attention(dropout=0.0, **mask_options), *inputs, Stream())
    return _dropping(*inputs, source, dropout=float(dropout), **mask_options)


@sampling()
def _dropping(
    q: Tensor, k: Tensor, v: Tensor, mask: Any, slopes: Any, source: Generator, **params: Any
) -> Tensor:
    """Attention with dropout; its samples are drawn here, for each sample of a vmap."""
    B, H, Tq, _ = q.layout.shape
    offset = source.advance(blocks_of(B * H * Tq, k.layout.shape[2]))
    return apply(Attention(**params), q, k, v, mask, slopes, Stream(source.seed, offset))
