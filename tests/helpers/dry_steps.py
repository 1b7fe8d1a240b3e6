"""What eight training steps ask of a GPU: `python -m tests.helpers.dry_steps` writes dry_steps.json.

Counted on the dry GPU (`benchmarks/dry_gpu`), which computes nothing, in a process for each step. With
`--print` the counts go to standard output instead.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import Counter

from benchmarks.dry_gpu.gpu import install
from benchmarks.dry_gpu.steps import DTYPES, SHAPES, count
from tests.helpers.source import ROOT

FILE = ROOT / "tests" / "benchmarks" / "dry_steps.json"
CASES = [(shape, dtype, captured) for shape in SHAPES for dtype in DTYPES for captured in (False, True)]
START = ("compilations", "instances", "captures", "allocations", "peak_bytes", "pinned_bytes")
STEP = (
    *(
        "launches",
        "launch_calls",
        "replays",
        "waits",
        "h2d",
        "h2d_bytes",
        "d2h",
        "d2h_bytes",
        "d2d",
        "d2d_bytes",
    ),
    *("memset", "memset_bytes", "events", "allocations", "pinned", "compilations"),
)
Counts = dict[str, dict[str, dict[str, int]]]


def name_of(shape: str, dtype: str, captured: bool) -> str:
    return f"{shape}, {dtype}, {'captured' if captured else 'eager'}"


def counted(case: tuple[str, str, bool]) -> dict[str, dict[str, int]]:
    """Counts of the start, of one step, and its launches by kernel."""
    shape, dtype, captured = case
    gpu = install()
    gpu.measuring = True
    first, one = count(gpu, SHAPES[shape], dtype, captured=captured)
    start, step, launches = first.totals(), one.totals(), one.launches
    kernels = Counter(launch.kernel for launch in launches)
    moved = {
        "moved_megabytes": round(sum(launch.measured.nbytes for launch in launches) / 1e6),
        "megaflops": round(sum(launch.measured.flops for launch in launches) / 1e6),
    }
    return {
        "start": {name: start[name] for name in START},
        "step": {name: step[name] for name in STEP} | moved,
        "kernels": dict(sorted(kernels.items())),
    }


def everything() -> Counts:
    """Counts of all cases, each in a new process that has the imports of this one."""
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        found = pool.map(counted, CASES, chunksize=1)
    return {name_of(*case): counts for case, counts in zip(CASES, found, strict=True)}


if __name__ == "__main__":
    text = json.dumps(everything(), indent=1) + "\n"
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        FILE.write_text(text, encoding="utf-8")
        print(f"written: {FILE.relative_to(ROOT)}")
