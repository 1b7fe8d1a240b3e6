"""Reductions: the base class of ops, and their launches: kernel of `kernels/reduction.cuh`, grid and block.

These depend on shapes and strides alone; the functor defines the operation and its accumulator dtype.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.launch import Launch, View, blocks_for, merge, plan_caches
from tinytensor.dtypes import DType, int8
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.layout import Layout, contiguous_strides
from tinytensor.op import Op, Shape, Spec, Specs

RANKS = (1, 2, 4, 8)  # numbers of axes that the kernels are unrolled for
THREADS = 256  # of a block
BLOCKS = 1024  # enough to fill any GPU; a constant, so that sums do not depend on the GPU
LONGEST = 4096  # most elements per thread before several blocks share a row
STATE_BYTES = 32  # of the largest State
INT_MAX = (1 << 31) - 1
Axes = Sequence[int]


def reduced_shape(shape: Shape, axes: Axes, keepdims: bool) -> Shape:
    """The shape after a reduction over axes."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes])


def reduced_count(shape: Shape, axes: Axes) -> int:
    """Number of elements reduced to one."""
    return prod([shape[a] for a in axes])


class Reduction(Op):
    """Base class of ops that reduce x over axes; on devices, by the functor with the name of the class."""

    axes: tuple[int, ...]
    keepdims: bool

    inputs = ("x",)
    vmap = vmap_batched

    def result(self, x: Spec) -> DType:
        """The dtype of the result; raises if the op is not defined for x."""
        return x.dtype

    def scalar(self, shape: Shape) -> float:
        """The parameter of the functor, for x of this shape."""
        return 0.0

    def infer(self, x: Spec) -> Specs:
        """The shape without the axes, or with size 1 on them."""
        return (Spec(reduced_shape(x.shape, self.axes, self.keepdims), self.result(x)),)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        """By the kernels of reduction.cuh."""
        launch_reduction(launch, type(self).__name__, y, x, self.axes, scalar=self.scalar(x.shape))


class Plan(NamedTuple):
    """One launch: reduce_rows if `width` is 0, else reduce_columns with `width` columns per thread."""

    width: int
    rank: int
    position: str
    grid: tuple[int, int]
    block: tuple[int, int]
    axes: bytes
    rows: int
    n: int


def launch_reduction(
    launch: Launch,
    functor: str,
    y: View,
    x: View,
    axes: Axes,
    *,
    scalar: float = 0.0,
    beside: View | None = None,
    in_order: bool = False,
    file: str | None = None,
) -> None:
    """y = x reduced over sorted axes by a functor.

    Args:
        functor: name of the reduction in the .cu file.
        y: C-contiguous, with or without the axes of size 1.
        x: any layout, real.
        scalar: parameter of the functor, see there.
        beside: optional input with the shape of y and the dtype of x, which the functor compares with.
        in_order: the functor needs the index of each element, in C order over the axes.
        file: the .cu file with the functor; default the one with the name of the op's module.
    """
    need_real(functor, x)
    if y.size == 0:
        return
    aligned = x.ptr % 16 == 0
    plan = _plan(x.layout, tuple(axes), x.itemsize, aligned, in_order)
    types = (functor, y.dtype, x.dtype)
    unrolled = (plan.rank, plan.position)
    parts, rows = plan.grid[1], plan.rows
    partials = launch.scratch((rows * parts * STATE_BYTES,), int8) if parts > 1 else None
    args = (y, partials, x, beside, plan.axes, rows, plan.n, float(scalar))
    instance = (*types, plan.width, *unrolled) if plan.width else (*types, *unrolled)
    kernel = "reduce_columns" if plan.width else "reduce_rows"
    launch(kernel, *instance, grid=plan.grid, block=plan.block, args=args, file=file)
    if parts > 1:
        block = _finishing_block(parts)
        blocks = blocks_for(rows, block[1])
        merged = (y, partials, plan.axes, rows, parts, float(scalar))
        launch("reduce_partials", *types, *unrolled, grid=blocks, block=block, args=merged, file=file)


