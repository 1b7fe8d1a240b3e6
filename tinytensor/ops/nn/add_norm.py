"""add_layer_norm and add_rms_norm: a residual sum and the norm that reads it, in one pass over memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply_all
from tinytensor.dispatch.batching import composed
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, accumulator, float32
from tinytensor.kernels import norms
from tinytensor.kernels.rows import need_tensors
from tinytensor.op import Op, Params, Shapes, Spec, Specs, norm_backward, register, size
from tinytensor.ops.double_backward import partial_vjp
from tinytensor.ops.elementwise.arithmetic import add
from tinytensor.ops.elementwise.arithmetic import kernels as sums
from tinytensor.ops.nn.layer_norm import (
    check_norm,
    layer_norm,
    layer_norm_backward_by_ops,
    layer_norm_backward_rows,
    layer_norm_rows,
)
from tinytensor.ops.nn.layer_norm import kernels as centered_kernels
from tinytensor.ops.nn.rms_norm import kernels as plain_kernels
from tinytensor.ops.nn.rms_norm import (
    rms_norm,
    rms_norm_backward_by_ops,
    rms_norm_backward_rows,
    rms_norm_rows,
)
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["add_layer_norm", "add_rms_norm"]


def _name(centered: bool) -> str:
    return "layer_norm" if centered else "rms_norm"


def _sum(out: Array, a: Array, b: Array) -> None:
    if not sums.add(out, a, b):
        np.add(a, b, out=out)


def _by_ops(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    centered: bool,
    dtype: DType,
) -> tuple[Tensor, Tensor]:
    """AddNorm in two ops, of which each may be batched."""
    total = add(x, y)
    normed = layer_norm(total, weight, bias, eps=eps) if centered else rms_norm(total, weight, eps=eps)
    return total, cast(normed, dtype)


def _flops(outs: Shapes, ins: Shapes, params: Params) -> float:
    return size(ins[0]) * ((6.0 if params["centered"] else 4.0) + sum([s is not None for s in ins[2:4]]))


@register
class AddNorm(Op):
    """total = x + y, and its layer norm, or RMS norm unless `centered`, in `dtype`, that of y. Hidden
    outputs: mean and 1 / standard deviation (or root mean square) of each row.
    """

    inputs = ("x", "y", "weight", "bias")
    vmap = composed(_by_ops)
    outputs = ("total", "normed", "mean", "scale")
    visible = 2
    saves = ("total", "weight", "mean", "scale")
    dense = ("*",)
    contiguous = ("*",)
    flops = _flops

    @staticmethod
    def infer(
        x: Spec, y: Spec, weight: Spec | None, bias: Spec | None, *, eps: float, centered: bool, dtype: DType
    ) -> Specs:
        check_norm(f"add_{_name(centered)}", x, weight=weight, bias=bias)
        row = Spec(x.shape[:-1], accumulator(x.dtype))
        return x, y, row if centered else None, row

    @staticmethod
    def cpu(
        total: Array,
        normed: Array,
        mean: Array | None,
        scale: Array | None,
        x: Array,
        y: Array,
        weight: Array | None,
        bias: Array | None,
        *,
        eps: float,
        centered: bool,
        dtype: DType,
    ) -> None:
        np.add(x, y, out=total)
        if centered:
            layer_norm_rows(normed, mean, scale, total, weight, bias, eps=eps, dtype=None)
        else:
            rms_norm_rows(normed, scale, total, weight, eps=eps, dtype=None)

    @staticmethod
    def host(
        total: Array,
        normed: Array,
        mean: Array | None,
        scale: Array | None,
        x: Array,
        y: Array,
        weight: Array | None,
        bias: Array | None,
        *,
        eps: float,
        centered: bool,
        dtype: DType,
    ) -> bool:
        _sum(total, x, y)
        if centered:
            return centered_kernels.layer_norm_forward(normed, mean, scale, total, weight, bias, eps)
        return plain_kernels.rms_norm_forward(normed, scale, total, weight, eps)

    @staticmethod
    def cuda(
        launch: Launch,
        total: View,
        normed: View,
        mean: View | None,
        scale: View | None,
        x: View,
        y: View,
        weight: View | None,
        bias: View | None,
        *,
        eps: float,
        centered: bool,
        dtype: DType,
    ) -> None:
        norms.forward(launch, _name(centered), normed, mean, scale, x, weight, bias, eps, y=y, total=total)

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, eps: float, centered: bool, dtype: DType
    ) -> Grads:
        """dx = dtotal + the gradient of the norm, dy the same in the dtype of y."""
        more, grad = grads
        if grad is None:
            return more, None if more is None else cast(more, dtype), None, None
        inputs = (more, grad, saved.total, saved.weight, saved.mean, saved.scale)
        wanted = (True, *needs[2:])
        dx, dy, dweight, dbias = _backward(*inputs, eps=eps, centered=centered, wanted=wanted)
        return dx, dx if dy is None else dy, dweight, dbias


def _backward(*inputs: Any, **params: Any) -> Grads:
    return apply_all(AddNormBackward, *inputs, **params)


def _backward_by_ops(
    more: Tensor | None, grad: Tensor, total: Tensor, weight: Tensor | None, *statistics: Any, **given: Any
) -> tuple[Tensor | None, ...]:
    """AddNormBackward in ops of its own, which do not read the statistics."""
    backward = layer_norm_backward_by_ops if given.pop("centered") else rms_norm_backward_by_ops
    dx, dweight, *dbias = backward(cast(grad, total.storage.dtype), total, weight, **given)
    assert dx is not None
    dx = dx if more is None else add(more, dx)
    return dx, cast(dx, grad.storage.dtype), dweight, dbias[0] if dbias else None


@register
class AddNormBackward(Op):
    """dx = more + the gradient of a norm; dy, if grad has another dtype, is dx in that."""

    inputs = ("more", "grad", "total", "weight", "mean", "scale")
    vmap = composed(_backward_by_ops)
    outputs = ("dx", "dy", "dweight", "dbias")
    visible = 4
    saves = ("grad", "total", "weight")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm_backward(11.0, 1.5)

    @staticmethod
    def infer(
        more: Spec | None,
        grad: Spec,
        total: Spec,
        weight: Spec | None,
        mean: Spec | None,
        scale: Spec,
        *,
        eps: float,
        centered: bool,
        wanted: Needs,
    ) -> Specs:
        vector = Spec(total.shape[-1:], total.dtype)
        of_weight, of_bias = [vector if w else None for w in wanted[1:]]
        return total, None if grad.dtype is total.dtype else grad, of_weight, of_bias

    @staticmethod
    def cpu(*arrays: Any, eps: float, centered: bool, wanted: Needs) -> None:
        dx, dy, dweight, dbias, more, grad, total, weight, mean, scale = arrays
        given = (grad, total, weight)
        if centered:
            layer_norm_backward_rows(dx, dweight, dbias, *given, mean, scale, eps=eps, wanted=wanted)
        else:
            rms_norm_backward_rows(dx, dweight, *given, scale, eps=eps, wanted=wanted)
        _finish(dx, dy, more)

    @staticmethod
    def host(*arrays: Any, eps: float, centered: bool, wanted: Needs) -> bool:
        dx, dy, dweight, dbias, more, *given, mean, scale = arrays
        done = (
            centered_kernels.layer_norm_backward(dx, dweight, dbias, *given, mean, scale)
            if centered
            else plain_kernels.rms_norm_backward(dx, dweight, *given, scale)
        )
        if done:
            _finish(dx, dy, more)
        return done

    @staticmethod
    def cuda(launch: Launch, *views: Any, eps: float, centered: bool, wanted: Needs) -> None:
        dx, dy, dweight, dbias, more, grad, total, weight, mean, scale = views
        norms.backward(
            launch, _name(centered), dx, dweight, dbias, grad, total, weight, mean, scale, more=more, dy=dy
        )

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, **params: Any) -> Grads:
        """Double backward of dx = more + rstd * (d - average(d) - h * average(d * h)), dweight and dbias."""
        ddx, ddy, *_ = grads
        inputs = (saved.grad, saved.total, saved.weight)
        found = partial_vjp(partial(_backward_by_ops, None), inputs, grads, needs[1:4], **params)
        wide = None if ddy is None else cast(ddy, saved.total.storage.dtype)
        more = wide if ddx is None else ddx if wide is None else add(ddx, wide)
        return more, *found, None, None


def _finish(dx: Array, dy: Array | None, more: Array | None) -> None:
    """Add what else arrives at the sum, and copy the result."""
    if more is not None:
        _sum(dx, dx, more)
    if dy is not None:
        np.copyto(dy, dx)


def _add_norm(
    x: Tensor, y: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, centered: bool
) -> tuple[Tensor, Tensor]:
    need_tensors(f"add_{_name(centered)}", x, y, weight, bias)
    dtype, other = x.storage.dtype, y.storage.dtype
    # a 16-bit sum is rounded before the norm reads it, or, in an autocast block, widened
    fits = dtype.is_floating and not dtype.narrow and (other is dtype or (dtype is float32 and other.narrow))
    if not fits or x.layout.shape != y.layout.shape:
        for t in (x, y):
            floating(f"add_{_name(centered)}", Spec(t.layout.shape, t.storage.dtype))
        return _by_ops(x, y, weight, bias, eps=eps, centered=centered, dtype=other)
    total, normed = apply_all(AddNorm, x, y, weight, bias, eps=eps, centered=centered, dtype=other)
    return total, normed


def add_layer_norm(
    x: Tensor, y: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """x + y, and layer_norm(x + y), in one pass: a residual connection and the norm of the next sublayer.

    Args:
        x: shape (..., C); floating: the residual stream.
        y: what is added to it; may be 16-bit where x is float32, as in an autocast block.
        weight: shape (C,), or None for 1.
        bias: shape (C,), or None for 0.
        eps: added to the variance.

    Returns:
        The sum, in the promoted dtype, and its norm, in the dtype of y: rounded once, if that is narrower.

    Raises:
        ShapeError: x has no axis, the shapes do not fit, or weight or bias is not of shape (C,).
        DTypeError: the dtypes differ in another way, or are not floating.

    Memory: keeps the sum, y, and two values per row.

    Example:
        >>> total, normed = tt.add_layer_norm(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0]), eps=0.0)
        >>> total.tolist(), normed.tolist()
        ([2.0, 6.0], [-1.0, 1.0])
    """
    return _add_norm(x, y, weight, bias, eps, True)


def add_rms_norm(
    x: Tensor, y: Tensor, weight: Tensor | None = None, *, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """x + y, and rms_norm(x + y), in one pass: as add_layer_norm.

    Args:
        x, y: shape (..., C); as for add_layer_norm.
        weight: shape (C,), or None for 1.
        eps: added to the mean square.

    Returns:
        The sum, in the promoted dtype, and its norm, in the dtype of y.

    Raises:
        ShapeError: x has no axis, the shapes do not fit, or weight is not of shape (C,).
        DTypeError: the dtypes differ in another way, or are not floating.

    Memory: keeps the sum, y, and one value per row.

    Example:
        >>> total, normed = tt.add_rms_norm(tt.tensor([1.0, 2.0]), tt.tensor([2.0, 2.0]))
        >>> total.tolist(), normed.tolist()
        ([3.0, 4.0], [0.8485, 1.1314])
    """
    return _add_norm(x, y, weight, None, eps, False)
