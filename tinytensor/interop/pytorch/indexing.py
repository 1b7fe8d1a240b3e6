"""PyTorch's names of functions that read and write by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from tinytensor.creation import arange, full_like, ones, ones_like
from tinytensor.dispatch.batching import room_for
from tinytensor.dtypes import bool_, iinfo
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.ops.elementwise.comparison import where
from tinytensor.ops.indexing.gathering import nonzero, take, take_along_axis
from tinytensor.ops.indexing.gathering import scatter_add as _scatter_add
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.indexing.masking import tril, triu
from tinytensor.ops.joining.joining import broadcast_arrays, concat, stack
from tinytensor.ops.views.manipulation import clone, reshape
from tinytensor.ops.views.slicing import diagonal
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "argwhere",
    "diagonal_scatter",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "index_select",
    "masked_scatter",
    "masked_select",
    "put",
    "scatter",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take_along_dim",
    "tril_indices",
    "triu_indices",
    "unravel_index",
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


# ---- written copies ----------------------------------------------------------------------------------------


def _along(x: Tensor, dim: int, key: Any) -> tuple[Any, ...]:
    """The key x[:, ..., key] that takes `key` on an axis."""
    return (*[slice(None)] * normalize_axis(dim, x.ndim, "index"), key)


def _with(x: Tensor, view: Callable[[Tensor], Tensor], value: Any) -> Tensor:
    """A copy of x in which a view of it has another value, of its shape."""
    y = clone(room_for(x, value))
    part = view(y)
    _same_shape("the view", part, value)
    part.copy_(value)
    return y


def _same_shape(what: str, x: Tensor, value: Tensor) -> None:
    if x.shape != value.shape:
        raise ShapeError(
            f"scatter: values of shape {value.shape} for {what} of shape {x.shape}",
            why="each position has one value",
            fix="expand the values: value.expand(…)",
        )


def scatter(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of x with values at positions along an axis: y[index[i, j], j] = src[i, j] for dim 0, and so on.

    Args:
        x: at least one axis.
        dim: the axis to index.
        index: integers, with as many axes as x and at most its sizes on the others.
        src: at least the shape of index, or a number.
        value: a number in place of src.
        reduce: "add" or "multiply": combine the values with those of x.

    Raises:
        IndexRangeError: an index is out of range.

    Example:
        >>> tt.scatter(tt.zeros(3), 0, tt.tensor([2, 0]), tt.tensor([5.0, 6.0])).tolist()
        [6.0, 0.0, 5.0]
    """
    src = value if src is None else src
    if reduce is not None:
        values = src if is_tensor(src) else full_like(index, src, dtype=x.dtype)
        return scatter_reduce(x, dim, index, values, {"add": "sum", "multiply": "prod"}.get(reduce, reduce))
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


