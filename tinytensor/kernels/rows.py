"""Row blocking for fused ops: cache-sized blocks of rows on the CPU, threads per row on a device."""

from __future__ import annotations

import math

from tinytensor.dispatch import copies
from tinytensor.dtypes import DType, accumulator
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.runtime.cpu.arrays import Array, in_c_order
from tinytensor.tensor import is_tensor

BLOCK = 65_536  # elements, 256 KiB of float32: a chain of ufuncs stays in the L2 cache, and a call is cheap


def as_rows(a: Array) -> Array:
    """(..., C) as (rows, C); a view unless the leading axes do not merge."""
    if a.ndim == 2:
        return a
    width = a.shape[-1]
    return reshaped(a, -1, width) if a.size else a.reshape(math.prod(a.shape[:-1]), width)


def reshaped(a: Array, *shape: int) -> Array:
    """An operand reshaped: a view, or a (logged) copy where the strides require one.

    Raises:
        ShapeError: a copy is required, and `tt.config.strict_layout` is on.
    """
    if a.flags.c_contiguous:
        return a.reshape(shape)
    try:
        return a.reshape(shape, copy=False)
    except ValueError:
        copies.hidden_in(a, "NumPy's code walks over it in one step")
        return in_c_order(a).reshape(shape)


def row_blocks(rows: int, width: int) -> list[slice]:
    """Nearly equal row slices of a (rows, width) array: about BLOCK elements each."""
    if not width:
        return [slice(0, rows)] if rows else []
    count = -(-rows // max(1, BLOCK // width))
    step = -(-rows // max(1, count))
    return [slice(i, min(i + step, rows)) for i in range(0, rows, max(1, step))]


def flat_blocks(size: int) -> list[slice]:
    """Slices of a flat array, BLOCK elements each."""
    return [slice(i, i + BLOCK) for i in range(0, size, BLOCK)]


def held(dtype: DType) -> int:
    """Elements of a row per thread in kernels of `rows.cuh`: 128 bytes in the accumulator dtype."""
    return 128 // accumulator(dtype).itemsize


def threads_per_row(width: int, dtype: DType, at_most: int = 512, block: int = 256) -> tuple[int, int]:
    """Block shape for kernels of `rows.cuh`: (threads per row, rows per block).

    A thread of 8 to 32 has at most two vectors of 16 bytes: 8 load a whole 128-byte line at once.

    Args:
        at_most: the largest block of the kernel.
        block: threads in a block of several rows.
    """
    if width > 1 << 30:
        raise ShapeError(
            f"a row of {width} elements",
            why="kernels count the columns of a row in 32 bits",
            fix='reshape it to rows of at most 2**30 elements, or compute on the CPU: x.to("cpu")',
        )
    neighbors = 16 // dtype.itemsize
    reach = width if width % neighbors == 0 else width + neighbors - 1  # rows may begin between vectors
    threads = 8
    while threads < 32 and threads * 2 * neighbors < reach:
        threads *= 2
    while threads < at_most and threads * held(dtype) < reach:
        threads *= 2
    return threads, rows_in_block(threads, block)


def rows_in_block(threads: int, block: int) -> int:
    """Rows of a block of `block` threads, each taken by some lanes of a warp; or 1, of a block of its own."""
    return block // threads if threads <= 32 else 1


def one_block(count: int) -> int:
    """Number of threads for a one-block kernel that sums `count` values."""
    return 1 << min(max((count - 1).bit_length() - 2, 5), 10)


def require_tensors(what: str, *operands: object) -> None:
    """DTypeError unless each operand is a tensor or None."""
    for x in operands:
        if x is not None and not is_tensor(x):
            raise DTypeError(
                f"{what}: an operand of type {type(x).__name__}",
                why="arrays and lists are not converted implicitly",
                fix="make it a tensor first: tt.asarray(x)",
            )
