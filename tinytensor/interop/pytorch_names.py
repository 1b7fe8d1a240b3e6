"""PyTorch's names for what has another name here, or takes a line of it: the order of arguments is PyTorch's.

Names that mean something else in PyTorch (`max(dim)`, `std`, `split`, …) are not here: docs/from_pytorch.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinytensor.creation import asarray, empty, full, ones, tensor, zeros
from tinytensor.dispatch.elementwise import Operand
from tinytensor.dtypes import bfloat16, bool_, finfo, float16, float32, float64, int16, int32, int64, uint8
from tinytensor.errors import ArgumentError, IndexRangeError, ShapeError
from tinytensor.ops.elementwise.arithmetic import (
    add,
    clip,
    divide,
    floor_divide,
    multiply,
    negative,
    remainder,
    subtract,
)
from tinytensor.ops.elementwise.comparison import (
    equal,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    logical_and,
    not_equal,
    where,
)
from tinytensor.ops.elementwise.rounding import trunc
from tinytensor.ops.elementwise.sign_and_complex import abs
from tinytensor.ops.indexing.gathering import nonzero, scatter_add, take
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.indexing.masking import masked_fill, tril, triu
from tinytensor.ops.inplace import copy_
from tinytensor.ops.joining.joining import broadcast_arrays, concat, repeat, stack
from tinytensor.ops.matmul.matmul import matmul, outer
from tinytensor.ops.random.random import rand, randn
from tinytensor.ops.random.sampling import permutation
from tinytensor.ops.reductions.min_max import max, min
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum
from tinytensor.ops.views.manipulation import (
    astype,
    expand,
    moveaxis,
    reshape,
    transpose,
    view_as_shape,
)
from tinytensor.shapes import normalize_axis, resolve_shape
from tinytensor.tensor import Tensor

__all__ = [
    "absolute",
    "addcdiv",
    "addcmul",
    "addmm",
    "addmv",
    "amax",
    "amin",
    "argwhere",
    "as_tensor",
    "baddbmm",
    "bmm",
    "clamp",
    "clamp_max",
    "clamp_min",
    "concatenate",
    "cumprod",
    "cumsum",
    "div",
    "dot",
    "eq",
    "flatten",
    "ge",
    "ger",
    "gt",
    "hstack",
    "index_select",
    "is_floating_point",
    "is_tensor",
    "le",
    "lerp",
    "lt",
    "masked_select",
    "mm",
    "movedim",
    "mul",
    "mv",
    "nan_to_num",
    "narrow",
    "ne",
    "neg",
    "numel",
    "rand_like",
    "randn_like",
    "randperm",
    "ravel",
    "repeat_interleave",
    "select",
    "sub",
    "swapaxes",
    "swapdims",
    "t",
    "tril_indices",
    "triu_indices",
    "true_divide",
    "unflatten",
    "vstack",
]

# ---- other names of the same function ----------------------------------------------------------------------

absolute = abs
as_tensor = asarray
clamp = clip
concatenate = concat
cumprod = cumulative_prod
cumsum = cumulative_sum
dot = mm = bmm = mv = matmul
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
ger = outer
movedim = moveaxis
mul, neg, sub, true_divide = multiply, negative, subtract, divide
randperm = permutation
swapaxes = swapdims = transpose


# ---- elementwise -------------------------------------------------------------------------------------------


def div(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Quotient x / y; rounded down with "floor", towards 0 with "trunc".

    Args:
        x, y: tensors or numbers that broadcast together.
        rounding_mode: None, "floor" or "trunc".

    Raises:
        ArgumentError: another mode.

    Example:
        >>> tt.div(tt.tensor([-7, 7]), 2, rounding_mode="trunc").tolist()
        [-3, 3]
    """
    if rounding_mode is None:
        return divide(x, y)
    if rounding_mode not in ("floor", "trunc"):
        raise ArgumentError(
            f"div: rounding_mode {rounding_mode!r}", why='it is None, "floor" or "trunc"', fix="leave it out"
        )
    down = floor_divide(x, y)
    if rounding_mode == "floor":
        return down
    if down.dtype.is_inexact:
        return trunc(divide(x, y))
    return add(down, astype(logical_and(less(down, 0), not_equal(remainder(x, y), 0)), down.dtype))


def clamp_min(x: Tensor, min: Operand) -> Tensor:
    """The larger of x and min, for each element.

    Args:
        x: any shape; not complex.
        min: a tensor or a number that broadcasts with x.

    Example:
        >>> tt.clamp_min(tt.tensor([-1.0, 2.0]), 0.0).tolist()
        [0.0, 2.0]
    """
    return clip(x, min)


