"""Sums, means and products over axes.

Sums of contiguous floats are products with ones: BLAS walks memory two to eight times as fast as NumPy's add.
It adds in several interleaved runs, and long sums are cut into chunks here, so rounding errors stay near
those of pairwise summation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as size_of
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import copies
from ..autograd import Grads, Needs, Saved
from ..device import cpu
from ..dispatch import Op, Spec, Specs, apply, arr, edge_of, from_array, record, register, wrap
from ..dtypes import as_dtype, float32
from ..errors import DTypeError
from ..grad_mode import grad_enabled
from ..launching import Launch, View
from ..layout import Shape, contiguous, normalize_axes
from ..runtime.host import Array, silent
from ..runtime.host_graph import graphs
from ..storage import adopt
from .arithmetic import multiply
from .indexing import getitem
from .manipulation import cast, expand, flip, permute, reshape, sum_to
from .reduction_grid import launch_reduction
from .scan import cumulative_prod, total_dtype

if TYPE_CHECKING:
    from ..tensor import Tensor

CHUNK = 4096
Axes = tuple[int, ...]
AxisLike = int | Sequence[int] | None


# ---- axes --------------------------------------------------------------------------------------------------


def reduced_shape(shape: Shape, axes: Axes, keepdims: bool) -> Shape:
    """The shape after a reduction over axes."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes])


def reduced_count(shape: Shape, axes: Axes) -> int:
    """How many elements become one."""
    return size_of([shape[a] for a in axes])


def reduced_axes(x: Tensor, axis: AxisLike, what: str) -> Axes:
    """The axes that a caller named, sorted; None means all."""
    ndim = len(x.layout.shape)
    return _ALL[ndim] if axis is None else tuple(sorted(normalize_axes(axis, ndim, what)))


_ALL = [tuple(range(n)) for n in range(65)]  # NumPy has at most 64 axes


def spread(grad: Tensor, shape: Shape, axes: Axes) -> Tensor:
    """The transpose of a sum: the gradient repeated along the axes. A small result has memory of its own, so
    that what follows takes the fast road; a large one is a view with stride 0.
    """
    kept = reduced_shape(shape, axes, True)
    layout = contiguous(shape)
    if not layout.small or grad.storage.device is not cpu:
        return expand(reshape(grad, kept), shape)
    a = arr(grad)
    if copies.listener is not None:
        copies.note("sum", "join", layout.size * a.itemsize, "a small gradient is repeated in memory")
    y = np.empty(shape, a.dtype)
    y[...] = a.reshape(kept) if a.ndim else a
    t = from_array(y, grad.storage.dtype)
    if grad._requires and grad_enabled():
        record(Spread, (grad,), (edge_of(grad),), (t,), {"kept": kept, "shape": grad.layout.shape})
    return t


@register
class Spread(Op):
    """What `spread` records; never run."""

    inputs = ("grad",)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, kept: Shape, shape: Shape) -> Grads:
        """dgrad = the sum of the gradient over the elements to which it was spread."""
        return (None if grads[0] is None else reshape(sum_to(grads[0], kept), shape),)


# ---- sums --------------------------------------------------------------------------------------------------


def ones(n: int, dtype: np.dtype[Any]) -> Array:
    """n ones; not to be written to."""
    kept = _ones.get(dtype)
    if kept is None:
        kept = _ones[dtype] = np.ones(1 << 14, dtype)
    return kept[:n] if n <= kept.size else np.ones(n, dtype)


_ones: dict[np.dtype[Any], Array] = {}


def add_up(y: Array, x: Array, axes: Axes) -> None:
    """y = the sum of x over sorted axes; y is C-contiguous, with or without the axes of size 1."""
    first, last = axes == _ALL[len(axes)], axes == _ALL[x.ndim][x.ndim - len(axes) :]
    flags = x.flags
    if x.dtype.kind == "f" and axes and (first or last):
        if flags.c_contiguous:
            n = reduced_count(x.shape, axes)
            if last:
                _sum_rows(y.reshape(-1), x.reshape(y.size, n))
            else:
                _sum_columns(y.reshape(-1), x.reshape(n, y.size))
            return
        if x.ndim == 2 and flags.f_contiguous:
            add_up(y, x.T, (1 - axes[0],) if len(axes) == 1 else axes)
            return
    if short_rows(y, x, axes):
        reduce_short(np.add, y, x, axes)
    else:
        np.add.reduce(x, axes, out=y, keepdims=y.ndim == x.ndim, dtype=y.dtype)


