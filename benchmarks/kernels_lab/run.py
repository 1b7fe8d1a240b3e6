"""`python -m benchmarks kernels_lab`: runs ladders, and reports each version with its lesson."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.contest.contest import Report
from benchmarks.kernels_lab import host, lab, overlap
from benchmarks.kernels_lab.ladders import LADDERS
from benchmarks.kernels_lab.own import with_kernel

QUESTIONS = {
    host.LADDER: "C = A @ B on the CPU, float32",
    overlap.LADDER: "y = x after some steps of a recurrence; x and y are in the memory of the host",
}
NAMES = [*LADDERS, overlap.LADDER]
COUNTED = {
    "moved": "bytes from and to global memory, in sectors of 32 for each request of a warp",
    "floor": "the least bytes that any version must move",
    "used": "share of the moved bytes that was requested",
    "ways": "passes of shared memory per request, 1 without bank conflicts",
    "lanes": "active threads per request, of 32",
    "error": "difference from NumPy",
}
TIMED = {"low, high": "quartiles of the seconds", "GB/s": "floor / seconds"}


def rows(name: str, timed: bool, own: tuple[Path, str] | None) -> list[dict[str, Any]]:
    if name == host.LADDER:
        return host.time_rungs(host.with_kernel(*own) if own else host.RUNGS)
    if name == overlap.LADDER:
        lessons = {rung.title: rung.lesson for rung in overlap.RUNGS}
        if timed:
            return [asdict(row) | {"lesson": lessons[row.rung]} for row in overlap.time_rungs()]
        errors = overlap.check("emulated")
        return [{"rung": title, "error": errors[title], "lesson": lessons[title]} for title in errors]
    ladder = with_kernel(LADDERS[name], *own) if own else LADDERS[name]
    lessons = {rung.title: rung.lesson for rung in ladder.rungs}
    made = [asdict(row) for row in (lab.time_rungs(ladder) if timed else lab.count(ladder))]
    for row in made:
        if timed:
            row["GB/s"] = ladder.floor(ladder.large) / row["seconds"] / 1e9
            row["GFLOP/s"] = ladder.flops(ladder.large) / row["seconds"] / 1e9
        else:
            row["moved / floor"] = row["moved"] / row["floor"]
        row["lesson"] = lessons[row["rung"]]
    return made


def run(names: Sequence[str], *, timed: bool, own: tuple[Path, str] | None = None) -> Report:
    """Count ladders, or time them on a GPU; that of the host is timed on any machine.

    `own`: a kernel of your own as one more version, its file and its launch; in a .cpp file its name.
    """
    report = Report("kernels_lab")
    timed = timed or list(names) == [host.LADDER]
    for name in names:
        question = LADDERS[name].question if name in LADDERS else QUESTIONS[name]
        report.findings[name] = {"question": question, "timed": timed, "rungs": rows(name, timed, own)}
    report.findings["columns"] = TIMED if timed else COUNTED
    return report
