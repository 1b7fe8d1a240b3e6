"""PyTorch's names of functions that change shapes, join tensors and take them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinytensor.errors import IndexRangeError, ShapeError
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.joining.joining import concat, repeat
from tinytensor.ops.views.manipulation import moveaxis, reshape, transpose
from tinytensor.shapes import normalize_axis, resolve_shape
from tinytensor.tensor import Tensor

__all__ = [
    "concatenate",
    "flatten",
    "hstack",
    "movedim",
    "narrow",
    "ravel",
    "repeat_interleave",
    "select",
    "swapaxes",
    "t",
    "unflatten",
    "vstack",
]

concatenate = concat
movedim = moveaxis
swapaxes = transpose


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim made one: a view where the memory allows it.

    Args:
        x: any shape.
        start_dim, end_dim: the first and the last of the axes.

    Raises:
        ShapeError: an axis is out of range, or the last one is before the first.

    Example:
        >>> tt.flatten(tt.zeros(2, 3, 4), 1).shape
        (2, 12)
    """
    if not x.shape:
        return reshape(x, (1,))
    first, last = (normalize_axis(axis, x.ndim, "flatten") for axis in (start_dim, end_dim))
    if first > last:
        raise ShapeError(
            f"flatten: axes {start_dim} to {end_dim} of shape {x.shape}",
            why="the last axis is before the first",
            fix=f"x.flatten({last}, {first})",
        )
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def ravel(x: Tensor) -> Tensor:
    """All axes made one: a view where the memory allows it.

    Args:
        x: any shape.

    Example:
        >>> tt.ravel(tt.zeros(2, 3)).shape
        (6,)
    """
    return flatten(x)


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis split into several: a view where the memory allows it.

    Args:
        x: at least one axis.
        dim: the axis.
        sizes: of the new axes; one may be -1.

    Raises:
        ShapeError: the sizes do not multiply to that of the axis.

    Example:
        >>> tt.unflatten(tt.zeros(2, 12), 1, (3, -1)).shape
        (2, 3, 4)
    """
    at = normalize_axis(dim, x.ndim, "unflatten")
    return reshape(x, (*x.shape[:at], *resolve_shape(sizes, x.shape[at], "unflatten"), *x.shape[at + 1 :]))


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix: a view; a vector is its own.

    Args:
        x: at most two axes.

    Raises:
        ShapeError: x has more axes.

    Example:
        >>> tt.t(tt.zeros(2, 3)).shape
        (3, 2)
    """
    if x.ndim > 2:
        raise ShapeError(f"t: shape {x.shape}", why="a matrix has two axes", fix="x.mT swaps the last two")
    return x if x.ndim < 2 else transpose(x, 0, 1)


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """Position `index` of an axis, which goes: a view.

    Args:
        x: at least one axis.
        dim: the axis.
        index: a position, from the end if negative.

    Raises:
        IndexRangeError: the position is out of range.

    Example:
        >>> tt.select(tt.tensor([[1, 2], [3, 4]]), 1, 0).tolist()
        [1, 3]
    """
    return getitem(x, (*[slice(None)] * normalize_axis(dim, x.ndim, "select"), index))


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Positions start to start + length - 1 of an axis: a view.

    Args:
        x: at least one axis.
        dim: the axis.
        start: the first position, from the end if negative.
        length: the number of positions.

    Raises:
        IndexRangeError: the positions are out of range.

    Example:
        >>> tt.narrow(tt.tensor([1, 2, 3, 4]), 0, 1, 2).tolist()
        [2, 3]
    """
    at = normalize_axis(dim, x.ndim, "narrow")
    size = x.shape[at]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise IndexRangeError(
            f"narrow: {length} positions from {start} of an axis of size {size}",
            why="they are not all there",
            fix=f"start + length <= {size}",
        )
    return getitem(x, (*[slice(None)] * at, slice(first, first + length)))


def repeat_interleave(x: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Each element repeated, `repeat` here; PyTorch's x.repeat is x.tile.

    Args:
        x: any shape.
        repeats: a number, or an integer tensor with one for each position.
        dim: the axis; None flattens x first.

    Example:
        >>> tt.repeat_interleave(tt.tensor([1, 2]), 2).tolist()
        [1, 1, 2, 2]
    """
    return repeat(x, repeats, dim)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along axis 1; vectors along their only axis.

    Args:
        tensors: at least one; numbers of shape () count as vectors.

    Example:
        >>> tt.hstack([tt.zeros(2, 1), tt.zeros(2, 3)]).shape
        (2, 4)
    """
    xs = [x if x.ndim else reshape(x, (1,)) for x in tensors]
    return concat(xs, 0 if xs and xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along axis 0; vectors are rows.

    Args:
        tensors: at least one.

    Example:
        >>> tt.vstack([tt.zeros(3), tt.zeros(2, 3)]).shape
        (3, 3)
    """
    return concat([x if x.ndim > 1 else reshape(x, (1, x.size)) for x in tensors], 0)