def short_rows(y: Array, x: Array, axes: Axes) -> bool:
    """Whether y has many elements, each of them reduced from a few that do not lie in long rows."""
    awkward = bool(axes) and (axes[-1] == x.ndim - 1 or not x.flags.c_contiguous)
    return awkward and 0 < x.size // (y.size or 1) <= min(32, y.size // 16)


def reduce_short(ufunc: np.ufunc, y: Array, x: Array, axes: Axes) -> None:
    """y = x reduced over axes, in one pass over y per index on them: ten times as fast as NumPy, which would
    run an inner loop of a few elements for each element of y.
    """
    front = np.moveaxis(x, axes, range(len(axes)))
    y = y.reshape(front.shape[len(axes) :])
    first, *rest = np.ndindex(*front.shape[: len(axes)])
    np.copyto(y, front[first])
    for at in rest:
        ufunc(y, front[at], out=y)


def _sum_rows(y: Array, x: Array) -> None:
    """(R, n) → (R,)."""
    n = x.shape[1]
    if len(x) > 1 or n <= CHUNK:
        np.dot(x, ones(n, x.dtype), out=y)
        return
    k = n // CHUNK  # one long row: as a matrix, so that few ones are read
    parts = np.empty(k + 1, x.dtype)
    np.dot(x[0, : k * CHUNK].reshape(k, CHUNK), ones(CHUNK, x.dtype), out=parts[:k])
    parts[k] = np.dot(x[0, k * CHUNK :], ones(n - k * CHUNK, x.dtype))
    y[0] = np.dot(parts, ones(k + 1, x.dtype))


def _sum_columns(y: Array, x: Array) -> None:
    """(n, C) → (C,)."""
    n, width = x.shape
    if n <= CHUNK:
        np.dot(ones(n, x.dtype), x, out=y)
        return
    k = n // CHUNK
    parts = np.empty((k + 1, width), x.dtype)
    for i in range(k + 1):
        rows = x[i * CHUNK : (i + 1) * CHUNK]
        np.dot(ones(len(rows), x.dtype), rows, out=parts[i])
    np.dot(ones(k + 1, x.dtype), parts, out=y)


