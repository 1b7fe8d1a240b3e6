"""PyTorch's names that the array API has not, each an expression of functions that are here.

`api.py` exports those in `__all__`, `methods.py` binds methods. What PyTorch has besides is answered with the
expression to write, by `argument_errors.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from tinytensor.argument_checks import with_argument_errors
from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import grad_enabled
from tinytensor.creation import arange, asarray, empty, full, full_like, ones, tensor, zeros
from tinytensor.dispatch.batching import on_value, room_for
from tinytensor.dispatch.elementwise import Operand
from tinytensor.dtypes import BY_NAME, bool_, finfo, float64, int64, result_type
from tinytensor.errors import ArgumentError, DeviceError, DTypeError, IndexRangeError, ShapeError
from tinytensor.ops.elementwise.arithmetic import clip, divide, floor_divide, multiply, negative, subtract
from tinytensor.ops.elementwise.comparison import (
    equal,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    not_equal,
    where,
)
from tinytensor.ops.elementwise.rounding import trunc
from tinytensor.ops.indexing.gathering import nonzero as _nonzero
from tinytensor.ops.indexing.gathering import scatter_add, take, take_along_axis
from tinytensor.ops.inplace import check_target, copy_, has_history
from tinytensor.ops.joining.joining import broadcast_arrays, concat, repeat, stack
from tinytensor.ops.matmul.matmul import matmul
from tinytensor.ops.random.random import normal, rand, randn, uniform
from tinytensor.ops.random.sampling import permutation
from tinytensor.ops.reductions.min_max import max, min
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum
from tinytensor.ops.reductions.sorting import ValuesIndices, argsort, searchsorted, sort, unique_all
from tinytensor.ops.reductions.statistics import vector_norm
from tinytensor.ops.views.manipulation import astype, clone, detach, moveaxis, reshape, transpose
from tinytensor.shapes import normalize_axis, resolve_shape
from tinytensor.tensor import Tensor

__all__ = [
    "amax", "amin", "argwhere", "as_tensor", "bincount", "bmm", "cdist", "clamp", "concatenate",
    "cumprod", "cumsum", "diag", "div", "dot", "eq", "flatten", "ge", "gt", "hstack", "index_add",
    "is_floating_point", "is_tensor", "isin", "le", "lerp", "lt", "masked_select", "median", "mm",
    "movedim", "mul", "mv", "nan_to_num", "narrow", "ne", "neg", "nonzero", "norm", "numel", "quantile",
    "rand_like", "randn_like", "randperm", "ravel", "repeat_interleave", "scatter", "select", "sub",
    "swapaxes", "t", "true_divide", "unflatten", "unique", "vstack",
]  # fmt: skip

# ---- other names of the same function ----------------------------------------------------------------------

as_tensor = asarray
clamp = clip
concatenate = concat
cumprod, cumsum = cumulative_prod, cumulative_sum
dot = mm = bmm = mv = matmul
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
movedim = moveaxis
mul, neg, sub, true_divide = multiply, negative, subtract, divide
randperm = permutation
swapaxes = transpose


# ---- element by element ------------------------------------------------------------------------------------


def div(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """`x / y`; `x // y` with rounding_mode="floor", and with "trunc" rounded towards 0."""
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
    return down + astype((down < 0) & (down * y != x), down.dtype)


def lerp(x: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`x + weight * (end - x)`, exact at both ends."""
    step = end - x
    if not isinstance(weight, Tensor):
        y: Tensor = x + weight * step if weight < 0.5 else end - (1 - weight) * step
        return y
    near = less(weight, 0.5)  # the nearer end, from which rounding leaves both as they are
    return where(near, x, end) + where(near, weight, weight - 1) * step


def nan_to_num(x: Tensor, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """`tt.where(tt.isnan(x), nan, x)`; inf and -inf become the largest and the least number of the dtype."""
    if not x.dtype.is_floating:
        return clone(x)
    limits = finfo(x.dtype)
    y = where(isnan(x), nan, x)
    y = where(equal(y, math.inf), limits.max if posinf is None else posinf, y)
    return where(equal(y, -math.inf), limits.min if neginf is None else neginf, y)


# ---- matrices ----------------------------------------------------------------------------------------------


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """`tt.norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)`: distances of rows."""
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), -1, ord=p)


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """`tt.diagonal(x, diagonal)` of a matrix; a matrix with the vector x on its diagonal."""
    if not 0 < x.ndim < 3:
        raise ShapeError(f"diag: shape {x.shape}", why="it is a vector or a matrix", fix="tt.diagonal(x)")
    if x.ndim == 2:
        return x.diagonal(diagonal)
    n = len(x) + abs(diagonal)
    y = new_zeros(x, n, n)
    y.diagonal(diagonal).copy_(x)
    return y