@lru_cache(maxsize=4096)
def _plan(layout: Layout, axes: tuple[int, ...], itemsize: int, aligned: bool, in_order: bool) -> Plan:
    shape, strides = layout.shape, layout.strides
    kept = [a for a in range(len(shape)) if a not in axes]
    into = dict(zip(kept, contiguous_strides(tuple([shape[a] for a in kept])), strict=True))

    def slowest_first(a: int) -> tuple[bool, int]:
        return strides[a] != 0, -abs(strides[a])

    kept.sort(key=slowest_first)
    walked = list(axes) if in_order else sorted(axes, key=slowest_first)
    outer, (y_steps, x_steps) = merge(
        [shape[a] for a in kept], [[into[a] for a in kept], [strides[a] for a in kept]]
    )
    inner, (steps,) = merge([shape[a] for a in walked], [[strides[a] for a in walked]])
    rows, n = prod(outer), prod([shape[a] for a in axes])
    if n == 0:
        inner, steps = (0,), (1,)
    rank = unrolled_rank("reduction", shape, max(len(outer), len(inner)))
    low, high = layout.extent
    wide = max(rows, n, high - low + 1) > INT_MAX
    parts_of_axes = [(outer, 1), (y_steps, 0), (x_steps, 0), (inner, 1), (steps, 0)]
    numbers = [i for values, fill in parts_of_axes for i in (*[fill] * (rank - len(values)), *values)]
    packed = struct.pack("@" + ("q" if wide else "i") * (5 * rank), *numbers)
    index = "long long" if wide else "int"
    if _walks_columns(rows, n, x_steps, steps):
        width = _width(outer, x_steps, steps, itemsize) if aligned else 1
        grid, block = _columns(rows // width, n)
        return Plan(width, rank, index, grid, block, packed, rows, n)
    return Plan(0, rank, index, *_rows(rows, n), packed, rows, n)


plan_caches.append(_plan.cache_clear)


def unrolled_rank(what: str, shape: Shape, needed: int) -> int:
    """Number of axes of the kernel instance: the first of RANKS that is at least `needed`."""
    for rank in RANKS:
        if rank >= needed:
            return rank
    raise ShapeError(
        f"{what}: an input of shape {shape} steps through memory in {needed} different ways",
        why=f"kernels take at most {RANKS[-1]} axes that do not merge",
        fix="split it along one axis: tt.stack([... for part in x])",
    )


def need_real(what: str, x: View) -> None:
    """DTypeError for complex dtypes, which kernels do not support."""
    if x.dtype.kind == "complex":
        raise DTypeError(
            f"{what}: the input of shape {x.shape} has dtype {x.dtype}",
            why="kernels support real dtypes only",
            fix='copy it: x.to("cpu")',
        )


def _walks_columns(rows: int, n: int, x_steps: Shape, steps: Shape) -> bool:
    """Whether neighboring threads should read neighboring columns (coalesced) instead of one row."""
    if rows == 1 or n <= 1:
        return n <= 1
    near = abs(x_steps[-1]) or INT_MAX
    along = abs(steps[-1]) or INT_MAX
    return near < along or n < 16


def _width(outer: Shape, x_steps: Shape, steps: Shape, itemsize: int) -> int:
    """Columns that one thread loads as a vector: as many as are contiguous and aligned in every row."""
    width = 2 if itemsize == 8 else 4
    if not outer or x_steps[-1] != 1 or outer[-1] % width:
        return 1
    return width if all(s % width == 0 for s in (*x_steps[:-1], *steps)) else 1


def _rows(rows: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block of reduce_rows."""
    lanes = THREADS if n >= 2048 else power_of_two(-(-n // 8), 8, 32)
    block = (lanes, THREADS // lanes)
    blocks = blocks_for(rows, block[1])
    return (blocks, _parts(blocks, n, lanes) if lanes == THREADS else 1), block


def _columns(groups: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block of reduce_columns."""
    across = power_of_two(groups, 1, 32)
    down = power_of_two(-(-n // 8), 1, THREADS // across)
    across = power_of_two(groups, 1, THREADS // down)
    blocks = blocks_for(groups, across)
    return (blocks, _parts(blocks, n, down)), (across, down)


def _finishing_block(parts: int) -> tuple[int, int]:
    """Block of reduce_partials."""
    lanes = power_of_two(parts, 1, THREADS)
    return lanes, THREADS // lanes if lanes <= 32 else 1


def _parts(blocks: int, n: int, lanes: int) -> int:
    """Number of blocks that share a row or column: enough to fill the GPU, with a few elements per thread."""
    fill = min(BLOCKS // blocks, n // (lanes * 16))
    return min(max(fill, -(-n // (lanes * LONGEST)), 1), 65_535)


def power_of_two(n: int, low: int, high: int) -> int:
    """The smallest power of two that is at least n, clamped to [low, high]."""
    return min(max(1 << max(n - 1, 0).bit_length(), low), high)


def with_kept_axes(y: View, shape: Shape, axes: Axes) -> View:
    """A C-contiguous reduction result with reduced axes of size 1, so that it broadcasts with the input."""
    kept = reduced_shape(shape, axes, True)
    return y.read_through(Layout(kept, contiguous_strides(kept), y.layout.offset))
