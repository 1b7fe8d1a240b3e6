"""The Markdown page of a first day, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.contest.contest import number, unit_of
from benchmarks.first_day.steps import STEPS

REHEARSED = """**This is a rehearsal: no GPU took part, and nothing here was measured.** Each step ran from
first to last twice with small sizes: on the dry GPU, whose kernels compute nothing (results are zeros), and
on `emulated`, which runs the kernels on the CPU. Columns of times and rates are left out; bytes and FLOPs are
counted.
"""
REAL = "Times are medians on the device; a case whose results differ is not timed. Speed: PyTorch = 1.\n"
WHERE = {"": "", "dry": "on the dry GPU", "emulated": "on emulated"}
STEPS_OF_THOUSAND = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    about = found["machine"]
    commit = (about["commit"] or "unknown")[:10] + (", with changes" if about["dirty"] else "")
    title = "# A rehearsal of the first day on a GPU" if found["rehearsal"] else "# The first day on a GPU"
    parts = [title, "", REHEARSED if found["rehearsal"] else REAL]
    parts += [f"`python -m benchmarks first_day`, {about['date']}, commit {commit}", ""]
    missing = [name for name in STEPS if name not in found["steps"]]
    parts += [f"Not run: {', '.join(missing)}.", ""] if missing else []
    for place, (name, step) in enumerate(STEPS.items(), 1):
        for where, run in found["steps"].get(name, {}).items():
            heading = f"## {place}. {name}: {step.question}" + (f" ({WHERE[where]})" if where else "")
            why = f": `{run['why']}`" if run["why"] else ""
            parts += [heading, "", f"{run['status']} in {run['seconds']} s of {step.seconds}{why}", ""]
            parts += _findings(run["findings"], complete=not found["rehearsal"])
    return "\n".join(parts)


def _findings(findings: list[Mapping[str, Any]], *, complete: bool) -> list[str]:
    """Tables and paragraphs, each paragraph once; the rows of a table are together, at the place of its
    first. Columns without a value are left out unless `complete`.
    """
    parts: list[str] = []
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        if "table" in finding:
            tables.setdefault(finding["table"], []).append(finding["row"])
    seen: set[str] = set()
    for finding in findings:
        if "say" in finding:
            text = finding["say"].replace("\n", " ")
            parts += [] if text in parts else [text, ""]
        elif finding["table"] not in seen:
            seen.add(finding["table"])
            parts += [f"**{finding['table']}**", "", *_table(tables[finding["table"]], complete), ""]
    return parts


def _table(rows: list[Mapping[str, Any]], complete: bool) -> list[str]:
    known = [name for row in rows for name, value in row.items() if complete or value is not None]
    columns = list(dict.fromkeys(known))
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in columns)} |", f"|{' --- |' * len(columns)}"]
    for row in rows:
        cells = [cell(name, row.get(name)).replace("|", "/") for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cell(name: str, value: Any) -> str:
    """A value as text, with a unit by the name of its column.

    Example:
        >>> cell("seconds", 0.0012), cell("bytes_per_second", 2.95e12), cell("bytes", 4096), cell("x", None)
        ('1.20 ms', '2.95 TB/s', '4,096', '–')
    """
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if name in ("bytes_per_second", "B/s", "FLOP/s"):
        return _scaled(value, "FLOP/s" if name == "FLOP/s" else "B/s")
    if name in ("of_peak",):
        return f"{value:.1%}"
    if name.endswith("per_second") or name in ("first", "last"):
        return f"{value:,.0f}"
    if name in ("counted_bytes", "moved_bytes", "flops"):
        return _scaled(value, "FLOP" if name == "flops" else "B")
    if name == "speed" or name.endswith("loss"):
        return f"{value:.3f}"
    scale, unit = unit_of(value)
    return f"{number(value * scale)} {unit}"


def _scaled(value: float, unit: str) -> str:
    for size, letter in STEPS_OF_THOUSAND:
        if value >= size:
            return f"{number(value / size)} {letter}{unit}"
    return f"{number(value)} {unit}"
