"""What fused ops share: rows in pieces that stay in the cache, sums by BLAS, a check of their operands."""

from __future__ import annotations

import numpy as np

from ..dispatch import is_tensor
from ..errors import DTypeError
from ..runtime.host import Array

BLOCK = 65_536  # elements, 256 KiB of float32: a chain of ufuncs stays in the L2 cache, and a call is cheap


def as_rows(a: Array) -> Array:
    """(..., C) as (rows, C); a view unless the leading axes do not merge."""
    if a.ndim == 2:
        return a
    width = a.shape[-1]
    return a.reshape(-1, width) if a.size else np.empty((0, width), a.dtype)


def row_blocks(rows: int, width: int, block: int = BLOCK) -> list[slice]:
    """Slices of the rows of a (rows, width) array, about `block` elements each."""
    step = max(1, block // max(width, 1))
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]


def flat_blocks(size: int) -> list[slice]:
    """Slices of a flat array, BLOCK elements each."""
    return [slice(i, i + BLOCK) for i in range(0, size, BLOCK)]


def row_sum(a: Array, out: Array | None = None) -> Array:
    """Sum of each row of (rows, C), shape (rows,): a product with ones, several times as fast as np.sum."""
    result: Array = np.matmul(a, np.ones(a.shape[-1], a.dtype), out=out)
    return result


def column_sum(a: Array) -> Array:
    """Sum of each column of (rows, C), shape (C,)."""
    result: Array = np.matmul(np.ones(len(a), a.dtype), a)
    return result


def need_tensors(what: str, *operands: object) -> None:
    """DTypeError unless each operand is a tensor, or None where it was left out."""
    for x in operands:
        if x is not None and not is_tensor(x):
            raise DTypeError(
                f"{what}: an operand of type {type(x).__name__}",
                why="arrays and lists are not made tensors behind your back",
                fix="make it a tensor first: tt.asarray(x)",
            )
