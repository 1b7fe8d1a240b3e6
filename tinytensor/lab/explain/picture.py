"""Explanations as SVG: for each step its elements, and the buffer below them, highlighted on hover."""

from __future__ import annotations

from collections.abc import Sequence

from tinytensor.lab.explain.facts import summary, tip_of_cell, tip_of_element
from tinytensor.lab.explain.page import CLASS, lit, mark, shade
from tinytensor.lab.explain.steps import Block, LayoutStep, bracketed
from tinytensor.lab.html import DARK, LIGHT, Html, tag
from tinytensor.lab.svg import px, svg

# Pixels: width of a letter, height of a cell, gap between items, and between sectors.
LETTER, HEIGHT, GAP, SPACE = 6.7, 22, 10, 6
CELLS_OF_LINE = 16


class _Canvas:
    """Collects shapes from top to bottom."""

    def __init__(self) -> None:
        self.shapes: list[Html] = []
        self.y = 24.0 + GAP  # below the heading
        self.width = 0.0

    def text(self, text: str, x: float = GAP) -> None:
        """A line of text, and the next one below it."""
        self.shapes.append(tag("text", text, x=px(x), y=self.y + 14))
        self.width = max(self.width, x + LETTER * len(text))
        self.y += HEIGHT

    def word(self, text: str, right: float) -> None:
        """A right-aligned remark in the row of cells, ending at `right`."""
        self.shapes.append(tag("text", text, x=px(right), y=self.y + 15, text_anchor="end", class_="soft"))

    def cell(self, text: str, x: float, width: float, *, shade: float, name: str, tip: str) -> None:
        """A cell of the current row; `shade` is its opacity, 0 for positions that are not elements."""
        box: dict[str, str | float] = {"x": px(x), "y": self.y, "width": px(width), "height": HEIGHT}
        color: dict[str, str | float] = {"class_": f"minus {name}" if shade else f"plain {name}"}
        self.shapes += [
            tag("rect", tag("title", tip), **box, **color, fill_opacity=f"{shade:.3g}"),
            tag("rect", **box, class_="frame", pointer_events="none"),
            tag(
                "text", text, x=px(x + width / 2), y=self.y + 15, text_anchor="middle", pointer_events="none"
            ),
        ]
        self.width = max(self.width, x + width)


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
        for block in step.blocks:
            _matrix(canvas, step, block, cell)
        _buffer(canvas, step, cell)
        canvas.y += GAP
    light, dark = [lit(steps, ":hover", f"stroke:{c['plus']};stroke-width:3") for c in (LIGHT, DARK)]
    style = tag("style", Html(f"{light}@media (prefers-color-scheme:dark){{{dark}}}"))
    shapes = tag("g", *canvas.shapes, class_=CLASS)
    return svg(title, canvas.width + GAP, canvas.y + GAP, style, shapes)


def _matrix(canvas: _Canvas, step: LayoutStep, block: Block | None, cell: float) -> None:
    if block is None:
        canvas.text("…")
        return
    if block.lead:
        canvas.text(bracketed([*block.lead, ":", ":"]))
    for row in block.rows:
        if row is None:
            canvas.text("…")
            continue
        for column, e in enumerate(row):
            x = GAP + cell * column
            if e is None:
                canvas.word("…", x + cell / 2)
            else:
                name, tip = mark(step, e.position), tip_of_element(step, e)
                canvas.cell(
                    step.label(e.position), x, cell, shade=shade(step, e.position), name=name, tip=tip
                )
        canvas.y += HEIGHT
    canvas.y += GAP


def _buffer(canvas: _Canvas, step: LayoutStep, cell: float) -> None:
    canvas.text(str(step.buffer))
    left = GAP + LETTER * len(f"at {step.buffer.size}") + GAP
    for line in step.lines_of_cells(CELLS_OF_LINE):
        if isinstance(line, int):
            canvas.text(f"… {line} elements", left)
            continue
        canvas.word(f"at {next(p for p in line if p is not None)}", left - GAP / 2)
        x = left
        for column, p in enumerate(line):
            x += SPACE * (column > 0 and p is not None and step.begins_sector(p))
            if p is not None:
                color = shade(step, p) if step.reach.covers(p) else 0.0
                tip = tip_of_cell(step, p, ())
                canvas.cell(step.label(p), x, cell, shade=color, name=mark(step, p), tip=tip)
            x += cell
        canvas.y += HEIGHT
