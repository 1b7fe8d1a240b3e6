"""Charts as SVG, for a page or as separate files, with values as tooltips on bars and points."""

from collections.abc import Callable, Sequence
from math import log10

from benchmarks.report.charts import Bars, Chart, Lines, decades
from tinytensor.lab.html import Html, tag

# Colors of contestants in light and dark mode; others get unused ones.
COLORS = {
    "tinytensor": ("#d9570f", "#ff8f57"),
    "PyTorch": ("#2457d6", "#7aa5ff"),
    "NumPy alone": ("#7b8494", "#9aa3b2"),
    "NumPy": ("#1d7f55", "#4cc38a"),
    "JAX": ("#8a3fc4", "#c08cf0"),
    "CUDA": ("#0b7a88", "#4cc5d6"),
    "tokenizers": ("#a3690a", "#e0a93e"),
    "tiktoken": ("#b0307a", "#f07bbd"),
    "torch.compile": ("#5f6b00", "#b9c94f"),
}
FONT = "11px ui-monospace, monospace"
LETTER, BAR, GAP = 6.7, 14, 8  # pixels: width of a letter, height of a bar, gap between items
LENGTH = 380  # of the longest bar
WIDTH, HEIGHT = 460, 280  # of the plot area of lines


def color_of(name: str, others: Sequence[str]) -> int:
    """Index in COLORS of a contestant; for an unknown name, an unused one if possible.

    Example:
        >>> color_of("PyTorch", ["PyTorch", "abc"]), color_of("abc", ["PyTorch", "abc"])
        (1, 0)
    """
    if name in COLORS:
        return list(COLORS).index(name)
    free = [i for i, known in enumerate(COLORS) if known not in others] or list(range(len(COLORS)))
    return free[[n for n in others if n not in COLORS].index(name) % len(free)]


def _style() -> Html:
    light = "".join([f".s{i}{{fill:{a}}}.l{i}{{stroke:{a}}}" for i, (a, _) in enumerate(COLORS.values())])
    dark = "".join([f".s{i}{{fill:{b}}}.l{i}{{stroke:{b}}}" for i, (_, b) in enumerate(COLORS.values())])
    lines = "polyline{fill:none;stroke-width:2}.axis{stroke:#8a93a3;stroke-width:.6}.mark{stroke:#8a93a3}"
    return tag("style", Html(f"{light}{lines}@media (prefers-color-scheme:dark){{{dark}}}"))


def draw(chart: Chart) -> Html:
    """Draw a chart as one `svg` element.

    Example:
        >>> draw(Bars("t", "ms", ["a"], {"tinytensor": [2.0]}, {"tinytensor": ["2 ms"]})).count("<rect")
        2
    """
    return bars(chart) if isinstance(chart, Bars) else lines(chart)


def bars(chart: Bars) -> Html:
    """Draw grouped horizontal bars."""
    names = list(chart.values)
    left = 2 * GAP + LETTER * max(map(len, chart.groups), default=0)
    most = max([v for row in chart.values.values() for v in row if v is not None], default=1.0) or 1.0
    scale = LENGTH / max(most, chart.mark or 0.0)
    y, made = 40.0 + GAP + 16, [*_legend(names)]
    begun = y
    for i, group in enumerate(chart.groups):
        here = [(n, row[i], chart.labels[n][i]) for n, row in chart.values.items() if row[i] is not None]
        middle = y + len(here) * BAR / 2 + 4
        made.append(tag("text", group, x=_px(left - GAP), y=_px(middle), text_anchor="end"))
        for name, value, label in here:
            assert value is not None
            made += _bar(name, value, label, f"{group}, {name}", left, y, scale, names)
            y += BAR
        y += GAP
    if chart.mark is not None:
        at = _px(left + chart.mark * scale)
        made.append(tag("line", x1=at, y1=_px(begun - 4), x2=at, y2=_px(y - 4), class_="mark"))
    made.append(tag("text", chart.unit, x=_px(left), y=_px(y + 12)))
    longest = max([len(text) for row in chart.labels.values() for text in row], default=0)
    return _whole(chart.title, made, left + LENGTH + GAP + LETTER * longest, y + 20)