# ---- reductions --------------------------------------------------------------------------------------------


def amax(x: Tensor, axis: Any = (), keepdims: bool = False) -> Tensor:
    """`tt.max(x, axis)`, () for all axes."""
    return max(x, axis=None if axis == () else axis, keepdims=keepdims)


def amin(x: Tensor, axis: Any = (), keepdims: bool = False) -> Tensor:
    """`tt.min(x, axis)`, () for all axes."""
    return min(x, axis=None if axis == () else axis, keepdims=keepdims)


def norm(
    x: Tensor, p: float | str = 2, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Tensor:
    """`tt.vector_norm(x, axis, ord=p)`; "fro" is 2. The second argument is the order, not an axis."""
    if isinstance(p, str) and p != "fro":
        raise ArgumentError(
            f"norm: p is {p!r}", why='it is a number or "fro"', fix="tt.linalg.matrix_norm(x, ord=p)"
        )
    return vector_norm(x, axis, keepdims, 2 if p == "fro" else p)  # type: ignore[arg-type]


def median(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Any:
    """The middle of `tt.sort(x)`, the lower one of two, or nan; with an axis `(values, indices)`.

    `tt.quantile(x, 0.5, axis)` is the mean of the two, as in NumPy.
    """
    if axis is None:
        return median(x.reshape(-1), 0).values
    if not x.shape:
        return ValuesIndices(x, new_zeros(x, (), dtype=int64))
    order, n = argsort(x, axis), x.shape[axis]  # nan comes last
    rank = where(isnan(x).any(axis, True), n - 1, (n - 1) // 2)
    indices = take_along_axis(order, rank, axis)
    found = take_along_axis(x, indices, axis), indices
    return ValuesIndices(*[y if keepdims else y.squeeze(axis) for y in found])


def quantile(
    x: Tensor, q: Any, axis: int | None = None, keepdims: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The element of `tt.sort(x, axis)` at the share q from 0 to 1, or nan; a vector q gives a first axis."""
    kept = (1,) * x.ndim if axis is None else (*x.shape[:axis], 1, *x.shape[axis:][1:])
    shares = q if isinstance(q, Tensor) else np.asarray(q)  # not read as a tensor: a capture would refuse
    try:
        right = x.dtype.is_floating and bool(((shares >= 0) & (shares <= 1)).all())
    except DeviceError as error:  # while a graph is captured
        raise DeviceError(
            "quantile: the shares are in a tensor, which is read",
            why=error.what,
            fix="give shares as numbers: tt.quantile(x, [0.25, 0.5])",
        ) from None
    if not right:
        raise ArgumentError(
            f"quantile: shares {shares.tolist()} of a tensor of dtype {x.dtype}",
            why="shares are from 0 to 1, and lie between elements, so these are floating",
            fix="tt.quantile(x.float(), 0.5)",
        )
    q = q if isinstance(q, Tensor) else tensor(q, dtype=x.dtype, device=x.device)
    rows = sort(x.reshape(1, -1) if axis is None else moveaxis(x, axis, -1))  # (..., n), nan last
    at = q.reshape(*[1] * (rows.ndim - 1), -1).astype(x.dtype) * (rows.shape[-1] - 1)  # (..., Q)
    low, high = at.floor(), at.ceil()
    below, above = [take_along_axis(rows, n.astype(int64), -1) for n in (low, high)]
    ways: dict[str, Callable[[], Tensor]] = {
        "linear": lambda: below + (above - below) * (at - low),
        "lower": lambda: below,
        "higher": lambda: above,
        "midpoint": lambda: (below + above) / 2,
        "nearest": lambda: take_along_axis(rows, at.round().astype(int64), -1),
    }
    if interpolation not in ways:
        raise ArgumentError(
            f"quantile: interpolation {interpolation!r}",
            why=f"it is one of {', '.join(ways)}",
            fix='"linear"',
        )
    y = moveaxis(where(isnan(rows[..., -1:]), math.nan, ways[interpolation]()), -1, 0)  # (Q, ...)
    return y.reshape(*q.shape, *(kept if keepdims else () if axis is None else rows.shape[:-1]))


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """`tt.sum(x[:, None] == tt.arange(n), 0)`: how often each number occurs, or the sum of its weights."""
    low, high = (int(min(x)), int(max(x)) + 1) if x.size else (0, 0)
    if low < 0:
        raise ArgumentError(f"bincount: the number {low}", why="they are at least 0", fix="x - x.min()")
    counted = ones(x.shape, dtype=int64, device=x.device) if weights is None else weights
    if weights is not None and not weights.dtype.is_floating:
        counted = astype(weights, float64)
    return scatter_add(new_zeros(counted, high if high > minlength else minlength), 0, x, counted)


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """`tt.any(elements[..., None] == test_elements.flatten(), -1)`, or with invert its opposite."""

    def beside(x: Any, other: Any) -> Tensor:  # a number: a fraction in the dtype of the other
        if isinstance(x, Tensor):
            return x
        known = isinstance(other, Tensor)
        dtype = result_type(other, x) if known and isinstance(x, float) else None
        return tensor(x, dtype=dtype, device=other.device if known else None)

    x, among = beside(elements, test_elements), beside(test_elements, elements)
    if not among.size:
        return full_like(x, invert, dtype=bool_)
    known = sort(among.reshape(-1))
    nearest = take(known, clip(searchsorted(known, x), max=known.size - 1), 0)
    return not_equal(nearest, x) if invert else equal(nearest, x)


def unique(
    x: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Any:
    """`tt.unique_values(x)`, always sorted, or unique slices of an axis; positions and counts as asked."""
    key = x
    if axis is not None:  # number the slices, column by column: equal numbers are equal slices
        n = x.shape[normalize_axis(axis, x.ndim, "unique")]
        key = zeros(n, dtype=int64, device=x.device)
        for column in moveaxis(x, axis, 0).reshape(n, x.size // n if n else 0).unbind(1):
            values, _, inverse, _ = unique_all(column)
            key = unique_all(key * values.size + inverse).inverse_indices
    values, first, inverse, counts = unique_all(key)
    values = values if axis is None else take(x, first, axis)
    asked = [y for y, ask in ((inverse, return_inverse), (counts, return_counts)) if ask]
    return (values, *asked) if asked else values


# ---- shapes ------------------------------------------------------------------------------------------------


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`x.reshape(-1)`, or of axes start_dim to end_dim: a view where the memory allows it."""
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
    """`x.reshape(-1)`."""
    return reshape(x, (-1,))


def unflatten(x: Tensor, axis: int, sizes: Sequence[int]) -> Tensor:
    """`x.reshape(…)` of one axis into several; one size may be -1."""
    at = normalize_axis(axis, x.ndim, "unflatten")
    return reshape(x, (*x.shape[:at], *resolve_shape(sizes, x.shape[at], "unflatten"), *x.shape[at + 1 :]))


def t(x: Tensor) -> Tensor:
    """`x.mT` of a matrix; a vector as it is."""
    if x.ndim > 2:
        raise ShapeError(f"t: shape {x.shape}", why="a matrix has two axes", fix="x.mT swaps the last two")
    return x if x.ndim < 2 else transpose(x, 0, 1)


def select(x: Tensor, axis: int, index: int) -> Tensor:
    """`x[:, index]`, of any axis: a view."""
    found: Tensor = x[(*[slice(None)] * normalize_axis(axis, x.ndim, "select"), index)]
    return found


def narrow(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """`x[:, start : start + length]`, of any axis: a view."""
    at = normalize_axis(axis, x.ndim, "narrow")
    size = x.shape[at]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise IndexRangeError(
            f"narrow: {length} positions from {start} of an axis of size {size}",
            why="they are not all there",
            fix=f"start + length <= {size}",
        )
    found: Tensor = x[(*[slice(None)] * at, slice(first, first + length))]
    return found


def repeat_interleave(x: Tensor, repeats: int | Tensor, axis: int | None = None) -> Tensor:
    """`tt.repeat(x, repeats, axis=axis)`."""
    return repeat(x, repeats, axis=axis)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """`tt.concat(tensors, 1)`; of vectors `tt.concat(tensors)`."""
    xs = [x if x.ndim else reshape(x, (1,)) for x in tensors]
    return concat(xs, 0 if xs and xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """`tt.concat(tensors)`, where vectors are rows."""
    return concat([x if x.ndim > 1 else reshape(x, (1, x.size)) for x in tensors], 0)


# ---- by index ----------------------------------------------------------------------------------------------


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """`x[mask]`, after both are broadcast."""
    if mask.dtype is not bool_:
        raise DTypeError(
            f"masked_select: a mask of dtype {mask.dtype}", why="a mask is bool", fix="mask.bool()"
        )
    x, mask = broadcast_arrays(x, mask)
    found: Tensor = x[mask]
    return found


@overload
def nonzero(x: Tensor, *, as_tuple: Literal[True] = ...) -> tuple[Tensor, ...]: ...
@overload
def nonzero(x: Tensor, *, as_tuple: bool) -> Any: ...
def nonzero(x: Tensor, *, as_tuple: bool = True) -> Any:
    """Positions of elements that are not 0: `x[tt.nonzero(x)]`; with as_tuple=False `tt.argwhere(x)`."""
    places = _nonzero(x)
    return places if as_tuple else stack(places, 1)


def argwhere(x: Tensor) -> Tensor:
    """`tt.stack(tt.nonzero(x), 1)`."""
    return stack(_nonzero(x), 1)


def scatter(x: Tensor, axis: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """`y[index[i, j], j] = src[i, j]` for axis 0, in a copy y of x; src or value may be a number."""
    src = value if src is None else src
    y, at = clone(room_for(x, index, src)), normalize_axis(axis, x.ndim, "scatter")
    places = [
        arange(n, device=x.device).reshape(-1, *[1] * (x.ndim - 1 - i)) for i, n in enumerate(index.shape)
    ]
    if isinstance(src, Tensor):
        if src.ndim != index.ndim or any([n < m for n, m in zip(src.shape, index.shape, strict=True)]):
            raise ShapeError(
                f"scatter: values of shape {src.shape} for an index of shape {index.shape}",
                why="each position has one value",
                fix="expand the values: value.expand(…)",
            )
        src = src[tuple([slice(n) for n in index.shape])]
    y[(*places[:at], index, *places[at + 1 :])] = src
    return y


def index_add(x: Tensor, axis: int, index: Tensor, source: Tensor, *, alpha: complex = 1) -> Tensor:
    """`tt.scatter_add(x, axis, positions, alpha * source)`, of whole slices: index (n,), n on the axis."""
    at = normalize_axis(axis, x.ndim, "index_add")
    if index.ndim > 1 or source.shape != (*x.shape[:at], index.size, *x.shape[at + 1 :]):
        raise ShapeError(
            f"index_add: index of shape {index.shape} and slices of shape {source.shape} on axis {at} of "
            f"shape {x.shape}",
            why="each index has one slice",
            fix="an index of shape (n,), and a source of the shape of x with n on the axis",
        )
    positions = index.reshape(-1, *[1] * (x.ndim - 1 - at)).expand(source.shape)
    return scatter_add(x, at, positions, source if alpha == 1 else alpha * source)


# ---- new tensors, and questions ----------------------------------------------------------------------------


def rand_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.rand(*x.shape)`, with the dtype and the device of x unless others are given."""
    return rand(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


def randn_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.randn(*x.shape)`, with the dtype and the device of x unless others are given."""
    return randn(*x.shape, dtype=dtype or x.dtype, device=device or x.device)


def is_tensor(x: object) -> bool:
    """`isinstance(x, tt.Tensor)`."""
    return isinstance(x, Tensor)


def is_floating_point(x: Tensor) -> bool:
    """`x.dtype.is_floating`."""
    return x.dtype.is_floating


def numel(x: Tensor) -> int:
    """`x.size`."""
    return x.layout.size


# ---- methods alone -----------------------------------------------------------------------------------------


def data_of(x: Tensor) -> Tensor:
    """`x.detach()`; assigning to it writes into the memory of x."""
    return detach(x)


def set_data(x: Tensor, value: Any) -> None:
    """x.data = value: a copy into the memory of x, of the same shape; `x.data -= step` needs none."""
    alias = detach(x)
    if not isinstance(value, Tensor) or value.layout.shape != x.layout.shape:
        given = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(
            f"data: {given} is assigned to a tensor of shape {x.layout.shape}",
            why="the numbers are copied into the memory of the tensor",
            fix="make a new tensor, such as nn.Parameter(value), and put it in its place",
        )
    if value.storage is not x.storage or value.layout != x.layout:
        copy_(alias, detach(value))


def dim(x: Tensor) -> int:
    """`x.ndim`."""
    return x.ndim


def stride(x: Tensor, axis: int | None = None) -> Any:
    """`x.strides`, in elements, or that of one axis."""
    return x.strides if axis is None else x.strides[normalize_axis(axis, x.ndim, "stride")]


def _cast(name: str) -> Callable[[Tensor], Tensor]:
    def cast(x: Tensor) -> Tensor:
        return astype(x, BY_NAME[name], copy=False)

    cast.__doc__ = f"`x.astype(tt.{name}, copy=False)`."
    return cast


as_float64, as_float32, as_float16, as_bfloat16 = map(_cast, ("float64", "float32", "float16", "bfloat16"))
as_int64, as_int32, as_bool = map(_cast, ("int64", "int32", "bool"))


def _made(make: Callable[..., Tensor], x: Tensor, size: Any, dtype: Any, device: Any) -> Tensor:
    """make(size) like x; of a batched x one for each sample, which can be written into."""
    sizes = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    if isinstance(x, Batched):
        return on_value(lambda value: _made(make, value, (x.level.size, *sizes), dtype, device), x)
    return make(sizes, dtype=dtype or x.dtype, device=device or x.device)


def _new(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def new(x: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        return _made(make, x, size, dtype, device)

    new.__doc__ = f"`tt.{make.__name__}(*size)`, with the dtype and the device of x unless others are given."
    return new


new_empty, new_zeros, new_ones = map(_new, (empty, zeros, ones))


def new_full(x: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`tt.full(size, fill_value)`, with the dtype and the device of x unless others are given."""
    return _made(lambda sizes, **like: full(sizes, fill_value, **like), x, (size,), dtype, device)


# ---- in-place methods --------------------------------------------------------------------------------------


def written(function: Callable[..., Tensor], name: str = "") -> Callable[..., Tensor]:
    """The in-place method of a function: x = function(x, ...), in the memory of x; returns x.

    Differentiable: where a gradient is recorded, the function gets copies of x and of what shares its memory,
    since backward may need them.
    A result of another shape is an error: x is not filled with copies of it.
    """
    name = name or function.__name__ + "_"
    function = with_argument_errors(function, name)

    def method(x: Tensor, *args: Any, **options: Any) -> Tensor:
        check_target(x, grad_enabled() and has_history(x), name)
        given = (x, *args)
        tensors = [t for t in (*given, *options.values()) if isinstance(t, Tensor)]
        if grad_enabled() and any([has_history(t) for t in tensors]):

            def kept(t: Any) -> Any:
                return clone(t) if isinstance(t, Tensor) and t.storage is x.storage else t

            given, options = tuple(map(kept, given)), {key: kept(t) for key, t in options.items()}
        y = function(*given, **options)
        if y.shape != x.shape:
            raise ShapeError(
                f"{name}: the result of shape {y.shape} does not fit into the target of shape {x.shape}",
                why="a target that is written in place keeps its shape",
                fix=f"use {name[:-1]}, which is not in place",
            )
        return copy_(x, y)

    method.__name__ = name
    method.__doc__ = f"x = {name[:-1]}(x, ...), in the memory of x; returns x."
    return method


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None) -> Tensor:
    """`x.copy_(tt.uniform(x.shape, from_, to))`."""
    return copy_(x, uniform(x.shape, from_, to, dtype=x.dtype, device=x.device, generator=generator))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """`x.copy_(tt.normal(mean, std, x.shape))`."""
    return copy_(x, normal(mean, std, x.shape, dtype=x.dtype, device=x.device, generator=generator))
