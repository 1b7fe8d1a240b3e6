"""softmax and log_softmax over one axis, each with a fused backward."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.forward import Found, JvpCall, jvp_symmetric
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.errors import ArgumentError
from tinytensor.kernels.rows import require_tensors, threads_per_row
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Spec, Specs, Tensor, register
from tinytensor.ops.double_backward import partial_vjp
from tinytensor.ops.elementwise.exponential import exp
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.reductions.summing import kept_sum
from tinytensor.ops.views.manipulation import astype
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.shapes import normalize_axis

__all__ = ["log_softmax", "softmax"]

kernels = HostKernels("softmax")


def _launch(launch: Launch, part: str, logarithm: bool, y: View, *inputs: View, axis: int) -> None:
    """Launch the row kernel if the axis is the last one (and longer than 1), else the strided kernel."""
    if not y.size:
        return
    width, inner = y.shape[axis], prod(y.shape[axis + 1 :])
    args = [y, *inputs, y.size // width, width]
    if inner == 1:
        block = threads_per_row(width, y.dtype, at_most=512 if part == "forward" else 256)
        grid = blocks_for(y.size // width, block[1])
        launch(f"softmax_{part}", y.dtype, logarithm, grid=grid, block=block, args=args)
    else:
        block = 32, 1 << min(max(width - 1, 1).bit_length(), 4)
        grid = blocks_for(y.size // width, 32)
        launch(f"softmax_{part}_lines", y.dtype, logarithm, grid=grid, block=block, args=[*args, inner])


@register
class Softmax(Op):
    logarithm: ClassVar[bool] = False

    axis: int

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_symmetric
    saves = ("y",)
    dense = ("x",)
    contiguous = ("*",)
    flops = 4.0
    autocast = "wide"

    def infer(self, x: Spec) -> Specs:
        floating(self.name, x)
        return (x,)

    def cpu(self, y: Array, x: Array) -> None:
        if x.size:
            e = np.exp(x - x.max(self.axis, keepdims=True))
            np.divide(e, kept_sum(e, self.axis), out=y)

    def host(self, y: Array, x: Array) -> HostCall:
        return partial(kernels.softmax_forward, y, x, self.logarithm) if self.axis == x.ndim - 1 else None

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        _launch(launch, "forward", self.logarithm, y, x, axis=self.axis)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        kind = LogSoftmaxBackward if self.logarithm else SoftmaxBackward
        return (apply(kind(axis=self.axis), grads[0], saved.y),)


@register
class SoftmaxBackward(Op):
    """dx = y * (grad - sum(grad * y))."""

    logarithm: ClassVar[bool] = False

    axis: int

    inputs = ("grad", "y")
    vmap = vmap_batched
    outputs = ("dx",)
    saves = ("grad", "y")
    dense = ("*",)
    contiguous = ("*",)
    flops = 4.0

    def infer(self, grad: Spec, y: Spec) -> Specs:
        return (y,)

    def cpu(self, dx: Array, grad: Array, y: Array) -> None:
        np.multiply(y, grad - kept_sum(grad * y, self.axis), out=dx)

    def host(self, dx: Array, grad: Array, y: Array) -> HostCall:
        last = self.axis == y.ndim - 1
        return partial(kernels.softmax_backward, dx, grad, y, self.logarithm) if last else None

    def cuda(self, launch: Launch, dx: View, grad: View, y: View) -> None:
        _launch(launch, "backward", self.logarithm, dx, grad, y, axis=self.axis)

    def by_ops(self, grad: Tensor, y: Tensor) -> tuple[Tensor]:
        """The same in unfused ops."""
        return (y * (grad - sum(grad * y, self.axis, True)),)

    def transposed(self, ddx: Tensor, y: Tensor) -> Tensor:
        """The gradient of grad: the Jacobian of softmax is symmetric."""
        return apply(self, ddx, y)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = y * (grad - sum(grad * y)), or of log_softmax's, through unfused ops."""
        if not needs[1]:
            return self.transposed(grads[0], saved.y), None
        return partial_vjp(self.by_ops, (saved.grad, saved.y), grads, needs)


def _log_softmax_tangent(call: JvpCall) -> Found:
    """dy = dx - sum(exp(y) * dx)."""
    return [call.one - sum(exp(call.saved.y) * call.one, call.op.axis, True)]


@register
class LogSoftmax(Softmax):
    logarithm, jvp = True, _log_softmax_tangent

    def cpu(self, y: Array, x: Array) -> None:
        if x.size:
            below = x - x.max(self.axis, keepdims=True)
            np.subtract(below, np.log(kept_sum(np.exp(below), self.axis)), out=y)


@register
class LogSoftmaxBackward(SoftmaxBackward):
    """dx = grad - exp(y) * sum(grad)."""

    logarithm = True

    def cpu(self, dx: Array, grad: Array, y: Array) -> None:
        np.subtract(grad, np.exp(y) * kept_sum(grad, self.axis), out=dx)

    def by_ops(self, grad: Tensor, y: Tensor) -> tuple[Tensor]:
        """The same in unfused ops."""
        return (grad - exp(y) * sum(grad, self.axis, True),)

    def transposed(self, ddx: Tensor, y: Tensor) -> Tensor:
        """The gradient of grad."""
        return ddx - sum(ddx * exp(y), self.axis, True)


def _prepared(what: str, x: Tensor, axis: int | None, dtype: Any) -> tuple[Tensor, int]:
    """x in a dtype, and its axis."""
    require_tensors(what, x)
    shape = x.layout.shape
    if axis is None and len(shape) > 2:
        raise ArgumentError(
            f"{what}: no axis, of a tensor of shape {shape}",
            why=f"PyTorch takes axis {int(len(shape) > 3)} here, other libraries the last one",
            fix=f"{what}(x, -1)",
        )
    at = normalize_axis(-1 if axis is None else axis, len(shape), what)
    return (x if dtype is None else astype(x, dtype)), at


def softmax(x: Tensor, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """Normalized exponentials: positive weights that sum to 1 along an axis.

    softmax(x)[i] = exp(x[i] - max(x)) / sum over j of exp(x[j] - max(x))

    Args:
        axis: the axis along which the weights sum to 1; of one or two axes the last one may be left out.

    Returns:
        shape and dtype of x. nan where all elements of x along the axis are -inf, or one is +inf or nan.

    Raises:
        ArgumentError: there is no axis, of three or more, of which PyTorch does not take the last one.

    Accuracy: 16-bit floats are computed in float32. Large values do not overflow, since the maximum is
        subtracted.

    >>> tt.softmax(tt.tensor([0.0, 0.0, -float("inf")])).tolist()
    [0.5, 0.5, 0.0]
    """
    x, at = _prepared("softmax", x, axis, dtype)
    return apply(Softmax(axis=at), x)


def log_softmax(x: Tensor, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """Logarithm of softmax, of the same arguments: accurate also where the softmax would round to 0.

    log_softmax(x)[i] = x[i] - max(x) - log(sum over j of exp(x[j] - max(x)))

    Accuracy: 16-bit floats are computed in float32.

    >>> tt.log_softmax(tt.tensor([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    x, at = _prepared("log_softmax", x, axis, dtype)
    return apply(LogSoftmax(axis=at), x)
