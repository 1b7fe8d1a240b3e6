"""Page section of the op benchmark: times over sizes, roofline, layouts and GPU crossover."""

from collections.abc import Mapping
from math import log
from typing import Any

from benchmarks.contest.contest import number
from benchmarks.op_cases import LAYOUTS, QUICK
from benchmarks.report.charts import Bars, Chart, Lines
from benchmarks.report.parts import Part, Saved, data_table, heading, paragraph, time_label
from benchmarks.suites.ops import BETWEEN, COPIES, CUDA, NO_GPU, OURS, layout_text, parts
from tinytensor.lab.html import Html, heat, tag

Seconds = dict[str, dict[str, dict[int, float]]]  # contestant → case → elements → seconds, contiguous


def medians(report: Saved) -> Seconds:
    """Median times of contiguous rows."""
    found: Seconds = {}
    for result in report["results"]:
        name, n, layout = parts(result["case"])
        if layout == "contiguous":
            for who, seconds in result["seconds"].items():
                found.setdefault(who, {}).setdefault(name, {})[n] = seconds["median"]
    return found


def sweep(name: str, times: Seconds, predicted: Mapping[str, float]) -> Lines:
    """Chart of one op over sizes: all contestants, and the predicted memory time."""
    series = {
        who: sorted((n, s * 1e6) for n, s in cases[name].items())
        for who, cases in times.items()
        if name in cases
    }
    sizes = sorted(times[OURS][name])
    series["predicted"] = [(n, predicted[f"{name}{BETWEEN}{n}{BETWEEN}contiguous"] * 1e6) for n in sizes]
    return Lines(name, "elements", "µs", series)


def beside(times: Seconds, names: list[str]) -> Bars:
    """Chart of speedups over PyTorch, or over tinytensor, at the largest size of each op."""
    base = "PyTorch" if "PyTorch" in times else OURS
    values: dict[str, list[float | None]] = {who: [] for who in times}
    labels: dict[str, list[str]] = {who: [] for who in times}
    for name in names:
        n = max(times[OURS][name])
        for who, cases in times.items():
            own, peer = cases.get(name, {}).get(n), times[base].get(name, {}).get(n)
            values[who].append(peer / own if own and peer else None)
            labels[who].append(f"{time_label(own)}  {peer / own:.2f}×" if own and peer else "")
    return Bars("Ops at their largest size", f"times as fast as {base}", names, values, labels, mark=1.0)


def roofline(report: Saved, times: Seconds) -> Lines | None:
    """Roofline chart: operations per second over operations per byte, with the measured ceilings."""
    found = report["findings"]
    peaks = {key.removeprefix("peaks, "): value for key, value in found.items() if key.startswith("peaks")}
    work = found.get("bytes and operations")
    if not peaks or not work:
        return None
    copy = list(found["copy, GB/s by bytes"].values())
    threads, peak = next(iter(peaks.items()))
    top = peak["matmul_gflops"]
    xs = [2.0**e for e in range(-6, 9)]
    series = {
        f"roof, {where}": [(x, min(top, rate * x)) for x in xs]
        for where, rate in (("from memory", copy[-1]), ("from the cache", max(copy)))
    }
    points = {}
    for name in QUICK:
        if name in times[OURS]:
            n = max(times[OURS][name])
            nbytes, operations = work[f"{name}{BETWEEN}{n}{BETWEEN}contiguous"]
            points[name] = (operations / nbytes, operations / times[OURS][name][n] / 1e9)
    return Lines(f"Roofline, {threads}", "operations per byte", "10⁹ operations a second", series, points)


def crossover_map(report: Saved) -> list[Html]:
    """Table of the sizes from which a GPU is faster, or a note that there is no GPU."""
    found = report["findings"].get("elements from which the GPU is faster")
    if found is None:
        return [
            paragraph(
                f"{NO_GPU}: so there are no times of CUDA kernels, and no map of the sizes from which a GPU "
                "is faster. Run this benchmark where there is one; emulated kernels are never timed."
            )
        ]
    rows = []
    for name, without in found[CUDA].items():
        cells = [_cell(without), _cell(found[COPIES].get(name)) if name in found[COPIES] else tag("td", "–")]
        rows.append([name, *cells])
    return [data_table(["op", "the GPU is faster from", "with copies from"], rows)]


def _cell(n: int | None) -> Html:
    if n is None:
        return tag("td", "never, up to the largest size")
    return tag("td", f"{n:,}", **heat(1.0 - log(n) / log(1 << 24)))


def layouts(report: Saved) -> Html:
    """Table of times with strided inputs, relative to contiguous ones and to copying first."""
    others = [layout for layout in LAYOUTS if layout != "contiguous"]
    found = report["findings"]["strided : contiguous"]
    copied = report["findings"].get("strided : copied first", {})
    rows = [[name, *(layout_text(name, o, found, copied) for o in others)] for name in found]
    return data_table(["op", *others], rows)


def all_times(report: Saved, times: Seconds) -> Html:
    """Table of our times of all ops over sizes, and of measured / predicted time."""
    predicted = report["findings"]["predicted seconds"]
    sizes = sorted({n for by_size in times[OURS].values() for n in by_size})
    rows = []
    for name, by_size in times[OURS].items():
        last = max(by_size)
        least = predicted[f"{name}{BETWEEN}{last}{BETWEEN}contiguous"]
        cells = [time_label(by_size[n]) if n in by_size else "–" for n in sizes]
        rows.append([name, *cells, time_label(least), number(by_size[last] / least)])
    return data_table(
        ["op", *(f"{n:,}" for n in sizes), "predicted at the largest", "measured : predicted"], rows
    )


def ops_part(report: Saved) -> Part:
    """Page section of the op benchmark."""
    times = medians(report)
    quick = [name for name in QUICK if name in times[OURS]] or list(times[OURS])[:8]
    predicted = report["findings"]["predicted seconds"]
    charts: dict[str, Chart] = {"ops": beside(times, quick)} if len(times) > 1 else {}
    roof = roofline(report, times)
    charts |= {"roofline": roof} if roof is not None else {}
    charts |= {f"sweep_{_file(name)}": sweep(name, times, predicted) for name in quick}
    body: list[Any] = [
        heading("CPU and GPU"),
        *crossover_map(report),
        heading("Layouts: time as a multiple of contiguous inputs (and of a copy of them and that)"),
        layouts(report),
        heading("All ops, by elements of the largest input"),
        paragraph(
            "Predicted is what copying as many bytes takes (whole cache lines of inputs, and the results), "
            "or its floating-point operations at the measured peak of a matrix product, whichever is longer."
        ),
        all_times(report, times),
    ]
    return Part("Ops", charts, body)


def _file(name: str) -> str:
    return "".join([c if c.isalnum() else "_" for c in name]).strip("_")
