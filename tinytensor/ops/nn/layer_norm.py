"""layer_norm over the last axis, with fused forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import Samples, composed
from tinytensor.dispatch.checks import floating, same_dtype
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.forward import Found, Tangents
from tinytensor.dispatch.launch import Launch
from tinytensor.dtypes import DType, accumulator
from tinytensor.errors import ShapeError
from tinytensor.kernels import norms
from tinytensor.kernels.rows import as_rows, need_tensors
from tinytensor.op import HostCall, Op, Spec, Specs, norm, norm_backward, register
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.elementwise.arithmetic import add
from tinytensor.ops.elementwise.power import pow
from tinytensor.ops.reductions.reduction import mean, sum
from tinytensor.ops.reductions.summing import column_sum, kept_sum
from tinytensor.ops.views.manipulation import cast, expand
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["layer_norm"]

kernels = HostKernels("layer_norm")


def check_norm(what: str, x: Spec, **vectors: Spec | None) -> None:
    """ShapeError or DTypeError unless each vector fits the last axis of x."""
    floating(what, x)
    same_dtype(what, x, *vectors.values())
    for name, vector in vectors.items():
        if not x.shape or (vector is not None and vector.shape != x.shape[-1:]):
            raise ShapeError(
                f"{what}: x {x.shape} and {name} {None if vector is None else vector.shape} do not fit",
                why=f"{name} has one element for each position of the last axis of x",
                fix=f"give {name} the shape {x.shape[-1:]}, or None" if x.shape else "give x an axis",
            )


def _layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *, eps: float, dtype: DType | None
) -> Tensor:
    """LayerNorm whose weight is applied by ops of its own, of which each may be batched."""
    y = apply(LayerNorm(eps=eps, dtype=None), x, None, None)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y if dtype is None else cast(y, dtype)


def _layer_norm_each(call: Samples) -> Any:
    shared = not any(call.batched[1:])
    return call.run(*call.xs) if shared else composed(_layer_norm)(call)


def _layer_norm_tangent(call: Tangents) -> Found:
    """The tangent of the result: the transpose of the gradient."""
    grads: Any = call.given
    found = _layer_norm_forward(grads, call.saved.x, call.saved.weight, call.op.eps)
    return [None if found is None else cast(found, call.op.dtype or found.storage.dtype)]


@register
class LayerNorm(Op):
    """Hidden outputs: mean and 1 / standard deviation of each row."""

    eps: float
    dtype: DType | None

    inputs = ("x", "weight", "bias")
    vmap = _layer_norm_each
    jvp = _layer_norm_tangent
    outputs = ("y", "mean", "rstd")
    saves = ("x", "weight", "mean", "rstd")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm(5.0)
    autocast = "wide"

    def infer(self, x: Spec, weight: Spec | None, bias: Spec | None) -> Specs:
        check_norm("layer_norm", x, weight=weight, bias=bias)
        row = Spec(x.shape[:-1], accumulator(x.dtype))
        return Spec(x.shape, self.dtype or x.dtype), row, row

    def cpu(self, *arrays: Any) -> None:
        y, mean, rstd, x, weight, bias = arrays
        axis, width = x.ndim - 1, x.shape[-1]
        m = kept_sum(x, axis) / width
        s = 1 / np.sqrt(kept_sum(np.square(x - m), axis) / width + self.eps)
        h = (x - m) * s
        h = h if weight is None else h * weight
        y[...] = h if bias is None else h + bias
        if mean is not None and rstd is not None:
            mean[...], rstd[...] = m[..., 0], s[..., 0]

    def host(self, *arrays: Any) -> HostCall:
        y, mean, rstd, x, weight, bias = arrays
        return partial(kernels.layer_norm_forward, y, mean, rstd, x, weight, bias, self.eps)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        y, mean, rstd, x, weight, bias = views
        if not y.size and mean is None:
            return
        norms.forward(launch, "layer_norm", y, mean, rstd, x, weight, bias, self.eps)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        x, weight, mean, rstd = saved.x, saved.weight, saved.mean, saved.rstd
        return apply_all(LayerNormBackward(eps=self.eps, wanted=needs), grads[0], x, weight, mean, rstd)


@register
class LayerNormBackward(Op):
    """With h = (x - mean) * rstd and d = grad * weight, averages over a row:
    dx = rstd * (d - average(d) - h * average(d * h)), dweight = sum(grad * h), dbias = sum(grad) over rows.
    """

    eps: float
    wanted: Needs

    inputs = ("grad", "x", "weight", "mean", "rstd")
    jvp = through(lambda *xs, **given: layer_norm_backward_by_ops(*xs, **given))
    vmap = composed(
        lambda grad, x, weight, mean, rstd, **given: layer_norm_backward_by_ops(grad, x, weight, **given)
    )
    outputs = ("dx", "dweight", "dbias")
    visible = 3
    saves = ("grad", "x", "weight")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm_backward(10.0, 1.5)

    def infer(self, grad: Spec, x: Spec, weight: Spec | None, mean: Spec, rstd: Spec) -> Specs:
        vector = Spec(x.shape[-1:], x.dtype)
        return (
            x if self.wanted[0] else None,
            vector if self.wanted[1] else None,
            vector if self.wanted[2] else None,
        )

    def cpu(self, *arrays: Any) -> None:
        dx, dweight, dbias, grad, x, weight, mean, rstd = arrays
        axis, width, s = x.ndim - 1, x.shape[-1], rstd[..., None]
        h = (x - mean[..., None]) * s
        if dx is not None:
            d = grad if weight is None else grad * weight
            dx[...] = s * (d - kept_sum(d, axis) / width - h * (kept_sum(d * h, axis) / width))
        if dweight is not None:
            column_sum(as_rows(grad * h), dweight)
        if dbias is not None:
            column_sum(as_rows(grad), dbias)

    def host(self, *arrays: Any) -> HostCall:
        dx, dweight, dbias, grad, x, weight, mean, rstd = arrays
        return partial(kernels.layer_norm_backward, dx, dweight, dbias, grad, x, weight, mean, rstd)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        dx, dweight, dbias, grad, x, weight, mean, rstd = views
        norms.backward(launch, "layer_norm", dx, dweight, dbias, grad, x, weight, mean, rstd)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = rstd * (d - average(d) - h * average(d * h)), dweight and dbias."""
        inputs = (saved.grad, saved.x, saved.weight)
        if not any(needs[1:]):
            return _layer_norm_forward(grads, *inputs[1:], self.eps), *(None,) * 4
        found = partial_vjp(
            layer_norm_backward_by_ops, inputs, grads, needs[:3], eps=self.eps, wanted=self.wanted
        )
        return (*found, None, None)


