"""Packed strided iteration over operands of one shape: the structs of kernels/walk.cuh.

Axes that are contiguous with each other in all operands are merged, then padded to a rank that kernels are
unrolled for. Works with integers only.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from tinytensor.dispatch.launch import RANKS, merge
from tinytensor.errors import ShapeError

Steps = tuple[int, ...]

CODES = {"int": "i", "long long": "q"}


def walk(what: str, shape: Steps, *strides: Steps, index: str) -> tuple[int, bytes]:
    """(number of axes, packed `Walk`) with one operand per tuple of strides.

    Args:
        strides: of each operand, in elements; 0 along broadcast axes.

    Raises:
        ShapeError: more than 8 axes do not merge.
    """
    return _packed(what, shape, strides, index)


def axes(what: str, shape: Steps, strides: Steps, index: str) -> tuple[int, bytes]:
    """(number of axes, packed `Axes`), which maps a flat index in C order to a memory offset."""
    return _packed(what, shape, (strides,), index)


@lru_cache(maxsize=10_000)
def _packed(what: str, shape: Steps, strides: tuple[Steps, ...], index: str) -> tuple[int, bytes]:
    if 0 in shape:  # the other sizes may not fit into the index type
        shape, strides = (0,), ((0,),) * len(strides)
    sizes, steps = merge(shape, strides)
    rank = next((r for r in RANKS if r >= len(sizes)), None)
    if rank is None:
        raise ShapeError(
            f"{what}: operands of shape {shape} step through memory in {len(sizes)} different ways",
            why=f"kernels take at most {RANKS[-1]} axes that do not merge",
            fix="make the operands contiguous first: x.contiguous()",
        )
    missing = rank - len(sizes)
    rows = [(1,) * missing + sizes, *[(0,) * missing + s for s in steps]]
    numbers = [n for row in rows for n in row]
    return rank, struct.pack(f"{len(numbers)}{CODES[index]}", *numbers)