def _bar(
    name: str, value: float, label: str, tip: str, x: float, y: float, scale: float, names: list[str]
) -> list[Html]:
    kind = f"s{color_of(name, names)}"
    width = max(value * scale, 1.0)
    bar = tag("title", f"{tip}: {label}")
    return [
        tag("rect", bar, x=_px(x), y=_px(y), width=_px(width), height=BAR - 2, class_=kind),
        tag("text", label, x=_px(x + width + 5), y=_px(y + BAR - 4)),
    ]


def lines(chart: Lines) -> Html:
    """Draw lines on logarithmic axes."""
    if not chart.all():
        return _whole(chart.title, [tag("text", "no numbers", x=GAP, y=40)], 200, 60)
    xs, ys = decades([x for x, _ in chart.all()]), decades([y for _, y in chart.all()])
    left, top = 2 * GAP + LETTER * max(len(_tick(t)) for t in ys), 62.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = log10(x / xs[0]) / log10(xs[-1] / xs[0])
        up = log10(y / ys[0]) / log10(ys[-1] / ys[0])
        return left + WIDTH * across, top + HEIGHT * (1 - up)

    names = list(chart.series)
    made = [*_legend(names)]
    for t in xs:
        x, bottom = place(t, ys[0])
        made.append(tag("line", x1=_px(x), y1=_px(top), x2=_px(x), y2=_px(bottom), class_="axis"))
        made.append(tag("text", _tick(t), x=_px(x), y=_px(bottom + 14), text_anchor="middle"))
    for t in ys:
        x, y = place(xs[0], t)
        made.append(tag("line", x1=_px(x), y1=_px(y), x2=_px(x + WIDTH), y2=_px(y), class_="axis"))
        made.append(tag("text", _tick(t), x=_px(x - GAP), y=_px(y + 4), text_anchor="end"))
    for name, points in chart.series.items():
        kind, at = color_of(name, names), [place(*p) for p in points]
        made.append(tag("polyline", points=" ".join(f"{_px(x)},{_px(y)}" for x, y in at), class_=f"l{kind}"))
        made += [_dot(f"{name}: {_pair(p)}", *q, f"s{kind}") for p, q in zip(points, at, strict=True)]
    made += _named(chart, place)
    made.append(tag("text", chart.x, x=_px(left + WIDTH), y=_px(top + HEIGHT + 32), text_anchor="end"))
    made.append(tag("text", chart.y, x=_px(left), y=_px(top - 6)))
    return _whole(chart.title, made, left + WIDTH + 60, top + HEIGHT + 40)


def _named(chart: Lines, place: Callable[[float, float], tuple[float, float]]) -> list[Html]:
    """Draw points with their names; a name that would overlap another one moves down."""
    made: list[Html] = []
    taken: list[tuple[float, float, float]] = []  # from, to, height
    for name, point in sorted(chart.points.items(), key=lambda item: -item[1][1]):  # from the top down
        x, y = place(*point)
        line, end = y + 4, x + 6 + LETTER * len(name)
        while any(abs(line - h) < 11 and x < b and a < end for a, b, h in taken):
            line += 11
        taken.append((x, end, line))
        made += [_dot(f"{name}: {_pair(point)}", x, y, "s0"), tag("text", name, x=_px(x + 6), y=_px(line))]
    return made


def _dot(tip: str, x: float, y: float, kind: str) -> Html:
    return tag("circle", tag("title", tip), cx=_px(x), cy=_px(y), r=3, class_=kind)


def _pair(point: tuple[float, float]) -> str:
    return f"{point[0]:.4g}, {point[1]:.4g}"


def _legend(names: Sequence[str]) -> list[Html]:
    made, x, y = [], float(GAP), 28.0
    for name in names:
        kind = f"s{color_of(name, names)}"
        made.append(tag("rect", x=_px(x), y=_px(y), width=10, height=10, class_=kind))
        made.append(tag("text", name, x=_px(x + 14), y=_px(y + 9)))
        x += 14 + LETTER * (len(name) + 2)
    return made


def _tick(value: float) -> str:
    """Axis label of a power of ten, with an SI prefix.

    Example:
        >>> _tick(1e6), _tick(100.0), _tick(0.001)
        ('1M', '100', '0.001')
    """
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.0f}{prefix}"
    return f"{value:g}"


def _whole(title: str, made: Sequence[Html], width: float, height: float) -> Html:
    width = max(width, LETTER * 1.1 * len(title) + 2 * GAP)
    return tag(
        "svg",
        tag("title", title),
        _style(),
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
