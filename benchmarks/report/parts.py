"""Page sections of all benchmarks: charts and tables from saved reports."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from benchmarks.contest.contest import number, ratio_text, time_text, unit_of, value_text
from benchmarks.report.charts import Bars, Chart
from tinytensor.lab.html import Html, tag

Saved = Mapping[str, Any]  # a report in its file format
OURS = "tinytensor"
LONG = 40  # rows from which a table is collapsed
NAMES = {
    "train": "Training steps",
    "generate": "Generation",
    "smollm2": "SmolLM2-135M, reading and writing",
    "quantized": "weights packed in 4 to 8 bits",
    "dispatch": "Small operations",
    "matmul-cpu": "Matrix products on the CPU",
    "tokenizer": "Tokenizers",
    "memory": "Memory of a training step",
    "distributed": "Several ranks",
    "nanogpt-cpu": "nanoGPT's CPU recipe, to the end",
    "profile": "What each technique gains",
    "kernel_traffic": "Bytes that kernels move, counted",
    "kernels_lab": "Ladders of kernels",
}


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        heading: heading of the section.
        charts: charts by file name.
        body: content after the charts.
    """

    heading: str
    charts: Mapping[str, Chart]
    body: Sequence[Html]


def paragraph(text: str) -> Html:
    """Paragraph of text."""
    return tag("p", text)


def heading(text: str) -> Html:
    """A heading inside a section."""
    return tag("h3", text, style="font-size:1rem;margin:1rem 0 .25rem")


def data_table(head: Sequence[str], rows: Iterable[Sequence[str | Html]]) -> Html:
    """Table; cells that begin with a digit are right-aligned. Empty columns are left out, and long tables are
    collapsed.
    """
    rows = [list(row) for row in rows]
    full = [not rows or any(row[i] for row in rows) for i in range(len(head))]
    made = [tag("tr", *[tag("th", cell) for cell in compress(head, full)])]
    for row in rows:
        cells = [
            cell
            if isinstance(cell, Html)
            else tag("td", cell, **({"class_": "number"} if cell[:1].isdigit() else {}))
            for cell in compress(row, full)
        ]
        made.append(tag("tr", *cells))
    whole = tag("div", tag("table", *made), class_="scroll")
    if len(made) <= LONG:
        return whole
    return tag("details", tag("summary", f"{len(made) - 1} rows"), whole)


def time_label(seconds: float) -> str:
    """Time with its unit.

    Example:
        >>> time_label(0.0516)
        '51.6 ms'
    """
    scale, unit = unit_of(seconds)
    return f"{number(seconds * scale)} {unit}"


def relative(report: Saved, title: str) -> Bars:
    """Chart of speedups over the peer, or over tinytensor if there is no peer."""
    results = report["results"]
    names = list(dict.fromkeys(name for r in results for name in r["seconds"]))
    peer = report["peer"] if report["peer"] in names else OURS if OURS in names else names[0]
    values: dict[str, list[float | None]] = {name: [] for name in names}
    labels: dict[str, list[str]] = {name: [] for name in names}
    for r in results:
        base = r["seconds"].get(peer)
        for name in names:
            own = r["seconds"].get(name)
            if own is None or base is None:
                values[name].append(None)
                labels[name].append("")
                continue
            within = r["ratio"].get(name)  # computed per round
            times = within["median"] if within else base["median"] / own["median"]
            values[name].append(times)
            labels[name].append(f"{time_label(own['median'])}  {times:.2f}×")
    unit = f"times as fast as {peer}; longer is faster"
    return Bars(title, unit, [r["case"] for r in results], values, labels, mark=1.0)


_HEAD = ("case", "contestant", "median [quartiles]")


