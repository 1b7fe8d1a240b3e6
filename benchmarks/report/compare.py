"""Compares two reports: changes in speed beyond the noise.

Two runs of one commit differ by more than the windows of one run do, through memory placement and the load of
the machine. The changes of the other libraries, whose code is the same in both reports, measure this noise.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest.contestants import BenchmarkError
from benchmarks.contest.tables import aligned, commit_text, time_text

FLOOR = 0.05  # smaller changes are never reported
FLOOR_ALONE = 0.1  # the same if other libraries took part in fewer than
FEW = 5  # cases
OUTSIDE = ("PyTorch", "PyTorch on CUDA", "torch.compile", "JAX", "tinygrad", "CuPy", "NumPy")
SAME_MACHINE = ("cpu", "cpus", "blas", "python", "libraries", "environment")


def load(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        BenchmarkError: the file is missing, or not a report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"compare: {path} cannot be read: {error}") from None
    if not isinstance(report, dict) or not {"benchmark", "machine", "results"} <= report.keys():
        raise BenchmarkError(f"compare: {path} is not a benchmark report")
    return report


def newest(folder: Path) -> dict[str, Path]:
    """Newest file of each benchmark in a folder; file names end in date and time.

    Example:
        >>> newest(Path("no such folder"))
        {}
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*-????????-??????.json"), key=lambda p: p.stem[-15:]):
        found[path.stem[:-16]] = path
    return found


def pairs(old: Path, new: Path) -> list[tuple[Path, Path]]:
    """Files to compare: two files, or the newest of each benchmark that both folders have.

    Raises:
        BenchmarkError: one is a folder and the other is not, or they have no benchmark in common.
    """
    if old.is_dir() is not new.is_dir():
        raise BenchmarkError(f"compare: {old} and {new}: give two files, or two folders")
    if not old.is_dir():
        return [(old, new)]
    before, after = newest(old), newest(new)
    if not (both := sorted(before.keys() & after.keys())):
        raise BenchmarkError(f"compare: {old} and {new} have no benchmark in common")
    return [(before[name], after[name]) for name in both]


def verdict(old: Mapping[str, float], new: Mapping[str, float], noise: float = FLOOR) -> str:
    """Return "faster" or "slower" if the quartiles are disjoint and the medians differ by more than the noise
    between and within runs, otherwise "".

    Example:
        >>> before = {"median": 2.0, "q1": 1.98, "q3": 2.02, "spread": 0.02}
        >>> verdict(before, {"median": 1.0, "q1": 0.98, "q3": 1.02, "spread": 0.04})
        'faster'
        >>> verdict(before, {"median": 1.99, "q1": 1.0, "q3": 2.5, "spread": 0.75})
        ''
    """
    change = old["median"] / new["median"]
    noise = max(FLOOR, noise) + max(old["spread"], new["spread"])
    if new["q3"] < old["q1"] and change > 1 + noise:
        return "faster"
    if new["q1"] > old["q3"] and 1 / change > 1 + noise:
        return "slower"
    return ""


@dataclass(frozen=True)
class Between:
    """Drift and noise between two reports, measured on the other libraries.

    Attributes:
        drift: factor on all times in the new report, from the load of the machine.
        noise: relative difference of times beyond that.
    """

    drift: float = 1.0
    noise: float = FLOOR_ALONE


def between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Between:
    """Estimate drift and noise from the contestants whose code is the same in both reports.

    The drift is their median change. The noise is three standard deviations of the residuals, estimated from
    their median absolute value, and at least the largest residual: among hundreds of cases some are outliers,
    and none of these changed its code.
    """
    before = {result["case"]: result["seconds"] for result in old["results"]}
    changes = [
        log(after["median"] / before[result["case"]][name]["median"])
        for result in new["results"]
        for name, after in result["seconds"].items()
        if name in OUTSIDE and name in before.get(result["case"], {})
    ]
    if not changes:
        return Between()
    drift = median(changes)
    rest = [abs(change - drift) for change in changes]
    widest = max(3 * 1.4826 * median(rest), max(rest))
    return Between(exp(drift), max(FLOOR if len(changes) >= FEW else FLOOR_ALONE, exp(widest) - 1))


