"""The ledger of memory as text, as a picture of its timeline, and as a page. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinytensor.lab.html import Html, page, tag
from tinytensor.lab.svg import px, svg

if TYPE_CHECKING:
    from tinytensor.lab.memory.ledger import Ledger, Point

__all__ = ["memory_page", "memory_picture", "memory_table", "size_of"]

COLORS = ("hue1", "hue0", "hue5", "hue2", "hue6", "box")  # classes of `svg.py`, by category
LEFT, TOP, WIDTH, HEIGHT = 76, 56, 840, 300  # of the area that is drawn on
ROW, COLUMN = 20, 240  # of the legend


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
    return f"{value:.4g} {unit}"


Row = tuple[str, int, int, int]
HEAD = ("now", "at the peak", "at most")


def memory_table(ledger: Ledger) -> str:
    """Bytes by category, now, at the peak and at most, then what is saved by op."""
    lines = [f"{'bytes on ' + str(ledger.device):<28}" + "".join([f" {word:>14}" for word in HEAD])]
    lines += [_line(*row) for row in _rows(ledger)]
    saved = _saved_rows(ledger)
    lines += ["saved for backward, by op"] * bool(saved)
    lines += [_line(f"  {name}", *numbers) for name, *numbers in saved]
    return "\n".join(lines)


def _line(name: str, *numbers: int) -> str:
    return f"{name:<28}" + "".join([f" {n:>14,}" for n in numbers])


def _rows(ledger: Ledger) -> list[Row]:
    now, peak, most = ledger.now, ledger.peak, ledger.at_most
    rows = [(name, now.by_category[name], n, most[name]) for name, n in peak.by_category.items()]
    return [*rows, ("total", now.total, peak.total, peak.total)]


def _saved_rows(ledger: Ledger) -> list[Row]:
    now, peak, most = ledger.now.saved_by, ledger.peak.saved_by, ledger.most_saved_by
    ops = sorted(now.keys() | peak.keys() | most.keys(), key=lambda op: (-most.get(op, 0), op))
    return [(op, now.get(op, 0), peak.get(op, 0), most.get(op, 0)) for op in ops]


def memory_picture(ledger: Ledger) -> Html:
    """The timeline as an SVG: categories on each other, the peak, and the marks."""
    peak, shown, floor = ledger.peak, _thinned(ledger.timeline), TOP + HEIGHT
    most, parts, below = max(peak.total, 1), list[Html](), [0] * len(shown)
    for i, (name, nbytes) in enumerate(peak.by_category.items()):
        above = [low + p.nbytes[i] for low, p in zip(below, shown, strict=True)]
        if above != below:
            tip = tag("title", f"{name}: {nbytes:,} bytes at the peak")
            parts.append(tag("path", tip, class_=COLORS[i], d=_outline(below, above, most)))
        below = above
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = floor - HEIGHT * share
        parts.append(tag("path", class_="line", d=f"M{LEFT} {px(y)}H{LEFT + WIDTH}"))
        parts.append(tag("text", size_of(round(most * share)), x=LEFT - 6, y=px(y + 4), text_anchor="end"))
    for index, label in ledger.marks:
        parts += _upright(index / max(len(ledger.timeline) - 1, 1), label, floor + 16)
    if shown:
        at = max(range(len(shown)), key=lambda i: sum(shown[i].nbytes))
        parts += _upright(at / max(len(shown) - 1, 1), f"peak {size_of(most)}", TOP - 10)
    for i, name in enumerate(peak.by_category):
        x, y = LEFT + COLUMN * (i % 3), floor + 40 + ROW * (i // 3)
        parts.append(tag("rect", class_=COLORS[i], x=x, y=y - 10, width=12, height=12))
        parts.append(tag("text", name, x=x + 18, y=y))
    return svg(f"Memory on {ledger.device}, storage by storage", LEFT + WIDTH + 16, floor + 76, *parts)


def _thinned(timeline: Sequence[Point]) -> list[Point]:
    """No more points than the picture is wide; each is the largest of its neighbors, so no peak is lost."""
    step = max(1, -(-len(timeline) // WIDTH))
    return [max(timeline[i : i + step], key=lambda p: sum(p.nbytes)) for i in range(0, len(timeline), step)]


def _outline(below: Sequence[int], above: Sequence[int], most: int) -> str:
    """The path around the area between two lines; a single moment is a bar."""
    if len(above) == 1:
        below, above = [*below, *below], [*above, *above]
    step = WIDTH / (len(above) - 1)
    upper = [(LEFT + i * step, value) for i, value in enumerate(above)]
    lower = [(LEFT + i * step, value) for i, value in enumerate(below)]
    corners = [f"{x:.1f} {TOP + HEIGHT * (1 - value / most):.1f}" for x, value in [*upper, *reversed(lower)]]
    return f"M{'L'.join(corners)}Z"


def _upright(share: float, label: str, y: float) -> list[Html]:
    """A line at a moment, with a text beside its end that stays in the picture."""
    x = LEFT + WIDTH * share
    anchor, shift = ("end", -4) if share > 0.8 else ("start", 4)
    line = tag("path", class_="edge", stroke_dasharray="3 3", d=f"M{px(x)} {TOP - 6}V{TOP + HEIGHT + 6}")
    return [line, tag("text", label, x=px(x + shift), y=y, text_anchor=anchor)]


def memory_page(ledger: Ledger) -> str:
    """A page with the picture and the tables."""
    text = (
        "Each point is the moment after a storage was made. What is saved for backward is kept by nodes of "
        "the graph; parameters, gradients and the optimizer's state count as such, whoever else keeps them."
    )
    body = [tag("p", text), tag("div", memory_picture(ledger), class_="scroll")]
    body.append(_table(f"bytes on {ledger.device}", _rows(ledger)))
    if saved := _saved_rows(ledger):
        body.append(_table("saved for backward, by op; at most: when that was most", saved))
    return page("Memory of a block of code", *body, style="table{margin-bottom:1rem}")


def _table(caption: str, rows: Sequence[Row]) -> Html:
    head = tag("tr", *[tag("th", word, scope="col") for word in ("", *HEAD)])
    lines = [
        tag("tr", tag("th", name, scope="row"), *[tag("td", f"{n:,}", class_="number") for n in numbers])
        for name, *numbers in rows
    ]
    return tag("div", tag("table", tag("caption", caption), head, *lines), class_="scroll")
