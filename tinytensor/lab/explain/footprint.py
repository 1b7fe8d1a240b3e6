"""Counts the buffer positions and memory blocks that a layout touches. Independent of tensors.

If each axis steps past the extent of the axes with smaller strides, the axes nest, and the counts need no
iteration over elements, at any size. Interleaved axes are enumerated if there are not too many elements.
"""

from __future__ import annotations

from functools import cached_property
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tinytensor.layout import Layout

ENUMERATED = 1 << 20  # positions

Axes = list[tuple[int, int]]  # (count, step), the smallest step first


class Reach:
    """The set of buffer positions that a layout maps to, from the lowest, `low`, to the highest, `high`,
    which is low - 1 if there is no element.

    Example:
        >>> reach = Reach(Layout((3, 2), (1, 8), 1))
        >>> reach.distinct, reach.covers(9), reach.covers(8)
        (6, True, False)
        >>> reach.blocks(itemsize=8, block=64)  # 8 numbers a line: 1, 2, 3 lie in the first, 9, 10, 11 behind
        2
    """

    def __init__(self, layout: Layout) -> None:
        self.low, self.high = layout.extent
        self._axes = _progressions(layout)
        self._nested = _nest(self._axes)

    @property
    def distinct(self) -> int | None:
        """Number of distinct positions; None if the axes interleave and there are too many to enumerate."""
        if self.high < self.low:
            return 0
        if self._nested:
            return prod([count for count, _ in self._axes])
        return None if self._positions is None else len(self._positions)

    def covers(self, position: int) -> bool | None:
        """Whether some index maps to a position; None if undecided."""
        if not self.low <= position <= self.high:
            return False
        if self._nested:
            left = position - self.low
            for count, step in reversed(self._axes):
                left -= step * min(left // step, count - 1)
            return left == 0
        if self._positions is None:
            return None
        at = int(np.searchsorted(self._positions, position))
        return bool(self._positions[at] == position)

    def blocks(self, itemsize: int, block: int, start: int = 0) -> int | None:
        """Number of memory blocks of `block` bytes that contain at least one byte of an element; `start`:
        bytes from the beginning of a block to position 0. None if the axes interleave and there are too many
        elements to enumerate.
        """
        if self.high < self.low:
            return 0
        if self._nested:
            return _count(self._axes, itemsize, block, start + self.low * itemsize)
        if self._positions is None:
            return None
        first = self._positions * itemsize + start
        ends = np.concatenate([first // block, (first + itemsize - 1) // block])
        return int(np.unique(ends).size)

    @cached_property
    def _positions(self) -> npt.NDArray[Any] | None:
        """Sorted distinct positions."""
        if prod([count for count, _ in self._axes]) > ENUMERATED:
            return None
        found = np.array([self.low])
        for count, step in self._axes:
            found = np.unique(found + step * np.arange(count)[:, None])
        return found


def _progressions(layout: Layout) -> Axes:
    """The axes with positive steps and without repeats; axes that merge into one progression are merged."""
    if not layout.size:
        return []
    axes = sorted((abs(s), n) for n, s in zip(layout.shape, layout.strides, strict=True) if n > 1 and s)
    found: Axes = []
    for step, count in axes:
        if found:
            inner, unit = found[-1]
            times, rest = divmod(step, unit)
            if rest == 0 and times <= inner:  # each copy begins where the last one ends, or before
                found[-1] = inner + times * (count - 1), unit
                continue
        found.append((count, step))
    return found


def _nest(axes: Axes) -> bool:
    reached = 0
    for count, step in axes:
        if step <= reached:
            return False
        reached += step * (count - 1)
    return True


def _count(axes: Axes, itemsize: int, block: int, first: int) -> int:
    """Number of blocks that nested axes touch, from the byte `first` on.

    An axis repeats the footprint of the smaller ones. Two neighboring copies share a block if one ends in the
    block in which the other begins. This depends on the offset of a copy in its block, which is periodic.
    """
    hulls = [itemsize]  # extents in bytes of the smaller axes
    for count, step in axes:
        hulls.append(hulls[-1] + step * itemsize * (count - 1))
    known: dict[tuple[int, int], int] = {}

    def blocks(level: int, first: int) -> int:
        if level == 0:
            return (first + itemsize - 1) // block + 1
        if (level, first) in known:
            return known[level, first]
        count, step = axes[level - 1][0], axes[level - 1][1] * itemsize
        period = block // gcd(step, block)
        total = 0
        for i in range(min(count, period)):
            at = (first + i * step) % block
            total += blocks(level - 1, at) * ((count - 1 - i) // period + 1)
            if (at + hulls[level - 1] - 1) // block == (at + step) // block:
                total -= (count - 2 - i) // period + 1
        known[level, first] = total
        return total

    return blocks(len(axes), first % block)