def of_contestants(report: Saved) -> Html:
    """Table with a row for each case and contestant: time, ratio and findings."""
    found = report["findings"]
    extra = list(
        dict.fromkeys(
            key
            for r in report["results"]
            for name in r["seconds"]
            if isinstance(own := found.get(f"{r['case']}, {name}"), Mapping)
            for key in own
        )
    )
    rows = []
    for r in report["results"]:
        for name, seconds in r["seconds"].items():
            own = found.get(f"{r['case']}, {name}", {})
            own = own if isinstance(own, Mapping) else {}
            beside = ratio_text(r["ratio"][name]) if name in r["ratio"] else ""
            cells = [value_text(own[key]) if own.get(key) is not None else "" for key in extra]
            clean = f"{r['clean']}/{r['rounds']}" + (" noisy" if r["noisy"] else "")
            rows.append([r["case"], name, time_text(seconds), beside, *cells, clean])
    if not any(row[3] for row in rows):  # nothing to compare with
        rows = [[*row[:3], *row[4:]] for row in rows]
        return data_table([*_HEAD, *(key.replace("_", " ") for key in extra), "clean rounds"], rows)
    peer = report["peer"]
    head = [*_HEAD, f"speed, {peer} = 1" if peer else "speed"]
    return data_table([*head, *(key.replace("_", " ") for key in extra), "clean rounds"], rows)


def other_findings(report: Saved) -> Html | None:
    """Findings that belong to no case and contestant."""
    cases = {f"{r['case']}, {name}" for r in report["results"] for name in r["seconds"]}
    rows = [
        [key, value_text(value)]
        for key, value in report["findings"].items()
        if key not in cases and not isinstance(value, list) and "\n" not in str(value)
    ]
    return data_table(["found", ""], rows) if rows else None


def generic(report: Saved) -> Part:
    """Section of any benchmark: bars and a table."""
    name = report["benchmark"]
    heading = NAMES.get(name, name)
    compared = any(len(r["seconds"]) > 1 for r in report["results"])  # otherwise all bars would be 1
    charts = {name: relative(report, heading)} if compared else {}
    tables = [of_contestants(report)] if report["results"] else []
    found = other_findings(report)
    return Part(heading, charts, [*tables, *([found] if found is not None else [])])


def memory(report: Saved) -> Part:
    """Section of the memory benchmark."""
    found = {key: value for key, value in report["findings"].items() if isinstance(value, Mapping)}
    shapes = list(dict.fromkeys(key.partition(", ")[0] for key in found))
    names = list(dict.fromkeys(key.partition(", ")[2] for key in found))
    groups = [f"{shape}, {what}" for shape in shapes for what in ("kept for backward", "resident peak")]
    values: dict[str, list[float | None]] = {
        name: [
            found.get(f"{shape}, {name}", {}).get(f"{what.replace(' ', '_')}_mib")
            for shape in shapes
            for what in ("kept for backward", "resident peak")
        ]
        for name in names
    }
    labels = {n: [f"{v:,.1f} MiB" if v is not None else "" for v in row] for n, row in values.items()}
    chart = Bars(NAMES["memory"], "MiB; shorter is less", groups, values, labels)
    rows = [[key, *(str(v) for v in value.values())] for key, value in found.items() if len(value) == 3]
    head = ["", "weights, MiB", "kept for backward, MiB", "resident peak, MiB"]
    return Part(NAMES["memory"], {"memory": chart}, [data_table(head, rows)])


def products(report: Saved) -> Part:
    """Section of the matrix product benchmark: sums over a step."""
    found = {key: value for key, value in report["findings"].items() if isinstance(value, Mapping)}
    names = list(dict.fromkeys(k.removesuffix(" ms") for v in found.values() for k in v if k.endswith(" ms")))
    values: dict[str, list[float | None]] = {name: [] for name in names}
    labels: dict[str, list[str]] = {name: [] for name in names}
    for sums in found.values():
        base = sums.get(f"{report['peer']} ms")
        for name in names:
            own = sums.get(f"{name} ms")
            known = own is not None and base is not None
            values[name].append(base / own if known else None)
            labels[name].append(f"{time_label(own / 1e3)}  {base / own:.2f}×" if known else "")
    unit = f"times as fast as {report['peer']}; longer is faster"
    chart = Bars("All matrix products of a training step", unit, list(found), values, labels, mark=1.0)
    return Part(NAMES["matmul-cpu"], {"matmul-cpu": chart}, [of_contestants(report)])


