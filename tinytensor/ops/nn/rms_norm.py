"""rms_norm over the last axis, with fused forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import Samples, composed
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.forward import Found, Tangents
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, accumulator
from tinytensor.kernels import norms
from tinytensor.kernels.rows import as_rows, need_tensors
from tinytensor.op import HostCall, Op, Spec, Specs, norm, norm_backward, register
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.elementwise.power import pow
from tinytensor.ops.nn.layer_norm import check_norm
from tinytensor.ops.reductions.reduction import mean, sum
from tinytensor.ops.reductions.summing import column_sum, kept_sum
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["rms_norm"]

kernels = HostKernels("rms_norm")


def _rms_norm(x: Tensor, weight: Tensor | None, *, eps: float, dtype: DType | None) -> Tensor:
    """RmsNorm whose weight is applied by ops of its own, of which each may be batched."""
    y = apply(RmsNorm(eps=eps, dtype=None), x, None)
    y = y if weight is None else y * weight
    return y if dtype is None else cast(y, dtype)


def _rms_norm_each(call: Samples) -> Any:
    shared = not any(call.batched[1:])
    return call.run(*call.xs) if shared else composed(_rms_norm)(call)


def _rms_norm_tangent(call: Tangents) -> Found:
    """The tangent of the result: the transpose of the gradient."""
    (dx, dweight), x, weight, eps = call.given, call.saved.x, call.saved.weight, call.op.eps
    if dx is not None:
        dx, _ = rms_norm_backward_by_ops(dx, x, None, eps=eps, wanted=(True, False))
    parts = [
        dx if dx is None or weight is None else dx * weight,
        None if dweight is None else apply(RmsNorm(eps=eps, dtype=None), x, None) * dweight,
    ]
    (found,) = call.total([part for part in parts if part is not None])
    return [None if found is None else cast(found, call.op.dtype or found.storage.dtype)]


@register
class RmsNorm(Op):
    """Hidden output: 1 / root mean square of each row."""

    eps: float
    dtype: DType | None

    inputs = ("x", "weight")
    vmap = _rms_norm_each
    jvp = _rms_norm_tangent
    outputs = ("y", "rrms")
    saves = ("x", "weight", "rrms")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm(3.0)
    autocast = "wide"

    def infer(self, x: Spec, weight: Spec | None) -> Specs:
        check_norm("rms_norm", x, weight=weight)
        return Spec(x.shape, self.dtype or x.dtype), Spec(x.shape[:-1], accumulator(x.dtype))

    def cpu(self, y: Array, rrms: Array | None, x: Array, weight: Array | None) -> None:
        axis = x.ndim - 1
        s = 1 / np.sqrt(kept_sum(x * x, axis) / x.shape[-1] + self.eps)
        y[...] = x * s if weight is None else x * s * weight
        if rrms is not None:
            rrms[...] = s[..., 0]

    def host(self, y: Array, rrms: Array | None, x: Array, weight: Array | None) -> HostCall:
        return partial(kernels.rms_norm_forward, y, rrms, x, weight, self.eps)

    host_bf16 = host

    def cuda(self, launch: Launch, y: View, rrms: View | None, x: View, weight: View | None) -> None:
        if not y.size and rrms is None:
            return
        norms.forward(launch, "rms_norm", y, None, rrms, x, weight, None, self.eps)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        return apply_all(
            RmsNormBackward(eps=self.eps, wanted=needs), grads[0], saved.x, saved.weight, saved.rrms
        )


@register
class RmsNormBackward(Op):
    """With h = x * rrms and d = grad * weight:
    dx = rrms * (d - h * average(d * h)), dweight = sum(grad * h) over rows.
    """

    eps: float
    wanted: Needs

    inputs = ("grad", "x", "weight", "rrms")
    jvp = through(lambda *xs, **given: rms_norm_backward_by_ops(*xs, **given))
    vmap = composed(lambda grad, x, weight, rrms, **given: rms_norm_backward_by_ops(grad, x, weight, **given))
    outputs = ("dx", "dweight")
    visible = 2
    saves = ("grad", "x", "weight")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm_backward(8.0, 2.0)

    def infer(self, grad: Spec, x: Spec, weight: Spec | None, rrms: Spec) -> Specs:
        return x if self.wanted[0] else None, Spec(x.shape[-1:], x.dtype) if self.wanted[1] else None

    def cpu(self, *arrays: Any) -> None:
        dx, dweight, grad, x, weight, rrms = arrays
        axis, s = x.ndim - 1, rrms[..., None]
        h = x * s
        if dx is not None:
            d = grad if weight is None else grad * weight
            dx[...] = s * (d - h * (kept_sum(d * h, axis) / x.shape[-1]))
        if dweight is not None:
            column_sum(as_rows(grad * h), dweight)

    def host(self, *arrays: Any) -> HostCall:
        dx, dweight, grad, x, weight, rrms = arrays
        return partial(kernels.rms_norm_backward, dx, dweight, grad, x, weight, rrms)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        dx, dweight, grad, x, weight, rrms = views
        norms.backward(launch, "rms_norm", dx, dweight, None, grad, x, weight, None, rrms)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = rrms * (d - h * average(d * h)) and dweight, through unfused ops."""
        inputs = (saved.grad, saved.x, saved.weight)
        return (
            *partial_vjp(
                rms_norm_backward_by_ops, inputs, grads, needs[:3], eps=self.eps, wanted=self.wanted
            ),
            None,
        )


def rms_norm_rows(outs: Sequence[Any], ins: Sequence[Any], eps: float) -> None:
    """RmsNorm of arrays."""
    run_plain(RmsNorm(eps=eps, dtype=None), outs, ins)


def rms_norm_backward_rows(outs: Sequence[Any], ins: Sequence[Any], eps: float, wanted: Needs) -> None:
    """RmsNormBackward of arrays."""
    run_plain(RmsNormBackward(eps=eps, wanted=wanted), outs, ins)


def rms_norm_backward_by_ops(
    grad: Tensor, x: Tensor, weight: Tensor | None, *, eps: float, wanted: Needs
) -> tuple[Tensor | None, ...]:
    """RmsNormBackward in unfused ops, for double backward."""
    rrms = pow(mean(x * x, -1, True) + eps, -0.5)
    h = x * rrms
    d = grad if weight is None else grad * weight
    dx = (d - h * mean(d * h, -1, True)) * rrms
    leading = tuple(range(len(x.layout.shape) - 1))
    return dx if wanted[0] else None, sum(grad * h, leading) if wanted[1] else None


def rms_norm(
    x: Tensor, weight: Tensor | None = None, *, eps: float = 1e-6, dtype: DType | None = None
) -> Tensor:
    """Scale each row to root mean square 1, then by a learned weight.

    y = x / sqrt(mean of x * x over the last axis + eps) * weight

    Args:
        x: shape (..., C); floating.
        dtype: of the result, which is rounded once; default that of x, float32 in an autocast block.

    Memory: keeps x, and one value per row.
    Accuracy: 16-bit floats are computed in float32.
    Differs from: torch.nn.functional.rms_norm, whose default eps is that of the dtype.
    Source: Zhang, Sennrich 2019, arXiv:1910.07467.
    """
    need_tensors("rms_norm", x, weight)
    return apply(RmsNorm(eps=eps, dtype=dtype), x, weight)
