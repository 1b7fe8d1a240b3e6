"""Pictures of puzzles: rows of cells, as text and as SVG, from the same few lines.

    x: 0 1 2 3 | 0 1
    = thread i reads element i
    y: 0 1 / 2 3

A line has a label and cells; | is a gap between cells, / begins another row, and . is an empty cell. Cells
with the same text have the same color. A line that begins with = is a caption.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinytensor.lab.html import Html, tag
from tinytensor.lab.svg import HUES, svg

CELL, GAP, ROW, LEFT = 24, 8, 22, 12


def _rows(picture: str) -> Iterator[tuple[str, list[str] | str]]:
    """Label and cells of each row; of a caption, "=" and its text."""
    for line in picture.strip().splitlines():
        line = line.strip()
        if line.startswith("="):
            yield "=", line[1:].strip()
            continue
        label, _, cells = line.partition(":")
        for i, row in enumerate(cells.split("/")):
            yield (label if i == 0 else ""), row.split()


def as_text(picture: str) -> str:
    """The picture for a terminal.

    Example:
        >>> print(as_text("x: 0 1 | 2"))
          x  [0][1] [2]
    """
    rows = list(_rows(picture))
    width = max((len(cell) for _, row in rows if isinstance(row, list) for cell in row), default=1)
    margin = max(len(label) for label, _ in rows)
    lines = []
    for label, row in rows:
        if isinstance(row, str):
            lines.append(f"  {row}")
            continue
        cells = [" " if c == "|" else f"[{'' if c == '.' else c:^{width}}]" for c in row]
        lines.append(f"  {label:<{margin}}  {''.join(cells)}")
    return "\n".join(lines)


def as_svg(title: str, picture: str) -> Html:
    """The picture as an SVG element.

    Example:
        >>> as_svg("one cell", "x: 7").count("<rect")
        1
    """
    rows = list(_rows(picture))
    margin = LEFT + 8 * max(len(label) for label, _ in rows)
    texts = {cell: None for _, row in rows if isinstance(row, list) for cell in row if cell not in ("|", ".")}
    hues = {cell: f"hue{i % HUES}" for i, cell in enumerate(texts)}
    width = max(CELL, 9 + 7 * max((len(cell) for cell in texts), default=1))
    shapes, right = [], 0.0
    for i, (label, row) in enumerate(rows):
        y = 30 + i * ROW
        if isinstance(row, str):
            shapes.append(tag("text", row, x=LEFT, y=y + 14))
            right = max(right, LEFT + 7 * len(row))
            continue
        shapes.append(tag("text", label, x=LEFT, y=y + 14))
        x: float = margin
        for cell in row:
            if cell == "|":
                x += GAP
                continue
            shapes.append(
                tag("rect", x=x, y=y, width=width - 2, height=ROW - 2, class_=hues.get(cell, "box"))
            )
            if cell != ".":
                center = x + (width - 2) / 2
                shapes.append(tag("text", cell, x=center, y=y + 14, style="text-anchor:middle"))
            x += width
        right = max(right, x)
    return svg(title, right + LEFT, 40 + len(rows) * ROW, *shapes)
