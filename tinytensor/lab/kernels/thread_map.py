"""Pictures of the elements that each thread accesses, from the memory requests of a checked run.

Independent of how a kernel computes its indices: the addresses are those that the emulated threads accessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinytensor.errors import ArgumentError
from tinytensor.lab.html import Html, tag
from tinytensor.lab.svg import HUES, px, svg
from tinytensor.layout import Layout
from tinytensor.runtime.checked.warp_requests import Request

Ints = npt.NDArray[np.int64]
CELL, LEFT, TOP = 22, 46, 58  # pixels
ROWS, COLUMNS = 32, 64  # maximum size drawn
SECTOR, BANKS, WORD = 32, 32, 4


@dataclass(frozen=True, slots=True)
class NamedMemory:
    """Memory of a tensor on a device.

    Attributes:
        name: name of the tensor.
        ptr: address of the element at position 0 of its storage.
        layout: its layout.
        itemsize: bytes per element.
        nbytes: bytes of the storage.
    """

    name: str
    ptr: int
    layout: Layout
    itemsize: int
    nbytes: int

    def __contains__(self, address: int) -> bool:
        return self.ptr <= address < self.ptr + self.nbytes

    def addresses(self) -> Ints:
        """Addresses of its elements as a matrix: all axes but the last are flattened."""
        layout = self.layout
        at = np.asarray(layout.offset, np.int64)
        for size, stride in zip(layout.shape, layout.strides, strict=True):
            at = at[..., None] + np.arange(size, dtype=np.int64) * stride
        columns = layout.shape[-1] if layout.shape else 1
        return self.ptr + self.itemsize * at.reshape(-1, columns)


def _flat(requests: Sequence[Request]) -> NamedMemory:
    """Memory of no known tensor, as a row of elements."""
    addresses = [a for r in requests for a in r.addresses if a is not None]
    size = requests[0].size
    first = min(addresses) // SECTOR * SECTOR
    count = (max(addresses) + size - first + size - 1) // size
    rows = -(-count // COLUMNS)
    shape = (rows, COLUMNS) if rows > 1 else (1, count)
    return NamedMemory("unnamed memory", first, Layout(shape, (shape[1], 1), 0), size, count * size)


def touched(requests: Sequence[Request], memory: NamedMemory) -> tuple[Ints, Ints]:
    """Thread and sector of each element.

    Args:
        requests: requests of any warps of one block.
        memory: the tensor.

    Returns:
        Two matrices like `memory.addresses()`: the first thread of the block that accesses an element, or -1;
        and the sector of the element, or -1 if nothing in that sector was requested.
    """
    at = memory.addresses()
    order = np.argsort(at, axis=None)
    ordered = at.reshape(-1)[order]
    threads = np.full(at.size, -1, np.int64)
    sectors: set[int] = set()
    for request in requests:
        sectors |= request.sectors
        for lane, address in enumerate(request.addresses):
            if address is None:
                continue
            ends = address - memory.itemsize + 1, address + request.size
            first, last = np.searchsorted(ordered, ends)
            new = [i for i in order[first:last].tolist() if threads[i] < 0]
            threads[new] = 32 * request.warp + lane
    moved = np.isin(at // SECTOR, list(sectors))
    return threads.reshape(at.shape), np.where(moved, at // SECTOR, -1)


def thread_map(requests: Sequence[Request], memory: NamedMemory | None, title: str = "") -> Html:
    """Picture of global memory accesses: cells are elements in index order, numbers are threads.

    Args:
        requests: global memory requests of one block: of one warp, or of all.
        memory: the tensor; None draws raw memory.
        title: the heading.

    Returns:
        One `svg` element. Each sector of 32 bytes has a color, pale for bytes transferred but unused.

    Raises:
        ArgumentError: there is no request.
    """
    if not requests:
        raise ArgumentError(
            "thread_map: no request", why="there is nothing to draw", fix="pick a line that has accesses"
        )
    memory = memory or _flat(requests)
    threads, sectors = touched(requests, memory)
    rows, columns = _window(sectors >= 0, ROWS, 0), _window(sectors >= 0, COLUMNS, 1)
    order = {number: i for i, number in enumerate(dict.fromkeys(sectors[sectors >= 0].tolist()))}
    cells = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            thread, sector = int(threads[row, column]), order.get(int(sectors[row, column]))
            if sector is not None:
                cells.append(_Cell(i, j, thread, sector, f"[{row}, {column}], sector {sector}"))
    lanes = sum(a is not None for r in requests for a in r.addresses)
    asked = len({s for r in requests for s in r.sectors})
    about = (
        f"{memory.name}, shape {memory.layout.shape}, strides {memory.layout.strides}: {lanes} lanes, "
        f"{sum(len(r.sectors) for r in requests)} sectors in {len(requests)} requests"
        + (f", {asked} of them different" if len(requests) > 1 else "")
    )
    whole = len(rows) == threads.shape[0] and len(columns) == threads.shape[1]
    note = "number: thread; color: sector of 32 bytes; pale: transferred but unused"
    if not whole:
        note += f"; {len(rows)} of {threads.shape[0]} rows, {len(columns)} of {threads.shape[1]} columns"
    return _grid(title or about, about if title else "", note, rows, columns, cells)


def _window(moved: npt.NDArray[np.bool_], most: int, axis: int) -> list[int]:
    """Rows or columns to draw: those with accesses, or all if they are few."""
    size = moved.shape[axis]
    if size <= most:
        return list(range(size))
    return [int(i) for i in np.flatnonzero(moved.any(axis=1 - axis))[:most]]


class _Cell(NamedTuple):
    """Row and column, the accessing thread (-1: none), color index, and tooltip."""

    row: int
    column: int
    thread: int
    color: int
    name: str


def _drawn(cells: Sequence[_Cell]) -> Iterator[Html]:
    """Boxes, pale if unused, with numbers on top; grouped, since there are thousands."""
    for asked, opacity in ((False, 0.25), (True, 0.85)):
        boxes = [_box(cell) for cell in cells if (cell.thread >= 0) is asked]
        yield tag("g", *boxes, class_="cells", fill_opacity=opacity)
    numbers = [
        tag("text", str(c.thread), x=LEFT + CELL * c.column + CELL // 2, y=TOP + CELL * c.row + 15)
        for c in cells
        if c.thread >= 0
    ]
    yield tag("g", *numbers, text_anchor="middle", pointer_events="none", style="font-size:9px")


def _box(cell: _Cell) -> Html:
    who = f"thread {cell.thread}" if cell.thread >= 0 else "moved"
    return tag(
        "rect",
        tag("title", f"{cell.name}: {who}"),
        x=LEFT + CELL * cell.column + 1,
        y=TOP + CELL * cell.row + 1,
        width=CELL - 2,
        height=CELL - 2,
        class_=f"hue{cell.color % HUES}",
    )


def _grid(
    title: str, about: str, note: str, rows: Sequence[int], columns: Sequence[int], cells: Sequence[_Cell]
) -> Html:
    labels = [
        tag("text", str(row), x=LEFT - 6, y=TOP + CELL * i + 15, text_anchor="end", class_="soft")
        for i, row in enumerate(rows)
    ]
    labels += [
        tag("text", str(c), x=px(LEFT + CELL * (j + 0.5)), y=TOP - 5, text_anchor="middle", class_="soft")
        for j, c in enumerate(columns)
        if j % 2 == 0 or len(columns) <= 16
    ]
    bottom, right = TOP + CELL * len(rows), LEFT + CELL * len(columns)
    lines = [f"M{LEFT} {TOP + CELL * i}H{right}" for i in range(len(rows) + 1)]
    lines += [f"M{LEFT + CELL * j} {TOP}V{bottom}" for j in range(len(columns) + 1)]
    width = max(right + 8, 6.8 * max(len(about), len(note)) + 12)
    return svg(
        title,
        width,
        bottom + 24,
        tag("text", about, x=6, y=31, class_="soft"),
        *labels,
        tag("path", d="".join(lines), class_="line"),
        *_drawn(cells),
        tag("text", note, x=6, y=bottom + 17, class_="soft"),
    )


def bank_map(request: Request, title: str = "") -> Html:
    """Picture of the shared memory words that a warp accesses, by bank: words in one column are serialized.

    Args:
        request: a shared memory request.
        title: the heading.
    """
    words: dict[int, int] = {}
    for lane, address in enumerate(request.addresses):
        if address is not None:
            for word in range(address // WORD, (address + request.size - 1) // WORD + 1):
                words.setdefault(word, 32 * request.warp + lane)
    rows = sorted({word // BANKS for word in words})[:ROWS]
    places = [(i, bank, BANKS * row + bank) for i, row in enumerate(rows) for bank in range(BANKS)]
    cells = [_Cell(i, bank, words[w], i, f"bank {bank}") for i, bank, w in places if w in words]
    busiest = max(sum(word % BANKS == bank for word in words) for bank in range(BANKS))
    about = f"{len(words)} words of 4 bytes; the busiest bank has {busiest}, one after another"
    note = "column: bank; number: thread; color: row of 128 bytes"
    first = rows[0] if rows else 0
    return _grid(title or about, about if title else "", note, [r - first for r in rows], range(BANKS), cells)
