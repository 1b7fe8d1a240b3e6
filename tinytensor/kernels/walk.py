"""Walks: how a kernel steps through operands of one shape, as the structs of kernels/walk.cuh.

Axes that step evenly in all operands are merged, then filled up to a rank that kernels are unrolled for. Pure
integers.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from tinytensor.dispatch.launch import RANKS, merge
from tinytensor.errors import ShapeError

Steps = tuple[int, ...]

CODES = {"int": "i", "long long": "q"}


def walk(what: str, shape: Steps, *strides: Steps, index: str) -> tuple[int, bytes]:
    """A `Walk` with one operand per tuple of strides, and its number of axes.

    Args:
        what: for the error.
        shape: what is walked, in C order.
        strides: steps of each operand, in elements; 0 where one element stands for all.
        index: the C++ type of a position.

    Raises:
        ShapeError: more than 8 axes do not merge.
    """
    return _packed(what, shape, strides, index)


def axes(what: str, shape: Steps, strides: Steps, index: str) -> tuple[int, bytes]:
    """An `Axes`, and its number of axes: finds an element by its number in C order."""
    return _packed(what, shape, (strides,), index)


@lru_cache(maxsize=10_000)
def _packed(what: str, shape: Steps, strides: tuple[Steps, ...], index: str) -> tuple[int, bytes]:
    if 0 in shape:  # the other sizes may be larger than the index holds
        shape, strides = (0,), ((0,),) * len(strides)
    sizes, steps = merge(shape, strides)
    rank = next((r for r in RANKS if r >= len(sizes)), None)
    if rank is None:
        raise ShapeError(
            f"{what}: operands of shape {shape} step through memory in {len(sizes)} different ways",
            why=f"kernels walk at most {RANKS[-1]} axes that do not merge",
            fix="make the operands contiguous first: x.contiguous()",
        )
    missing = rank - len(sizes)
    rows = [(1,) * missing + sizes, *[(0,) * missing + s for s in steps]]
    numbers = [n for row in rows for n in row]
    return rank, struct.pack(f"{len(numbers)}{CODES[index]}", *numbers)