def layer_norm_rows(outs: Sequence[Any], ins: Sequence[Any], eps: float) -> None:
    """LayerNorm of arrays."""
    run_plain(LayerNorm(eps=eps, dtype=None), outs, ins)


def layer_norm_backward_rows(outs: Sequence[Any], ins: Sequence[Any], eps: float, wanted: Needs) -> None:
    """LayerNormBackward of arrays."""
    run_plain(LayerNormBackward(eps=eps, wanted=wanted), outs, ins)


def layer_norm_backward_by_ops(
    grad: Tensor, x: Tensor, weight: Tensor | None, *, eps: float, wanted: Needs
) -> tuple[Tensor | None, ...]:
    """LayerNormBackward in unfused ops, for double backward."""
    leading = tuple(range(len(x.layout.shape) - 1))
    centered = x - mean(x, -1, True)
    rstd = pow(mean(centered * centered, -1, True) + eps, -0.5)
    h = centered * rstd
    d = grad if weight is None else grad * weight
    flat = d - mean(d, -1, True)
    dx = (flat - h * mean(d * h, -1, True)) * rstd
    dweight = sum(grad * h, leading) if wanted[1] else None
    return dx if wanted[0] else None, dweight, sum(grad, leading) if wanted[2] else None


def _layer_norm_forward(grads: Grads, x: Tensor, weight: Tensor | None, eps: float) -> Tensor | None:
    """The transpose of LayerNormBackward as a function of grad."""
    dx, dweight, dbias = grads
    if dx is not None:
        (dx, *_) = layer_norm_backward_by_ops(dx, x, None, eps=eps, wanted=(True, False, False))
    parts = [
        dx if dx is None or weight is None else dx * weight,
        None if dweight is None else apply(LayerNorm(eps=eps, dtype=None), x, None, None) * dweight,
        None if dbias is None else expand(dbias, x.layout.shape),
    ]
    total: Tensor = reduce(add, [part for part in parts if part is not None])
    return total


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    dtype: DType | None = None,
) -> Tensor:
    """Normalize each row to mean 0 and variance 1, then scale and shift by learned weight and bias.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and (biased) variance over the last axis

    Args:
        x: shape (..., C); floating.
        dtype: of the result, which is rounded once; default that of x, float32 in an autocast block.

    Memory: keeps x, and two values per row.
    Accuracy: the variance is the mean square of the centered row, so a large mean costs no digits; 16-bit
        floats are computed in float32.
    Differs from: torch.nn.functional.layer_norm, which takes several last axes; here reshape them into one.
    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.
    """
    need_tensors("layer_norm", x, weight, bias)
    return apply(LayerNorm(eps=eps, dtype=dtype), x, weight, bias)
