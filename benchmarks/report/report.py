"""`python -m benchmarks report`: one HTML page of the newest results of each benchmark, and picture files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import BenchmarkError
from benchmarks.report.compare import load
from benchmarks.report.ops import ops_part
from benchmarks.report.parts import Part, machine_part, parts_of
from benchmarks.report.svg import draw
from gpt.interpret.heat_map import picture
from tinytensor.lab.html import Html, page, tag, write

TITLE = "Benchmarks of tinytensor"


def collect(files: Sequence[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Reports by file name: of the given files, or of a folder.

    There is one report per benchmark: the newest file, extended by older ones of the same commit.

    Raises:
        BenchmarkError: there is none, one cannot be read, or emulated and real times would be mixed.
    """
    paths = list(files) or sorted(folder.glob("*.json"))
    if not paths:
        raise BenchmarkError(f"report: no results in {folder}: run a benchmark first, for example quick")
    loaded = sorted(
        ((path.name, load(path)) for path in paths), key=lambda item: _date(item[1]), reverse=True
    )
    if len(kinds := {r.get("clock", "real") for _, r in loaded}) > 1:
        raise BenchmarkError(f"report: {' and '.join(sorted(kinds))} time cannot be on one page")
    found: dict[str, dict[str, Any]] = {}
    for name, saved in loaded:
        same = [key for key, newer in found.items() if newer["benchmark"] == saved["benchmark"]]
        if not same:
            found[name] = saved
        elif files or found[same[0]]["machine"]["commit"] == saved["machine"]["commit"]:
            newer = found.pop(same[0])
            found[f"{same[0]}, {name}"] = together(newer, saved)
    return found


def _date(report: Mapping[str, Any]) -> str:
    return str(report["machine"]["date"])


def together(newer: Mapping[str, Any], older: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two reports; cases and findings of the newer one take precedence."""
    cases = {result["case"] for result in newer["results"]}
    more = [result for result in older["results"] if result["case"] not in cases]
    return {
        **newer,
        "results": [*more, *newer["results"]],
        "findings": {**older["findings"], **newer["findings"]},
    }


def sections(reports: Mapping[str, Mapping[str, Any]]) -> list[Part]:
    """All sections of the page."""
    return [*parts_of(reports, {"ops": ops_part}), machine_part(reports)]


def page_of(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Self-contained HTML page."""
    newest = max(reports.values(), key=_date)["machine"]
    made = []
    for part in sections(reports):
        drawings = [tag("figure", draw(chart)) for chart in part.charts.values()]
        maps = [tag("div", *drawings, class_="maps scroll")] if drawings else []
        made.append(tag("section", tag("h2", part.heading), *maps, *part.body))
    first = tag(
        "p",
        "Medians of windows of which contestants take turns; results are compared before anything is timed. "
        "How it is measured: benchmarks/README.md. "
        f"Newest file: {newest['date']}, on {newest['cpu']}, {newest['cpus']} CPUs; more at the bottom.",
    )
    return page(TITLE, first, *made)


def save(reports: Mapping[str, Mapping[str, Any]], html: Path) -> list[Path]:
    """Write the page, and next to it a folder `pictures` with each chart as SVG.

    Args:
        reports: reports by file name.
        html: path of the page.

    Returns:
        the files written.
    """
    pictures = html.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    write(html, page_of(reports))
    written = [html]
    for part in sections(reports):
        for name, chart in part.charts.items():
            write(pictures / f"{name}.svg", picture([Html(draw(chart))]))
            written.append(pictures / f"{name}.svg")
    return written
