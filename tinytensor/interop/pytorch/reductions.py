"""PyTorch's names of reductions, scans and statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinytensor.creation import arange, full_like, tensor
from tinytensor.dtypes import result_type
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.ops.elementwise.arithmetic import maximum, minimum
from tinytensor.ops.elementwise.comparison import equal, isnan, not_equal, where
from tinytensor.ops.elementwise.exponential import logaddexp
from tinytensor.ops.indexing.gathering import scatter_add, take_along_axis
from tinytensor.ops.joining.joining import concat
from tinytensor.ops.reductions.min_max import max, min
from tinytensor.ops.reductions.reduction import mean, sum
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum
from tinytensor.ops.reductions.sorting import (
    ValuesIndices,
    argsort,
    searchsorted,
    sort,
    unique_all,
)
from tinytensor.ops.reductions.statistics import std, var, vector_norm
from tinytensor.ops.views.manipulation import moveaxis
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "amax",
    "amin",
    "aminmax",
    "bincount",
    "bucketize",
    "corrcoef",
    "cov",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "dist",
    "histc",
    "isin",
    "kthvalue",
    "logcumsumexp",
    "median",
    "mode",
    "msort",
    "nanmean",
    "nanmedian",
    "nanquantile",
    "nansum",
    "quantile",
    "renorm",
    "std_mean",
    "trapezoid",
    "trapz",
    "unique",
    "unique_consecutive",
    "var_mean",
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


class Extremes(NamedTuple):
    """Result of `aminmax`."""

    min: Tensor
    max: Tensor


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Extremes:
    """The least and the largest element, along an axis or of all.

    Args:
        x: any shape; not complex.
        dim: the axis; None is all.
        keepdim: keep it, with size 1.

    Example:
        >>> [y.tolist() for y in tt.aminmax(tt.tensor([[1, 5], [7, 2]]), dim=1)]
        [[1, 2], [5, 7]]
    """
    return Extremes(min(x, axis=dim, keepdims=keepdim), max(x, axis=dim, keepdims=keepdim))


def nansum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of the elements that are not nan.

    Args:
        x: any shape.
        dim: axis or axes; None is all.
        keepdim: keep them, with size 1.
        dtype: of the result.

    Example:
        >>> tt.nansum(tt.tensor([1.0, math.nan, 2.0])).item()
        3.0
    """
    return sum(where(isnan(x), 0.0, x) if x.dtype.is_inexact else x, dim, keepdim, dtype=dtype)


