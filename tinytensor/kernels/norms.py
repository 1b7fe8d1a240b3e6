"""Launches of the kernels of norm.cuh: layer norm and RMS norm, which has no mean and no bias."""

from __future__ import annotations

from math import prod

from tinytensor.dispatch.launch import Launch, View, blocks_for, elementwise, write
from tinytensor.dtypes import DType, accumulator
from tinytensor.kernels.dropout import Drop, add_dropped
from tinytensor.kernels.rows import held, rows_in_block, threads_per_row
from tinytensor.runtime.base import Argument

NO_DROP = Drop()
FILE = "layer_norm"


def forward(
    launch: Launch,
    centered: bool,
    out: View,
    mean: View | None,
    scale: View | None,
    x: View,
    weight: View | None,
    bias: View | None,
    eps: float,
    *,
    y: View | None = None,
    total: View | None = None,
    drop: Drop = NO_DROP,
) -> None:
    """out = norm(x), or with y, norm(total) with total = x + y, or x + dropout(y).

    Args:
        centered: layer norm; else RMS norm.
        out: shape (..., C), as x, y and total; y and out have one dtype.
        mean, scale: what backward needs, shape (...), or None.
        x, total: shape (..., C).
        weight, bias: shape (C,), or None.
        drop: dropout of y.
    """
    width, dtype = x.shape[-1], x.dtype
    count, numbers = prod(x.shape[:-1]), (width, eps)
    vectors, threads = whole_rows(width, dtype, out, x, weight, bias, y, total)
    if vectors:
        block = (threads, rows_in_block(threads, 256))
        types = (dtype, out.dtype, vectors, threads, centered)
        grid, rest = blocks_for(count, block[1]), (weight, bias, count, *numbers)
        if y is None:
            args: tuple[Argument, ...] = (out, mean, scale, x, *rest)
            launch("norm_forward_of_whole_rows", *types, grid=grid, block=block, args=args, file=FILE)
        else:
            args = (out, mean, scale, total, x, y, *rest, *drop.arguments(launch))
            launch("add_norm_forward", *types, drop.p > 0, grid=grid, block=block, args=args, file="add_norm")
        return
    if y is not None and total is not None:
        if drop.p:
            add_dropped(launch, total, x, y, drop)
        else:
            elementwise(launch.runtime, "arithmetic", "Add", total, (x, y), y.dtype, dtype)
        x = total
    block = threads_per_row(width, dtype)
    args = (out, mean, scale, x, weight, bias, count, *numbers)
    grid = blocks_for(count, block[1])
    launch("norm_forward", dtype, out.dtype, centered, grid=grid, block=block, args=args, file=FILE)


def backward(
    launch: Launch,
    centered: bool,
    dx: View | None,
    dweight: View | None,
    dbias: View | None,
    grad: View,
    x: View,
    weight: View | None,
    mean: View | None,
    scale: View,
    *,
    more: View | None = None,
    dy: View | None = None,
    drop: Drop = NO_DROP,
) -> None:
    """Gradients of norm(x) in two launches: rows, and columns of their sums.

    Args:
        dx, dweight, dbias: the results, or None.
        grad: of the result; shape (..., C), any floating dtype.
        x, weight, mean, scale: inputs of the forward kernel, and what it found.
        more: shape of x, added to dx, or None.
        dy: receives dx in the dtype of grad, or its dropout, or None.
        drop: dropout of dy.
    """
    count, width, dtype = scale.size, x.shape[-1], x.dtype
    vectors, threads = whole_rows(width, dtype, dx, grad, x, weight, more, dy)
    if vectors:
        # as many threads as run at once: see `at_once` of norm.cuh
        at_once = 512 if vectors * 16 // dtype.itemsize * accumulator(dtype).itemsize <= 64 else 384
        block = threads, rows_in_block(threads, 128)
        grid = min(
            blocks_for(count, block[1]), launch.runtime.multiprocessors * (at_once // (threads * block[1]))
        )
    else:
        grad = launch.dense(grad, dtype, op="layer_norm" if centered else "rms_norm", operand="the gradient")
        vectors, grid, block = _plan(launch, count, width, dtype)
        threads = 0
    shape, wide = (grid, width), accumulator(dtype)  # (blocks, C)
    weight_sums = None if dweight is None else launch.scratch(shape, wide)
    bias_sums = None if dbias is None else launch.scratch(shape, wide)
    inputs = (x, weight, mean, scale, count, width)
    args: tuple[Argument, ...] = (dx, weight_sums, bias_sums, grad, *inputs)
    if threads and (more is not None or dy is not None):
        types = (dtype, grad.dtype, vectors, threads, centered, drop.p > 0)
        args = (dx, dy, weight_sums, bias_sums, grad, more, *inputs, *drop.arguments(launch))
        launch("add_norm_backward", *types, grid=grid, block=block, args=args, file="add_norm")
    elif threads:
        kernel, of = "norm_backward_of_whole_rows", (dtype, grad.dtype, vectors, threads, centered)
        launch(kernel, *of, grid=grid, block=block, args=args, file=FILE)
    else:
        launch("norm_backward", dtype, vectors, centered, grid=grid, block=block, args=args, file=FILE)
        if dx is not None and more is not None:
            elementwise(launch.runtime, "arithmetic", "Add", dx, (dx, more), dtype, dtype)
        if dx is not None and dy is not None and drop.p:
            add_dropped(launch, dy, None, dx, drop)
        elif dx is not None and dy is not None:
            write(launch.runtime, dy, dx)
    if dweight is not None or dbias is not None:
        sums = (dweight, dbias, weight_sums, bias_sums, grid, width)
        columns = (-(-width // 32), 1 if dbias is None else 2)
        launch("norm_backward_columns", dtype, grid=columns, block=(32, 16), args=sums, file=FILE)


def whole_rows(width: int, dtype: DType, *operands: View | None) -> tuple[int, int]:
    """(vectors, threads), V and TEAM of the kernels of whole rows; zeros if rows are unaligned or long."""
    neighbors = 16 // dtype.itemsize
    if not width or width % neighbors or any([v is not None and v.ptr % 16 for v in operands]):
        return 0, 0
    threads = threads_per_row(width, dtype, at_most=256)[0]
    needed, most = -(-width // (threads * neighbors)), held(dtype) // neighbors
    return (next(v for v in (1, 2, 3, 4, 6, 8) if v >= needed), threads) if needed <= most else (0, 0)


def _plan(launch: Launch, count: int, width: int, dtype: DType) -> tuple[int, int, tuple[int, int]]:
    """(vectors per thread, grid, block) for other rows. A block sums its columns over many rows, so the grid
    has as many blocks as run at once: registers limit a multiprocessor to about 256 threads with all vectors,
    384 with half of them.
    """
    threads, rows = threads_per_row(width, dtype, at_most=256, block=128)
    vectors, at_once = held(dtype) * dtype.itemsize // 16, 256
    if 2 * width <= 32 * held(dtype):
        vectors, at_once = vectors // 2, 384
    blocks = launch.runtime.multiprocessors * (at_once // (threads * rows))
    return vectors, min(blocks_for(count, rows), blocks), (threads, rows)
