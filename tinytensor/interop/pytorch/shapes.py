"""PyTorch's names of functions that change shapes, join tensors and take them apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from tinytensor.creation import arange, asarray, tensor, zeros
from tinytensor.dispatch.batching import room_for
from tinytensor.errors import ArgumentError, IndexRangeError, ShapeError
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.joining.joining import broadcast_arrays, concat, meshgrid, repeat, split, stack
from tinytensor.ops.views.manipulation import clone, flip, moveaxis, reshape, transpose
from tinytensor.shapes import broadcast_shapes as _broadcast
from tinytensor.shapes import normalize_axis, resolve_shape
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "adjoint",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "cartesian_prod",
    "column_stack",
    "combinations",
    "concatenate",
    "dsplit",
    "dstack",
    "flatten",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "movedim",
    "narrow",
    "ravel",
    "repeat_interleave",
    "rot90",
    "row_stack",
    "select",
    "split_with_sizes",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "unflatten",
    "vander",
    "vsplit",
    "vstack",
]

broadcast_tensors = broadcast_arrays
concatenate = concat
movedim = moveaxis
swapaxes = swapdims = transpose


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
    xs = [atleast_1d(x) for x in tensors]
    return concat(xs, 0 if xs and xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along axis 0; vectors are rows.

    Args:
        tensors: at least one.

    Example:
        >>> tt.vstack([tt.zeros(3), tt.zeros(2, 3)]).shape
        (3, 3)
    """
    return concat([atleast_2d(x) for x in tensors], 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along axis 2; vectors are rows of depth 1.

    Args:
        tensors: at least one.

    Example:
        >>> tt.dstack([tt.zeros(3), tt.zeros(3)]).shape
        (1, 3, 2)
    """
    return concat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors joined along axis 1; vectors are columns.

    Args:
        tensors: at least one.

    Example:
        >>> tt.column_stack([tt.zeros(3), tt.zeros(3, 2)]).shape
        (3, 3)
    """
    return concat([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in tensors], 1)


def _each(tensors: tuple[Any, ...], function: Any) -> Any:
    """A function of one tensor, or of each of several."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        return tuple([function(asarray(x)) for x in tensors[0]])
    found = tuple([function(asarray(x)) for x in tensors])
    return found[0] if len(found) == 1 else found


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one axis: a number becomes a vector.

    Args:
        tensors: one tensor, several, or a sequence of them.

    Example:
        >>> tt.atleast_1d(tt.tensor(3.0)).shape
        (1,)
    """
    return _each(tensors, lambda x: x if x.ndim else reshape(x, (1,)))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two axes: a vector becomes a row.

    Args:
        tensors: one tensor, several, or a sequence of them.

    Example:
        >>> tt.atleast_2d(tt.zeros(3)).shape
        (1, 3)
    """
    return _each(tensors, lambda x: x if x.ndim > 1 else reshape(x, (1, x.size)))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three axes: a matrix gets a last axis of size 1.

    Args:
        tensors: one tensor, several, or a sequence of them.

    Example:
        >>> tt.atleast_3d(tt.zeros(3)).shape, tt.atleast_3d(tt.zeros(2, 3)).shape
        ((1, 3, 1), (2, 3, 1))
    """
    return _each(tensors, lambda x: x if x.ndim > 2 else reshape(x, (*atleast_2d(x).shape, 1)))


def tensor_split(x: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of an axis: so many, of sizes equal up to 1, or those that begin at the given positions: views.

    Args:
        x: at least one axis.
        indices_or_sections: a number of parts, or positions.
        dim: the axis.

    Example:
        >>> [y.tolist() for y in tt.tensor_split(tt.arange(5), 2)]
        [[0, 1, 2], [3, 4]]
        >>> [y.tolist() for y in tt.tensor_split(tt.arange(5), (1, 3))]
        [[0], [1, 2], [3, 4]]
    """
    given = indices_or_sections.tolist() if is_tensor(indices_or_sections) else indices_or_sections
    n = x.shape[normalize_axis(dim, x.ndim, "tensor_split")]
    if isinstance(given, int):
        parts = given
        if parts < 1:
            raise ArgumentError(f"tensor_split: {parts} parts", why="there is at least one", fix="1")
        given = [i * (n // parts) + min(i, n % parts) for i in range(1, parts)]
    ends = [slice(i, n).indices(n)[0] for i in (0, *given)] + [n]
    return tuple([narrow(x, dim, a, max(b - a, 0)) for a, b in itertools.pairwise(ends)])


def _split_evenly(x: Tensor, given: Any, dim: int) -> tuple[Tensor, ...]:
    """`tensor_split`, whose number of parts must divide the axis."""
    n = x.shape[normalize_axis(dim, x.ndim, "split")]
    if isinstance(given, int) and given > 0 and n % given:
        raise ShapeError(
            f"split: an axis of size {n} in {given} parts",
            why="the parts have equal sizes",
            fix=f"tt.tensor_split(x, {given}, {dim}) makes them equal up to 1",
        )
    return tensor_split(x, given, dim)


def hsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` in equal parts along axis 1; of a vector along its only axis.

    Args:
        x: at least one axis.
        indices_or_sections: a number of parts, or positions.

    Example:
        >>> [y.shape for y in tt.hsplit(tt.zeros(2, 4), 2)]
        [(2, 2), (2, 2)]
    """
    return _split_evenly(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` in equal parts along axis 0.

    Args:
        x: at least two axes.
        indices_or_sections: a number of parts, or positions.

    Example:
        >>> [y.shape for y in tt.vsplit(tt.zeros(2, 4), 2)]
        [(1, 4), (1, 4)]
    """
    return _split_evenly(x, indices_or_sections, 0)


def dsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` in equal parts along axis 2.

    Args:
        x: at least three axes.
        indices_or_sections: a number of parts, or positions.

    Example:
        >>> [y.shape for y in tt.dsplit(tt.zeros(1, 2, 4), 2)]
        [(1, 2, 2), (1, 2, 2)]
    """
    return _split_evenly(x, indices_or_sections, 2)


def split_with_sizes(x: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes along an axis: views.

    Args:
        x: at least one axis.
        split_sizes: their sum is the size of the axis.
        dim: the axis.

    Example:
        >>> [y.shape for y in tt.split_with_sizes(tt.zeros(5), [2, 3])]
        [(2,), (3,)]
    """
    return split(x, list(split_sizes), dim)


def fliplr(x: Tensor) -> Tensor:
    """Axis 1 reversed: a view.

    Args:
        x: at least two axes.

    Example:
        >>> tt.fliplr(tt.tensor([[1, 2]])).tolist()
        [[2, 1]]
    """
    return flip(x, 1)


def flipud(x: Tensor) -> Tensor:
    """Axis 0 reversed: a view.

    Args:
        x: at least one axis.

    Example:
        >>> tt.flipud(tt.tensor([1, 2])).tolist()
        [2, 1]
    """
    return flip(x, 0)


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """x turned by k times 90 degrees, from the first of two axes to the second: a view.

    Args:
        x: at least two axes.
        k: the number of turns.
        dims: the two axes.

    Example:
        >>> tt.rot90(tt.tensor([[1, 2], [3, 4]])).tolist()
        [[2, 4], [1, 3]]
    """
    a, b = (normalize_axis(dim, x.ndim, "rot90") for dim in dims)
    if a == b:
        raise ArgumentError(f"rot90: axes {dims}", why="it turns one axis to another", fix="(0, 1)")
    if k % 2 == 0:
        return flip(x, (a, b)) if k % 4 else getitem(x, ...)
    return flip(transpose(x, a, b), a if k % 4 == 1 else b)


def adjoint(x: Tensor) -> Tensor:
    """The conjugate of x with its last two axes swapped.

    Args:
        x: at least two axes.

    Example:
        >>> tt.adjoint(tt.tensor([[1j, 2.0]])).tolist()
        [[-1j], [(2-0j)]]
    """
    return x.mT.conj() if x.dtype.kind == "complex" else x.mT


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one, 0 elsewhere.

    Args:
        tensors: at most two axes each, of one dtype; vectors are rows.

    Example:
        >>> tt.block_diag(tt.tensor([[1, 2]]), tt.tensor(3)).tolist()
        [[1, 2, 0], [0, 0, 3]]
    """
    blocks = [atleast_2d(x) for x in tensors] or [zeros(0, 0)]
    rows, columns = (list(itertools.accumulate([b.shape[i] for b in blocks], initial=0)) for i in (0, 1))
    y = clone(room_for(blocks[0].new_zeros(rows[-1], columns[-1]), *blocks))
    for block, row, column in zip(blocks, rows, columns):
        y[row : row + block.shape[0], column : column + block.shape[1]] = block
    return y


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of an element of each vector, one in a row.

    Args:
        tensors: shape (n,) each, of one dtype.

    Example:
        >>> tt.cartesian_prod(tt.tensor([1, 2]), tt.tensor([3, 4])).tolist()
        [[1, 3], [1, 4], [2, 3], [2, 4]]
    """
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(x, (-1,)) for x in meshgrid(*tensors, indexing="ij")], 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All selections of r elements of a vector in their order, one in a row.

    Args:
        x: shape (n,).
        r: the number of elements.
        with_replacement: whether an element may come several times.

    Example:
        >>> tt.combinations(tt.tensor([1, 2, 3])).tolist()
        [[1, 2], [1, 3], [2, 3]]
    """
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(x.size), r))
    return x[tensor(places, dtype="int64", device=x.device).reshape(len(places), r)]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which shapes broadcast.

    Args:
        shapes: tuples of sizes, or single sizes.

    Raises:
        ShapeError: they do not broadcast.

    Example:
        >>> tt.broadcast_shapes((2, 1), (3,))
        (2, 3)
    """
    return _broadcast(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes])


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of x in columns, the highest first.

    Args:
        x: shape (n,).
        N: the number of columns; None is n.
        increasing: the lowest first.

    Example:
        >>> tt.vander(tt.tensor([2, 3]), 3).tolist()
        [[4, 2, 1], [9, 3, 1]]
    """
    powers = arange(x.shape[-1] if N is None else N, device=x.device)
    return x.unsqueeze(-1) ** (powers if increasing else flip(powers, 0))
