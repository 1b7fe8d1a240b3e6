"""Launches of the sort kernels of `reductions/sorting.cu`: tile sort, merge passes, top-k passes.

Depends on shapes and strides alone.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod
from typing import NamedTuple

from tinytensor.dispatch.launch import Launch, View, blocks_for, merge
from tinytensor.dtypes import int8
from tinytensor.errors import ShapeError
from tinytensor.kernels.reduction import INT_MAX, THREADS, need_real, power_of_two, unrolled_rank
from tinytensor.layout import Layout

TILE = 2048  # items that one block sorts
BLOCK_ITEMS = 512  # least items of a block, which sorts several short rows
MERGED = 1024  # items that one block merges
FEW = TILE // 4  # most items of a tile that pass to the next round of a top-k search
_MAX_ROW = (1 << 32) - 1  # an index has 32 bits, and its last value is reserved


class _Job(NamedTuple):
    """Parameters shared by all passes of one call. `rows` is the packed struct, `number` their number."""

    launch: Launch
    values: View | None
    order: View | None
    x: View
    rank: int
    position: str
    rows: bytes
    number: int
    descending: bool

    @property
    def item_bytes(self) -> int:
        """Bytes of an item: a key with an index."""
        return 16 if self.x.itemsize == 8 else 8

    def items(self, per_row: int) -> View:
        """Scratch for `per_row` items of each row."""
        return self.launch.scratch((self.number * per_row * self.item_bytes,), int8)


def launch_sort(
    launch: Launch, values: View | None, order: View | None, x: View, axis: int, keep: int, descending: bool
) -> None:
    """The first `keep` elements of x in sorted order along an axis, and their indices; nan sorts as largest.

    Args:
        values: C-contiguous, shape of x with `keep` elements on the axis; or None.
        order: int64, the same shape; or None.
        keep: at most the size of the axis.
        descending: largest first; the sort is stable.
    """
    need_real("sort", x)
    results = values or order
    n = x.shape[axis]
    if results is None or results.size == 0:
        return
    if n >= _MAX_ROW:
        raise ShapeError(
            f"sort: axis {axis} of shape {x.shape} on a device",
            why=f"its kernels count up to {_MAX_ROW} elements along an axis",
            fix='sort on the CPU: x.to("cpu")',
        )
    job = _Job(launch, values, order, x, *_rows(results.layout, x.layout, axis), descending)
    if keep > FEW and n > TILE:
        _gather(job, _merged(job, n), n, keep)
        return
    best, length = None, n
    while length > TILE:
        full, last = divmod(length, TILE)
        kept = full * keep + min(last, keep)
        fewer = job.items(kept)
        _sort_tiles(job, best, length, TILE, keep, fewer, kept)
        best, length = fewer, kept
    _sort_tiles(job, best, length, power_of_two(length, 2, TILE), keep)


def _sort_tiles(
    job: _Job, source: View | None, length: int, tile: int, keep: int, to: View | None = None, kept: int = 0
) -> None:
    """Sort tiles of the elements of x, or of the `length` items per row that an earlier pass left (`source`).
    The first `keep` of each tile go to `to`, `kept` per row; without `to` they are the results.
    """
    tiles, together = -(-length // tile), max(BLOCK_ITEMS, tile)
    results = (job.values, job.order) if to is None else (None, None)
    sizes = (job.rows, job.number, length, kept, tile, tiles, keep, job.descending)
    job.launch(
        *("sort_tiles", job.x.dtype, job.rank, job.position),
        grid=-(-job.number * tiles // (together // tile)),
        block=THREADS,
        args=(*results, to, source, job.x, *sizes),
        shared=together * job.item_bytes,
    )


def _merged(job: _Job, n: int) -> View:
    """All items of rows of n elements, sorted."""
    runs, merged = job.items(n), job.items(n)
    _sort_tiles(job, None, n, TILE, TILE, runs, n)
    item = "Pair" if job.item_bytes == 16 else "unsigned long long"
    blocks, run = -(-n // MERGED), TILE
    while run < n:
        job.launch(
            *("sort_merge", item, job.position),
            grid=job.number * blocks,
            block=THREADS,
            args=(merged, runs, n, run, blocks),
            shared=MERGED * job.item_bytes,
        )
        runs, merged, run = merged, runs, 2 * run
    return runs


def _gather(job: _Job, items: View, n: int, keep: int) -> None:
    """Write the elements and indices of the first `keep` of n sorted items per row."""
    job.launch(
        *("sort_gather", job.x.dtype, job.rank, job.position),
        grid=blocks_for(job.number * keep, THREADS),
        block=THREADS,
        args=(job.values, job.order, items, job.x, job.rows, job.number, n, keep),
    )


@lru_cache(maxsize=4096)
def _rows(results: Layout, x: Layout, axis: int) -> tuple[int, str, bytes, int]:
    """(rank, C++ index type, packed `Rows`, number of rows)."""
    others = [i for i in range(len(x.shape)) if i != axis]
    sizes, steps = merge([x.shape[i] for i in others], [[v.strides[i] for i in others] for v in (results, x)])
    count, rank = prod(sizes), unrolled_rank("sort", x.shape, len(sizes))
    low, high = x.extent
    wide = max(results.size, count * x.shape[axis], high - low + 1) > INT_MAX
    missing = rank - len(sizes)
    numbers = [*[1] * missing, *sizes]
    for step in steps:
        numbers += [*[0] * missing, *step]
    along = (results.strides[axis], x.strides[axis])
    packed = struct.pack(f"@{3 * rank + 2}{'q' if wide else 'i'}", *numbers, *along)
    return rank, "long long" if wide else "int", packed, count