def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x whose elements are combined with the values that have their positions, see `scatter`.

    Args:
        x: at least one axis; floating or integers.
        dim: the axis to index.
        index: integers, with as many axes as x and at most its sizes on the others.
        src: at least the shape of index, the dtype of x.
        reduce: "sum", "mean", "prod", "amax" or "amin".
        include_self: whether x takes part where there are values.

    Raises:
        ArgumentError: another reduction.

    Memory: "prod", "amax" and "amin" take the size of index times that of the axis.

    Example:
        >>> x, i = tt.ones(3), tt.tensor([0, 2, 0])
        >>> tt.scatter_reduce(x, 0, i, tt.tensor([5.0, 6.0, 7.0]), "amax").tolist()
        [7.0, 1.0, 6.0]
    """
    ways = {"sum": 0, "mean": 0, "prod": 1, "amax": None, "amin": None}
    if reduce not in ways:
        raise ArgumentError(
            f"scatter_reduce: reduce {reduce!r}", why=f"it is one of {', '.join(ways)}", fix='reduce="sum"'
        )
    src = corner(src, index)
    if x.dtype is bool_:
        raise DTypeError(
            "scatter_reduce: tensors of dtype bool", why="it combines numbers", fix="x.long(), and src.long()"
        )
    counts = _scatter_add(x.new_zeros(x.shape, dtype="int64"), index, ones_like(index, dtype="int64"), dim)
    if reduce in ("sum", "mean"):
        y = _scatter_add(x if include_self else where(counts > 0, 0, x), index, src, dim)
        if reduce == "sum":
            return y
        terms = (counts + include_self).clip(min=1)
        return y / terms if x.dtype.is_floating else (y // terms).astype(x.dtype)
    at = normalize_axis(dim, x.ndim, "scatter_reduce")
    columns = arange(x.shape[at], device=x.device).reshape(-1, *[1] * (x.ndim - at))
    hit = (
        where(index < 0, index + x.shape[at], index).unsqueeze(at) == columns
    )  # (..., n, m, ...): whether value m goes to element n
    own = _corner_of_axes(x, index, at).unsqueeze(at + 1)
    keep = ones_like(own, dtype="bool") if include_self else ~hit.any(at + 1, True)
    values = concat([own, src.unsqueeze(at).expand(hit.shape)], at + 1)
    hit = concat([keep, hit], at + 1)
    if reduce == "prod":
        found = where(hit, values, 1).prod(at + 1)
    else:
        limits: Any = (-inf, inf) if x.dtype.is_floating else (iinfo(x.dtype).min, iinfo(x.dtype).max)
        found = getattr(where(hit, values, limits[reduce == "amin"]), reduce)(at + 1)
    return _with(x, lambda y: _corner_of_axes(y, index, at), found)


def _corner_of_axes(x: Tensor, index: Tensor, at: int) -> Tensor:
    """All of axis `at`, and as many elements of the others as the index has."""
    return getitem(x, tuple([slice(None if i == at else n) for i, n in enumerate(index.shape)]))


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


def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` with slices in place of elements.

    Args:
        x: at least one axis.
        dim: the axis.
        index: integers, shape (n,).
        source: the shape of x with n on the axis, the dtype of x.
        reduce: "mean", "prod", "amax" or "amin".
        include_self: whether x takes part where there are slices.

    Example:
        >>> tt.index_reduce(tt.ones(2), 0, tt.tensor([0, 0]), tt.tensor([2.0, 3.0]), "prod").tolist()
        [6.0, 1.0]
    """
    return scatter_reduce(x, dim, _expanded(x, dim, index, source), source, reduce, include_self=include_self)


def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of x with other slices at some positions of an axis.

    Args:
        x: at least one axis.
        dim: the axis.
        index: integers, shape (n,).
        source: the shape of x with n on the axis.

    Example:
        >>> tt.index_copy(tt.zeros(3), 0, tt.tensor([2, 0]), tt.tensor([5.0, 6.0])).tolist()
        [6.0, 0.0, 5.0]
    """
    _expanded(x, dim, index, source)
    return index_put(x, _along(x, dim, index), source)


def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of x with a number at some positions of an axis.

    Args:
        x: at least one axis.
        dim: the axis.
        index: integers, shape (n,).
        value: a number, or a tensor of shape ().

    Example:
        >>> tt.index_fill(tt.zeros(3), 0, tt.tensor([2, 0]), 5.0).tolist()
        [5.0, 0.0, 5.0]
    """
    return index_put(x, _along(x, dim, index), value)


