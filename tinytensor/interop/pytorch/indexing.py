"""PyTorch's names of functions that read and write by index."""

from __future__ import annotations

from typing import Any

from tinytensor.creation import arange, ones
from tinytensor.dispatch.batching import room_for
from tinytensor.dtypes import bool_
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.ops.indexing.gathering import nonzero, take
from tinytensor.ops.indexing.gathering import scatter_add as _scatter_add
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.indexing.masking import tril, triu
from tinytensor.ops.joining.joining import broadcast_arrays, stack
from tinytensor.ops.views.manipulation import clone
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "argwhere",
    "index_add",
    "index_select",
    "masked_select",
    "scatter",
    "tril_indices",
    "triu_indices",
]


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Slices of x by their positions on an axis, `take` with the axis in front.

    Args:
        x: at least one axis.
        dim: the axis.
        index: integers, shape (n,).

    Raises:
        IndexRangeError: a position is out of range.

    Example:
        >>> tt.index_select(tt.tensor([[1, 2], [3, 4]]), 1, tt.tensor([1, 1])).tolist()
        [[2, 2], [4, 4]]
    """
    return take(x, index, dim)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where the mask is True, shape (n,).

    Args:
        x: any shape.
        mask: bool; both broadcast together.

    Example:
        >>> tt.masked_select(tt.tensor([[1, 2], [3, 4]]), tt.tensor([True, False])).tolist()
        [1, 3]
    """
    _check_mask("masked_select", mask)
    x, mask = broadcast_arrays(x, mask)
    return getitem(x, mask)


def _check_mask(what: str, mask: Tensor) -> None:
    if mask.dtype is not bool_:
        raise DTypeError(f"{what}: a mask of dtype {mask.dtype}", why="a mask is bool", fix="mask.bool()")


def argwhere(x: Tensor) -> Tensor:
    """Positions of the elements that are not 0: a row for each, as PyTorch's nonzero.

    Args:
        x: at least one axis.

    Returns:
        shape (n, x.ndim), int64.

    Example:
        >>> tt.argwhere(tt.tensor([[0, 5], [7, 0]])).tolist()
        [[0, 1], [1, 0]]
    """
    return stack(nonzero(x), 1)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Positions in the lower triangle of a matrix: shape (2, n), int64.

    Args:
        row, col: shape of the matrix.
        offset: of the last diagonal that is in.

    Example:
        >>> tt.tril_indices(2, 2).tolist()
        [[0, 1, 1], [0, 0, 1]]
    """
    return stack(nonzero(tril(ones(row, col), offset)), 0)


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Positions in the upper triangle of a matrix: shape (2, n), int64.

    Args:
        row, col: shape of the matrix.
        offset: of the first diagonal that is in.

    Example:
        >>> tt.triu_indices(2, 2).tolist()
        [[0, 0, 1], [0, 1, 1]]
    """
    return stack(nonzero(triu(ones(row, col), offset)), 0)


def _same_shape(what: str, x: Tensor, value: Tensor) -> None:
    if x.shape != value.shape:
        raise ShapeError(
            f"scatter: values of shape {value.shape} for {what} of shape {x.shape}",
            why="each position has one value",
            fix="expand the values: value.expand(…)",
        )


def scatter(x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """A copy of x with values at positions along an axis: y[index[i, j], j] = src[i, j] for dim 0, and so on.

    Args:
        x: at least one axis.
        dim: the axis to index.
        index: integers, with as many axes as x and at most its sizes on the others.
        src: at least the shape of index, or a number.
        value: a number in place of src.

    Raises:
        IndexRangeError: an index is out of range.

    Example:
        >>> tt.scatter(tt.zeros(3), 0, tt.tensor([2, 0]), tt.tensor([5.0, 6.0])).tolist()
        [6.0, 0.0, 5.0]
    """
    src = value if src is None else src
    y, at = clone(room_for(x, index, src)), normalize_axis(dim, x.ndim, "scatter")
    places = [
        arange(n, device=x.device).reshape(-1, *[1] * (x.ndim - 1 - i)) for i, n in enumerate(index.shape)
    ]
    y[(*places[:at], index, *places[at + 1 :])] = corner(src, index) if is_tensor(src) else src
    return y


def corner(x: Tensor, like: Tensor) -> Tensor:
    """The first elements of each axis, as many as another tensor has."""
    if x.ndim != like.ndim or any([n < m for n, m in zip(x.shape, like.shape, strict=True)]):
        _same_shape("an index", like, x)
    return getitem(x, tuple([slice(n) for n in like.shape]))


def _expanded(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A vector of positions on an axis as an index of the shape of source."""
    at = normalize_axis(dim, x.ndim, "index")
    if index.ndim > 1 or source.shape != (*x.shape[:at], index.size, *x.shape[at + 1 :]):
        raise ShapeError(
            f"index_add: index of shape {index.shape} and slices of shape {source.shape} on axis {at} of "
            f"shape {x.shape}",
            why="each index has one slice",
            fix="an index of shape (n,), and a source of the shape of x with n on the axis",
        )
    return index.reshape(-1, *[1] * (x.ndim - 1 - at)).expand(source.shape)


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: complex = 1) -> Tensor:
    """A copy of x with alpha * source added to the slices at some positions of an axis.

    Args:
        x: at least one axis.
        dim: the axis.
        index: integers, shape (n,).
        source: the shape of x with n on the axis, the dtype of x.
        alpha: a number.

    Example:
        >>> tt.index_add(tt.zeros(3), 0, tt.tensor([0, 2, 0]), tt.ones(3)).tolist()
        [2.0, 0.0, 1.0]
    """
    return _scatter_add(x, _expanded(x, dim, index, source), source if alpha == 1 else source * alpha, dim)
