"""Charts as PNG files, drawn with matplotlib (extra [plot])."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import installed
from benchmarks.report.charts import Bars, Chart, Lines
from benchmarks.report.svg import COLORS, color_of

BAR = 0.2  # height of a bar in inches


def available() -> bool:
    """Whether matplotlib is installed."""
    return installed("matplotlib")


def write(chart: Chart, path: Path) -> None:
    """Draw a chart to a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 1.5 + BAR * len(chart.groups) * (len(chart.values) + 1) if isinstance(chart, Bars) else 4.5
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(chart.title, fontsize=10)
    if isinstance(chart, Bars):
        _bars(axes, chart)
    else:
        _lines(axes, chart)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _color(name: str, names: Mapping[str, object]) -> str:
    return list(COLORS.values())[color_of(name, list(names))][0]


def _bars(axes: Any, chart: Bars) -> None:
    step = len(chart.values) + 1
    for place, (name, row) in enumerate(chart.values.items()):
        at = [(i * step + place, v, chart.labels[name][i]) for i, v in enumerate(row) if v is not None]
        if not at:
            continue
        axes.barh([y for y, _, _ in at], [v for _, v, _ in at], color=_color(name, chart.values), label=name)
        for y, value, label in at:
            axes.text(value, y, f" {label}", va="center", fontsize=7)
    axes.set_yticks([i * step + (step - 2) / 2 for i in range(len(chart.groups))], chart.groups, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(chart.unit, fontsize=8)
    axes.margins(x=0.2)
    if chart.mark is not None:
        axes.axvline(chart.mark, color="#8a93a3", linewidth=0.8)


def _lines(axes: Any, chart: Lines) -> None:
    for name, points in chart.series.items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=3, color=_color(name, chart.series), label=name)
    for name, (x, y) in chart.points.items():
        axes.plot([x], [y], marker="o", color=COLORS["tinytensor"][0])
        axes.annotate(name, (x, y), fontsize=7, xytext=(4, 0), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(chart.x, fontsize=8)
    axes.set_ylabel(chart.y, fontsize=8)
    axes.grid(alpha=0.3)
