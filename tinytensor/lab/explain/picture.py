"""The picture of an explanation: for each step its elements, and the buffer below them.

Every cell for a buffer position has a class named after the position, so one CSS rule for each position
lights up its elements and its cell, in all steps at once, while one of them is pointed at or has the focus.
The line below a step then says what it is. There is no script.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinytensor.lab.explain.steps import LayoutStep, Row, bracketed
from tinytensor.lab.explain.text import summary, tip_of_cell, tip_of_element
from tinytensor.lab.html import Html, tag
from tinytensor.lab.svg import SCOPE, px, svg

# Pixels: width of a letter, height of a cell, gap between items, and between sectors.
LETTER, HEIGHT, GAP, SPACE = 6.7, 22, 10, 6
CELLS_OF_LINE = 16
LIT = "#f07030"  # to be seen on light and on dark paper
STYLE = (
    f".{SCOPE} .at{{outline:none;stroke:none}}.{SCOPE} .at rect{{stroke:#8a93a3}}"
    f".{SCOPE} .tip{{opacity:0}}.{SCOPE} .at:is(:hover,:focus) .tip{{opacity:1}}"
)


def mark(step: LayoutStep, position: int) -> str:
    """CSS class of all cells for a buffer position."""
    return f"b{step.buffer.number}p{position}"


class _Canvas:
    """Collects the shapes of the steps from top to bottom."""

    def __init__(self) -> None:
        self.shapes: list[Html] = []
        self.y = 24.0 + GAP  # below the heading
        self.width = 0.0
        self.cells: list[tuple[str, str, Html]] = []  # of the step: class, tip, shapes

    def text(self, text: str, x: float = GAP) -> None:
        """A line of text, and the next one below it."""
        self.shapes.append(tag("text", text, x=px(x), y=self.y + 14))
        self.width = max(self.width, x + LETTER * len(text))
        self.y += HEIGHT

    def word(self, text: str, right: float) -> None:
        """A right-aligned remark in the row of cells, ending at `right`."""
        self.shapes.append(tag("text", text, x=px(right), y=self.y + 15, text_anchor="end", class_="soft"))

    def cell(self, step: LayoutStep, position: int, x: float, width: float, tip: str) -> None:
        """A cell of the current row; the later an element comes in the tensor, the stronger is its color."""
        inside, label = step.reach.covers(position), step.label(position)
        shade = 0.08 + 0.47 * step.order.get(position, 0.5) if inside else 0.0
        box: dict[str, str | float] = {"x": px(x), "y": self.y, "width": px(width), "height": HEIGHT}
        middle: dict[str, str | float] = {"x": px(x + width / 2), "y": self.y + 15, "text_anchor": "middle"}
        shapes = tag("rect", **box, class_="minus" if inside else "plain", fill_opacity=f"{shade:.3g}")
        shapes = Html(shapes + tag("text", label + "?" * (inside is None), **middle))
        self.cells.append((mark(step, position), tip.replace("\n", "; "), shapes))
        self.width = max(self.width, x + width, GAP + LETTER * len(tip))

    def end_step(self) -> None:
        """Write the cells, with their tips on a line below them."""
        self.y += GAP
        place: dict[str, str | float] = {
            "x": GAP,
            "y": self.y + 14,
            "class_": "tip",
            "pointer_events": "none",
        }
        for name, tip, shapes in self.cells:
            self.shapes.append(tag("g", shapes, tag("text", tip, **place), class_=f"at {name}", tabindex=0))
        self.cells.clear()
        self.y += HEIGHT + GAP


def explanation_picture(title: str, steps: Sequence[LayoutStep]) -> Html:
    """SVG document of an explanation."""
    canvas = _Canvas()
    canvas.text("The stronger its color, the later an element comes in the tensor.")
    for number, step in enumerate(steps, 1):
        name = f"{number}  {step.call} ({step.made}): " if len(steps) > 1 else ""
        canvas.text(name + summary(step.layout))
        if step is steps[-1] and step.layout.size:
            canvas.text(f"{bracketed(step.letters)} is at {step.formula(step.letters)}")
        cell = LETTER * max([len(step.label(p)) for p in step.positions()], default=1) + 10
        _matrices(canvas, step, cell)
        _buffer(canvas, step, cell)
        canvas.end_step()
    marks = dict.fromkeys([mark(step, p) for step in steps for p in step.positions()])
    lit = ",".join([f".{SCOPE}:has(.{name}:is(:hover,:focus)) .{name} rect" for name in marks])
    style = STYLE + (f"{lit}{{stroke:{LIT};stroke-width:3px}}" if marks else "")
    shapes = tag("style", Html(style)), *canvas.shapes
    return svg(title, canvas.width + GAP, canvas.y + GAP, *shapes, role="group")


def _matrices(canvas: _Canvas, step: LayoutStep, cell: float) -> None:
    before: Row = ""
    for row in step.rows:
        canvas.y += GAP * (isinstance(row, str) and not isinstance(before, str))
        before = row
        if isinstance(row, str) or row == (None,):
            canvas.text(row if isinstance(row, str) else "…")
            continue
        for column, e in enumerate(row):
            x = GAP + cell * column
            if e is None:
                canvas.word("…", x + cell / 2)
            else:
                canvas.cell(step, e.position, x, cell, tip_of_element(step, e))
        canvas.y += HEIGHT
    canvas.y += GAP


def _buffer(canvas: _Canvas, step: LayoutStep, cell: float) -> None:
    start = step.buffer.start if step.buffer.size else 0
    into = f", the first one {start} bytes into a cache line" if start else ""
    canvas.text(f"{step.buffer}{into}")
    left = GAP + LETTER * len(f"at {step.buffer.size}") + GAP
    named: dict[int, list[str]] = {}  # the indices shown that map to each position
    for element in step.elements():
        named.setdefault(element.position, []).append(bracketed(element.index))
    for line in step.lines_of_cells(CELLS_OF_LINE):
        if isinstance(line, int):
            canvas.text(f"… {line} elements", left)
            continue
        canvas.word(f"at {next(p for p in line if p is not None)}", left - GAP / 2)
        x = left
        for column, p in enumerate(line):
            x += SPACE * (column > 0 and p is not None and step.begins_sector(p))
            if p is not None:
                canvas.cell(step, p, x, cell, tip_of_cell(step, p, named.get(p, ())))
            x += cell
        canvas.y += HEIGHT
