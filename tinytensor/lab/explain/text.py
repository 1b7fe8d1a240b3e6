"""Elements, buffer and live tensors of an explanation as lines of text. Brackets mark the elements."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from tinytensor.lab.explain.aliases import Alias
from tinytensor.lab.explain.facts import summary
from tinytensor.lab.explain.steps import LINE, SECTOR, Block, LayoutStep, bracketed

LINES, ALIASES = 16, 20  # maximum lines of the buffer and of the tree


def elements_text(step: LayoutStep, width: int) -> str:
    """The elements by index, with their positions next to or below them if these differ."""
    found = step.elements()
    if not found:
        return "elements: none"
    grids: list[tuple[str, Callable[[int], str]]] = [("elements", step.label)] if step.values else []
    if any(step.label(e.position) != str(e.position) for e in found) or not step.values:
        grids.append(("positions in the buffer", str))
    drawn = [[name, *_grid(step.blocks, label)] for name, label in grids]
    left = max(map(len, drawn[0])) + 4
    if len(drawn) == 2 and left + max(map(len, drawn[1])) <= width:
        return "\n".join([f"{a:<{left}}{b}" for a, b in zip(*drawn, strict=True)])
    return "\n".join([line for grid in drawn for line in grid])


def _grid(blocks: Sequence[Block | None], label: Callable[[int], str]) -> Iterator[str]:
    shown = [row for block in blocks if block for row in block.rows if row]
    cell = max([len(label(e.position)) for row in shown for e in row if e])
    for block in blocks:
        if block is None or block.lead:
            yield "…" if block is None else bracketed([*block.lead, ":", ":"])
        for row in block.rows if block else ():
            texts = [label(e.position) if e else "…" for e in row or [None]]
            yield " ".join([f" {text:>{cell}}" for text in texts])


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
