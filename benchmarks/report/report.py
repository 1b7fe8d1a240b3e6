"""`python -m benchmarks report`: one HTML page of the newest results of each benchmark, and its pictures.

A section of the page is data: bars and tables, made in one way from the file of any benchmark.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import BenchmarkError
from benchmarks.contest.tables import Saved, cell, commit_text, contestants, findings, table_of, time_label
from benchmarks.report.bars import Bars, draw
from benchmarks.report.compare import load
from tinytensor.lab.html import Html, Page, tag, write
from tinytensor.lab.report import Report, Table

TITLE = "Benchmarks of tinytensor"
LONG = 40  # rows from which a table is collapsed, and cases from which there are no bars
# Whole programs first.
ORDER = ("train", "generate", "smollm2", "quantized", "memory", "tokenizer", "ops", "dispatch", "matmul-cpu")


# ---- files -------------------------------------------------------------------------------------------------


def collect(files: Sequence[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Reports by file name: of the given files, or of a folder.

    There is one report per benchmark: the newest file, extended by older ones of the same commit.

    Raises:
        BenchmarkError: there is none, one cannot be read, or emulated and real times would be mixed.
    """
    paths = list(files) or sorted(folder.glob("*.json"))
    if not paths:
        raise BenchmarkError(f"report: no results in {folder}: run a benchmark first, for example quick")
    loaded = sorted([(path.name, load(path)) for path in paths], key=lambda item: _date(item[1]))[::-1]
    if len(kinds := {r.get("clock", "real") for _, r in loaded}) > 1:
        raise BenchmarkError(f"report: {' and '.join(sorted(kinds))} time cannot be on one page")
    found: dict[str, dict[str, Any]] = {}
    for name, saved in loaded:
        same = [key for key, newer in found.items() if newer["benchmark"] == saved["benchmark"]]
        if not same:
            found[name] = saved
        elif files or found[same[0]]["machine"]["commit"] == saved["machine"]["commit"]:
            newer = found.pop(same[0])
            cases = {result["case"] for result in newer["results"]}
            more = [result for result in saved["results"] if result["case"] not in cases]
            findings = {**saved["findings"], **newer["findings"]}
            found[f"{same[0]}, {name}"] = {
                **newer,
                "results": [*more, *newer["results"]],
                "findings": findings,
            }
    return found


def _date(report: Saved) -> str:
    return str(report["machine"]["date"])


# ---- data --------------------------------------------------------------------------------------------------


def sections(reports: Mapping[str, Saved]) -> Iterator[tuple[str, Bars | None, list[Table]]]:
    """All sections of the page: heading, bars and tables."""

    def place(report: Saved) -> tuple[int, str]:
        name = report["benchmark"]
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    for report in sorted(reports.values(), key=place):
        results = [contestants(report)] if report["results"] else []
        yield report["benchmark"], bars(report), [*results, *findings(report)]
    yield "Machine", None, machines(reports)


def bars(report: Saved) -> Bars | None:
    """Speeds relative to the peer; None for one contestant alone, and for very many cases."""
    results, peer = report["results"], report["peer"]
    names = list(dict.fromkeys(name for r in results for name in r["seconds"]))
    if peer not in names or len(names) < 2 or len(results) > LONG:
        return None
    values: dict[str, list[float | None]] = {name: [] for name in names}
    labels: dict[str, list[str]] = {name: [] for name in names}
    for r in results:
        for name in names:
            own = r["seconds"].get(name)
            within = r["ratio"].get(name)  # computed per round
            times = within["median"] if within else 1.0 if own and name == peer else None
            values[name].append(times)
            labels[name].append(f"{time_label(own['median'])}  {times:.2f}×" if times else "")
    unit = f"times as fast as {peer}; longer is faster"
    return Bars(report["benchmark"], unit, [r["case"] for r in results], values, labels)


def machines(reports: Mapping[str, Saved]) -> list[Table]:
    """A row for each file, and the machine of the newest one."""
    rows = []
    for name, r in reports.items():
        rows += [[file, r["benchmark"], _date(r), commit_text(r["machine"])] for file in name.split(", ")]
    newest = max(reports.values(), key=_date)["machine"]
    about = [[key.replace("_", " "), cell(value or None)] for key, value in newest.items()]
    differ = [k for k in ("cpu", "cpus") if any(r["machine"][k] != newest[k] for r in reports.values())]
    note = f"The files come from machines that differ in {', '.join(differ)}." if differ else ""
    return [table_of(["file", "benchmark", "date", "commit"], rows, note), table_of(["machine", ""], about)]


# ---- HTML --------------------------------------------------------------------------------------------------


def page_of(reports: Mapping[str, Saved]) -> Page:
    """Self-contained HTML page; long tables are collapsed."""
    newest = max(reports.values(), key=_date)["machine"]
    first = (
        "Medians of windows of which contestants take turns; results are compared before anything is timed. "
        "How it is measured: benchmarks/README.md. "
        f"Newest file: {newest['date']}, on {newest['cpu']}, {newest['cpus']} CPUs; more at the bottom."
    )
    parts: list[Html] = [tag("p", first)]
    for heading, chart, tables in sections(reports):
        parts.append(tag("h2", heading))
        parts += [tag("div", tag("figure", draw(chart)), class_="scroll")] if chart else []
        for table in tables:
            summary = tag("summary", f"{len(table.rows)} rows")
            whole = table.markup()
            parts.append(tag("details", summary, whole) if len(table.rows) > LONG else whole)
    return Report(TITLE, parts).html()


def save(reports: Mapping[str, Saved], html: Path) -> list[Path]:
    """Write the page, and next to it a folder `pictures` with the bars of each benchmark as SVG.

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
    for heading, chart, _ in sections(reports):
        if chart is not None:
            written.append(pictures / f"{heading}.svg")
            write(written[-1], draw(chart))
    return written
