"""max, min, argmax, argmin, any, all and count_nonzero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.launch import Launch, View, elementwise
from tinytensor.dtypes import DType, accumulator, bool_, int64
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.kernels.reduction import (
    Reduction,
    launch_reduction,
    reduced_count,
    reduced_shape,
    with_kept_axes,
)
from tinytensor.op import Direct, Grads, Needs, Op, Saved, Spec, Specs, Tensor, register
from tinytensor.ops.reductions.blocks import BLOCK, by_blocks, worth_blocks
from tinytensor.ops.reductions.reduction import reduced_axes, spread
from tinytensor.ops.reductions.summing import ALL_AXES, add_up, reduce_short, short_rows
from tinytensor.ops.views.manipulation import detach
from tinytensor.runtime.cpu.arrays import Array, blocks, copy_into, scratch
from tinytensor.shapes import Shape, normalize_axis

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "max", "min"]

Axes = tuple[int, ...]
AxisLike = int | Sequence[int] | None


def nonempty_input(what: str, shape: Shape, axes: Axes) -> None:
    """Raise ShapeError if the reduced axes are empty."""
    if reduced_count(shape, axes) == 0:
        raise ShapeError(
            f"{what}: the reduced axes {axes} of shape {shape} are empty",
            why="an extreme of no elements is not defined",
            fix="test x.size first, or add a value: tt.concat([x, tt.full_like(x[:1], …)])",
        )


# ---- values ------------------------------------------------------------------------------------------------


class Ordering(Reduction):
    """Base class of reductions that compare elements."""

    flops = 0.0

    def result(self, x: Spec) -> DType:
        if x.dtype.kind == "complex":
            raise DTypeError(
                f"{self.name}: the input of shape {x.shape} has dtype {x.dtype}",
                why="complex numbers have no order",
                fix="compare their absolute values: tt.abs(x)",
            )
        nonempty_input(self.name, x.shape, self.axes)
        return x.dtype


class Extreme(Ordering):
    """Base class of max and min; ties share the gradient evenly."""

    saves = ("x", "y")
    ufunc: ClassVar[np.ufunc]

    def direct(self, x: Spec) -> Direct:
        reduce = self.ufunc.reduce
        return lambda a: np.asarray(reduce(a, self.axes, keepdims=self.keepdims))

    def cpu(self, y: Array, x: Array) -> None:
        ufunc = self.ufunc
        if self.axes and worth_blocks(x) and x.strides[-1] != x.itemsize:
            by_blocks(
                y.reshape(reduced_shape(x.shape, self.axes, True)),
                x,
                self.axes,
                lambda y, x: ufunc.reduce(x, 1, out=y),
                lambda y, x: ufunc.reduce(x, 0, out=y),
            )
        elif short_rows(y, x, self.axes):
            reduce_short(self.ufunc, y, x, self.axes)
        else:
            self.ufunc.reduce(x, self.axes, out=y, keepdims=self.keepdims)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / n at each of the n elements that equal the extreme, 0 at the others."""
        x = saved.x
        share = apply(TieShare(axes=self.axes), detach(x), detach(saved.y))
        return (spread(grads[0], x.layout.shape, self.axes) * share,)


@register
class Max(Extreme):
    ufunc = np.maximum


@register
class Min(Extreme):
    ufunc = np.minimum


@register
class TieShare(Op):
    """1/n at the n elements of x that equal the extreme y, 0 at the others; nan counts as equal to nan."""

    axes: Axes

    inputs = ("x", "y")
    vmap = vmap_batched
    outputs = ("share",)
    dense = ("y",)
    flops = 0.0

    def infer(self, x: Spec, y: Spec) -> Specs:
        return (Spec(x.shape, x.dtype),)

    def cpu(self, share: Array, x: Array, y: Array) -> None:
        y = y.reshape(reduced_shape(x.shape, self.axes, True))
        hit = np.equal(x, y)
        if np.isnan(y).any():
            hit |= np.isnan(x)
        np.copyto(share, hit)
        ties = np.empty(y.shape, share.dtype)
        add_up(ties, share, self.axes)
        share /= ties

    def cuda(self, launch: Launch, share: View, x: View, y: View) -> None:
        kept = reduced_shape(x.shape, self.axes, True)
        ties = launch.scratch(kept, accumulator(x.dtype))
        launch_reduction(launch, "Ties", ties, x, self.axes, beside=y)
        operands = (ties, x, with_kept_axes(y, x.shape, self.axes))
        elementwise(launch.runtime, launch.stem, "TieShare", share, operands, x.dtype, ties.dtype)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 0, dy = 0: the function is piecewise constant."""
        return None, None


def max(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Maximum over axes; nan if an element is nan.

    Returns:
        shape of x without the reduced axes, dtype of x. Ties share the gradient evenly.

    Differs from: torch.max with an axis, which also returns indices (see `argmax`); this is torch.amax.

    >>> x = tt.tensor([1.0, 3.0, 3.0], requires_grad=True)
    >>> x.max().backward()
    >>> x.grad.tolist()
    [0.0, 0.5, 0.5]
    """
    return apply(Max(axes=_axes(x, axis, "max"), keepdims=keepdims), x)


