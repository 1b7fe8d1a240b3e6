"""max, min, argmax, argmin, any, all and count_nonzero."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import Samples, together
from tinytensor.dispatch.launch import Launch, View, elementwise
from tinytensor.dtypes import accumulator, bool_, int64
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.kernels.reduction import launch_reduction, with_kept_axes
from tinytensor.op import Direct, Op, Spec, Specs, register
from tinytensor.ops.elementwise.arithmetic import maximum, minimum, multiply
from tinytensor.ops.reductions.blocks import BLOCK, by_blocks, worth_blocks
from tinytensor.ops.reductions.reduction import reduced_axes, spread
from tinytensor.ops.reductions.summing import (
    add_up,
    reduce_short,
    reduced_count,
    reduced_shape,
    short_rows,
)
from tinytensor.ops.views.manipulation import detach, reshape
from tinytensor.runtime.cpu.arrays import Array, blocks, copy_into, scratch
from tinytensor.shapes import Shape, normalize_axis
from tinytensor.tensor import Tensor

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "max", "min"]

Axes = tuple[int, ...]
AxisLike = int | Sequence[int] | None


def ordered_input(what: str, x: Spec) -> None:
    """Raise DTypeError for complex input, which has no order."""
    if x.dtype.kind == "complex":
        raise DTypeError(
            f"{what}: the input of shape {x.shape} has dtype {x.dtype}",
            why="complex numbers have no order",
            fix="compare their absolute values: tt.abs(x)",
        )


def nonempty_input(what: str, shape: Shape, axes: Axes) -> None:
    """Raise ShapeError if the reduced axes are empty."""
    if reduced_count(shape, axes) == 0:
        raise ShapeError(
            f"{what}: the reduced axes {axes} of shape {shape} are empty",
            why="an extreme of no elements is not defined",
            fix="test x.size first, or add a value: tt.concat([x, tt.full_like(x[:1], …)])",
        )


# ---- values ------------------------------------------------------------------------------------------------


class Extreme(Op):
    """Base class of max and min; ties share the gradient evenly."""

    inputs = ("x",)
    vmap = together
    saves = ("x", "y")
    ufunc: ClassVar[np.ufunc]
    flops = 0.0

    @classmethod
    def infer(cls, x: Spec, *, axes: Axes, keepdims: bool) -> Specs:
        ordered_input(cls.name, x)
        nonempty_input(cls.name, x.shape, axes)
        return (Spec(reduced_shape(x.shape, axes, keepdims), x.dtype),)

    @classmethod
    def direct(cls, x: Spec, *, axes: Axes, keepdims: bool) -> Direct:
        reduce = cls.ufunc.reduce
        return lambda a: np.asarray(reduce(a, axes, keepdims=keepdims))

    @classmethod
    def cpu(cls, y: Array, x: Array, *, axes: Axes, keepdims: bool) -> None:
        ufunc = cls.ufunc
        if axes and worth_blocks(x) and x.strides[-1] != x.itemsize:
            by_blocks(
                y.reshape(reduced_shape(x.shape, axes, True)),
                x,
                axes,
                lambda y, x: ufunc.reduce(x, 1, out=y),
                lambda y, x: ufunc.reduce(x, 0, out=y),
            )
        elif short_rows(y, x, axes):
            reduce_short(cls.ufunc, y, x, axes)
        else:
            cls.ufunc.reduce(x, axes, out=y, keepdims=keepdims)

    @classmethod
    def cuda(cls, launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool) -> None:
        launch_reduction(launch, cls.__name__, y, x, axes)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, keepdims: bool) -> Grads:
        """dx = grad / n at each of the n elements that equal the extreme, 0 at the others."""
        if grads[0] is None:
            return (None,)
        x = saved.x
        share = apply(TieShare, detach(x), detach(saved.y), axes=axes)
        return (multiply(spread(grads[0], x.layout.shape, axes), share),)


@register
class Max(Extreme):
    ufunc = np.maximum


@register
class Min(Extreme):
    ufunc = np.minimum


@register
class TieShare(Op):
    """1/n at the n elements of x that equal the extreme y, 0 at the others; nan counts as equal to nan."""

    inputs = ("x", "y")
    vmap = together
    outputs = ("share",)
    dense = ("y",)
    flops = 0.0

    @staticmethod
    def infer(x: Spec, y: Spec, *, axes: Axes) -> Specs:
        return (Spec(x.shape, x.dtype),)

    @staticmethod
    def cpu(share: Array, x: Array, y: Array, *, axes: Axes) -> None:
        y = y.reshape(reduced_shape(x.shape, axes, True))
        hit = np.equal(x, y)
        if np.isnan(y).any():
            hit |= np.isnan(x)
        np.copyto(share, hit)
        ties = np.empty(y.shape, share.dtype)
        add_up(ties, share, axes)
        share /= ties

    @staticmethod
    def cuda(launch: Launch, share: View, x: View, y: View, *, axes: Axes) -> None:
        kept = reduced_shape(x.shape, axes, True)
        ties = launch.scratch(kept, accumulator(x.dtype))
        launch_reduction(launch, "Ties", ties, x, axes, beside=y)
        operands = (ties, x, with_kept_axes(y, x.shape, axes))
        elementwise(launch.runtime, launch.stem, "TieShare", share, operands, x.dtype, ties.dtype)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, axes: Axes) -> Grads:
        """dx = 0, dy = 0: the function is piecewise constant."""
        return None, None


def max(x: Tensor, axis: AxisLike | Tensor = None, keepdims: bool = False) -> Tensor:
    """Maximum over axes; nan if an element is nan.

    Args:
        x: any shape; not complex.
        axis: axis or axes; None reduces over all axes. A tensor is the other operand of `maximum`.
        keepdims: keep the reduced axes with size 1.

    Returns:
        shape of x without the reduced axes, dtype of x. Ties share the gradient evenly.

    Raises:
        ShapeError: an axis is out of range or repeated, or the reduced axes are empty.
        DTypeError: x is complex.
        ArgumentError: a tensor and keepdims.

    Memory: saves x and the result for backward.
    Differs from: torch.max with an axis, which also returns indices (see `argmax`); this is torch.amax.

    Example:
        >>> x = tt.tensor([1.0, 3.0, 3.0], requires_grad=True)
        >>> x.max().backward()
        >>> x.grad.tolist()
        [0.0, 0.5, 0.5]
    """
    return _extreme(Max, maximum, x, axis, keepdims)


def min(x: Tensor, axis: AxisLike | Tensor = None, keepdims: bool = False) -> Tensor:
    """Minimum over axes; nan if an element is nan.

    Args:
        x: any shape; not complex.
        axis: axis or axes; None reduces over all axes. A tensor is the other operand of `minimum`.
        keepdims: keep the reduced axes with size 1.

    Returns:
        shape of x without the reduced axes, dtype of x. Ties share the gradient evenly.

    Raises:
        ShapeError: an axis is out of range or repeated, or the reduced axes are empty.
        DTypeError: x is complex.
        ArgumentError: a tensor and keepdims.

    Memory: saves x and the result for backward.

    Example:
        >>> tt.tensor([[1, 2], [0, 5]]).min(axis=1).tolist()
        [1, 0]
    """
    return _extreme(Min, minimum, x, axis, keepdims)


def _extreme(op: type[Op], pair: Any, x: Tensor, axis: AxisLike | Tensor, keepdims: bool) -> Tensor:
    """By an op along axes, or of two tensors by a function, as in PyTorch."""
    if not isinstance(axis, Tensor):
        return apply(op, x, axes=reduced_axes(x, axis, op.name), keepdims=keepdims)
    if keepdims:
        raise ArgumentError(
            f"{op.name}: two tensors, and keepdims",
            why=f"a tensor as second argument is an operand, not an axis: it is {op.name}imum of the two",
            fix="pass the axis as a Python int",
        )
    found: Tensor = pair(x, axis)
    return found


# ---- indices -----------------------------------------------------------------------------------------------


def _places_each(call: Samples) -> Any:
    if call.params["axis"] is not None:
        return together(call)
    (x,), keepdims = call.values(), call.params["keepdims"]
    size, *shape = x.layout.shape
    found = call.run(reshape(x, (size, prod(shape))), axis=1, keepdims=False)
    return reshape(found, (size, *(1,) * len(shape) * keepdims))


class Place(Op):
    """Base class of argmax and argmin: the first of ties, or the first nan."""

    inputs = ("x",)
    vmap = _places_each
    function: ClassVar[Any]
    flops = 0.0

    @classmethod
    def infer(cls, x: Spec, *, axis: int | None, keepdims: bool) -> Specs:
        axes = tuple(range(x.ndim)) if axis is None else (axis,)
        ordered_input(cls.name, x)
        nonempty_input(cls.name, x.shape, axes)
        return (Spec(reduced_shape(x.shape, axes, keepdims), int64),)

    @classmethod
    def cpu(cls, y: Array, x: Array, *, axis: int | None, keepdims: bool) -> None:
        if axis is None or x.ndim == 1 or not worth_blocks(x) or x.shape[axis] > BLOCK:
            cls.function(x, axis, out=y, keepdims=keepdims)
            return
        lines, places = np.moveaxis(x, axis, -1), y.reshape(x.shape[:axis] + x.shape[axis + 1 :])
        for at in blocks(lines.shape):
            block = scratch("argmax", lines[at].shape, x.dtype)
            copy_into(block, lines[at])
            cls.function(block, -1, out=places[at])

    @classmethod
    def cuda(cls, launch: Launch, y: View, x: View, *, axis: int | None, keepdims: bool) -> None:
        axes = tuple(range(x.ndim)) if axis is None else (axis,)
        launch_reduction(launch, cls.__name__, y, x, axes, in_order=True)


@register
class Argmax(Place):
    function = staticmethod(np.argmax)


@register
class Argmin(Place):
    function = staticmethod(np.argmin)


def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the maximum along an axis: the first of ties, or the first nan.

    Args:
        x: any shape; not complex.
        axis: the axis; None searches the flattened tensor.
        keepdims: keep the reduced axes with size 1.

    Returns:
        int64, shape of x without the axis. Not differentiable.

    Raises:
        ShapeError: the axis is out of range or empty.
        DTypeError: x is complex.

    Example:
        >>> tt.tensor([[1, 9], [9, 9]]).argmax(axis=1).tolist()
        [1, 0]
    """
    at = None if axis is None else normalize_axis(axis, len(x.layout.shape), "argmax")
    return apply(Argmax, detach(x), axis=at, keepdims=keepdims)


