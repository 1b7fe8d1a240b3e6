"""PyTorch's names of reductions, scans and statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.creation import full_like, tensor
from tinytensor.dtypes import result_type
from tinytensor.errors import ArgumentError
from tinytensor.ops.elementwise.comparison import equal, isnan, not_equal, where
from tinytensor.ops.indexing.gathering import scatter_add, take_along_axis
from tinytensor.ops.reductions.min_max import max, min
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum
from tinytensor.ops.reductions.sorting import (
    ValuesIndices,
    argsort,
    searchsorted,
    sort,
    unique_all,
)
from tinytensor.ops.views.manipulation import moveaxis
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "amax",
    "amin",
    "bincount",
    "cumprod",
    "cumsum",
    "isin",
    "median",
    "quantile",
    "unique",
]

cumprod, cumsum = cumulative_prod, cumulative_sum


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


# ---- by order ----------------------------------------------------------------------------------------------


def median(
    x: Tensor, dim: int | None = None, keepdim: bool = False, *, axis: Any = ..., keepdims: bool = False
) -> Any:
    """The median, the lower one of two; nan if an element is. With `axis` as in NumPy, the mean of the two.

    Args:
        x: any shape; not complex.
        dim: the axis; None is all of them.
        keepdim: keep it, with size 1.
        axis, keepdims: the same in NumPy's call, of a floating x.

    Returns:
        A tensor; with dim a tuple (values, indices).

    Example:
        >>> tt.median(tt.tensor([4, 1, 3, 2])).item()
        2
        >>> tt.median(tt.tensor([[3, 1, 2]]), dim=1).indices.tolist()
        [2]
        >>> tt.median(tt.tensor([4.0, 1.0, 3.0, 2.0]), axis=0).item()
        2.5
    """
    if axis is not ...:
        return quantile(x, 0.5, axis, keepdims)
    if dim is None:
        return median(x.reshape(-1), 0).values
    if not x.shape:
        return ValuesIndices(x, x.new_zeros((), dtype="int64"))
    order, n = argsort(x, dim), x.shape[dim]  # nan comes last
    rank = where(isnan(x).any(dim, True), n - 1, (n - 1) // 2)
    indices = take_along_axis(order, rank, dim)
    found = take_along_axis(x, indices, dim), indices
    return ValuesIndices(*[y if keepdim else y.squeeze(dim) for y in found])


def quantile(
    x: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The element below which a share q of an axis lies; nan if an element is.

    Args:
        x: any shape; floating.
        q: a number from 0 to 1, or a vector of them, which becomes the first axis of the result.
        dim: the axis; None is all of them.
        keepdim: keep it, with size 1.
        interpolation: between two elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        ArgumentError: another interpolation, q outside [0, 1], or a dtype that is not floating.

    Example:
        >>> tt.quantile(tt.tensor([4.0, 1.0, 3.0]), 0.25).item()
        2.0
    """
    kept = (1,) * x.ndim if dim is None else (*x.shape[:dim], 1, *x.shape[dim:][1:])
    shares = q if is_tensor(q) else np.asarray(q)  # not read as a tensor: a capture would refuse
    if not x.dtype.is_floating or not ((shares >= 0) & (shares <= 1)).all():
        raise ArgumentError(
            f"quantile: shares {shares.tolist()} of a tensor of dtype {x.dtype}",
            why="shares are from 0 to 1, and lie between elements, so these are floating",
            fix="tt.quantile(x.float(), 0.5)",
        )
    q = q if is_tensor(q) else tensor(q, dtype=x.dtype, device=x.device)
    rows = sort(x.reshape(1, -1) if dim is None else moveaxis(x, dim, -1))  # (..., n), nan last
    at = q.reshape(*[1] * (rows.ndim - 1), -1).astype(x.dtype) * (rows.shape[-1] - 1)  # (..., Q)
    low, high = at.floor(), at.ceil()
    below, above = [take_along_axis(rows, n.astype("int64"), -1) for n in (low, high)]
    ways: dict[str, Callable[[], Tensor]] = {
        "linear": lambda: below + (above - below) * (at - low),
        "lower": lambda: below,
        "higher": lambda: above,
        "midpoint": lambda: (below + above) / 2,
        "nearest": lambda: take_along_axis(rows, at.round().astype("int64"), -1),
    }
    if interpolation not in ways:
        raise ArgumentError(
            f"quantile: interpolation {interpolation!r}",
            why=f"it is one of {', '.join(ways)}",
            fix='"linear"',
        )
    y = where(isnan(rows[..., -1:]), math.nan, ways[interpolation]())
    y = moveaxis(y, -1, 0)  # (Q, ...)
    return y.reshape(*q.shape, *(kept if keepdim else () if dim is None else rows.shape[:-1]))


