"""layer_norm and rms_norm over the last axis, with fused forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, ClassVar

import numpy as np

from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import VmapCall, composed
from tinytensor.dispatch.checks import floating, same_dtype
from tinytensor.dispatch.forward import Found, JvpCall
from tinytensor.dispatch.launch import Launch
from tinytensor.dtypes import DType, accumulator
from tinytensor.errors import ShapeError
from tinytensor.kernels import norms
from tinytensor.kernels.rows import as_rows, require_tensors
from tinytensor.op import (
    Grads,
    HostCall,
    Needs,
    Op,
    Saved,
    Spec,
    Specs,
    fields_of,
    norm,
    norm_backward,
    register,
)
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.elementwise.arithmetic import add
from tinytensor.ops.elementwise.power import pow
from tinytensor.ops.reductions.reduction import mean, sum
from tinytensor.ops.reductions.summing import column_sum, kept_sum
from tinytensor.ops.views.manipulation import cast, expand
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["layer_norm", "rms_norm"]

kernels = HostKernels("layer_norm", "rms_norm")


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


def _by_ops(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *, op: Norm, dtype: DType | None, eps: float
) -> Tensor:
    """A norm whose weight is applied by ops of its own, of which each may be batched."""
    y = apply(op.replace(dtype=None), x, None, None)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y if dtype is None else cast(y, dtype)


def _each(call: VmapCall) -> Any:
    shared = not any(call.batched[1:])
    return call.run(*call.xs) if shared else composed(partial(_by_ops, op=call.op))(call)


def _tangent(call: JvpCall) -> Found:
    """The tangent of the result: the transpose of the gradient."""
    grads: Any = call.given
    found = _forward(grads, call.saved.x, call.saved.weight, call.op.replace(dtype=None))
    return [None if found is None else cast(found, call.op.dtype or found.storage.dtype)]


class Norm(Op):
    """Base class of LayerNorm and of RmsNorm, which is not `centered` and has no bias.

    Hidden outputs: mean (None if not centered) and 1 / standard deviation, or root mean square, of each row.
    """

    centered: ClassVar[bool]

    eps: float
    dtype: DType | None

    inputs = ("x", "weight", "bias")
    vmap = _each
    jvp = _tangent
    outputs = ("y", "mean", "rstd")
    saves = ("x", "weight", "mean", "rstd")
    dense = ("*",)
    contiguous = ("*",)
    autocast = "wide"

    def infer(self, x: Spec, weight: Spec | None, bias: Spec | None) -> Specs:
        check_norm(self.name, x, weight=weight, bias=bias)
        row = Spec(x.shape[:-1], accumulator(x.dtype))
        return Spec(x.shape, self.dtype or x.dtype), row if self.centered else None, row

    def cpu(self, *arrays: Any) -> None:
        y, mean, rstd, x, weight, bias = arrays
        axis, width = x.ndim - 1, x.shape[-1]
        m = kept_sum(x, axis) / width if self.centered else None
        h = x if m is None else x - m
        s = 1 / np.sqrt(kept_sum(np.square(h), axis) / width + self.eps)
        h = h * s
        h = h if weight is None else h * weight
        y[...] = h if bias is None else h + bias
        if rstd is not None:
            rstd[...] = s[..., 0]
        if mean is not None and m is not None:
            mean[...] = m[..., 0]

    def host(self, *arrays: Any) -> HostCall:
        y, mean, rstd, x, weight, bias = arrays
        if self.centered:
            return partial(kernels.layer_norm_forward, y, mean, rstd, x, weight, bias, self.eps)
        return partial(kernels.rms_norm_forward, y, rstd, x, weight, self.eps)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        y, mean, rstd, x, weight, bias = views
        if y.size or rstd is not None:
            norms.forward(launch, self.centered, y, mean, rstd, x, weight, bias, self.eps)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        x, weight, mean, rstd = saved.x, saved.weight, saved.mean, saved.rstd
        op = norm_backward_op(self.centered, eps=self.eps, wanted=needs)
        return apply_all(op, grads[0], x, weight, mean, rstd)


class NormBackward(Op):
    """Base class of the gradients of both norms."""

    of: ClassVar[type[Norm]]

    eps: float
    wanted: Needs

    inputs = ("grad", "x", "weight", "mean", "rstd")
    outputs = ("dx", "dweight", "dbias")
    visible = 3
    saves = ("grad", "x", "weight")
    dense = ("*",)
    contiguous = ("*",)

    @staticmethod
    def jvp(call: JvpCall) -> Found:
        """Through ordinary ops."""
        return through(partial(_backward_by_ops, op=call.node.op))(call)

    @staticmethod
    def vmap(call: VmapCall) -> Any:
        """Compute by other ops."""
        return composed(partial(_backward_by_ops, op=call.op))(call)

    def infer(self, grad: Spec, x: Spec, weight: Spec | None, mean: Spec | None, rstd: Spec) -> Specs:
        vector = Spec(x.shape[-1:], x.dtype)
        return [spec if w else None for spec, w in zip((x, vector, vector), self.wanted, strict=True)]

    def cpu(self, *arrays: Any) -> None:
        dx, dweight, dbias, grad, x, weight, mean, rstd = arrays
        axis, width, s = x.ndim - 1, x.shape[-1], rstd[..., None]
        h = (x - mean[..., None]) * s if self.of.centered else x * s
        if dx is not None:
            d = grad if weight is None else grad * weight
            flat = d - kept_sum(d, axis) / width if self.of.centered else d
            dx[...] = s * (flat - h * (kept_sum(d * h, axis) / width))
        if dweight is not None:
            column_sum(as_rows(grad * h), dweight)
        if dbias is not None:
            column_sum(as_rows(grad), dbias)

    def host(self, *arrays: Any) -> HostCall:
        dx, dweight, dbias, grad, x, weight, mean, rstd = arrays
        if self.of.centered:
            return partial(kernels.layer_norm_backward, dx, dweight, dbias, grad, x, weight, mean, rstd)
        return partial(kernels.rms_norm_backward, dx, dweight, grad, x, weight, rstd)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        norms.backward(launch, self.of.centered, *views)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = rstd * (d - average(d) - h * average(d * h)), dweight and dbias; without
        average(d) and dbias that of rms_norm.
        """
        inputs = (saved.grad, saved.x, saved.weight)
        if not any(needs[1:]):
            return _forward(grads, *inputs[1:], self.of(eps=self.eps, dtype=None)), *(None,) * 4
        plain = partial(_backward_by_ops, op=self)
        return *partial_vjp(plain, inputs, grads, needs[:3], **fields_of(self)), None, None