def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the minimum along an axis: the first of ties, or the first nan.

    Args:
        x: any shape; not complex.
        axis: the axis; None searches the flattened tensor.
        keepdims: keep the reduced axes with size 1.

    Returns:
        int64, shape of x without the axis. Not differentiable.

    Raises:
        ShapeError: the axis is out of range or empty.
        DTypeError: x is complex.

    Example:
        >>> tt.tensor([[1, 9], [9, 0]]).argmin().item()
        3
    """
    at = None if axis is None else normalize_axis(axis, len(x.layout.shape), "argmin")
    return apply(Argmin, detach(x), axis=at, keepdims=keepdims)


# ---- logical reductions ------------------------------------------------------------------------------------


class Truth(Op):
    """Base class of any and all; nan counts as nonzero."""

    inputs = ("x",)
    vmap = together
    ufunc: ClassVar[np.ufunc]
    flops = 0.0

    @staticmethod
    def infer(x: Spec, *, axes: Axes, keepdims: bool) -> Specs:
        return (Spec(reduced_shape(x.shape, axes, keepdims), bool_),)

    @classmethod
    def cpu(cls, y: Array, x: Array, *, axes: Axes, keepdims: bool) -> None:
        cls.ufunc.reduce(x, axes, out=y, keepdims=keepdims)

    @classmethod
    def cuda(cls, launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool) -> None:
        launch_reduction(launch, cls.__name__, y, x, axes)


@register
class AnyTrue(Truth):
    ufunc = np.logical_or


@register
class AllTrue(Truth):
    ufunc = np.logical_and


@register
class CountNonzero(Op):
    inputs = ("x",)
    vmap = together
    flops = 0.0

    @staticmethod
    def infer(x: Spec, *, axes: Axes, keepdims: bool) -> Specs:
        return (Spec(reduced_shape(x.shape, axes, keepdims), int64),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Axes, keepdims: bool) -> None:
        y[...] = np.count_nonzero(x, axes, keepdims=keepdims)

    @staticmethod
    def cuda(launch: Launch, y: View, x: View, *, axes: Axes, keepdims: bool) -> None:
        launch_reduction(launch, "CountNonzero", y, x, axes)


def any(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether any element over axes is nonzero; nan is nonzero.

    Args:
        x: any shape and dtype.
        axis: axis or axes; None reduces over all axes.
        keepdims: keep the reduced axes with size 1.

    Returns:
        bool, shape of x without the reduced axes; False for an empty axis.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Example:
        >>> tt.tensor([[0, 0], [0, 7]]).any(axis=1).tolist()
        [False, True]
    """
    return apply(AnyTrue, detach(x), axes=reduced_axes(x, axis, "any"), keepdims=keepdims)


def all(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over axes are nonzero; nan is nonzero.

    Args:
        x: any shape and dtype.
        axis: axis or axes; None reduces over all axes.
        keepdims: keep the reduced axes with size 1.

    Returns:
        bool, shape of x without the reduced axes; True for an empty axis.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Example:
        >>> tt.tensor([[0, 0], [7, 7]]).all(axis=1).tolist()
        [False, True]
    """
    return apply(AllTrue, detach(x), axes=reduced_axes(x, axis, "all"), keepdims=keepdims)


def count_nonzero(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Number of nonzero elements over axes; nan is nonzero.

    Args:
        x: any shape and dtype.
        axis: axis or axes; None reduces over all axes.
        keepdims: keep the reduced axes with size 1.

    Returns:
        int64, shape of x without the reduced axes.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Example:
        >>> tt.count_nonzero(tt.tensor([[0, 3], [5, 7]]), axis=1).tolist()
        [1, 2]
    """
    return apply(CountNonzero, detach(x), axes=reduced_axes(x, axis, "count_nonzero"), keepdims=keepdims)
