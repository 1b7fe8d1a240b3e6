"""The kernels of a training step under Nsight Compute, beside the bytes and FLOPs that the dry GPU counts.

Without `ncu`, or on the device "dry", the counts stand alone, with the least time that a data sheet allows.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.contest.contest import Report
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.contest.machine import find_tool

HEAVIEST = 12
SECONDS, READ, WRITTEN = "gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"
SHARES = {
    "memory %": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "units %": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "warps %": "sm__warps_active.avg.pct_of_peak_sustained_active",
}
OPTIONS = ("--csv", "--page", "raw", "--print-units", "base", "--profile-from-start", "off")


def run(device: str = "cuda", *, shape: str = "gpt2", dtype: str = "bfloat16") -> Report:
    """List the families and the heaviest kernels of a step.

    Raises:
        BenchmarkError: a step failed, or ncu saw other launches than those counted.
    """
    report, program = Report("ncu"), find_tool("ncu") if device == "cuda" else None
    launches = json.loads(_output([sys.executable, "-m", __name__, "count", shape, dtype]).splitlines()[-1])
    if program is not None:
        metrics = ",".join([SECONDS, READ, WRITTEN, *SHARES.values()])
        step = [sys.executable, "-m", __name__, "step", shape, dtype]
        found = read(_output([program, *OPTIONS, "--metrics", metrics, *step]))
        if len(found) != len(launches):
            raise BenchmarkError(f"ncu: measured {len(found)} of {len(launches)} launches")
        for launch, values in zip(launches, found, strict=True):
            launch |= values
    else:
        report.findings["ncu"] = "missing (Nsight Compute, of the CUDA toolkit): our counts stand alone"
    for key in ("family", "name"):
        groups: dict[str, list[dict[str, Any]]] = {}
        for launch in launches:
            groups.setdefault(launch[key], []).append(launch)
        weight = "least" if program is None else SECONDS
        heaviest = sorted(groups.items(), key=lambda item: -sum(x[weight] for x in item[1]))[:HEAVIEST]
        report.findings[key] = [{key: name} | sums(members) for name, members in heaviest]
    return report


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise BenchmarkError(f"ncu: {' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def sums(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over launches; shares of peaks are weighted by time."""
    total = {key: sum(x[key] for x in members) for key in ("bytes", "flops", "least")}
    found = {"launches": len(members), "GB": total["bytes"] / 1e9, "GFLOP": total["flops"] / 1e9}
    found["least µs"] = total["least"] * 1e6
    if SECONDS in members[0]:
        spent = sum(x[SECONDS] for x in members)
        found |= {"µs": spent / 1e3, "moved GB": sum(x[READ] + x[WRITTEN] for x in members) / 1e9}
        for name, key in SHARES.items():
            found[name] = sum(x[key] * x[SECONDS] for x in members) / spent
    return found


def read(output: str) -> list[dict[str, float]]:
    """The metrics of each launch, in order, from what `ncu --csv --page raw` prints: names, units, rows."""
    lines = [line for line in output.splitlines() if line.startswith('"')]
    head, _, *rows = [*csv.reader(lines), [], []]
    named = [dict(zip(head, row, strict=False)) for row in rows if row]
    return [
        {name: float(text.replace(",", "")) for name, text in row.items() if "__" in name} for row in named
    ]


# ---- programs ----------------------------------------------------------------------------------------------


def count(shape: str, dtype: str) -> list[dict[str, Any]]:
    """The launches of one step, on a dry GPU."""
    from benchmarks.dry_gpu import steps
    from benchmarks.dry_gpu.gpu import install
    from benchmarks.dry_gpu.traffic import family

    gpu = install()
    gpu.measuring = True
    launches = steps.count(gpu, steps.SHAPES[shape], dtype, captured=False)[1].launches
    return [
        {"name": x.name, "family": family(x.name), "bytes": x.measured.nbytes, "flops": x.measured.flops}
        | {"least": steps.least_seconds(x, dtype)}
        for x in launches
    ]


def step(shape: str, dtype: str) -> None:
    """Run four steps; a profiler sees the last."""
    import cupy

    from benchmarks.dry_gpu import steps

    training = steps.training(steps.SHAPES[shape], dtype)
    for _ in range(3):
        training.step().item()
    cupy.cuda.runtime.profilerStart()
    training.step().item()
    cupy.cuda.runtime.profilerStop()


if __name__ == "__main__":
    what, *how = sys.argv[1:]
    if what == "count":
        print(json.dumps(count(*how)))
    else:
        step(*how)
