"""Explanations as terminal text, fitted to its width, with optional colors. Brackets mark the elements."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from tinytensor.lab.explain.aliases import Alias
from tinytensor.lab.explain.facts import facts, summary
from tinytensor.lab.explain.steps import LINE, SECTOR, Block, Element, LayoutStep, bracketed

LINES, ALIASES = 16, 20  # maximum lines of the buffer and of the tree
BOLD, SOFT, MARKED = "1", "2", "1;36"
NAME = 13  # width of the topic column


class _Ink:
    """Adds ANSI colors if enabled."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and text.strip() else text


def render(title: str, steps: Sequence[LayoutStep], aliases: Sequence[Alias], width: int, color: bool) -> str:
    """An explanation as text, in lines of at most `width` columns if possible; `color`: with ANSI colors."""
    ink, last, width = _Ink(color), steps[-1], max(width, 1)
    parts = ["\n".join(ink(BOLD, line) for line in textwrap.wrap(title, width))]
    if len(steps) > 1:
        parts.append(_history(steps, width, ink))
    parts += [_elements(last, width, ink), _buffer(last, width, ink), _facts(last, width, ink)]
    if aliases:
        shared = [_cut(line, width) for line in tree(aliases)]
        parts.append("\n".join([ink(SOFT, "live tensors on this buffer"), *shared]))
    return "\n\n".join([part for part in parts if part])


def _history(steps: Sequence[LayoutStep], width: int, ink: _Ink) -> str:
    calls = [f"{number}  {step.call}" for number, step in enumerate(steps, 1)]
    column = max(map(len, calls)) + 2
    lines = []
    for call, step in zip(calls, steps, strict=True):
        about = f"{step.made:<12}{summary(step.layout)}"
        if column + len(about) <= width:
            lines.append(f"{call:<{column}}{ink(SOFT, about)}")
        else:
            lines += [_cut(call, width), ink(SOFT, _cut(f"   {about}", width))]
    return "\n".join(lines)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def _elements(step: LayoutStep, width: int, ink: _Ink) -> str:
    """The elements by index, with their positions next to or below them if these differ."""
    found = step.elements()
    if not found:
        return "elements: none"
    grids: list[tuple[str, Callable[[int], str]]] = [("elements", step.label)] if step.values else []
    if any(step.label(e.position) != str(e.position) for e in found) or not step.values:
        grids.append(("positions in the buffer", str))
    drawn = [[name, *_grid(step.blocks, label, width)] for name, label in grids]
    left = max([len(line) for line in drawn[0]]) + 4
    if len(drawn) == 2 and left + max([len(line) for line in drawn[1]]) <= width:
        lines = [f"{a:<{left}}{b}" for a, b in zip(*drawn, strict=True)]
    else:
        lines = [line for grid in drawn for line in grid]
    return "\n".join([ink(SOFT, lines[0]), *lines[1:]])


def _grid(blocks: Sequence[Block | None], label: Callable[[int], str], width: int) -> list[str]:
    shown = [row for block in blocks if block for row in block.rows if row]
    cell = max([len(label(e.position)) for row in shown for e in row if e])
    lines = []
    for block in blocks:
        if block is None:
            lines.append("…")
            continue
        if block.lead:
            lines.append(bracketed([*block.lead, ":", ":"]))
        for row in block.rows:
            texts = (
                ["…"]
                if row is None
                else [label(e.position) if e else "…" for e in _middle_out(row, width, cell)]
            )
            lines.append(_cut(" ".join([f" {text:>{cell}}" for text in texts]), width))
    return lines


def _middle_out(row: Sequence[Element | None], width: int, cell: int) -> Sequence[Element | None]:
    """A row with its middle left out if it does not fit."""
    fits = max((width - 1) // (cell + 2), 3)
    if len(row) <= fits:
        return row
    half = (fits - 1) // 2
    return [*row[:half], None, *row[len(row) - half :]]


def _buffer(step: LayoutStep, width: int, ink: _Ink) -> str:
    item = step.buffer.dtype.itemsize
    head = f"{step.buffer}; [ ] are elements of the view"
    shown = [p for run in step.cells for p in run]
    if not shown:
        return ink(SOFT, _cut(str(step.buffer), width))
    cell = max([len(step.label(p)) for p in shown])
    place = len(str(shown[-1]))
    lines = step.lines_of_cells((width - place - 4) // (cell + 3))
    per = max([len(line) for line in lines if isinstance(line, list)])
    about = f"a row is {per * item} bytes" + (", a cache line" if per * item == LINE else "")
    if per * item > SECTOR:
        about += f"; | begins {SECTOR} bytes, a sector of a GPU"
    drawn = []
    for line in _fold(lines):
        if isinstance(line, int):
            drawn.append(ink(SOFT, f"{'':>{place}}  … {line} elements"))
            continue
        first = next(p for p in line if p is not None)
        drawn.append(
            ink(SOFT, f"{first:>{place}}  ") + "".join(_cells(step, line, cell, ink)) + ink(SOFT, "|")
        )
    said = [*textwrap.wrap(head, width), *textwrap.wrap(about, width)]
    return "\n".join([*[ink(SOFT, line) for line in said], *drawn])


def _fold(lines: list[list[int | None] | int]) -> list[list[int | None] | int]:
    """The first and the last lines if there are too many."""
    if len(lines) <= LINES:
        return lines
    half = LINES // 2
    left_out = [line if isinstance(line, int) else len(line) for line in lines[half:-half]]
    return [*lines[:half], sum(left_out), *lines[-half:]]


def _cells(step: LayoutStep, line: Sequence[int | None], cell: int, ink: _Ink) -> Iterator[str]:
    for number, p in enumerate(line):
        if p is None:
            yield " " * (cell + 3)
            continue
        bar = ink(SOFT, "|") if number == 0 or step.begins_sector(p) else " "
        text = f"{step.label(p):>{cell}}"
        inside = step.reach.covers(p)
        marked = {True: ink(MARKED, f"[{text}]"), False: f" {text} ", None: f"?{text}?"}
        yield bar + marked[inside]


def _facts(step: LayoutStep, width: int, ink: _Ink) -> str:
    lines = []
    for name, sentence in facts(step):
        first, *more = textwrap.wrap(sentence, max(width - NAME, 12)) or [""]
        lines.append(ink(BOLD, f"{name:<{NAME}}") + first)
        lines += [" " * NAME + line for line in more]
    return "\n".join(lines)


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
