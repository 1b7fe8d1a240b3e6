"""Pictures of measurements as data: what `svg_charts` and `png_charts` draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10

__all__ = ["Bars", "Chart", "Lines", "decades"]

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bars:
    """Lengths beside each other, in groups.

    Attributes:
        title: what is shown.
        unit: of the lengths; for example "times as fast as PyTorch".
        groups: names of the groups.
        values: of each series one length for each group; None: there is none.
        labels: the text at the end of each bar.
        mark: a length that gets a line; for example 1, the peer.
    """

    title: str
    unit: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    labels: Mapping[str, Sequence[str]]
    mark: float | None = None


@dataclass(frozen=True)
class Lines:
    """Lines and named points between two logarithmic axes.

    Attributes:
        title: what is shown.
        x, y: names of the axes, with units.
        series: points of each line, all above 0.
        points: single ones, with a name each.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Points]
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def all(self) -> list[tuple[float, float]]:
        """Every point."""
        return [p for line in self.series.values() for p in line] + list(self.points.values())


Chart = Bars | Lines


def decades(numbers: Sequence[float]) -> list[float]:
    """The powers of ten around some numbers, which are above 0.

    Example:
        >>> decades([0.5, 20.0])
        [0.1, 1.0, 10.0, 100.0]
    """
    low, high = floor(log10(min(numbers)) + 1e-9), ceil(log10(max(numbers)) - 1e-9)
    return [10.0**n for n in range(low, max(high, low + 1) + 1)]
