"""Heat maps of labeled matrices as SVG. Independent of models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinytensor.lab.html import Html, signed, tag

Array = npt.NDArray[Any]
CELL, LETTER, GAP = 18, 6.7, 6  # pixels: side of a cell, width of a letter, gap between labels and cells
FONT = "11px ui-monospace, monospace"
# CSS rules of a page of heat maps: as wide as the window; of `scale_of_colors`.
WIDE = (
    "body{max-width:none}.scale{display:inline-block;width:6rem;height:.8em;margin:0 .5em;"
    "vertical-align:middle;border:1px solid var(--line);"
    "background:linear-gradient(90deg,var(--minus),transparent 50%,var(--plus))}"
)


def heat_map(
    values: Array, rows: Sequence[str], columns: Sequence[str], *, title: str, most: float | None = None
) -> Html:
    """Heat map of a matrix (R, C) as SVG; hovering a cell shows its labels and value. NaN cells are left out;
    the full color is that of `most`, default: the largest absolute value.
    """
    height, width = values.shape
    finite = np.abs(values[np.isfinite(values)])
    scale = most if most is not None else float(finite.max(initial=0.0))
    longest = max([len(label) for label in columns], default=0)
    left = 2 * GAP + LETTER * max([len(label) for label in rows], default=0)
    top = 20 + 2 * GAP + (LETTER * longest if longest > 2 else CELL / 2)
    cells = [
        _cell(float(values[i, j]), rows[i], columns[j], left + CELL * j, top + CELL * i, scale)
        for i in range(height)
        for j in range(width)
        if not np.isnan(values[i, j])
    ]
    labels = [
        tag("text", label, x=_px(left - GAP), y=_px(top + CELL * i + 13), text_anchor="end")
        for i, label in enumerate(rows)
    ] + [
        _column(label, left + CELL * (j + 0.5), top - GAP, upwards=longest > 2)
        for j, label in enumerate(columns)
    ]
    size = (max(left + CELL * width, LETTER * 1.1 * len(title)) + GAP, top + CELL * height + GAP)
    return tag(
        "svg",
        tag("title", title),
        tag("text", title, x=GAP, y=14, style="font-weight:bold"),
        *labels,
        tag("g", *cells, class_="cells"),
        tag("rect", x=_px(left), y=_px(top), width=CELL * width, height=CELL * height, class_="frame"),
        viewBox=f"0 0 {_px(size[0])} {_px(size[1])}",
        width=_px(size[0]),
        height=_px(size[1]),
        role="img",
        aria_label=title,
        style=f"font:{FONT}",
    )


def _column(label: str, x: float, y: float, upwards: bool) -> Html:
    if upwards:
        return tag("text", label, transform=f"translate({_px(x + 4)},{_px(y)})rotate(-90)")
    return tag("text", label, x=_px(x), y=_px(y), text_anchor="middle")


def _cell(value: float, row: str, column: str, x: float, y: float, most: float) -> Html:
    return tag(
        "rect",
        tag("title", f"{row} → {column}: {value:.4g}"),
        x=_px(x + 1),
        y=_px(y + 1),
        width=CELL - 2,
        height=CELL - 2,
        **signed(value, most),
    )


def scale_of_colors(most: float) -> Html:
    """The colors from -most to most, with both numbers."""
    return tag("span", f"−{most:.3g}", tag("span", class_="scale"), f"{most:.3g}", class_="soft")


def _px(number: float) -> str:
    return f"{number:.6g}"
