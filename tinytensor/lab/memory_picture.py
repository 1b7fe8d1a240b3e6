"""The ledger of memory as text, as a picture of its timeline, and as a page. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .html import SVG_STYLE, Html, page, tag

if TYPE_CHECKING:
    from .ledger import Ledger, Point

__all__ = ["memory_page", "memory_picture", "memory_table", "size_of"]

# A color for each category; they differ in lightness, too.
_LIGHT = ("#27508f", "#d9822b", "#8a5bb0", "#2f9e8f", "#9fb2d0", "#d0d4dc")
_DARK = ("#4a7fd0", "#f0a050", "#b088d8", "#4cc4b2", "#6f7d95", "#4a5160")
_SVG = "http://www.w3.org/2000/svg"
LEFT, TOP, WIDTH, HEIGHT = 76, 28, 840, 300  # of the area that is drawn on
ROW, COLUMN = 22, 280  # of the legend


def _rules(colors: Sequence[str]) -> str:
    return "".join([f".area{i}{{fill:{color}}}" for i, color in enumerate(colors)])


_STYLE = (
    f"{SVG_STYLE}{_rules(_LIGHT)}@media (prefers-color-scheme:dark){{{_rules(_DARK)}}}"
    "svg text{font:12px ui-monospace,monospace}.rule{stroke:#808080;stroke-dasharray:3 3}"
)


def size_of(nbytes: int) -> str:
    """Bytes as a text that fits on an axis.

    Example:
        >>> size_of(1536), size_of(3 << 20)
        ('1.5 KiB', '3 MiB')
    """
    value, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def memory_table(ledger: Ledger) -> str:
    """Bytes by category, now and at the peak, then what is saved by op."""
    lines = [f"{'bytes on ' + str(ledger.device):<28} {'now':>14} {'at the peak':>14}"]
    lines += [f"{name:<28} {now:>14,} {peak:>14,}" for name, now, peak in _rows(ledger)]
    saved = _saved_rows(ledger)
    lines += ["saved for backward, by op"] * bool(saved)
    lines += [f"  {name:<26} {now:>14,} {peak:>14,}" for name, now, peak in saved]
    return "\n".join(lines)


def _rows(ledger: Ledger) -> list[tuple[str, int, int]]:
    now, peak = ledger.now, ledger.peak
    rows = [(name, now.by_category[name], nbytes) for name, nbytes in peak.by_category.items()]
    return [*rows, ("total", now.total, peak.total)]


def _saved_rows(ledger: Ledger) -> list[tuple[str, int, int]]:
    now, peak = ledger.now.saved_by, ledger.peak.saved_by
    ops = sorted(now.keys() | peak.keys(), key=lambda op: (-peak.get(op, 0), op))
    return [(op, now.get(op, 0), peak.get(op, 0)) for op in ops]


def memory_picture(ledger: Ledger) -> Html:
    """The timeline as an SVG: categories on each other, the peak, and the marks."""
    most, names, floor = max(ledger.peak.total, 1), list(ledger.peak.by_category), TOP + HEIGHT
    shown = _thinned(ledger.timeline)
    parts = [tag("title", "bytes in use, one storage after the other"), tag("style", Html(_STYLE))]
    below = [0] * len(shown)
    for i, name in enumerate(names):
        above = [low + p.nbytes[i] for low, p in zip(below, shown, strict=True)]
        if above != below:
            tip = tag("title", f"{name}: {ledger.peak.by_category[name]:,} bytes at the peak")
            parts.append(tag("path", tip, class_=f"area{i}", d=_outline(below, above, most)))
        below = above
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = floor - HEIGHT * share
        parts.append(tag("line", class_="rule", stroke_opacity=0.35, x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y))
        parts.append(tag("text", size_of(round(most * share)), x=LEFT - 6, y=y + 4, text_anchor="end"))
    for index, label in ledger.marks:
        parts += _upright(index / max(len(ledger.timeline) - 1, 1), label, floor + 16)
    if shown:
        at = max(range(len(shown)), key=lambda i: sum(shown[i].nbytes))
        parts += _upright(at / max(len(shown) - 1, 1), f"peak {size_of(most)}", TOP - 10)
    parts += _legend(ledger, names, floor + 44)
    width, height = LEFT + WIDTH + 16, floor + 44 + ROW * -(-len(names) // 3)
    box = f"0 0 {width} {height}"
    return tag("svg", *parts, xmlns=_SVG, viewBox=box, width=width, height=height, role="img")


def _thinned(timeline: Sequence[Point]) -> list[Point]:
    """No more points than the picture is wide; each is the largest of its neighbors, so no peak is lost."""
    step = max(1, -(-len(timeline) // WIDTH))
    return [max(timeline[i : i + step], key=lambda p: sum(p.nbytes)) for i in range(0, len(timeline), step)]


def _outline(below: Sequence[int], above: Sequence[int], most: int) -> str:
    """The path around the area between two lines."""
    step = WIDTH / max(len(above) - 1, 1)
    upper = [(LEFT + i * step, value) for i, value in enumerate(above)]
    lower = [(LEFT + i * step, value) for i, value in enumerate(below)]
    if len(above) == 1:  # a single moment is a bar
        upper, lower = [*upper, (LEFT + WIDTH, above[0])], [*lower, (LEFT + WIDTH, below[0])]
    corners = [f"{x:.1f} {TOP + HEIGHT * (1 - value / most):.1f}" for x, value in [*upper, *reversed(lower)]]
    return f"M{'L'.join(corners)}Z"


def _upright(share: float, label: str, y: float) -> list[Html]:
    """A line at a moment, with a text beside its end that stays in the picture."""
    x = LEFT + WIDTH * share
    anchor, shift = ("end", -4) if share > 0.8 else ("start", 4)
    line = tag("line", class_="rule", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=TOP - 6, y2=TOP + HEIGHT + 6)
    return [line, tag("text", label, x=f"{x + shift:.1f}", y=y, text_anchor=anchor)]


def _legend(ledger: Ledger, names: Sequence[str], top: float) -> list[Html]:
    parts = []
    for i, name in enumerate(names):
        x, y = LEFT + COLUMN * (i % 3), top + ROW * (i // 3)
        parts.append(tag("rect", class_=f"area{i}", x=x, y=y - 10, width=12, height=12))
        parts.append(tag("text", name, x=x + 18, y=y))
    return parts


def memory_page(ledger: Ledger) -> str:
    """A page with the picture and the tables."""
    text = (
        "Each point is the moment after a storage was made. What is saved for backward is kept by nodes of "
        "the graph; parameters, gradients and the optimizer's state are counted as such, whoever keeps them."
    )
    body = [tag("p", text), tag("div", memory_picture(ledger), class_="scroll")]
    body.append(_table(f"bytes on {ledger.device}", _rows(ledger)))
    if saved := _saved_rows(ledger):
        body.append(_table("saved for backward, by the op that saved it first", saved))
    return page("Memory, storage by storage", *body)


def _table(caption: str, rows: Sequence[tuple[str, int, int]]) -> Html:
    head = tag("tr", *[tag("th", word, scope="col") for word in ("", "now", "at the peak")])
    lines = [
        tag("tr", tag("th", name, scope="row"), *[tag("td", f"{n:,}", class_="number") for n in numbers])
        for name, *numbers in rows
    ]
    return tag("div", tag("table", tag("caption", caption), head, *lines), class_="scroll")