@register
class Sum(Op):
    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, axes: Axes, keepdims: bool, shape: Shape) -> Specs:
        return (Spec(reduced_shape(x.shape, axes, keepdims), total_dtype(x.dtype)),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        add_up(y, x, axes)

    @staticmethod
    def cuda(launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        launch_reduction(launch, "Sum", y, x, axes)

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, keepdims: bool, shape: Shape
    ) -> Grads:
        """dx = grad, repeated over the elements that were added up."""
        return (None if grads[0] is None else spread(grads[0], shape, axes),)


@register
class Mean(Op):
    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, axes: Axes, keepdims: bool, shape: Shape) -> Specs:
        if not x.dtype.is_inexact:
            raise DTypeError(
                f"mean: the input of shape {x.shape} has dtype {x.dtype}",
                why="the mean of integers has a fraction",
                fix="cast first: x.astype(tt.float32).mean()",
            )
        return (Spec(reduced_shape(x.shape, axes, keepdims), x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        add_up(y, x, axes)
        y /= reduced_count(shape, axes)  # an empty mean is nan

    @staticmethod
    def cuda(launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        launch_reduction(launch, "Mean", y, x, axes, scalar=reduced_count(shape, axes))

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, keepdims: bool, shape: Shape
    ) -> Grads:
        """dx = grad / n, repeated over the n elements of which it is the mean."""
        n = reduced_count(shape, axes)
        return (None if grads[0] is None else spread(multiply(grads[0], 1.0 / n if n else 0.0), shape, axes),)


def _quick(op: type[Op], x: Tensor, axis: AxisLike) -> Tensor:
    """Sum or mean of a small float32 tensor that owns its memory, over all axes or the last one."""
    layout = x.layout
    shape = layout.shape
    a = x._array
    assert a is not None, "small tensors that own their memory have it, but for those on a device"
    if axis is None:
        n, axes = layout.size, _ALL[len(shape)]
        r = silent().run(a.ravel().dot, ones(n, a.dtype))
    else:
        n, axes = shape[-1], _ALL[len(shape)][-1:]
        r = silent().run(a.dot, ones(n, a.dtype))
    r = np.asarray(r / n if op is Mean else r)
    t = wrap(r, contiguous(r.shape), adopt(r, float32))
    if x._requires and grad_enabled():
        params = {"axes": axes, "keepdims": False, "shape": shape}
        record(op, (x,), (x._edge or x,), (t,), params)
    return t


def _is_quick(x: Tensor, axis: AxisLike, keepdims: bool) -> bool:
    layout = x.layout
    last = len(layout.shape) - 1
    return (
        layout.small
        and x._array is not None  # so it is on the CPU
        and not graphs
        and (axis is None or (type(axis) is int and axis in (-1, last) and last >= 0))
        and not keepdims
        and x._base is None
        and x.storage.dtype is float32
        and layout.size != 0
    )


def sum(x: Tensor, axis: AxisLike = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum of the elements over axes.

    Args:
        x: any shape and dtype.
        axis: axis or axes; None sums everything.
        keepdims: keep the summed axes with size 1.
        dtype: cast x to this dtype first.

    Returns:
        shape of x without the summed axes; dtype of x, but int64 for bool and signed integers, uint64 for
        unsigned. 0 for an empty axis.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Accuracy: floats are summed in float32 or wider, in runs of 4,096; the error of a million positive float32
        numbers is below 1e-5 of their sum. Integers wrap around.

    Example:
        >>> tt.ones(2, 3).sum(axis=0).tolist()
        [2.0, 2.0, 2.0]
    """
    if dtype is not None:
        x = cast(x, as_dtype(dtype, "sum"))
    if _is_quick(x, axis, keepdims):
        return _quick(Sum, x, axis)
    axes = reduced_axes(x, axis, "sum")
    return apply(Sum, x, axes=axes, keepdims=keepdims, shape=x.layout.shape)


def mean(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes.

    Args:
        x: any shape, floating or complex.
        axis: axis or axes; None takes everything.
        keepdims: keep the reduced axes with size 1.

    Returns:
        shape of x without the reduced axes, dtype of x; nan for an empty axis.

    Raises:
        ShapeError: an axis is out of range or repeated.
        DTypeError: x is integer or bool.

    Example:
        >>> tt.tensor([1.0, 3.0]).mean().item()
        2.0
    """
    if _is_quick(x, axis, keepdims):
        return _quick(Mean, x, axis)
    axes = reduced_axes(x, axis, "mean")
    return apply(Mean, x, axes=axes, keepdims=keepdims, shape=x.layout.shape)


# ---- product -----------------------------------------------------------------------------------------------


@register
class Prod(Op):
    inputs = ("x",)
    saves = ("x",)

    @staticmethod
    def infer(x: Spec, *, axes: Axes, keepdims: bool, shape: Shape) -> Specs:
        return (Spec(reduced_shape(x.shape, axes, keepdims), total_dtype(x.dtype)),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        np.multiply.reduce(x, axes, out=y, keepdims=keepdims, dtype=y.dtype)

    @staticmethod
    def cuda(launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool, shape: Shape) -> None:
        launch_reduction(launch, "Prod", y, x, axes)

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, keepdims: bool, shape: Shape
    ) -> Grads:
        """dx = grad * the product of all other elements, without a division."""
        g = grads[0]
        return (None if g is None else multiply(spread(g, shape, axes), _product_of_others(saved.x, axes)),)


def _product_of_others(x: Tensor, axes: Axes) -> Tensor:
    """For each element, the product of all others that are reduced with it: those before times those after.

    The product divided by the element would be 0/0 where it is zero.
    """
    shape = x.layout.shape
    order = (*[a for a in range(len(shape)) if a not in axes], *axes)
    moved = permute(x, order)
    rows = reshape(moved, (*moved.layout.shape[: len(shape) - len(axes)], reduced_count(shape, axes)))
    before = _product_before(rows)
    after = flip(_product_before(flip(rows, -1)), -1)
    others = reshape(multiply(before, after), moved.layout.shape)
    return permute(others, tuple(np.argsort(order).tolist()))


def _product_before(x: Tensor) -> Tensor:
    n = x.layout.shape[-1]
    return getitem(cumulative_prod(x, -1, include_initial=True), (..., slice(0, n)))


def prod(x: Tensor, axis: AxisLike = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Product of the elements over axes.

    Args:
        x: any shape and dtype.
        axis: axis or axes; None multiplies everything.
        keepdims: keep the reduced axes with size 1.
        dtype: cast x to this dtype first.

    Returns:
        shape of x without the reduced axes; dtype of x, but int64 for bool and signed integers, uint64 for
        unsigned. 1 for an empty axis.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Accuracy: the gradient multiplies all other elements, so it is right at zeros, too. Integers wrap around.

    Example:
        >>> tt.prod(tt.tensor([2.0, 3.0, 4.0])).item()
        24.0
    """
    if dtype is not None:
        x = cast(x, as_dtype(dtype, "prod"))
    axes = reduced_axes(x, axis, "prod")
    return apply(Prod, x, axes=axes, keepdims=keepdims, shape=x.layout.shape)


class ReductionMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    sum = sum
    mean = mean
    prod = prod
