"""Data of an explanation: buffers, layouts and the elements shown. Independent of the output format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import DType
from tinytensor.lab.explain.footprint import Reach
from tinytensor.layout import Layout, contiguous_strides
from tinytensor.storage import Storage
from tinytensor.tensor import wrap

LINE, SECTOR = 64, 32  # bytes per fetch of a CPU (cache line) and a GPU
LETTERS = "ijklmn"
NEAR = 64  # elements; positions this close are read in one transfer


class Limits(NamedTuple):
    """Limits of what is shown; the middle of larger ranges is left out."""

    cells: int  # of the buffer
    axis: int  # indices of one axis
    blocks: int  # matrices: all axes but the last two


FULL, SMALL = Limits(256, 12, 6), Limits(64, 8, 4)


@dataclass(frozen=True)
class Buffer:
    """Memory that a layout indexes; copies have the next number. `start`: bytes into a cache line."""

    number: int
    size: int
    dtype: DType
    device: str
    start: int = 0

    def __str__(self) -> str:
        item = self.dtype.itemsize
        things = f"{self.size} element{'s' * (self.size != 1)} of {item} byte{'s' * (item != 1)}"
        return f"buffer {self.number}: {things}"

    def blocks(self, block: int) -> int:
        """Number of blocks of `block` bytes that it overlaps."""
        first, nbytes = self.start % block, self.size * self.dtype.itemsize
        return (first + nbytes - 1) // block + 1 if nbytes else 0


@dataclass(frozen=True)
class Element:
    """Index and position of one element."""

    index: tuple[int, ...]
    position: int


Row = tuple[Element | None, ...] | str  # None: elements that are left out; text stands between matrices


@dataclass(frozen=True)
class LayoutStep:
    """One layout, and the call that led to it.

    Attributes:
        made: effect of the call: "new buffer", "view", "copy" or "same tensor"; empty if there was no call.
        rows: the elements shown, of matrices: the last two axes, at one index of the others each.
        cells: ranges of buffer positions shown.
        values: values at the positions shown, as text; empty if not read.
    """

    call: str
    made: str
    buffer: Buffer
    layout: Layout
    rows: tuple[Row, ...]
    cells: tuple[range, ...]
    values: Mapping[int, str]

    @cached_property
    def reach(self) -> Reach:
        """Positions of the elements."""
        return Reach(self.layout)

    def label(self, position: int) -> str:
        """Value at a position; the position itself if the value was not read."""
        return self.values.get(position, str(position))

    def elements(self) -> list[Element]:
        """All elements shown."""
        return [element for row in self.rows if not isinstance(row, str) for element in row if element]

    def positions(self) -> list[int]:
        """Positions shown, of cells and of elements, possibly with duplicates."""
        return [p for run in self.cells for p in run] + [e.position for e in self.elements()]

    @cached_property
    def order(self) -> dict[int, float]:
        """Relative element order by position: 0 for the first element of the tensor, 1 for the last."""
        last = max(self.layout.size - 1, 1)
        weights = contiguous_strides(self.layout.shape)
        found: dict[int, float] = {}
        for e in self.elements():
            place = sum([i * w for i, w in zip(e.index, weights, strict=True)])
            found.setdefault(e.position, place / last)
        return found

    @property
    def letters(self) -> list[str]:
        """Index names of the axes."""
        ndim = self.layout.ndim
        return list(LETTERS[:ndim]) if ndim <= len(LETTERS) else [f"i{axis}" for axis in range(ndim)]

    def formula(self, factors: Iterable[object]) -> str:
        """Position formula: the offset plus factor times stride of each axis."""
        products = [f"{f}*{stride}" for f, stride in zip(factors, self.layout.strides, strict=True)]
        return " + ".join([str(self.layout.offset), *products])

    def place(self, element: Element) -> str:
        """Index of an element, with the computation of its position."""
        total = self.formula(element.index)
        return f"{bracketed(element.index)}: {total}" + (f" = {element.position}" if element.index else "")

    def lines_of_cells(self, most: int) -> list[list[int | None] | int]:
        """The cells in lines of at most so many: a cache line, or a half of one, a quarter, …. For each line
        its positions, None where there is no cell; for omitted lines, the number of elements in them.
        """
        item = self.buffer.dtype.itemsize
        width = LINE // item
        while width > max(most, 1):
            width //= 2
        skew, found, done = self.buffer.start // item, list[list[int | None] | int](), 0
        for run in self.cells:
            if run.start > done:
                found.append(run.start - done)
            for first in range((run.start + skew) // width * width - skew, run.stop, width):
                found.append([p if p in run else None for p in range(first, first + width)])
            done = run.stop
        if self.buffer.size > done:
            found.append(self.buffer.size - done)
        return found

    def begins_sector(self, position: int) -> bool:
        """Whether a position is the first of a sector."""
        return (self.buffer.start + position * self.buffer.dtype.itemsize) % SECTOR == 0


def bracketed(index: Iterable[object]) -> str:
    """An index in Python syntax: `[2, 1]`."""
    return f"[{', '.join(map(str, index))}]"


def make_step(
    call: str, made: str, buffer: Buffer, layout: Layout, limits: Limits, storage: Storage | None = None
) -> LayoutStep:
    """Select the elements and cells to show, and read their values from a storage, if it is given."""
    rows, cells = tuple(_rows(layout, limits)), _cells(buffer, layout, limits.cells)
    step = LayoutStep(call, made, buffer, layout, rows, cells, {})
    if storage is None:
        return step
    return replace(step, values=_read(storage, sorted(set(step.positions()))))


def _shown(count: int, most: int) -> list[int | None]:
    """Indices of an axis to show; None marks the omitted middle."""
    half = (most - 1) // 2
    return list(range(count)) if count <= most else [*range(half), None, *range(count - half, count)]


def _rows(layout: Layout, limits: Limits) -> Iterator[Row]:
    *lead, height, width = (1, 1, *layout.shape) if layout.ndim < 2 else layout.shape
    lead = lead if layout.ndim > 2 else []
    columns = _shown(width, limits.axis)
    for number in _shown(prod(lead), limits.blocks):
        if number is None:
            yield "…"
            continue
        outer = tuple(map(int, np.unravel_index(number, lead)))
        if lead:
            yield bracketed([*outer, ":", ":"])
        for i in _shown(height, limits.axis):
            every = [None] if i is None else columns
            yield tuple([None if i is None or j is None else _element(layout, (*outer, i, j)) for j in every])


def _element(layout: Layout, padded: tuple[int, ...]) -> Element:
    """The element at an index that is left-padded with zeros to at least two axes."""
    index = padded[len(padded) - layout.ndim :]
    moves = [i * stride for i, stride in zip(index, layout.strides, strict=True)]
    return Element(index, layout.offset + sum(moves))


def _cells(buffer: Buffer, layout: Layout, most: int) -> tuple[range, ...]:
    """The whole buffer; for a long one the lines that the layout touches, or the first and last of them."""
    if buffer.size <= most:
        return (range(buffer.size),) if buffer.size else ()
    width = LINE // buffer.dtype.itemsize
    skew = buffer.start // buffer.dtype.itemsize  # cells of the first line before the buffer
    low, high = layout.extent
    low = min(low, buffer.size - 1)
    first, last = [(position + skew) // width for position in (low, max(low, high))]
    half = max(most // 2 // width, 1)
    runs = (
        [(first, last + 1)]
        if last - first < 2 * half
        else [(first, first + half), (last + 1 - half, last + 1)]
    )
    return tuple([range(max(a * width - skew, 0), min(b * width - skew, buffer.size)) for a, b in runs])


def _read(storage: Storage, positions: list[int]) -> dict[int, str]:
    """Values at these positions; from a device, only these and their neighbors are copied to the host."""
    texts: dict[int, str] = {}
    runs: list[list[int]] = []
    for position in positions:
        if runs and position - runs[-1][-1] <= NEAR:
            runs[-1].append(position)
        else:
            runs.append([position])
    for run in runs:
        layout = Layout((run[-1] + 1 - run[0],), (1,), run[0])
        array = values(wrap(None, layout, storage))
        texts |= {position: _text(array[position - run[0]].item()) for position in run}
    return texts


def _text(value: bool | int | float | complex) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, complex):
        return f"{value.real:.3g}{value.imag:+.3g}j"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
