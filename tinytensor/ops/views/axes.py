"""Other orders of axes, and the array API's names for views of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytensor.errors import ShapeError
from tinytensor.layout import normalize_axes
from tinytensor.ops.views.manipulation import permute, transpose, with_axis

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor


def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move axes to new places; the others keep their order: a view.

    Args:
        x: any shape.
        source: axis or axes to move.
        destination: where each goes.

    Returns:
        x with permuted axes, sharing its memory.

    Raises:
        ShapeError: an axis is out of range, repeated, or the numbers of axes differ.

    Example:
        >>> tt.zeros(2, 3, 4).moveaxis(0, -1).shape
        (3, 4, 2)
    """
    ndim = len(x.layout.shape)
    src = normalize_axes(source, ndim, "moveaxis")
    dst = normalize_axes(destination, ndim, "moveaxis")
    if len(src) != len(dst):
        raise ShapeError(
            f"moveaxis: {len(src)} source axes and {len(dst)} destinations",
            why="each moved axis needs one new place",
            fix="give as many destinations as sources",
        )
    order = [a for a in range(ndim) if a not in src]
    for to, a in sorted(zip(dst, src, strict=True)):
        order.insert(to, a)
    return permute(x, tuple(order))


def matrix_transpose(x: Tensor) -> Tensor:
    """Swap the last two axes: a view, `x.mT`.

    Args:
        x: shape (..., M, N).

    Returns:
        shape (..., N, M), sharing memory with x.

    Raises:
        ShapeError: x has fewer than two axes.

    Example:
        >>> tt.zeros(5, 2, 3).mT.shape
        (5, 3, 2)
    """
    if len(x.layout.shape) < 2:
        raise ShapeError(
            f"matrix_transpose: shape {x.layout.shape} has no last two axes",
            why="a matrix has rows and columns",
            fix="give it a second axis with x.unsqueeze(0)",
        )
    return transpose(x, -1, -2)


def permute_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The array API's name for `permute`.

    Args:
        x: any shape.
        axes: every axis once.

    Returns:
        shape (x.shape[axes[0]], x.shape[axes[1]], …), sharing memory with x.

    Raises:
        ShapeError: an axis is missing, repeated or out of range.

    Example:
        >>> tt.permute_dims(tt.zeros(2, 3, 4), axes=(2, 0, 1)).shape
        (4, 2, 3)
    """
    return permute(x, tuple(axes))


def expand_dims(x: Tensor, axis: int = 0) -> Tensor:
    """The array API's name for `unsqueeze`.

    Args:
        x: any shape.
        axis: where the new axis stands in the result.

    Returns:
        x with one more axis, sharing its memory.

    Raises:
        ShapeError: the axis is out of range.

    Example:
        >>> tt.expand_dims(tt.zeros(3), axis=1).shape
        (3, 1)
    """
    return with_axis(x, axis, "expand_dims")


class AxesMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    moveaxis = moveaxis
