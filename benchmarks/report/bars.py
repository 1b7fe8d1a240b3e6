"""Grouped horizontal bars, drawn as SVG, with their values as tooltips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinytensor.lab.html import Html, tag

# Colors in light and dark mode, in the order of the contestants.
COLORS = (
    ("#d9570f", "#ff8f57"),
    ("#2457d6", "#7aa5ff"),
    ("#7b8494", "#9aa3b2"),
    ("#1d7f55", "#4cc38a"),
    ("#8a3fc4", "#c08cf0"),
    ("#0b7a88", "#4cc5d6"),
    ("#a3690a", "#e0a93e"),
    ("#b0307a", "#f07bbd"),
)
FONT = "11px ui-monospace, monospace"
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
        made.append(tag("text", group, x=_px(left - GAP), y=_px(middle), text_anchor="end"))
        for n, value in bars:
            name = list(chart.values)[n]
            label, width = chart.labels[name][i], max(value * scale, 1.0)
            tip, place = tag("title", f"{group}, {name}: {label}"), {"x": _px(left), "y": _px(y)}
            made.append(tag("rect", tip, **place, width=_px(width), height=BAR - 2, class_=_class(n)))
            made.append(tag("text", label, x=_px(left + width + 5), y=_px(y + BAR - 4)))
            y += BAR
        y += GAP
    at = _px(left + chart.mark * scale)
    made.append(tag("line", x1=at, y1=_px(top - 4), x2=at, y2=_px(y - 4), class_="mark"))
    made.append(tag("text", chart.unit, x=_px(left), y=_px(y + 12)))
    longest = max([len(text) for row in chart.labels.values() for text in row], default=0)
    return _whole(chart.title, made, left + LENGTH + GAP + LETTER * longest, y + 20)


def _class(number: int) -> str:
    return f"s{number % len(COLORS)}"


def _legend(names: Sequence[str]) -> list[Html]:
    made, x, y = [], float(GAP), 28.0
    for number, name in enumerate(names):
        made.append(tag("rect", x=_px(x), y=_px(y), width=10, height=10, class_=_class(number)))
        made.append(tag("text", name, x=_px(x + 14), y=_px(y + 9)))
        x += 14 + LETTER * (len(name) + 2)
    return made


def _whole(title: str, made: Sequence[Html], width: float, height: float) -> Html:
    width = max(width, LETTER * 1.1 * len(title) + 2 * GAP)
    light, dark = ("".join([f".s{i}{{fill:{pair[k]}}}" for i, pair in enumerate(COLORS)]) for k in (0, 1))
    style = f"{light}.mark{{stroke:#8a93a3}}@media (prefers-color-scheme:dark){{{dark}}}"
    return tag(
        "svg",
        tag("title", title),
        tag("style", Html(style)),
        tag("text", title, x=GAP, y=16, style="font-weight:bold"),
        *made,
        viewBox=f"0 0 {_px(width)} {_px(height)}",
        width=_px(width),
        height=_px(height),
        role="img",
        aria_label=title,
        style=f"font:{FONT}",
    )


def _px(value: float) -> str:
    return f"{value:.6g}"