@register
class LayerNorm(Norm):
    """Mean 0 and variance 1."""

    centered, flops = True, norm(5.0)


@register
class LayerNormBackward(NormBackward):
    """With h = (x - mean) * rstd and d = grad * weight, averages over a row:
    dx = rstd * (d - average(d) - h * average(d * h)), dweight = sum(grad * h), dbias = sum(grad) over rows.
    """

    of, flops = LayerNorm, norm_backward(10.0, 1.5)


@register
class RmsNorm(Norm):
    """Root mean square 1."""

    centered, flops = False, norm(3.0)


@register
class RmsNormBackward(NormBackward):
    """With h = x * rstd and d = grad * weight:
    dx = rstd * (d - h * average(d * h)), dweight = sum(grad * h) over rows.
    """

    of, flops = RmsNorm, norm_backward(8.0, 2.0)


def norm_op(centered: bool, *, eps: float, dtype: DType | None = None) -> Op:
    """LayerNorm or RmsNorm."""
    return (LayerNorm if centered else RmsNorm)(eps=eps, dtype=dtype)


def norm_backward_op(centered: bool, *, eps: float, wanted: Needs) -> Op:
    """LayerNormBackward or RmsNormBackward."""
    return (LayerNormBackward if centered else RmsNormBackward)(eps=eps, wanted=wanted)


def _backward_by_ops(
    grad: Tensor, x: Tensor, weight: Tensor | None, *_: Any, op: Any, eps: float, wanted: Needs
) -> tuple[Tensor | None, ...]:
    return norm_backward_by_ops(grad, x, weight, centered=op.of.centered, eps=eps, wanted=wanted)


def norm_backward_by_ops(
    grad: Tensor, x: Tensor, weight: Tensor | None, *, centered: bool, eps: float, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """NormBackward in unfused ops, which do not read the statistics, for double backward."""
    leading = tuple(range(len(x.layout.shape) - 1))
    x = x - mean(x, -1, True) if centered else x
    rstd = pow(mean(x * x, -1, True) + eps, -0.5)
    h = x * rstd
    d = grad if weight is None else grad * weight
    flat = d - mean(d, -1, True) if centered else d
    dx = (flat - h * mean(d * h, -1, True)) * rstd
    dweight = sum(grad * h, leading) if wanted[1] else None
    return dx if wanted[0] else None, dweight, sum(grad, leading) if wanted[2] else None


def _forward(grads: Grads, x: Tensor, weight: Tensor | None, op: Norm) -> Tensor | None:
    """The transpose of NormBackward as a function of grad."""
    dx, dweight, dbias = grads
    if dx is not None:
        given: Any = {"centered": op.centered, "eps": op.eps, "wanted": (True, False, False)}
        (dx, *_) = norm_backward_by_ops(dx, x, None, **given)
    parts = [
        dx if dx is None or weight is None else dx * weight,
        None if dweight is None else apply(op, x, None, None) * dweight,
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
    require_tensors("layer_norm", x, weight, bias)
    return apply(LayerNorm(eps=eps, dtype=dtype), x, weight, bias)


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
    require_tensors("rms_norm", x, weight)
    return apply(RmsNorm(eps=eps, dtype=dtype), x, weight, None)
