"""Grouped horizontal bars, drawn as SVG, with their values as tooltips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinytensor.lab.html import Html, tag
from tinytensor.lab.svg import HUES, px, svg

LETTER, BAR, GAP = 6.7, 14, 8  # pixels: width of a letter, height of a bar, gap between items
LENGTH = 380  # of the longest bar


@dataclass(frozen=True)
class Bars:
    """Bars in groups.

    Attributes:
        title: the heading.
        unit: unit of the values, for example "times as fast as PyTorch".
        groups: names of the groups.
        values: for each contestant, one value per group; None if missing.
        labels: text at the end of each bar.
        mark: value marked by a line, for example 1, the peer.
    """

    title: str
    unit: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    labels: Mapping[str, Sequence[str]]
    mark: float = 1.0


def draw(chart: Bars) -> Html:
    """Draw a chart as one `svg` element.

    Example:
        >>> draw(Bars("t", "ms", ["a"], {"tinytensor": [2.0]}, {"tinytensor": ["2 ms"]})).count("<rect")
        2
    """
    left = 2 * GAP + LETTER * max(map(len, chart.groups), default=0)
    most = max([v for row in chart.values.values() for v in row if v is not None], default=1.0)
    scale = LENGTH / max(most, chart.mark)
    made, top = _legend(list(chart.values)), 40.0 + GAP + 16
    y = top
    for i, group in enumerate(chart.groups):
        here = [(n, row[i]) for n, row in enumerate(chart.values.values())]
        bars = [(n, value) for n, value in here if value is not None]
        middle = y + len(bars) * BAR / 2 + 4
        made.append(tag("text", group, x=px(left - GAP), y=px(middle), text_anchor="end"))
        for n, value in bars:
            name = list(chart.values)[n]
            label, width = chart.labels[name][i], max(value * scale, 1.0)
            tip, place = tag("title", f"{group}, {name}: {label}"), {"x": px(left), "y": px(y)}
            made.append(tag("rect", tip, **place, width=px(width), height=BAR - 2, class_=_class(n)))
            made.append(tag("text", label, x=px(left + width + 5), y=px(y + BAR - 4)))
            y += BAR
        y += GAP
    at = px(left + chart.mark * scale)
    made.append(tag("line", x1=at, y1=px(top - 4), x2=at, y2=px(y - 4), class_="edge"))
    made.append(tag("text", chart.unit, x=px(left), y=px(y + 12)))
    longest = max([len(text) for row in chart.labels.values() for text in row], default=0)
    return svg(chart.title, left + LENGTH + GAP + LETTER * longest, y + 20, *made)


def _class(number: int) -> str:
    return f"hue{number % HUES}"


def _legend(names: Sequence[str]) -> list[Html]:
    made, x, y = [], float(GAP), 28.0
    for number, name in enumerate(names):
        made.append(tag("rect", x=px(x), y=px(y), width=10, height=10, class_=_class(number)))
        made.append(tag("text", name, x=px(x + 14), y=px(y + 9)))
        x += 14 + LETTER * (len(name) + 2)
    return made