def min(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Minimum over axes; nan if an element is nan.

    Returns:
        shape of x without the reduced axes, dtype of x. Ties share the gradient evenly.

    >>> tt.tensor([[1, 2], [0, 5]]).min(axis=1).tolist()
    [1, 0]
    """
    return apply(Min(axes=_axes(x, axis, "min"), keepdims=keepdims), x)


def _axes(x: Tensor, axis: AxisLike, what: str) -> Axes:
    given: object = axis
    if isinstance(given, Tensor):
        raise ArgumentError(
            f"{what}: the axis is a tensor of shape {given.shape}",
            why=f"two tensors are operands of {what}imum",
            fix=f"tt.{what}imum(x, y), or the axis as a Python int",
        )
    return reduced_axes(x, axis, what)


# ---- indices -----------------------------------------------------------------------------------------------


class Place(Ordering):
    """Base class of argmax and argmin: the first of ties, or the first nan."""

    function: ClassVar[Any]

    def result(self, x: Spec) -> DType:
        super().result(x)
        return int64

    def cpu(self, y: Array, x: Array) -> None:
        shape, n = reduced_shape(x.shape, self.axes, False), reduced_count(x.shape, self.axes)
        lines = np.moveaxis(x, self.axes, range(-len(self.axes), 0)).reshape(*shape, n)
        places = y.reshape(shape)
        if not shape or not worth_blocks(x) or n > BLOCK:
            self.function(lines, -1, out=places)
            return
        for at in blocks(lines.shape):
            block = scratch("argmax", lines[at].shape, x.dtype)
            copy_into(block, lines[at])
            self.function(block, -1, out=places[at])

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        launch_reduction(launch, type(self).__name__, y, x, self.axes, in_order=True)


@register
class Argmax(Place):
    function = staticmethod(np.argmax)


@register
class Argmin(Place):
    function = staticmethod(np.argmin)


def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the maximum along an axis: the first of ties, or the first nan.

    Args:
        axis: the axis; None searches the flattened tensor.

    Returns:
        int64, shape of x without the axis. Not differentiable.

    >>> tt.tensor([[1, 9], [9, 9]]).argmax(axis=1).tolist()
    [1, 0]
    """
    return apply(Argmax(axes=_one_axis(x, axis, "argmax"), keepdims=keepdims), detach(x))


def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the minimum along an axis: the first of ties, or the first nan.

    Args:
        axis: the axis; None searches the flattened tensor.

    >>> tt.tensor([[1, 9], [9, 0]]).argmin().item()
    3
    """
    return apply(Argmin(axes=_one_axis(x, axis, "argmin"), keepdims=keepdims), detach(x))


def _one_axis(x: Tensor, axis: int | None, what: str) -> Axes:
    ndim = len(x.layout.shape)
    return ALL_AXES[ndim] if axis is None else (normalize_axis(axis, ndim, what),)


# ---- logical reductions ------------------------------------------------------------------------------------


class Truth(Reduction):
    """Base class of any and all; nan counts as nonzero."""

    ufunc: ClassVar[np.ufunc]
    flops = 0.0

    def result(self, x: Spec) -> DType:
        return bool_

    def cpu(self, y: Array, x: Array) -> None:
        self.ufunc.reduce(x, self.axes, out=y, keepdims=self.keepdims)


@register
class AnyTrue(Truth):
    ufunc = np.logical_or


@register
class AllTrue(Truth):
    ufunc = np.logical_and


@register
class CountNonzero(Reduction):
    flops = 0.0

    def result(self, x: Spec) -> DType:
        return int64

    def cpu(self, y: Array, x: Array) -> None:
        y[...] = np.count_nonzero(x, self.axes, keepdims=self.keepdims)


def any(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether any element over axes is nonzero; nan is nonzero.

    Returns:
        bool, shape of x without the reduced axes; False for an empty axis.

    >>> tt.tensor([[0, 0], [0, 7]]).any(axis=1).tolist()
    [False, True]
    """
    return apply(AnyTrue(axes=reduced_axes(x, axis, "any"), keepdims=keepdims), detach(x))


def all(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over axes are nonzero; nan is nonzero.

    Returns:
        bool, shape of x without the reduced axes; True for an empty axis.

    >>> tt.tensor([[0, 0], [7, 7]]).all(axis=1).tolist()
    [False, True]
    """
    return apply(AllTrue(axes=reduced_axes(x, axis, "all"), keepdims=keepdims), detach(x))


def count_nonzero(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Number of nonzero elements over axes; nan is nonzero.

    Returns:
        int64, shape of x without the reduced axes.

    >>> tt.count_nonzero(tt.tensor([[0, 3], [5, 7]]), axis=1).tolist()
    [1, 2]
    """
    return apply(CountNonzero(axes=reduced_axes(x, axis, "count_nonzero"), keepdims=keepdims), detach(x))