def changed(old: Mapping[str, Any], new: Mapping[str, Any], name: str, rest: Between) -> str:
    """Verdict on one contestant of a case; "" if the case is noisy or the ratio to the peer disagrees.

    Args:
        old, new: the case in both reports.
        name: name of the contestant.
        rest: drift and noise between the reports.
    """
    if old["noisy"] or new["noisy"]:
        return ""  # disturbed rounds had to be used
    if name in OUTSIDE:
        return ""  # its code is the same: its change is the noise that `between` measures
    seconds = old["seconds"][name]
    before = seconds | {k: seconds[k] * rest.drift for k in ("median", "q1", "q3")}
    said = verdict(before, new["seconds"][name], rest.noise)
    if name in old["ratio"] and name in new["ratio"]:  # a ratio is a speed: slower is less
        beside = verdict(new["ratio"][name], old["ratio"][name], rest.noise)
        said = said if beside == said else ""
    return said


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Text table of all cases that both reports have; speed is old time / new time.

    Raises:
        BenchmarkError: one has emulated time and the other real time, or they have no case in common.
    """
    clocks = [report.get("clock", "real") for report in (old, new)]
    if len(set(clocks)) > 1:
        raise BenchmarkError(f"compare: {clocks[0]} time and {clocks[1]} time are not comparable")
    head = [
        f"{name}: {r['benchmark']}, {commit_text(r['machine'])}, {r['machine']['date']}"
        for name, r in (("old", old), ("new", new))
    ]
    for key in SAME_MACHINE:
        before, after = old["machine"].get(key), new["machine"].get(key)
        if key == "libraries":  # older files may lack some
            before, after = (
                {k: v for k, v in r.items() if k in before and k in after} for r in (before, after)
            )
        if before != after:
            head.append(f"not the same {key}: {before} and {after}")
    if not old["results"] and not new["results"]:
        found = counted(old["findings"], new["findings"])
        return "\n".join([*head, *(found or ["no number that both have differs by more than 1 %"])])
    rest = between(old, new)
    head.append(
        f"by the other libraries the machine takes {rest.drift:.2f} times as long as before, and "
        f"{rest.noise:.0%} are noise"
    )
    cases = {result["case"]: result for result in old["results"]}
    rows = [["case", "contestant", "old", "new", "speed", "beside the peer", ""]]
    for result in new["results"]:
        if result["case"] in cases:
            rows += _rows(cases[result["case"]], result, rest)
    if len(rows) == 1:
        raise BenchmarkError("compare: the two reports have no case in common")
    return "\n".join([*head, "", *aligned(rows)])


def counted(old: Any, new: Any, name: str = "") -> list[str]:
    """Lines for the counts that are in both reports and differ by more than a hundredth.

    Example:
        >>> counted({"S": {"bytes": 200, "rounds": 3}}, {"S": {"bytes": 100, "rounds": 3}})
        ['S, bytes: 200 → 100']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        both = [(key, old[key], new[key]) for key in new if key in old]
        return [line for key, a, b in both for line in counted(a, b, f"{name}, {key}" if name else key)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, (a, b) in enumerate(zip(old, new)) for line in counted(a, b, f"{name}, {i}")]
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return [f"{name}: {old:,} → {new:,}"] if numbers and abs(new - old) > 0.01 * abs(old) else []


def _rows(old: Mapping[str, Any], new: Mapping[str, Any], rest: Between) -> list[list[str]]:
    """Table rows, one per contestant of a case."""
    rows = []
    for name, after in new["seconds"].items():
        if name not in old["seconds"]:
            continue
        before = old["seconds"][name]
        beside = [f"{r['ratio'][name]['median']:.2f}" for r in (old, new) if name in r["ratio"]]
        rows.append(
            [
                new["case"],
                name,
                time_text(before),
                time_text(after),
                f"{before['median'] / after['median']:.2f}",
                " → ".join(beside) if len(beside) == 2 else "",
                "noisy" if old["noisy"] or new["noisy"] else changed(old, new, name, rest),
            ]
        )
    return rows
