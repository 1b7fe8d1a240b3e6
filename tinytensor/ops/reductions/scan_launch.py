"""Launch configuration of scans: kernel of `scan.cu`, grid, block and number of passes.

It depends on shapes, strides and item size alone.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod
from typing import NamedTuple

from tinytensor.dispatch.launch import Launch, View, blocks_for, merge, plan_caches
from tinytensor.dtypes import int8
from tinytensor.kernels.reduction import BLOCKS, INT_MAX, THREADS, need_real, power_of_two, unrolled_rank
from tinytensor.layout import Layout

STATE_BYTES = 16  # size of the largest State
SHORT = 16  # elements of a line that one thread scans, although accesses are then not coalesced


class Plan(NamedTuple):
    """Configuration of a pass over the lines; `chunks` > 1 needs two, and one over the totals of chunks."""

    kernel: str
    rank: int
    position: str
    grid: tuple[int, int]
    block: tuple[int, int]
    packed: bytes
    lines: int
    n: int
    chunk: int
    chunks: int


def launch_scan(
    launch: Launch, functor: str, y: View, a: View, b: View | None, axis: int, reverse: bool = False
) -> None:
    """y = the scan of a (and b) along an axis, by a functor of the op's CUDA file.

    Args:
        functor: name of the scan in the .cu file.
        y: C-contiguous.
        a, b: shape of y, any layout, real, of one dtype.
        reverse: start at the last element.
    """
    need_real(functor, a)
    if y.size == 0:
        return
    if reverse:
        y, a = (v.read_through(v.layout.flip((axis,))) for v in (y, a))
        b = b and b.read_through(b.layout.flip((axis,)))
    plan = _plan(y.layout, a.layout, b and b.layout, axis, a.itemsize)
    instance = (plan.kernel, functor, y.dtype, a.dtype, plan.rank, plan.position)
    sizes = (plan.packed, plan.lines, plan.n, plan.chunk)
    if plan.chunks == 1:
        launch(*instance, grid=plan.grid, block=plan.block, args=(y, None, a, b, *sizes))
        return
    totals = launch.scratch((plan.lines * plan.chunks * STATE_BYTES,), int8)
    launch(*instance, grid=plan.grid, block=plan.block, args=(None, totals, a, b, *sizes))
    lanes = power_of_two(plan.chunks, 1, THREADS)
    block = lanes, THREADS // lanes if lanes <= 32 else 1
    launch(
        *("scan_carries", functor, a.dtype, plan.position),
        grid=blocks_for(plan.lines, block[1]),
        block=block,
        args=(totals, plan.lines, plan.chunks),
    )
    launch(*instance, grid=plan.grid, block=plan.block, args=(y, totals, a, b, *sizes))


@lru_cache(maxsize=4096)
def _plan(y: Layout, a: Layout, b: Layout | None, axis: int, itemsize: int) -> Plan:
    shape, n = y.shape, y.shape[axis]
    others = [i for i in range(len(shape)) if i != axis]
    strides = [(0,) * len(shape) if v is None else v.strides for v in (y, a, b)]
    sizes, steps = merge([shape[i] for i in others], [[s[i] for i in others] for s in strides])
    count, rank = prod(sizes), unrolled_rank("scan", shape, len(sizes))
    reach = [high - low + 1 for low, high in [v.extent for v in (y, a, b) if v is not None]]
    wide = max(count, n, *reach) > INT_MAX
    missing = rank - len(sizes)
    numbers = [*[1] * missing, *sizes]
    for step in steps:
        numbers += [*[0] * missing, *step]
    packed = struct.pack(f"@{4 * rank + 3}{'q' if wide else 'i'}", *numbers, *[s[axis] for s in strides])
    if abs(strides[0][axis]) == 1 and n > SHORT:
        kernel, (grid, block, chunk, chunks) = "scan_rows", _rows(count, n, itemsize)
    else:
        kernel, (grid, block, chunk, chunks) = "scan_columns", _columns(count, n)
    position = "long long" if wide else "int"
    return Plan(kernel, rank, position, grid, block, packed, count, n, chunk, chunks)


plan_caches.append(_plan.cache_clear)


Grid = tuple[tuple[int, int], tuple[int, int], int, int]  # grid, block, elements of a chunk, chunks


def _rows(count: int, n: int, itemsize: int) -> Grid:
    """Grid for threads along a line, each with several adjacent elements."""
    neighbors = min(16 // itemsize, 8)
    lanes = THREADS if n >= 2048 else power_of_two(-(-n // neighbors), 8, 32)
    block = lanes, THREADS // lanes
    blocks = blocks_for(count, block[1])
    chunks = max(min(BLOCKS // blocks, n // 4096), 1)  # short lines fill the GPU without chunks
    tile = lanes * neighbors
    chunk = -(-n // (chunks * tile)) * tile
    chunks = -(-n // chunk)
    return (blocks, chunks), block, chunk, chunks


def _columns(count: int, n: int) -> Grid:
    """Grid for threads across lines, one for each chunk of a line."""
    chunks = max(min(BLOCKS * THREADS // 2 // count, n // 64), 1)
    chunk = -(-n // chunks)
    chunks = -(-n // chunk)
    across = power_of_two(count, 1, THREADS)
    down = power_of_two(chunks, 1, THREADS // across)
    return (blocks_for(count, across), -(-chunks // down)), (across, down), chunk, chunks
