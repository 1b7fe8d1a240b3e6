"""Sums and means over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Grads, Needs, Saved
from ..dispatch import Op, Spec, Specs, apply, register
from ..dtypes import DType, int64, uint64
from ..errors import DTypeError
from ..layout import Shape, normalize_axes
from ..runtime.host import Array
from .arithmetic import multiply
from .manipulation import cast, expand, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor


def reduced_shape(shape: Shape, axes: Shape, keepdims: bool) -> Shape:
    """The shape after a reduction over axes."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes])


def spread(grad: Tensor, shape: Shape, axes: Shape) -> Tensor:
    """The transpose of a sum: the gradient repeated along the axes, as a stride-0 view."""
    return expand(reshape(grad, reduced_shape(shape, axes, True)), shape)


@register
class Sum(Op):
    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, axes: Shape, keepdims: bool, shape: Shape) -> Specs:
        dtype = x.dtype if x.dtype.is_inexact else uint64 if x.dtype.kind == "uint" else int64
        return (Spec(reduced_shape(x.shape, axes, keepdims), dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Shape, keepdims: bool, shape: Shape) -> None:
        np.add.reduce(x, axes, out=y, keepdims=keepdims, dtype=y.dtype)

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, axes: Shape, keepdims: bool, shape: Shape
    ) -> Grads:
        g = grads[0]
        return (None if g is None else spread(g, shape, axes),)


@register
class Mean(Op):
    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, axes: Shape, keepdims: bool, shape: Shape) -> Specs:
        if not x.dtype.is_inexact:
            raise DTypeError(
                f"mean: the input of shape {x.shape} has dtype {x.dtype}",
                why="the mean of integers has a fraction",
                fix="cast first: x.astype(tt.float32).mean()",
            )
        return (Spec(reduced_shape(x.shape, axes, keepdims), x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, *, axes: Shape, keepdims: bool, shape: Shape) -> None:
        np.add.reduce(x, axes, out=y, keepdims=keepdims)
        with np.errstate(invalid="ignore", divide="ignore"):
            y /= _count(shape, axes)  # an empty mean is nan

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, axes: Shape, keepdims: bool, shape: Shape
    ) -> Grads:
        g = grads[0]
        n = _count(shape, axes)
        return (None if g is None else spread(multiply(g, 1.0 / n if n else 0.0), shape, axes),)


def _count(shape: Shape, axes: Shape) -> int:
    n = 1
    for a in axes:
        n *= shape[a]
    return n


def sum(x: Tensor, axis: Any = None, keepdims: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Sum of the elements over axes.

    Args:
        x: any shape.
        axis: axis or axes; None sums everything.
        keepdims: keep the summed axes with size 1.
        dtype: cast x to this dtype first.

    Returns:
        shape of x without the summed axes; dtype of x, but int64 for bool and signed integers, uint64 for
        unsigned.

    Raises:
        ShapeError: an axis is out of range or repeated.

    Accuracy: 16-bit floats are summed in float32; float32 pairwise, as in NumPy.

    Example:
        >>> tt.ones(2, 3).sum(axis=0).tolist()
        [2.0, 2.0, 2.0]
    """
    if dtype is not None:
        x = cast(x, dtype)
    shape = x.layout.shape
    return apply(Sum, x, axes=normalize_axes(axis, len(shape), "sum"), keepdims=keepdims, shape=shape)


def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
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
    shape = x.layout.shape
    return apply(Mean, x, axes=normalize_axes(axis, len(shape), "mean"), keepdims=keepdims, shape=shape)


class ReductionMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    sum = sum
    mean = mean
