"""Roofline plot: each op as a dot under the machine's ceilings, on logarithmic axes.

The x axis is operations per byte, the y axis operations per second. The slanted line is bytes per second
times operations per byte: ops under it are memory-bound; ops under the flat line are compute-bound. Caches
may lift small tensors above the slanted line, which is the memory bandwidth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import atan, ceil, degrees, floor, log10, sqrt

from tinytensor.lab.html import Html, tag
from tinytensor.lab.profiler.calls import OpTime
from tinytensor.lab.profiler.peaks import Peaks
from tinytensor.lab.svg import px, svg

LEFT, TOP, WIDTH, HEIGHT = 70, 34, 820, 420  # pixels, of the plot area
LETTER, LABELS = 6.7, 14


class Scale:
    """Logarithmic scale from values to pixels, between whole powers of ten."""

    def __init__(self, numbers: Sequence[float], start: float, length: float) -> None:
        self.low = floor(log10(min(numbers)))
        self.high = max(ceil(log10(max(numbers))), self.low + 1)
        self._start, self._length = start, length

    def __call__(self, number: float) -> float:
        """Pixel position of a positive value."""
        return self._start + self._length * (log10(number) - self.low) / (self.high - self.low)

    @property
    def powers(self) -> list[float]:
        """Powers of ten, for the axis ticks."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def roofline(ops: Sequence[OpTime], peaks: Peaks) -> Html:
    """SVG roofline plot; see `Profile.roofline`."""
    shown = [op for op in ops if op.flops and op.nbytes and op.busy]
    ridge = peaks.matmul / peaks.copy
    intensities = [_intensity(op) for op in shown]
    rates = [_rate(op) for op in shown]
    x = Scale([*intensities, ridge / 100, ridge * 10], LEFT, WIDTH)
    y = Scale([*rates, peaks.matmul, peaks.matmul / 1e3], TOP + HEIGHT, -HEIGHT)
    whole = sum(op.busy for op in shown)
    left_out = len(ops) - len(shown)
    note = f"{left_out} ops without arithmetic, or of unknown work, are not shown. " if left_out else ""
    note += "A dot's area is its share of the time of those shown."
    if any(_rate(op) > min(peaks.matmul, _intensity(op) * peaks.copy) for op in shown):
        note += " Above the roof: caches served it, or others had the machine while the roof was measured."
    return svg(
        "Roofline: measured ceilings, and the ops under them",
        max(LEFT + WIDTH + 20, LEFT + LETTER * len(note)),
        TOP + HEIGHT + 62,
        tag("g", *_axes(x, y)),
        *_ceilings(x, y, peaks),
        tag("g", *_dots(shown, x, y, whole), class_="cells"),
        *_labels([op for op in shown[:LABELS] if op.busy > whole / 200], x, y),
        tag("text", note, x=LEFT, y=TOP + HEIGHT + 54, class_="soft"),
    )


def _intensity(op: OpTime) -> float:
    return (op.flops or 0.0) / op.nbytes


def _rate(op: OpTime) -> float:
    return (op.flops or 0.0) / op.busy


def _axes(x: Scale, y: Scale) -> Iterator[Html]:
    bottom = TOP + HEIGHT
    for power in x.powers:
        at = px(x(power))
        yield tag("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="line")
        yield tag("text", f"{power:g}", x=at, y=bottom + 16, text_anchor="middle", class_="soft")
    for power in y.powers:
        at = px(y(power))
        yield tag("line", x1=LEFT, x2=LEFT + WIDTH, y1=at, y2=at, class_="line")
        yield tag(
            "text", f"{power / 1e9:g}", x=LEFT - 6, y=px(y(power) + 4), text_anchor="end", class_="soft"
        )
    yield tag("text", "operations per byte", x=LEFT + WIDTH / 2, y=bottom + 34, text_anchor="middle")
    middle = TOP + HEIGHT / 2
    yield tag("text", "GFLOP/s", transform=f"translate(14,{middle})rotate(-90)", text_anchor="middle")


def _ceilings(x: Scale, y: Scale, peaks: Peaks) -> Iterator[Html]:
    """The ceilings and their labels."""
    ridge, lowest, last = peaks.matmul / peaks.copy, y.powers[0], x.powers[-1]
    foot = max(lowest / peaks.copy, x.powers[0])
    points = [(foot, foot * peaks.copy), (ridge, peaks.matmul), (last, peaks.matmul)]
    yield tag(
        "polyline",
        points=" ".join([f"{px(x(a))},{px(y(b))}" for a, b in points]),
        class_="edge",
        stroke_width=2,
    )
    compute, memory = f"matmul: {peaks.matmul / 1e9:.3g} GFLOP/s", f"copy: {peaks.copy / 1e9:.3g} GB/s"
    yield tag("text", compute, x=LEFT + WIDTH - 4, y=px(y(peaks.matmul) - 6), text_anchor="end")
    slope = (y(points[1][1]) - y(points[0][1])) / (x(points[1][0]) - x(points[0][0]))
    half = sqrt(points[0][0] * ridge)
    turn = f"translate({px(x(half))},{px(y(half * peaks.copy) - 8)})rotate({px(degrees(atan(slope)))})"
    yield tag("text", memory, transform=turn, text_anchor="middle")


def _radius(share: float) -> float:
    return max(3.0, 26 * sqrt(share))


def _dots(ops: Sequence[OpTime], x: Scale, y: Scale, whole: float) -> Iterator[Html]:
    for op in ops:
        about = (
            f"{op.name}: {_rate(op) / 1e9:.3g} GFLOP/s, {op.nbytes / op.busy / 1e9:.3g} GB/s, "
            f"{_intensity(op):.3g} operations per byte, {op.busy / whole:.1%} of the time shown"
        )
        yield tag(
            "circle",
            tag("title", about),
            cx=px(x(_intensity(op))),
            cy=px(y(_rate(op))),
            r=px(_radius(op.busy / whole)),
            class_="minus" if "backward" in op.name else "plus",
            fill_opacity=0.55,
        )


def _labels(ops: Sequence[OpTime], x: Scale, y: Scale) -> Iterator[Html]:
    """Labels of the longest ops, where there is room."""
    taken: list[tuple[float, float, float]] = []  # from, to, height
    for op in ops:
        left, width = x(_intensity(op)) + 8, LETTER * len(op.name)
        if left + width > LEFT + WIDTH:
            left -= width + 16
        for shift in (0, 12, -12, 24, -24):
            at = y(_rate(op)) + 4 + shift
            if all(left > b or left + width < a or abs(at - h) > 11 for a, b, h in taken):
                taken.append((left, left + width, at))
                yield tag("text", op.name, x=px(left), y=px(at), pointer_events="none")
                break
