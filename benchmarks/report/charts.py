"""Chart data classes, drawn by `svg.py` and `png.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bars:
    """Grouped horizontal bars.

    Attributes:
        title: the heading.
        unit: unit of the values, for example "times as fast as PyTorch".
        groups: names of the groups.
        values: for each series, one value per group; None if missing.
        labels: text at the end of each bar.
        mark: value marked by a line, for example 1, the peer.
    """

    title: str
    unit: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    labels: Mapping[str, Sequence[str]]
    mark: float | None = None


@dataclass(frozen=True)
class Lines:
    """Lines and named points on logarithmic axes.

    Attributes:
        title: the heading.
        x, y: axis labels, with units.
        series: points of each line, all above 0.
        points: single named points.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Points]
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def all(self) -> list[tuple[float, float]]:
        """All points."""
        return [p for line in self.series.values() for p in line] + list(self.points.values())


Chart = Bars | Lines


def decades(numbers: Sequence[float]) -> list[float]:
    """Powers of ten that span some positive values.

    Example:
        >>> decades([0.5, 20.0])
        [0.1, 1.0, 10.0, 100.0]
    """
    low, high = floor(log10(min(numbers)) + 1e-9), ceil(log10(max(numbers)) - 1e-9)
    return [10.0**n for n in range(low, max(high, low + 1) + 1)]
