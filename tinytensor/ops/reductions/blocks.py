"""CPU reductions of arrays that are not C-contiguous: block by block, in reused scratch memory.

NumPy's inner loops run along one axis with its stride, and take up to ten times as long as a copy to
contiguous memory and its reduction. A block is a matrix: its rows, or its columns, are reduced.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod as size_of
from typing import Any

import numpy as np

from tinytensor.runtime.cpu.arrays import Array, copy_into, scratch

LARGE = 1 << 14  # elements; smaller arrays are reduced without blocks
BLOCK = 1 << 18  # elements
Reduce = Callable[[Array, Array], Any]  # arguments: result (K,), block


def worth_blocks(x: Array) -> bool:
    """Whether an array is large and not C-contiguous."""
    return x.size >= LARGE and not x.flags.c_contiguous


def by_blocks(y: Array, x: Array, axes: tuple[int, ...], rows: Reduce, columns: Reduce) -> None:
    """y = x reduced over axes, block by block.

    Args:
        y: with the reduced axes, of size 1.
        x: any strides.
        axes: at least one.
        rows: reduces each row of a block (K, n).
        columns: reduces each column of a block (n, K); also the results of the blocks.
    """
    if x.size <= BLOCK:
        _reduce_block(y, x, axes, rows, columns)
        return
    pieces = -(-x.size // BLOCK)
    kept = [axis for axis in range(x.ndim) if axis not in axes and x.shape[axis] > 1]
    reduced = [axis for axis in axes if x.shape[axis] > 1]
    prefers_kept = _nearest(x) in axes or 16 * pieces * y.size > x.size
    axis = max((kept if prefers_kept else reduced) or kept or reduced, key=lambda axis: abs(x.strides[axis]))
    n = x.shape[axis]
    step = max(1, n // pieces)
    before: tuple[slice, ...] = (slice(None),) * axis
    cuts = [(*before, slice(i, i + step)) for i in range(0, n, step)]
    if axis in kept:
        for at in cuts:
            by_blocks(y[at], x[at], axes, rows, columns)
        return
    parts = np.empty((len(cuts), *y.shape), y.dtype)
    for part, at in zip(parts, cuts, strict=True):
        by_blocks(part, x[at], axes, rows, columns)
    _reduce_block(y[None], parts, (0,), rows, columns)


def _nearest(x: Array) -> int:
    """The axis with the smallest stride."""
    return min(range(x.ndim), key=lambda axis: (x.shape[axis] == 1, abs(x.strides[axis]) or 1 << 62))


def _reduce_block(y: Array, x: Array, axes: tuple[int, ...], rows: Reduce, columns: Reduce) -> None:
    kept = tuple([axis for axis in range(x.ndim) if axis not in axes])
    near = _nearest(x)
    count = size_of([x.shape[axis] for axis in axes])
    x = x.transpose(*kept, *axes) if near in axes else x.transpose(*axes, *kept)
    if not x.flags.c_contiguous:
        block = scratch("reduction", x.shape, x.dtype)
        copy_into(block, x)
        x = block
    total = np.empty(y.size, y.dtype)
    if near in axes:
        rows(total, x.reshape(-1, count))
    else:
        columns(total, x.reshape(count, -1))
    y[...] = total.reshape(y.shape)