def clamp_max(x: Tensor, max: Operand) -> Tensor:
    """The smaller of x and max, for each element.

    Args:
        x: any shape; not complex.
        max: a tensor or a number that broadcasts with x.

    Example:
        >>> tt.clamp_max(tt.tensor([-1.0, 2.0]), 0.0).tolist()
        [-1.0, 0.0]
    """
    return clip(x, None, max)


def lerp(x: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Linear interpolation x + weight * (end - x).

    Args:
        x, end: tensors that broadcast together.
        weight: a number or a tensor; 0 gives x, 1 gives end.

    Example:
        >>> tt.lerp(tt.tensor([0.0, 10.0]), tt.tensor([10.0, 20.0]), 0.25).tolist()
        [2.5, 12.5]
    """
    return add(x, multiply(weight, subtract(end, x)))


def _times(factor: Any, x: Tensor) -> Tensor:
    return x if factor == 1 else multiply(factor, x)


def addcmul(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: complex = 1) -> Tensor:
    """x + value * tensor1 * tensor2.

    Args:
        x, tensor1, tensor2: tensors that broadcast together.
        value: a number.

    Example:
        >>> tt.addcmul(tt.ones(2), tt.tensor([1.0, 2.0]), tt.tensor([3.0, 4.0]), value=10).tolist()
        [31.0, 81.0]
    """
    return add(x, multiply(_times(value, tensor1), tensor2))


def addcdiv(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: complex = 1) -> Tensor:
    """x + value * tensor1 / tensor2.

    Args:
        x, tensor1, tensor2: tensors that broadcast together.
        value: a number.

    Example:
        >>> tt.addcdiv(tt.ones(2), tt.tensor([1.0, 2.0]), tt.tensor([2.0, 4.0])).tolist()
        [1.5, 1.5]
    """
    return add(x, divide(_times(value, tensor1), tensor2))


def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: complex = 1, alpha: complex = 1) -> Tensor:
    """beta * x + alpha * mat1 @ mat2; without x if beta is 0.

    Args:
        x: broadcasts to the shape of the product.
        mat1: shape (M, K), or (B, M, K) (also called `baddbmm`).
        mat2: shape (K, N), (B, K, N), or (K,) (also called `addmv`).
        beta, alpha: numbers.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> tt.addmm(tt.ones(2), tt.eye(2), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[2.0, 3.0], [4.0, 5.0]]
    """
    product = _times(alpha, matmul(mat1, mat2))
    return product if beta == 0 else add(_times(beta, x), product)


addmv = baddbmm = addmm


def nan_to_num(x: Tensor, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """x with numbers for nan and the infinities.

    Args:
        x: any shape; floating.
        nan: in place of nan.
        posinf, neginf: in place of inf and -inf; None is the largest and the least number of the dtype.

    Example:
        >>> tt.nan_to_num(tt.tensor([float("nan"), float("inf"), 1.0]), posinf=9.0).tolist()
        [0.0, 9.0, 1.0]
    """
    limits = finfo(x.dtype)
    y = where(isnan(x), nan, x)
    y = where(equal(y, math.inf), limits.max if posinf is None else posinf, y)
    return where(equal(y, -math.inf), limits.min if neginf is None else neginf, y)


# ---- reductions --------------------------------------------------------------------------------------------


def amax(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element along some axes; equal ones share the gradient.

    Args:
        x: any shape; not complex.
        dim: axis or axes; () is all of them.
        keepdim: keep them, with size 1.

    Example:
        >>> tt.amax(tt.tensor([[1, 5], [7, 2]]), dim=1).tolist()
        [5, 7]
    """
    return max(x, axis=None if dim == () else dim, keepdims=keepdim)


def amin(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The least element along some axes; equal ones share the gradient.

    Args:
        x: any shape; not complex.
        dim: axis or axes; () is all of them.
        keepdim: keep them, with size 1.

    Example:
        >>> tt.amin(tt.tensor([[1, 5], [7, 2]]), dim=1).tolist()
        [1, 2]
    """
    return min(x, axis=None if dim == () else dim, keepdims=keepdim)


# ---- axes and parts ----------------------------------------------------------------------------------------


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
    x, mask = broadcast_arrays(x, mask)
    return getitem(x, mask)


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
    return concat([x if x.ndim > 1 else reshape(x, (1, -1)) for x in tensors], 0)


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


# ---- of a tensor -------------------------------------------------------------------------------------------


def is_tensor(x: object) -> bool:
    """Whether x is a Tensor.

    Args:
        x: anything.

    Example:
        >>> tt.is_tensor(tt.ones(2)), tt.is_tensor([1.0, 1.0])
        (True, False)
    """
    return isinstance(x, Tensor)


def is_floating_point(x: Tensor) -> bool:
    """Whether the elements are floating-point numbers.

    Args:
        x: any shape.

    Example:
        >>> tt.is_floating_point(tt.ones(2)), tt.is_floating_point(tt.tensor([1]))
        (True, False)
    """
    return x.dtype.is_floating


def numel(x: Tensor) -> int:
    """The number of elements, `x.size`.

    Args:
        x: any shape.

    Example:
        >>> tt.numel(tt.ones(2, 3))
        6
    """
    return x.layout.size


def rand_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Uniform random numbers in [0, 1), in the shape of x.

    Args:
        x: gives shape, dtype and device.
        dtype, device: in place of those of x.

    Example:
        >>> tt.rand_like(tt.ones(2, 3)).shape
        (2, 3)
    """
    return rand(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


def randn_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Standard normal random numbers, in the shape of x.

    Args:
        x: gives shape, dtype and device.
        dtype, device: in place of those of x.

    Example:
        >>> tt.randn_like(tt.ones(2, 3)).shape
        (2, 3)
    """
    return randn(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


# ---- methods alone -----------------------------------------------------------------------------------------


def dim(x: Tensor) -> int:
    """The number of axes, `x.ndim`."""
    return x.ndim


def nelement(x: Tensor) -> int:
    """The number of elements, `x.size`."""
    return x.layout.size


def element_size(x: Tensor) -> int:
    """Bytes of one element, `x.itemsize`."""
    return x.itemsize


def stride(x: Tensor, dim: int | None = None) -> Any:
    """The strides in elements, `x.strides`, or that of one axis."""
    return x.strides if dim is None else x.strides[normalize_axis(dim, x.ndim, "stride")]


def storage_offset(x: Tensor) -> int:
    """Position of the first element in the storage, `x.offset`."""
    return x.offset


def as_float64(x: Tensor) -> Tensor:
    """x in float64; x itself if it is."""
    return astype(x, float64, copy=False)


def as_float32(x: Tensor) -> Tensor:
    """x in float32; x itself if it is."""
    return astype(x, float32, copy=False)


def as_float16(x: Tensor) -> Tensor:
    """x in float16; x itself if it is."""
    return astype(x, float16, copy=False)


def as_bfloat16(x: Tensor) -> Tensor:
    """x in bfloat16; x itself if it is."""
    return astype(x, bfloat16, copy=False)


def as_int64(x: Tensor) -> Tensor:
    """x in int64; x itself if it is."""
    return astype(x, int64, copy=False)


def as_int32(x: Tensor) -> Tensor:
    """x in int32; x itself if it is."""
    return astype(x, int32, copy=False)


def as_int16(x: Tensor) -> Tensor:
    """x in int16; x itself if it is."""
    return astype(x, int16, copy=False)


def as_uint8(x: Tensor) -> Tensor:
    """x in uint8; x itself if it is."""
    return astype(x, uint8, copy=False)


def as_bool(x: Tensor) -> Tensor:
    """Whether each element is not 0; x itself if it is bool."""
    return astype(x, bool_, copy=False)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the dtype of other, and on its device."""
    return x.to(other)


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x repeated to the shape of other: a view."""
    return expand(x, *other.shape)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of other: a view."""
    return view_as_shape(x, *other.shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of other: a view where the memory allows it."""
    return reshape(x, other.shape)


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x = masked_fill(x, mask, value), in the memory of x; returns x."""
    return copy_(x, masked_fill(x, mask, value))


def scatter_add_(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x = scatter_add(x, index, src, dim), in the memory of x; returns x."""
    return copy_(x, scatter_add(x, index, src, dim))


def new_tensor(x: Tensor, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.tensor(data)`, with the dtype and the device of x unless others are given."""
    return tensor(data, dtype=dtype or x.dtype, device=device or x.device)


def new_empty(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.empty(*size)`, with the dtype and the device of x unless others are given."""
    return empty(*size, dtype=dtype or x.dtype, device=device or x.device)


def new_zeros(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.zeros(*size)`, with the dtype and the device of x unless others are given."""
    return zeros(*size, dtype=dtype or x.dtype, device=device or x.device)


def new_ones(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.ones(*size)`, with the dtype and the device of x unless others are given."""
    return ones(*size, dtype=dtype or x.dtype, device=device or x.device)


def new_full(x: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.full(size, fill_value)`, with the dtype and the device of x unless others are given."""
    return full(size, fill_value, dtype=dtype or x.dtype, device=device or x.device)
