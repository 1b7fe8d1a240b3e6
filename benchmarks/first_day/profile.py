"""Step 9: the kernels of a training step under Nsight Compute, beside our own counts of bytes and FLOPs."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinytensor as tt
from benchmarks.dry_gpu import roof
from benchmarks.dry_gpu.gpu import install
from benchmarks.dry_gpu.steps import SHAPES, Training
from benchmarks.dry_gpu.traffic import family
from benchmarks.first_day.correctness import find_tool
from benchmarks.first_day.day import EMULATED, Day, last_lines
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc

MODULE = "benchmarks.first_day.profile"
HEAVIEST = 12
SECONDS, READ, WRITTEN = "gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"
DRAM = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
UNITS = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
WARPS = "sm__warps_active.avg.pct_of_peak_sustained_active"
METRICS = (SECONDS, READ, WRITTEN, DRAM, UNITS, WARPS)


def run(day: Day) -> None:
    """List the heaviest kernels by our counts, and what Nsight Compute measures for each launch of a step."""
    if day.rehearsal == EMULATED:
        day.say("our counts are made on the dry GPU")
        return
    shape, dtype = ("shakespeare" if day.small else "gpt2"), "bfloat16"
    runtime = runtime_of(tt.Device("cuda"))
    card = runtime.architecture, runtime.multiprocessors
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "launches.json")
        words = ["count", shape, dtype, str(file), *map(str, card)]
        counted = day.run([sys.executable, "-m", MODULE, *words])
        if counted.code != 0:
            day.say(f"counting ended {counted.ended}: {last_lines(counted.output)}")
            return
        launches: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    _rows(day, launches, _measured(day, shape, dtype, len(launches)))


def _measured(day: Day, shape: str, dtype: str, count: int) -> list[dict[str, float]]:
    """The metrics of all launches of a step; none where Nsight Compute is missing, or sees other launches."""
    program = find_tool("ncu")
    if day.small:
        done = day.run(day.python(MODULE, "step", shape, dtype))
        day.say(f"the step that ncu would profile ended {done.ended}")
    if program is None or day.small:
        missing = "ncu is missing (Nsight Compute, of the CUDA toolkit)"
        day.say(f"{missing if program is None else 'ncu needs a GPU'}: our counts stand alone")
        return []
    words = ["--csv", "--page", "raw", "--print-units", "base", "--profile-from-start", "off"]
    done = day.run(
        [program, *words, "--metrics", ",".join(METRICS), *day.python(MODULE, "step", shape, dtype)]
    )
    measured = read(done.output)
    if len(measured) != count:
        day.say(f"ncu measured {len(measured)} of {count} launches: {last_lines(done.output)}")
        return []
    return measured


def _rows(day: Day, launches: list[dict[str, Any]], measured: list[dict[str, float]]) -> None:
    """Tables by family and by kernel; the launches of both lists are in one order."""
    for launch, found in zip(launches, measured, strict=False):
        launch |= {"seconds": found[SECONDS] / 1e9, "moved": found[READ] + found[WRITTEN]}
        launch |= {"dram": found[DRAM], "units": found[UNITS], "warps": found[WARPS]}
    for table, key in (("families", "family"), ("heaviest kernels", "name")):
        groups: dict[str, list[dict[str, Any]]] = {}
        for launch in launches:
            groups.setdefault(launch[key], []).append(launch)
        weight = "seconds" if measured else "model"
        ordered = sorted(groups.items(), key=lambda item: -sum(x[weight] for x in item[1]))
        for name, members in ordered[:HEAVIEST]:
            day.row(table, kernel=name, launches=len(members), **_sums(members))


def _sums(members: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over launches; shares of peaks are weighted by time."""
    keys = ("bytes", "flops", "model", "seconds", "moved")
    total = {key: float(sum(x.get(key, 0.0) for x in members)) for key in keys}
    found = {"counted_bytes": total["bytes"], "flops": total["flops"], "model_seconds": total["model"]}
    if seconds := total["seconds"]:
        found |= {"seconds": seconds, "moved_bytes": total["moved"], "B/s": total["moved"] / seconds}
        for key, name in (("dram", "memory_%"), ("units", "units_%"), ("warps", "warps_%")):
            found[name] = str(round(sum(x[key] * x["seconds"] for x in members) / seconds))
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


def count(shape: str, dtype: str, architecture: int, multiprocessors: int) -> list[dict[str, Any]]:
    """The launches of one step, on a dry GPU of this kind; the model is that of an H100."""
    compiled = nvrtc.available()
    gpu = install(architecture, multiprocessors, compiled=compiled)
    gpu.measuring = True
    training = Training(SHAPES[shape], dtype)
    training.step()
    with gpu.counting() as record:
        training.step()
    return [
        {
            "name": launch.name,
            "family": family(launch.name),
            "bytes": launch.measured.nbytes,
            "flops": launch.measured.flops,
            "model": roof.time_of(launch).seconds if compiled else 0.0,
        }
        for launch in record.launches
    ]


def step(shape: str, dtype: str) -> None:
    """Run two steps; a profiler sees the second."""
    import cupy

    training = Training(SHAPES[shape], dtype)
    training.step()
    cupy.cuda.runtime.deviceSynchronize()
    cupy.cuda.runtime.profilerStart()
    training.step()
    cupy.cuda.runtime.deviceSynchronize()
    cupy.cuda.runtime.profilerStop()


def main(words: Sequence[str]) -> None:
    """`count SHAPE DTYPE FILE SM COUNT` writes the launches as JSON; `step SHAPE DTYPE` runs one step."""
    what, shape, dtype, *more = words
    if what == "count":
        file, architecture, multiprocessors = more
        launches = count(shape, dtype, int(architecture), int(multiprocessors))
        Path(file).write_text(json.dumps(launches), encoding="utf-8")
    else:
        step(shape, dtype)


if __name__ == "__main__":
    main(sys.argv[1:])
