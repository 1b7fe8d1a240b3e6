"""Facts, elements, buffer and live tensors of an explanation as text. Brackets mark the elements."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from tinytensor.lab.explain.aliases import Alias
from tinytensor.lab.explain.steps import LINE, SECTOR, Element, LayoutStep, bracketed
from tinytensor.layout import Layout, contiguous_strides

LINES, ALIASES = 16, 20  # maximum lines of the buffer and of the tree
NAMED = 4  # indices in the tooltip of a cell


def elements_text(step: LayoutStep, width: int) -> str:
    """The elements by index, with their positions next to or below them if these differ."""
    found = step.elements()
    if not found:
        return "elements: none"
    grids: list[tuple[str, Callable[[int], str]]] = [("elements", step.label)] if step.values else []
    if any(step.label(e.position) != str(e.position) for e in found) or not step.values:
        grids.append(("positions in the buffer", str))
    drawn = [[name, *_grid(step, label)] for name, label in grids]
    left = max(map(len, drawn[0])) + 4
    if len(drawn) == 2 and left + max(map(len, drawn[1])) <= width:
        return "\n".join([f"{a:<{left}}{b}" for a, b in zip(*drawn, strict=True)])
    return "\n".join([line for grid in drawn for line in grid])


def _grid(step: LayoutStep, label: Callable[[int], str]) -> Iterator[str]:
    cell = max([len(label(e.position)) for e in step.elements()])
    for row in step.rows:
        texts = [label(e.position) if isinstance(e, Element) else "…" for e in row]
        yield row if isinstance(row, str) else " ".join([f" {text:>{cell}}" for text in texts])


def buffer_text(step: LayoutStep, width: int) -> str:
    """The positions shown, a cache line or a part of one in a row."""
    shown, item = [p for run in step.cells for p in run], step.buffer.dtype.itemsize
    if not shown:
        return str(step.buffer)
    cell, place = max([len(step.label(p)) for p in shown]), len(str(shown[-1]))
    lines = step.lines_of_cells((width - place - 4) // (cell + 3))
    nbytes = item * max([len(line) for line in lines if isinstance(line, list)])
    about = f"a row is {nbytes} bytes" + (", a cache line" if nbytes == LINE else "")
    about += f"; | begins {SECTOR} bytes, a sector of a GPU" if nbytes > SECTOR else ""
    drawn = textwrap.wrap(f"{step.buffer}; [ ] are elements of the view; {about}", width)
    for line in _fold(lines):
        if isinstance(line, int):
            drawn.append(f"{'':>{place}}  … {line} elements")
        else:
            first = next(p for p in line if p is not None)
            drawn.append(f"{first:>{place}}  {''.join(_cells(step, line, cell))}|")
    return "\n".join(drawn)


def _fold(lines: list[list[int | None] | int]) -> list[list[int | None] | int]:
    """The first and the last lines if there are too many."""
    if len(lines) <= LINES:
        return lines
    half = LINES // 2
    left_out = [line if isinstance(line, int) else len(line) for line in lines[half:-half]]
    return [*lines[:half], sum(left_out), *lines[-half:]]


def _cells(step: LayoutStep, line: Sequence[int | None], cell: int) -> Iterator[str]:
    for number, p in enumerate(line):
        if p is None:
            yield " " * (cell + 3)
            continue
        left, right = {True: ("[", "]"), False: (" ", " "), None: ("?", "?")}[step.reach.covers(p)]
        yield f"{'|' if number == 0 or step.begins_sector(p) else ' '}{left}{step.label(p):>{cell}}{right}"


def tree(aliases: Sequence[Alias]) -> list[str]:
    """Lines of the live tensors on a buffer, each owner above its views."""
    lines = []
    for owner in aliases:
        lines.append(_branch("", owner))
        for number, view in enumerate(owner.views, 1):
            lines.append(_branch("└─ " if number == len(owner.views) else "├─ ", view))
    if len(lines) > ALIASES:
        lines[ALIASES:] = [f"… and {len(lines) - ALIASES} more"]
    return lines


def _branch(mark: str, alias: Alias) -> str:
    said = {True: "", False: "  (no element in common)", None: "  (perhaps elements in common)"}[alias.meets]
    names = ", ".join(alias.names) or "without a name"
    return f"{mark}{names}  {summary(alias.layout)}{said}{'  ← this one' if alias.asked else ''}"


# ---- facts and tips, as sentences --------------------------------------------------------------------------


def summary(layout: Layout) -> str:
    """One-line summary: shape, strides and offset."""
    return f"shape {layout.shape}  strides {layout.strides}  offset {layout.offset}"


def facts(step: LayoutStep) -> Iterator[tuple[str, str]]:
    """All facts about a step, as pairs of topic and sentence."""
    layout, dtype = step.layout, step.buffer.dtype
    yield "shape", str(layout.shape)
    yield "strides", f"{layout.strides}, in elements"
    yield "offset", str(layout.offset)
    yield "dtype", f"{dtype}, {dtype.itemsize} byte{'s' * (dtype.itemsize > 1)} each, on {step.buffer.device}"
    if layout.size:
        yield "element", f"{bracketed(step.letters)} is at {step.formula(step.letters)}"
        yield "for example", step.place(_last(layout))
    yield "contiguous", _contiguous(step)
    if layout.size > 1:
        yield "axes", _axes(layout)
    yield "elements", _elements(step)
    yield "cache lines", _lines(step)
    yield "GPU sectors", _sectors(step)


def _last(layout: Layout) -> Element:
    index = tuple([length - 1 for length in layout.shape])
    return Element(index, layout.offset + sum([i * s for i, s in zip(index, layout.strides, strict=True)]))


def _contiguous(step: LayoutStep) -> str:
    layout, reach = step.layout, step.reach
    if layout.is_contiguous:
        return "yes, in C order: the last axis is the fastest" if layout.size > 1 else "yes"
    rows = zip(layout.shape, layout.strides, contiguous_strides(layout.shape), strict=True)
    axis, stride, dense = [(a, s, d) for a, (n, s, d) in enumerate(rows) if n != 1 and s != d][-1]
    text = f"no: axis {axis} steps by {stride}, in C order it would step by {dense}"
    if reach.distinct == layout.size == reach.high - reach.low + 1:
        order = sorted(range(layout.ndim), key=lambda a: -abs(layout.strides[a]))
        text += f"; dense all the same, with the axes in memory in the order {tuple(order)}"
    return text


def _axes(layout: Layout) -> str:
    shape, strides = layout.shape, layout.strides
    long = [axis for axis, length in enumerate(shape) if length != 1]
    parts = []
    for a, b in pairwise(long):
        merge = strides[a] == shape[b] * strides[b]
        product = f"{strides[a]} {'=' if merge else '≠'} {shape[b]}*{strides[b]}"
        parts.append(f"{a} and {b} {'merge' if merge else 'do not merge'}: {product}")
    merged = layout.merge_dims()
    parts.append(f"as few as possible: shape {merged.shape}, strides {merged.strides}")
    return "; ".join(parts)


def _elements(step: LayoutStep) -> str:
    layout, reach, size = step.layout, step.reach, step.buffer.size
    if not layout.size:
        return "none: an axis has size 0"
    if reach.distinct is None:
        return f"{layout.size} indices; the axes interleave, and there are too many to see which ones meet"
    span = f"positions {reach.low} to {reach.high}"
    if reach.distinct == layout.size:
        return f"{layout.size} of the {size} in the buffer, each once: {span}"
    still = [a for a, (n, s) in enumerate(zip(layout.shape, layout.strides, strict=True)) if n > 1 and not s]
    why = f"stride 0 repeats axis {', '.join(map(str, still))}" if still else "they overlap"
    return f"{layout.size} indices reach {reach.distinct} of the {size} in the buffer ({why}): {span}"


def _lines(step: LayoutStep) -> str:
    buffer = step.buffer
    found = step.reach.blocks(buffer.dtype.itemsize, LINE, buffer.start)
    text = f"{_count(found)} of the buffer's {buffer.blocks(LINE)}, {LINE} bytes each"
    return text + (
        f"; the buffer begins {buffer.start} bytes into one" if buffer.start and buffer.size else ""
    )


def _sectors(step: LayoutStep) -> str:
    buffer, item = step.buffer, step.buffer.dtype.itemsize
    found, distinct = step.reach.blocks(item, SECTOR, buffer.start), step.reach.distinct
    text = f"{_count(found)} of the buffer's {buffer.blocks(SECTOR)}, {SECTOR} bytes each"
    if not found or distinct is None:
        return text
    used, moved = distinct * item, found * SECTOR
    return f"{text}; of these {moved} bytes {used} are elements ({used / moved:.0%})"


def _count(found: int | None) -> str:
    return "uncounted (the axes interleave)" if found is None else str(found)


def tip_of_element(step: LayoutStep, element: Element) -> str:
    """Tooltip of an element: its index, position and value."""
    value = step.values.get(element.position)
    return step.place(element) + ("" if value is None else f"\nvalue {value}")


def tip_of_cell(step: LayoutStep, position: int, names: Sequence[str]) -> str:
    """Tooltip of a buffer cell: its bytes, cache line and sector; `names` are the indices that map to it."""
    item = step.buffer.dtype.itemsize
    first = step.buffer.start + position * item
    place = (
        f"position {position}: bytes {position * item} to {(position + 1) * item - 1} of the buffer, "
        f"cache line {first // LINE}, sector {first // SECTOR}"
    )
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return place + (f"\nread as {', '.join(names[:NAMED])}{more}" if names else "")