def traffic(report: Saved) -> Part:
    """Section of kernel traffic: counted bytes relative to the floor."""
    rows = [
        [r["name"], r["dtype"], str(r["launches"]), f"{r['least']:.2f}", f"{r['most']:.2f}", r["reason"]]
        for r in report["findings"]["rows"]
    ]
    head = ["op", "dtype", "launches", "distinct bytes : floor", "requested : floor", "why"]
    return Part(NAMES["kernel_traffic"], {}, [data_table(head, rows)])


def ladders(report: Saved) -> Part:
    """Section of the kernel ladders: counts or times of each version."""
    body = []
    for name, found in report["findings"].items():
        rungs = found["rungs"]
        keys = [key for key, value in rungs[0].items() if not isinstance(value, list)]
        rows = [[value_text(rung[key]) for key in keys] for rung in rungs]
        body += [heading(f"{name}, {'timed' if found['timed'] else 'counted'}"), data_table(keys, rows)]
        if "seconds" in keys and not found["timed"]:
            body.append(
                paragraph("These seconds come from a model of a GPU with stated rates; none were measured.")
            )
    return Part(NAMES["kernels_lab"], {}, body)


def peaks_of(reports: Mapping[str, Saved]) -> list[str]:
    """Notes on the matmul peaks of each file, with an explanation if more threads reached less."""
    found = [
        (key.removeprefix("peaks, "), value["matmul_gflops"], r["benchmark"])
        for r in reports.values()
        for key, value in r["findings"].items()
        if key.startswith("peaks, ")
    ]
    if not found:
        return []
    each = ", ".join([f"{number(rate)} with {threads} ({name})" for threads, rate, name in found])
    texts = [f"Peaks, in GFLOP/s, are measured anew by each benchmark: {each}."]
    alone = [rate for threads, rate, _ in found if threads == "1 thread"]
    if alone and any(rate < max(alone) for threads, rate, _ in found if threads != "1 thread"):
        texts.append(
            "More threads reached less than one: others had the machine meanwhile, so a share of a peak may "
            "exceed 1, and a dot may stand above its roof."
        )
    return texts


def machine_part(reports: Mapping[str, Saved]) -> Part:
    """Section of the machines: a row for each file, and the machine of the newest one."""
    rows = [
        [
            file,
            r["benchmark"],
            r["machine"]["date"],
            (r["machine"]["commit"] or "none")[:10] + (" + changes" if r["machine"]["dirty"] else ""),
        ]
        for name, r in reports.items()
        for file in name.split(", ")
    ]
    newest = max(reports.values(), key=lambda r: str(r["machine"]["date"]))["machine"]
    about = [
        [key.replace("_", " "), value_text(value) if value else "–"]
        for key, value in newest.items()
        if key not in ("date", "commit", "dirty", "load_average")
    ]
    differ = sorted(
        {key for r in reports.values() for key in ("cpu", "cpus") if r["machine"][key] != newest[key]}
    )
    body = [data_table(["file", "benchmark", "date", "commit"], rows), data_table(["machine", ""], about)]
    body += [paragraph(text) for text in peaks_of(reports)]
    if differ:
        body.append(paragraph(f"The files come from machines that differ in {', '.join(differ)}."))
    return Part("Machine", {}, body)


def parts_of(reports: Mapping[str, Saved], special: Mapping[str, Callable[[Saved], Part]]) -> list[Part]:
    """Sections of all files, whole programs first.

    Args:
        reports: reports by file name.
        special: section functions of specific benchmarks.
    """
    known = {
        "memory": memory,
        "matmul-cpu": products,
        "kernel_traffic": traffic,
        "kernels_lab": ladders,
        **special,
    }
    programs = ["train", "generate", "smollm2", "quantized", "memory", "distributed", "tokenizer"]
    order = [*programs, "ops", "dispatch", "matmul-cpu"]

    def place(report: Saved) -> tuple[int, str]:
        name = report["benchmark"]
        return (order.index(name) if name in order else len(order), name)

    made = [known.get(r["benchmark"], generic)(r) for r in sorted(reports.values(), key=place)]
    return [part for part in made if part.charts or part.body]