def nanmean(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean of the elements that are not nan; nan where there is none.

    Args:
        x: any shape; floating.
        dim: axis or axes; None is all.
        keepdim: keep them, with size 1.

    Example:
        >>> tt.nanmean(tt.tensor([1.0, math.nan, 2.0])).item()
        1.5
    """
    return nansum(x, dim, keepdim) / sum(~isnan(x), dim, keepdim)


def std_mean(
    x: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Standard deviation, with n - correction, and mean.

    Args:
        x: any shape; floating.
        dim: axis or axes; None is all.
        correction: taken from the number of elements.
        keepdim: keep the axes, with size 1.

    Example:
        >>> [y.item() for y in tt.std_mean(tt.tensor([1.0, 3.0]), correction=0)]
        [1.0, 2.0]
    """
    return std(x, dim, correction, keepdim), mean(x, dim, keepdim)


def var_mean(
    x: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Variance, with n - correction, and mean.

    Args:
        x: any shape; floating.
        dim: axis or axes; None is all.
        correction: taken from the number of elements.
        keepdim: keep the axes, with size 1.

    Example:
        >>> [y.item() for y in tt.var_mean(tt.tensor([1.0, 3.0]))]
        [2.0, 2.0]
    """
    return var(x, dim, correction, keepdim), mean(x, dim, keepdim)


# ---- by order ----------------------------------------------------------------------------------------------


def _picked(x: Tensor, order: Tensor, rank: Any, dim: int, keepdim: bool) -> ValuesIndices:
    """The elements at a rank (one for all rows, or for each) of an order along an axis; their positions."""
    rank = rank if is_tensor(rank) else full_like(order.narrow(dim, 0, 1), rank)
    indices = take_along_axis(order, rank, dim)
    values = take_along_axis(x, indices, dim)
    return ValuesIndices(*[y if keepdim else y.squeeze(dim) for y in (values, indices)])


def _middle(x: Tensor, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if dim is None:
        return _middle(x.reshape(-1), 0, False, skip).values
    if not x.shape:
        return ValuesIndices(x, x.new_zeros((), dtype="int64"))
    order, bad = argsort(x, dim), isnan(x)  # nan comes last
    count = sum(~bad, dim, True) if skip else full_like(sum(bad, dim, True), x.shape[dim])
    rank = maximum((count - 1) // 2, 0)
    return _picked(
        x, order, rank if skip else where(bad.any(dim, True), x.shape[dim] - 1, rank), dim, keepdim
    )


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
    return _middle(x, dim, keepdim, skip=False)


def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """`median` of the elements that are not nan.

    Args:
        x: any shape; not complex.
        dim: the axis; None is all of them.
        keepdim: keep it, with size 1.

    Returns:
        A tensor; with dim a tuple (values, indices).

    Example:
        >>> tt.nanmedian(tt.tensor([4.0, math.nan, 3.0])).item()
        3.0
    """
    return _middle(x, dim, keepdim, skip=True)


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest element along an axis, from 1, and its position.

    Args:
        x: at least one axis; not complex.
        k: from 1 to the size of the axis.
        dim: the axis.
        keepdim: keep it, with size 1.

    Raises:
        ArgumentError: k is out of range.

    Example:
        >>> tt.kthvalue(tt.tensor([7, 5, 6]), 2)
        ValuesIndices(values=tensor(6), indices=tensor(2))
    """
    n = x.shape[normalize_axis(dim, x.ndim, "kthvalue")]
    if not 1 <= k <= n:
        raise ArgumentError(f"kthvalue: k={k} of {n} elements", why="they count from 1", fix=f"k={n}")
    return _picked(x, argsort(x, dim), k - 1, dim, keepdim)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent element along an axis, the least of several, and its last position.

    Args:
        x: at least one axis; not complex.
        dim: the axis.
        keepdim: keep it, with size 1.

    Memory: the square of the size of the axis.

    Example:
        >>> tt.mode(tt.tensor([3, 1, 3, 1, 2])).values.item()
        1
    """
    order = argsort(x, dim)
    rows = moveaxis(take_along_axis(x, order, dim), dim, -1)
    frequent = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).sum(-1)
    rank = frequent.argmax(-1, True) + frequent.max(-1, True) - 1  # of equal elements the last
    return _picked(x, order, moveaxis(rank, -1, dim), dim, keepdim)


def msort(x: Tensor) -> Tensor:
    """The elements sorted along the first axis.

    Args:
        x: at least one axis; not complex.

    Example:
        >>> tt.msort(tt.tensor([3, 1, 2])).tolist()
        [1, 2, 3]
    """
    return sort(x, 0)


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
    y = nanquantile(x, q, dim, keepdim, interpolation=interpolation)
    bad = isnan(x).any() if dim is None else isnan(x).any(dim, keepdim)
    return where(bad, math.nan, y)


def nanquantile(
    x: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of the elements that are not nan.

    Args:
        x: any shape; floating.
        q: a number from 0 to 1, or a vector of them, which becomes the first axis of the result.
        dim: the axis; None is all of them.
        keepdim: keep it, with size 1.
        interpolation: between two elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        ArgumentError: another interpolation, q outside [0, 1], or a dtype that is not floating.

    Example:
        >>> tt.nanquantile(tt.tensor([4.0, math.nan, 3.0]), 0.5).item()
        3.5
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
    at = q.reshape(-1) * maximum(sum(~isnan(rows), -1, True) - 1, 0).astype(x.dtype)  # (..., Q)
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
    y = moveaxis(ways[interpolation](), -1, 0)  # (Q, ...)
    return y.reshape(*q.shape, *(kept if keepdim else () if dim is None else rows.shape[:-1]))


# ---- scans -------------------------------------------------------------------------------------------------


def _prefixes(combine: Any, x: Tensor, dim: int) -> Tensor:
    """combine(x[0], ..., x[i]) at each i of an axis, in log2(n) steps (Hillis, Steele 1986)."""
    if not x.ndim:
        return x
    dim, reach = normalize_axis(dim, x.ndim, "scan"), 1
    n = x.shape[dim]
    while reach < n:
        first, rest = x.narrow(dim, 0, reach), x.narrow(dim, reach, n - reach)
        x = concat([first, combine(x.narrow(dim, 0, n - reach), rest)], dim)
        reach *= 2
    return x


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """Logarithms of the running sums of exp(x), without overflow.

    Args:
        x: at least one axis; floating.
        dim: the axis.

    Example:
        >>> tt.logcumsumexp(tt.zeros(3), 0).exp().tolist()
        [1.0, 2.0, 3.0]
    """
    return _prefixes(logaddexp, x, dim)


def _running(combine: Any, x: Tensor, dim: int) -> ValuesIndices:
    """The running extreme, and its last position."""
    if not x.ndim:
        return ValuesIndices(x, x.new_zeros((), dtype="int64"))
    best, at = _prefixes(combine, x.detach(), dim), normalize_axis(dim, x.ndim, "scan")
    places = arange(x.shape[at], device=x.device).reshape(-1, *[1] * (x.ndim - 1 - at))
    hit = (x == best) | isnan(x)
    indices = _prefixes(maximum, where(hit, places, 0), dim)
    return ValuesIndices(take_along_axis(x, indices, dim), indices)


def cummax(x: Tensor, dim: int) -> ValuesIndices:
    """The largest element so far along an axis, and its last position; nan from the first nan on.

    Args:
        x: at least one axis; not complex.
        dim: the axis.

    Example:
        >>> tt.cummax(tt.tensor([1, 3, 2, 3]), 0).indices.tolist()
        [0, 1, 1, 3]
    """
    return _running(maximum, x, dim)


def cummin(x: Tensor, dim: int) -> ValuesIndices:
    """The least element so far along an axis, and its last position; nan from the first nan on.

    Args:
        x: at least one axis; not complex.
        dim: the axis.

    Example:
        >>> tt.cummin(tt.tensor([3, 1, 2, 1]), 0).indices.tolist()
        [0, 1, 1, 3]
    """
    return _running(minimum, x, dim)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integral of y by the trapezoid rule.

    Args:
        y: at least one axis.
        x: the places, of the shape of y or (n,); or
        dx: the distance of two places.
        dim: the axis.

    Example:
        >>> tt.trapezoid(tt.tensor([0.0, 1.0, 2.0])).item()
        2.0
    """
    return sum(_trapezoids(y, x, dx, dim), dim)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The running integral of y by the trapezoid rule, one element less than y.

    Args:
        y: at least one axis.
        x: the places, of the shape of y or (n,); or
        dx: the distance of two places.
        dim: the axis.

    Example:
        >>> tt.cumulative_trapezoid(tt.tensor([0.0, 1.0, 2.0])).tolist()
        [0.5, 2.0]
    """
    return cumulative_sum(_trapezoids(y, x, dx, dim), dim)


def _trapezoids(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    dim = normalize_axis(dim, y.ndim, "trapezoid")
    n = y.shape[dim]
    if x is not None and x.ndim == 1:
        x = x.reshape(*[1] * dim, -1, *[1] * (y.ndim - 1 - dim))
    widths = dx if x is None else x.narrow(dim, 1, n - 1) - x.narrow(dim, 0, n - 1)
    return (y.narrow(dim, 1, n - 1) / 2 + y.narrow(dim, 0, n - 1) / 2) * widths  # integers do not overflow


# ---- statistics --------------------------------------------------------------------------------------------


def cov(x: Tensor, *, correction: int = 1) -> Tensor:
    """The covariances of the rows of x.

    Args:
        x: shape (variables, observations), or (observations,).
        correction: taken from the number of observations.

    Returns:
        shape (variables, variables); () for one variable.

    Example:
        >>> tt.cov(tt.tensor([[1.0, 3.0], [0.0, 4.0]])).tolist()
        [[2.0, 4.0], [4.0, 8.0]]
    """
    if not 0 < x.ndim < 3:
        raise ShapeError(f"cov: shape {x.shape}", why="it is (variables, observations)", fix="x.flatten(1)")
    rows = x.unsqueeze(0) if x.ndim == 1 else x
    away = rows - rows.mean(-1, True)
    n = x.shape[-1] - correction
    y = away @ away.T / (n if n > 0 else 0)
    return y if len(y) != 1 else y.reshape(())


def corrcoef(x: Tensor) -> Tensor:
    """The correlation coefficients of the rows of x.

    Args:
        x: shape (variables, observations), or (observations,).

    Returns:
        shape (variables, variables); () for one variable.

    Example:
        >>> tt.corrcoef(tt.tensor([[1.0, 3.0], [4.0, 0.0]])).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    y = cov(x)
    if not y.ndim:
        return y / y
    deviation = y.diagonal().sqrt()
    return (y / deviation.unsqueeze(-1) / deviation).clip(-1, 1)


def dist(x: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of x - other.

    Args:
        x, other: tensors that broadcast together.
        p: order of the norm.

    Example:
        >>> tt.dist(tt.zeros(2), tt.tensor([3.0, 4.0])).item()
        5.0
    """
    return vector_norm(x - other, ord=p)


def renorm(x: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices of an axis whose p-norm is above a limit, scaled down to it.

    Args:
        x: at least two axes; floating.
        p: order of the norm.
        dim: the axis that numbers the slices.
        maxnorm: the limit.

    Example:
        >>> tt.renorm(tt.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0).tolist()
        [[0.6, 0.8], [0.3, 0.4]]
    """
    at = normalize_axis(dim, x.ndim, "renorm")
    norms = vector_norm(x, [axis for axis in range(x.ndim) if axis != at], True, p)
    return x * where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)


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


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of the bins between min and max; others are left out.

    Args:
        x: any shape; floating.
        bins: the number of bins, of equal width.
        min, max: the ends; both 0 are the least and the largest element.

    Raises:
        ArgumentError: no bins, or ends that are not finite or not in order.

    Example:
        >>> tt.histc(tt.tensor([1.0, 2.0, 1.5, 9.0]), 2, 1, 3).tolist()
        [2.0, 1.0]
    """
    low, high = (float(x.min()), float(x.max())) if min == max == 0 and x.size else (min, max)
    if bins < 1 or not -math.inf < low <= high < math.inf:
        raise ArgumentError(
            f"histc: {bins} bins from {low} to {high}",
            why="there is at least one, between finite ends in ascending order",
            fix="give min and max: tt.histc(x, 100, 0, 1)",
        )
    low, high = (low - 1, high + 1) if low == high else (low, high)
    inside = x[(x >= low) & (x <= high)]
    place = ((inside - low) * (bins / (high - low))).floor().astype("int64").clip(0, bins - 1)
    return bincount(place, minlength=bins).astype(x.dtype)


def _beside(x: Any, other: Any) -> Tensor:
    """A number as a tensor that is compared with another: a fraction in the dtype of the other."""
    if is_tensor(x):
        return x
    known = is_tensor(other)
    dtype = result_type(other, x) if known and isinstance(x, float) else None
    return tensor(x, dtype=dtype, device=other.device if known else None)


def bucketize(x: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """The number of boundaries below each element; with right also those that are equal.

    Args:
        x: any shape, or a number.
        boundaries: shape (n,), ascending.
        right: whether a boundary itself counts.

    Example:
        >>> tt.bucketize(tt.tensor([1, 3, 6]), tt.tensor([1, 3, 5])).tolist()
        [0, 1, 3]
    """
    return searchsorted(boundaries, _beside(x, boundaries), side="right" if right else "left")


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


def unique_consecutive(x: Tensor, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """The elements without those that equal the one before.

    Args:
        x: any shape, read as one axis.
        return_inverse: also the position of each element among them.
        return_counts: also how often each occurs in a row.

    Returns:
        shape (n,); a tuple if more is asked for.

    Example:
        >>> tt.unique_consecutive(tt.tensor([1, 1, 2, 1])).tolist()
        [1, 2, 1]
    """
    flat = x.reshape(-1)
    new = concat([flat[:1] == flat[:1], flat[1:] != flat[:-1]])
    inverse = (cumulative_sum(new, 0) - 1).reshape(x.shape)
    asked = [inverse] if return_inverse else []
    asked += [bincount(inverse.reshape(-1))] if return_counts else []
    return (flat[new], *asked) if asked else flat[new]