def index_put(x: Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """A copy of x with x[indices] = values, or with accumulate x[indices] += values, also for equal indices.

    Args:
        x: at least one axis.
        indices: a key as in x[...].
        values: broadcasts to the shape of x[indices].
        accumulate: whether to add.

    Example:
        >>> i = tt.tensor([1, 1])
        >>> tt.index_put(tt.zeros(2), (i,), tt.ones(2), accumulate=True).tolist()
        [0.0, 2.0]
    """
    if accumulate:
        places = getitem(arange(x.size, device=x.device).reshape(x.shape), tuple(indices))
        added = values if is_tensor(values) else full_like(places, values, dtype=x.dtype)
        added = added.broadcast_to(places.shape).reshape(-1)
        return reshape(_scatter_add(reshape(x, (-1,)), places.reshape(-1), added, 0), x.shape)
    y = clone(room_for(x, *indices, values))
    y[tuple(indices)] = values
    return y


def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with other elements at positions of its flattened form.

    Args:
        x: any shape.
        index: integers of any shape.
        source: as many elements as index.
        accumulate: whether to add.

    Example:
        >>> tt.put(tt.zeros(2, 2), tt.tensor([3]), tt.tensor([5.0])).tolist()
        [[0.0, 0.0], [0.0, 5.0]]
    """
    if source.size != index.size:
        _same_shape("an index", index, source)
    values = reshape(source, index.shape)
    return reshape(index_put(reshape(x, (-1,)), (index,), values, accumulate), x.shape)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of x with the first elements of source, in order, where the mask is True.

    Args:
        x: any shape.
        mask: bool; broadcasts with x.
        source: at least as many elements as the mask has True.

    Raises:
        ShapeError: it has fewer.

    Example:
        >>> mask = tt.tensor([True, False, True])
        >>> tt.masked_scatter(tt.zeros(3), mask, tt.tensor([5.0, 6.0, 7.0])).tolist()
        [5.0, 0.0, 6.0]
    """
    _check_mask("masked_scatter", mask)
    x, mask = broadcast_arrays(x, mask)
    count = int(mask.sum())
    if source.size < count:
        raise ShapeError(
            f"masked_scatter: {source.size} values for {count} places",
            why="each place where the mask is True has a value of its own",
            fix="x.masked_fill(mask, value) writes one value everywhere",
        )
    return index_put(x, (mask,), reshape(source, (-1,))[:count])


def select_scatter(x: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of x in which `select(x, dim, index)` is src.

    Args:
        x: at least one axis.
        src: the shape of x without the axis.
        dim: the axis.
        index: a position, from the end if negative.

    Example:
        >>> tt.select_scatter(tt.zeros(2, 2), tt.ones(2), 0, 1).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    return _with(x, lambda y: getitem(y, _along(y, dim, index)), src)


def slice_scatter(
    x: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of x in which the slice start:end:step of an axis is src.

    Args:
        x: at least one axis.
        src: the shape of the slice.
        dim: the axis.
        start, end, step: as in a slice.

    Example:
        >>> tt.slice_scatter(tt.zeros(4), tt.ones(2), start=1, end=3).tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    return _with(x, lambda y: getitem(y, _along(y, dim, slice(start, end, step))), src)


def diagonal_scatter(x: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of x in which `diagonal(x, offset, dim1, dim2)` is src.

    Args:
        x: at least two axes.
        src: the shape of the diagonal.
        offset, dim1, dim2: which diagonal.

    Example:
        >>> tt.diagonal_scatter(tt.zeros(2, 2), tt.ones(2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _with(x, lambda y: diagonal(y, offset, dim1, dim2), src)


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`take_along_axis`; without an axis of the flattened x, by flattened indices.

    Args:
        x: at least one axis.
        indices: integers; broadcast with x but for the axis.
        dim: the axis.

    Example:
        >>> tt.take_along_dim(tt.tensor([[3, 1], [5, 9]]), tt.tensor([3, 0])).tolist()
        [9, 3]
    """
    return (
        take(reshape(x, (-1,)), reshape(indices, (-1,)), 0)
        if dim is None
        else take_along_axis(x, indices, dim)
    )


def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Positions in a flattened tensor as positions on each axis.

    Args:
        indices: integers of any shape.
        shape: of the tensor.

    Example:
        >>> [i.tolist() for i in tt.unravel_index(tt.tensor([5, 1]), (2, 3))]
        [[1, 0], [2, 1]]
    """
    found: list[Tensor] = []
    for size in shape[::-1]:
        found.append(indices % size)
        indices = indices // size
    return tuple(found[::-1])
