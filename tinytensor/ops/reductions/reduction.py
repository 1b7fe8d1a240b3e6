"""sum, mean and prod over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.views import ViewOp, known_view, viewed
from tinytensor.dtypes import DType, as_dtype
from tinytensor.errors import DTypeError
from tinytensor.events import observers
from tinytensor.kernels.reduction import Reduction, reduced_count, reduced_shape
from tinytensor.layout import SMALL, Layout, contiguous
from tinytensor.op import Array, Direct, Grads, Needs, Saved, Spec, per_input, register
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.reductions.scan import cumulative_prod, total_dtype
from tinytensor.ops.reductions.summing import ALL_AXES, add_up, small_sum
from tinytensor.ops.views.manipulation import cast, flip, permute, reshape, sum_to
from tinytensor.runtime.cpu.graph import graphs
from tinytensor.shapes import Shape, normalize_axes
from tinytensor.tensor import Tensor, arr, from_array

__all__ = ["mean", "prod", "sum"]

Axes = tuple[int, ...]
AxisLike = int | Sequence[int] | None


# ---- axes --------------------------------------------------------------------------------------------------


def reduced_axes(x: Tensor, axis: AxisLike, what: str) -> Axes:
    """Normalized, sorted axes of an `axis` argument; None means all."""
    ndim = len(x.layout.shape)
    return ALL_AXES[ndim] if axis is None else tuple(sorted(normalize_axes(axis, ndim, what)))


@register
class Spread(ViewOp):
    """A gradient repeated along the reduced axes, of size 1 in `kept`: the adjoint of a sum."""

    kept: Shape
    shape: Shape

    def layout(self, x: Layout) -> Layout:
        found = x.reshape(self.kept)
        assert found is not None, "axes of size 1 are added"
        return found.expand(self.shape)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = the sum of the gradient over the axes along which grad was repeated."""
        return (reshape(sum_to(grads[0], self.kept), self.shape_in),)


def spread(grad: Tensor, shape: Shape, axes: Axes) -> Tensor:
    """Repeat a gradient along the reduced axes: a view with stride 0, or a copy, which is faster if small."""
    plain = type(grad) is Tensor and not grad._requires and grad.storage.device is cpu
    if plain and (size := contiguous(shape).size) <= SMALL and not graphs:
        a = arr(grad)
        if observers:
            copies.note("sum", "join", size * a.itemsize, "a small gradient is repeated in memory")
        y = np.empty(shape, a.dtype)
        y[...] = a.reshape(reduced_shape(shape, axes, True)) if a.ndim else a
        return from_array(y, grad.storage.dtype)
    if (known := known_view(grad, "spread", (shape, axes))) is not None:
        return known
    op = Spread(kept=reduced_shape(shape, axes, True), shape=shape, shape_in=grad.layout.shape)
    return viewed(grad, op, "spread", (shape, axes))


# ---- sums --------------------------------------------------------------------------------------------------


