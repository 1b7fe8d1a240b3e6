"""CPU sums over axes for every layout and dtype, nearly as accurate as pairwise summation.

`np.add.reduce` sums pairwise only along the innermost axis; along the others it accumulates sequentially, so
2**25 float32 ones sum to 2**24. Here an accumulator takes at most `RUN` additions in a row, at no cost in
time. Contiguous floats are multiplied by a vector of ones: BLAS reads memory two to eight times as fast as
NumPy's add.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod as size_of
from typing import Any

import numpy as np

from tinytensor.kernels.reduction import reduced_count, reduced_shape
from tinytensor.op import Direct, Spec
from tinytensor.ops.reductions.blocks import by_blocks, worth_blocks
from tinytensor.runtime.cpu.arrays import NUMPY, Array

CHUNK = 2048  # elements of a row that BLAS sums, in interleaved runs
RUN = 128  # most elements summed sequentially; eight times as many where BLAS adds rows
# Above FEW_ELEMENTS BLAS wakes its threads, which spin afterwards and slow down other kernels; NumPy adds at
# most FEW_ROWS rows nearly as fast.
FEW_ROWS, FEW_ELEMENTS = 32, 1 << 13
Axes = tuple[int, ...]

ALL_AXES = [tuple(range(n)) for n in range(65)]  # NumPy has at most 64 axes


def ones(n: int, dtype: np.dtype[Any]) -> Array:
    """A cached vector of n ones; read-only by convention."""
    kept = _ones.get(dtype)
    if kept is None:
        kept = _ones[dtype] = np.ones(1 << 14, dtype)
    return kept[:n] if n <= kept.size else np.ones(n, dtype)


_ones: dict[np.dtype[Any], Array] = {}


def small_sum(x: Spec, axes: Axes, keepdims: bool) -> Direct | None:
    """Sum of a small C-contiguous float array over all axes or the last ones, as a product with ones."""
    n, ndim = reduced_count(x.shape, axes), len(x.shape)
    last = axes == ALL_AXES[ndim][ndim - len(axes) :]
    if x.dtype.kind != "float" or not axes or not size_of(x.shape) or not last:
        return None
    weights, shape = ones(n, NUMPY[x.dtype]), reduced_shape(x.shape, axes, keepdims)
    if len(axes) == 1 and not keepdims:
        return lambda a: np.asarray(a.dot(weights))
    return lambda a: np.asarray(a.reshape(-1, n).dot(weights)).reshape(shape)


def add_up(y: Array, x: Array, axes: Axes) -> None:
    """y = the sum of x over sorted axes; y is C-contiguous, with or without the axes of size 1."""
    first, last = axes == ALL_AXES[len(axes)], axes == ALL_AXES[x.ndim][x.ndim - len(axes) :]
    kind, flags = x.dtype.kind, x.flags
    if kind == "f" and axes and (first or last):
        if flags.c_contiguous:
            n = reduced_count(x.shape, axes)
            if last:
                sum_rows(y.reshape(-1), x.reshape(y.size, n))
            else:
                _sum_columns(y.reshape(-1), x.reshape(n, y.size))
            return
        if x.ndim == 2 and flags.f_contiguous:
            add_up(y, x.T, (1 - axes[0],) if len(axes) == 1 else axes)
            return
    if kind == "f" and axes and y.dtype == x.dtype and worth_blocks(x):
        by_blocks(y.reshape(reduced_shape(x.shape, axes, True)), x, axes, sum_rows, _sum_columns)
        return
    if short_rows(y, x, axes):
        reduce_short(np.add, y, x, axes)
    else:
        if kind in "fc":
            x = _sum_runs(x, axes)
        np.add.reduce(x, axes, out=y, keepdims=y.ndim == x.ndim, dtype=y.dtype)


def short_rows(y: Array, x: Array, axes: Axes) -> bool:
    """Whether y has many elements, each reduced from a few that are not in long contiguous rows."""
    awkward = bool(axes) and (axes[-1] == x.ndim - 1 or not x.flags.c_contiguous)
    return awkward and 0 < x.size // (y.size or 1) <= min(32, y.size // 16)


def reduce_short(ufunc: np.ufunc, y: Array, x: Array, axes: Axes) -> None:
    """y = x reduced over axes, in one pass over y per index on these axes.

    Ten times as fast as NumPy, which would run an inner loop of a few elements for each element of y.
    """
    front = np.moveaxis(x, axes, range(len(axes)))
    y = y.reshape(front.shape[len(axes) :])
    first, *rest = np.ndindex(*front.shape[: len(axes)])
    np.copyto(y, front[first])
    for at in rest:
        ufunc(y, front[at], out=y)


def _add_row(x: Array, out: Array) -> None:
    np.dot(x, ones(x.shape[1], x.dtype), out=out)


def sum_rows(y: Array, x: Array, add: Callable[[Array, Array], object] = _add_row) -> None:
    """Row sums (R, n) → (R,), by a function that sums short rows."""
    n = x.shape[1]
    if n <= (CHUNK if len(x) == 1 else 64 * CHUNK):
        add(x, y)
        return
    k = n // CHUNK
    for r in range(len(x)):  # a long row as a matrix, so that the vector of ones is short
        parts = np.empty((1, k + 1), x.dtype)
        add(x[r, : k * CHUNK].reshape(k, CHUNK), parts[0, :k])
        add(x[r : r + 1, k * CHUNK :], parts[0, k:])
        sum_rows(y[r : r + 1], parts)


def _sum_columns(y: Array, x: Array) -> None:
    """Column sums (n, C) → (C,)."""
    n, step = len(x), 8 * RUN
    if n <= FEW_ROWS and x.size > FEW_ELEMENTS:
        np.add.reduce(x, 0, out=y)
        return
    if n <= step:
        np.dot(ones(n, x.dtype), x, out=y)
        return
    parts = np.empty((-(-n // step), x.shape[1]), x.dtype)
    for i in range(len(parts)):
        rows = x[i * step : (i + 1) * step]
        np.dot(ones(len(rows), x.dtype), rows, out=parts[i])
    _sum_columns(y, parts)


def _sum_runs(x: Array, axes: Axes) -> Array:
    """x with runs replaced by their sums, until at most RUN remain for each element of the result."""
    while reduced_count(x.shape, axes) > RUN:
        axis = max(axes, key=x.shape.__getitem__)
        n = x.shape[axis]
        length = min(n, RUN)
        k = n // length
        parts = np.empty((*x.shape[:axis], -(-n // length), *x.shape[axis + 1 :]), x.dtype)
        elements, sums = np.moveaxis(x, axis, 0), np.moveaxis(parts, axis, 0)
        runs = elements[: k * length].reshape(k, length, *elements.shape[1:])  # a view
        np.add.reduce(runs, 1, out=sums[:k])
        if n > k * length:
            np.add.reduce(elements[k * length :], 0, out=sums[k:], keepdims=True)
        x = parts
    return x


def row_sum(a: Array) -> Array:
    """Sum of each row of (rows, C), shape (rows,)."""
    total = np.empty(len(a), a.dtype)
    add_up(total, a, (1,))
    return total


def column_sum(a: Array, out: Array | None = None) -> Array:
    """Sum of each column of (rows, C), shape (C,)."""
    total = np.empty(a.shape[1], a.dtype) if out is None else out
    add_up(total, a, (0,))
    return total


def kept_sum(a: Array, axis: int) -> Array:
    """Sum over an axis, with the axis kept as size 1."""
    total = np.empty((*a.shape[:axis], 1, *a.shape[axis + 1 :]), a.dtype)
    add_up(total, a, (axis,))
    return total
