"""Tables of reports: data from the file of any benchmark, and their text."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from tinytensor.lab.report import Table

Saved = Mapping[str, Any]  # a report in its file format


# ---- data --------------------------------------------------------------------------------------------------


def contestants(report: Saved) -> Table:
    """A row for each case and contestant: time, ratio and its findings."""
    rows: list[dict[str, str]] = []
    for r in report["results"]:
        for name, seconds in r["seconds"].items():
            row = {"case": r["case"], "contestant": name, "median [quartiles]": time_text(seconds)}
            if name in r["ratio"]:
                row[f"speed, {report['peer']} = 1"] = ratio_text(r["ratio"][name])
            own = report["findings"].get(f"{r['case']}, {name}")
            row |= {key: cell(value) for key, value in own.items()} if isinstance(own, Mapping) else {}
            rows.append(row | {"clean rounds": f"{r['clean']}/{r['rounds']}" + " noisy" * r["noisy"]})
    return _table(rows)


def _table(rows: Sequence[Mapping[str, str]], note: str = "") -> Table:
    head = list(dict.fromkeys(key for row in rows for key in row))
    if "clean rounds" in head:
        head = [key for key in head if key != "clean rounds"] + ["clean rounds"]
    return table_of(
        [key.replace("_", " ") for key in head], [[row.get(key, "") for key in head] for row in rows], note
    )


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Table:
    """A table; columns of numbers are aligned to the right."""
    columns = [[cell for cell in column if cell not in ("", "–")] for column in zip(*rows, strict=True)]
    align = ["r" if column and all(c[0].isdigit() for c in column) else "l" for column in columns]
    return Table(head, "".join(align), rows, f"{note}:" * bool(note))


def findings(report: Saved) -> list[Table]:
    """Tables of what belongs to no case and contestant: one for each list of rows or long mapping, one for
    each group of findings with the same numbers, one for the rest.
    """
    cases = _keys(report)
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    made = []
    for key, value in report["findings"].items():
        rows = value.get("rungs", value) if isinstance(value, Mapping) else value
        if isinstance(rows, list):
            note = f"{key}: {value['question']}" if "question" in value else key
            made.append(_table([{k: cell(v) for k, v in row.items()} for row in rows], note))
        elif isinstance(value, Mapping) and (len(value) > 12 or key == "columns"):
            made.append(table_of(["", key], [[name, cell(v)] for name, v in value.items()]))
        elif key not in cases:
            named = value if isinstance(value, Mapping) else {"found": value}
            row = {"": key} | {name: cell(v) for name, v in named.items()}
            groups.setdefault(tuple(named), []).append(row)
    return [*made, *[_table(rows) for rows in groups.values()]]


def cell(value: Any) -> str:
    """A finding as text; statistics as median and quartiles.

    Example:
        >>> cell({"median": 0.5, "q1": 0.25, "q3": 0.75, "count": 3}), cell(None), cell({"bytes": 4096})
        ('0.5 [0.25 0.75]', '–', 'bytes 4,096')
    """
    if isinstance(value, Mapping):
        if {"median", "q1", "q3"} <= value.keys():
            return "{} [{} {}]".format(*(value_text(value[key]) for key in ("median", "q1", "q3")))
        return ", ".join(f"{key.replace('_', ' ')} {cell(v)}" for key, v in value.items())
    return "–" if value is None else value_text(value)


# ---- text --------------------------------------------------------------------------------------------------


def text(report: Saved) -> str:
    """A report as text: a line for each case with the times of all contestants, then what was found."""
    peer, results = report["peer"], report["results"]
    names = list(dict.fromkeys(name for result in results for name in result["seconds"]))
    rivals = [name for name in names if name != peer] if peer in names else []
    rows = [["case", *names, *(f"{name} : {peer}" for name in rivals), "clean"]]
    for result in results:
        times = [time_text(result["seconds"][n]) if n in result["seconds"] else "–" for n in names]
        ratios = [ratio_text(result["ratio"][n]) if n in result["ratio"] else "–" for n in rivals]
        clean = f"{result['clean']}/{result['rounds']}" + " noisy" * result["noisy"]
        rows.append([result["case"], *times, *ratios, clean])
    lines = heading(report)
    if report.get("clock") == "emulated":
        lines.append("a rehearsal: these times are those of an emulator, and say nothing about a GPU")
    if results:
        if peer is not None and peer not in names:
            lines.append(f"{peer} is not here (not installed, or left out)")
        lines.append(
            "median [quartiles] of a call; a ratio above 1 is faster than the peer; clean rounds / rounds"
        )
        if any(w[3] is None for r in results for windows in r["windows"].values() for w in windows):
            lines.append(
                "this system does not tell what other processes take: disturbed rounds are not known"
            )
        lines += ["", *aligned(rows)]
    own = contestants(report).rows if any(key in report["findings"] for key in _keys(report)) else []
    for table in [*([contestants(report)] if own else []), *findings(report)]:
        lines += ["", str(table)]
    return "\n".join(lines)


def _keys(report: Saved) -> set[str]:
    """Names of the findings that belong to a case and a contestant."""
    return {f"{r['case']}, {name}" for r in report["results"] for name in r["seconds"]}


def heading(report: Mapping[str, Any]) -> list[str]:
    """Lines that name the benchmark, the machine, versions and settings."""
    about = report["machine"]
    libraries = ", ".join(f"{k} {v}" for k, v in about["libraries"].items() if v)
    head = [f"{report['benchmark']}: {about['cpu']}, {about['cpus']} CPUs, {about['blas']}"]
    head.append(f"Python {about['python']}, {libraries}, {commit_text(about)}, {about['date']}")
    if about["environment"]:
        head.append("environment: " + " ".join(f"{k}={v}" for k, v in about["environment"].items()))
    return head


def commit_text(about: Mapping[str, Any]) -> str:
    """The commit of a machine's description."""
    return (about["commit"] or "no commit")[:10] + " + changes" * bool(about["dirty"])


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Lines with the cells of the rows in columns, two spaces apart; those of `right` end together.

    Example:
        >>> aligned([["op", "ms"], ["softmax", "1"]])
        ['op       ms', 'softmax  1']
        >>> aligned([["op", "ms"], ["softmax", "1"]], right=[1])
        ['op       ms', 'softmax   1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    put = [str.rjust if i in right else str.ljust for i in range(len(widths))]
    return ["  ".join(f(c, w) for f, c, w in zip(put, row, widths, strict=True)).rstrip() for row in rows]


def time_text(seconds: Mapping[str, float]) -> str:
    """Median [quartiles] with a unit.

    Example:
        >>> time_text({"median": 1.5e-6, "q1": 1.25e-6, "q3": 2e-6})
        '1.50 [1.25 2.00] µs'
    """
    scale, unit = unit_of(seconds["median"])
    shown, low, high = (number(seconds[key] * scale) for key in ("median", "q1", "q3"))
    return f"{shown} [{low} {high}] {unit}"


def unit_of(seconds: float) -> tuple[float, str]:
    """Display unit of a time, and its number per second."""
    return (1e6, "µs") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1.0, "s")


def time_label(seconds: float) -> str:
    scale, unit = unit_of(seconds)
    return f"{number(seconds * scale)} {unit}"


def ratio_text(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} [{ratio['q1']:.2f} {ratio['q3']:.2f}]"


def value_text(value: Any) -> str:
    """A finding that is no mapping, as text."""
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def number(x: float) -> str:
    """Number with three significant digits."""
    return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"