@register
class Sum(Reduction):
    shape: Shape

    jvp = jvp_linear
    flops = per_input(1.0)
    autocast = "wide"

    def result(self, x: Spec) -> DType:
        return total_dtype(x.dtype)

    def direct(self, x: Spec) -> Direct | None:
        return small_sum(x, self.axes, self.keepdims)

    def cpu(self, y: Array, x: Array) -> None:
        add_up(y, x, self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, repeated over the summed elements."""
        return (spread(grads[0], self.shape, self.axes),)


@register
class Mean(Reduction):
    shape: Shape

    jvp = jvp_linear
    flops = per_input(1.0)
    autocast = "wide"

    def scalar(self, shape: Shape) -> float:
        return reduced_count(shape, self.axes)

    def result(self, x: Spec) -> DType:
        if not x.dtype.is_inexact:
            raise DTypeError(
                f"mean: the input of shape {x.shape} has dtype {x.dtype}",
                why="the mean of integers is not an integer in general",
                fix="cast first: x.astype(tt.float32).mean()",
            )
        return x.dtype

    def direct(self, x: Spec) -> Direct | None:
        total, n = small_sum(x, self.axes, self.keepdims), reduced_count(self.shape, self.axes)
        return None if total is None or not n else lambda a: np.asarray(total(a) / n)

    def cpu(self, y: Array, x: Array) -> None:
        add_up(y, x, self.axes)
        y /= reduced_count(self.shape, self.axes)  # nan for empty axes

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / n, repeated over the n averaged elements."""
        n = reduced_count(self.shape, self.axes)
        return (spread(grads[0] * (1.0 / n if n else 0.0), self.shape, self.axes),)


def sum(x: Tensor, axis: AxisLike = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over axes.

    Args:
        dtype: cast x to this dtype first; the result has it too.

    Returns:
        shape of x without the summed axes. dtype if given; else that of x, but int64 for bool and signed
        integers, uint64 for unsigned. 0 for an empty axis.

    Accuracy: floats are summed in float32 or wider, for every layout in short runs, then over the runs:
        the error of the sum of 2**25 positive float32 numbers is below 2e-5 of it. Integers wrap around.

    >>> tt.ones(2, 3).sum(axis=0).tolist()
    [2.0, 2.0, 2.0]
    """
    if dtype is not None:
        wanted = as_dtype(dtype, "sum")
        return cast(sum(cast(x, wanted), axis, keepdims), wanted)
    axes = reduced_axes(x, axis, "sum")
    return apply(Sum(axes=axes, keepdims=keepdims, shape=x.layout.shape), x)


def mean(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes.

    Args:
        x: any shape, floating or complex.

    Returns:
        shape of x without the reduced axes, dtype of x; nan for an empty axis.

    >>> tt.tensor([1.0, 3.0]).mean().item()
    2.0
    """
    axes = reduced_axes(x, axis, "mean")
    return apply(Mean(axes=axes, keepdims=keepdims, shape=x.layout.shape), x)


# ---- product -----------------------------------------------------------------------------------------------


@register
class Prod(Reduction):
    saves = ("x",)
    flops = per_input(1.0)
    autocast = "wide"

    def result(self, x: Spec) -> DType:
        return total_dtype(x.dtype)

    def cpu(self, y: Array, x: Array) -> None:
        np.multiply.reduce(x, self.axes, out=y, keepdims=self.keepdims, dtype=y.dtype)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * the product of all other elements, without a division."""
        x = saved.x
        return (spread(grads[0], x.layout.shape, self.axes) * _product_of_others(x, self.axes),)


def _product_of_others(x: Tensor, axes: Axes) -> Tensor:
    """Product of all other elements over axes, for each element: of those before times those after it.

    Dividing the full product by the element would give 0/0 at zeros.
    """
    shape = x.layout.shape
    order = (*[a for a in range(len(shape)) if a not in axes], *axes)
    moved = permute(x, order)
    rows = reshape(moved, (*moved.layout.shape[: len(shape) - len(axes)], reduced_count(shape, axes)))
    before = _product_before(rows)
    after = flip(_product_before(flip(rows, -1)), -1)
    others = reshape(before * after, moved.layout.shape)
    return permute(others, tuple(np.argsort(order).tolist()))


def _product_before(x: Tensor) -> Tensor:
    n = x.layout.shape[-1]
    return getitem(cumulative_prod(x, -1, include_initial=True), (..., slice(0, n)))


def prod(x: Tensor, axis: AxisLike = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Product over axes.

    Args:
        dtype: cast x to this dtype first; the result has it too.

    Returns:
        shape of x without the reduced axes. dtype if given; else that of x, but int64 for bool and signed
        integers, uint64 for unsigned. 1 for an empty axis.

    Accuracy: the gradient multiplies all other elements, so it is exact at zeros too. Integers wrap around.

    >>> tt.prod(tt.tensor([2.0, 3.0, 4.0])).item()
    24.0
    """
    if dtype is not None:
        wanted = as_dtype(dtype, "prod")
        return cast(prod(cast(x, wanted), axis, keepdims), wanted)
    axes = reduced_axes(x, axis, "prod")
    return apply(Prod(axes=axes, keepdims=keepdims), x)