# ---- counts ------------------------------------------------------------------------------------------------


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs, or the sum of its weights.

    Args:
        x: shape (n,), integers, at least 0.
        weights: shape (n,); integers count as float64.
        minlength: the least size of the result, which is the largest number + 1.

    Example:
        >>> tt.bincount(tt.tensor([1, 3, 1])).tolist()
        [0, 2, 0, 1]
    """
    if x.size and int(min(x)) < 0:
        raise ArgumentError(
            f"bincount: the number {int(min(x))}", why="they are at least 0", fix="x - x.min()"
        )
    size = (int(max(x)) + 1 if x.size else 0, minlength)
    counted = x.new_ones(x.shape, dtype="int64") if weights is None else weights
    if weights is not None and not weights.dtype.is_floating:
        counted = weights.double()
    return scatter_add(counted.new_zeros(size[size[0] < size[1]]), x, counted, 0)


def _beside(x: Any, other: Any) -> Tensor:
    """A number as a tensor that is compared with another: a fraction in the dtype of the other."""
    if is_tensor(x):
        return x
    known = is_tensor(other)
    dtype = result_type(other, x) if known and isinstance(x, float) else None
    return tensor(x, dtype=dtype, device=other.device if known else None)


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each element is among others.

    Args:
        elements: any shape, or a number.
        test_elements: any shape, or a number.
        invert: whether it is not.

    Example:
        >>> tt.isin(tt.tensor([1, 2, 3]), tt.tensor([3, 1])).tolist()
        [True, False, True]
    """
    x, among = _beside(elements, test_elements), _beside(test_elements, elements)
    if not among.size:
        return full_like(x, invert, dtype="bool")
    known = sort(among.reshape(-1))
    nearest = known.take(searchsorted(known, x).clip(max=known.size - 1), 0)
    return not_equal(nearest, x) if invert else equal(nearest, x)


def unique(
    x: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The unique elements in ascending order, or the unique slices of an axis.

    Args:
        x: any shape and dtype.
        sorted: PyTorch's; they are sorted anyway.
        return_inverse: also the position of each element among them.
        return_counts: also how often each occurs.
        dim: the axis that numbers the slices.

    Returns:
        shape (n,), or that of x with n on the axis; a tuple if more is asked for. Every nan is unique.

    Example:
        >>> tt.unique(tt.tensor([7, 3, 7])).tolist()
        [3, 7]
        >>> [y.tolist() for y in tt.unique(tt.tensor([[1, 2], [1, 2]]), return_counts=True, dim=0)]
        [[[1, 2]], [2]]
    """
    key = x
    if dim is not None:  # number the slices, column by column: equal numbers are equal slices
        n = x.shape[normalize_axis(dim, x.ndim, "unique")]
        key = x.new_zeros(n, dtype="int64")
        for column in moveaxis(x, dim, 0).reshape(n, x.size // n if n else 0).unbind(1):
            values, _, inverse, _ = unique_all(column)
            key = unique_all(key * values.size + inverse).inverse_indices
    values, first, inverse, counts = unique_all(key)
    values = values if dim is None else x.index_select(dim, first)
    asked = [y for y, ask in ((inverse, return_inverse), (counts, return_counts)) if ask]
    return (values, *asked) if asked else values
