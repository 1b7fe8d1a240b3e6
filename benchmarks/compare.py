"""Two reports side by side: what became faster or slower by more than the noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contestants import BenchmarkError
from benchmarks.harness import time_text

FLOOR = 0.03  # a smaller change is never called one
SAME_MACHINE = ("cpu", "cpus", "blas", "python", "libraries", "environment")


def load(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        BenchmarkError: the file is missing, or no report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"compare: {path} cannot be read: {error}") from None
    if not isinstance(report, dict) or not {"benchmark", "machine", "results"} <= report.keys():
        raise BenchmarkError(f"compare: {path} is no report of a benchmark")
    return report


def verdict(old: Mapping[str, float], new: Mapping[str, float]) -> str:
    """Say "faster" or "slower" if the quartiles lie apart and the medians differ by more than the noise.

    Example:
        >>> before = {"median": 2.0, "q1": 1.98, "q3": 2.02, "spread": 0.02}
        >>> verdict(before, {"median": 1.0, "q1": 0.98, "q3": 1.02, "spread": 0.04})
        'faster'
        >>> verdict(before, {"median": 1.99, "q1": 1.0, "q3": 2.5, "spread": 0.75})
        ''
    """
    change = old["median"] / new["median"]
    noise = max(FLOOR, old["spread"], new["spread"])
    if new["q3"] < old["q1"] and change > 1 + noise:
        return "faster"
    if new["q1"] > old["q3"] and 1 / change > 1 + noise:
        return "slower"
    return ""


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A table of all cases that both reports have; speed is old time / new time."""
    head = [
        f"{name}: {r['benchmark']}, {(r['machine']['commit'] or 'no commit')[:10]}"
        f"{' + changes' if r['machine']['dirty'] else ''}, {r['machine']['date']}"
        for name, r in (("old", old), ("new", new))
    ]
    for key in SAME_MACHINE:
        before, after = old["machine"].get(key), new["machine"].get(key)
        if before != after:
            head.append(f"not the same {key}: {before} and {after}")
    before = {result["case"]: result for result in old["results"]}
    rows = [["case", "contestant", "old", "new", "speed", "beside the peer", ""]]
    for result in new["results"]:
        if result["case"] in before:
            rows += _rows(before[result["case"]], result)
    if len(rows) == 1:
        raise BenchmarkError("compare: the two reports have no case in common")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*head, "", *(line.rstrip() for line in lines)])


def _rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[list[str]]:
    """A row for each contestant of a case."""
    rows = []
    for name, after in new["seconds"].items():
        if name not in old["seconds"]:
            continue
        before = old["seconds"][name]
        beside = [f"{r['ratio'][name]['median']:.2f}" for r in (old, new) if name in r["ratio"]]
        said = verdict(before, after)
        if said and (old["noisy"] or new["noisy"]):
            said += ", but noisy"
        rows.append(
            [
                new["case"],
                name,
                time_text(before),
                time_text(after),
                f"{before['median'] / after['median']:.2f}",
                " → ".join(beside) if len(beside) == 2 else "",
                said,
            ]
        )
    return rows
