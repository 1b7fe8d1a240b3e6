"""Ladder of C++ matmul kernels: every version is verified against NumPy, then timed in interleaved rounds.

Unlike ladders of device kernels, these are timed on every machine, since they target the processor.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.contest.windows import group_for, measure
from tinytensor.runtime.cpu.kernels import HostKernels

FILE = Path(__file__).with_name("matmul_cpu.cpp")


class Rung(NamedTuple):
    """One version: a kernel that computes c from a and b, its lesson, and the .cpp file."""

    title: str
    kernel: str
    lesson: str
    file: Path = FILE


LADDER = "matmul_cpu"
SMALL, LARGE = (37, 70, 400), (768, 768, 768)  # rows, columns, inner size: for verification and for timing
RUNGS = (
    Rung("naive", "matmul_naive", "of each line of the cache that is read, one number is used"),
    Rung("reordered", "matmul_reordered", "the inner loop runs along rows: vectors by the compiler"),
    Rung("blocked", "matmul_blocked", "a block of B stays in the cache; four of its rows are added at once"),
    Rung("vectorized", "matmul_vectorized", "sums stay in registers: B is read once for many rows"),
    Rung("packed", "matmul_packed", "operands lie in the order of reading"),
    Rung("threaded", "matmul_threaded", "threads share the packed B and take strips of A"),
)
BLAS = "NumPy's BLAS"


def kernels(file: Path) -> HostKernels:
    """Compile the kernels of a file; BenchmarkError if that fails."""
    found = HostKernels(str(file.resolve()))  # an absolute path overrides the engine's kernel directory
    if not found.usable():
        raise BenchmarkError(f"{file.name}: C++ kernels are not available; see the log for the reason")
    return found


def with_kernel(file: Path, name: str) -> tuple[Rung, ...]:
    """The versions, and a last one of a .cpp file of your own: `HOST_KERNEL bool name(Array c, Array a, Array
    b)`, as in matmul_cpu.cpp. BenchmarkError if the file declares no such kernel.
    """
    try:
        getattr(kernels(file), name)
    except (AttributeError, OSError) as error:
        raise BenchmarkError(f"{file}: {error}") from error
    return (*RUNGS, Rung("yours", name, f"{name} of {file.name}", file))


def _operands(sizes: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """a, b, and a c that no kernel has written."""
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    return a, b, np.full((m, n), np.nan, np.float32)


def check(sizes: tuple[int, int, int] = SMALL, rungs: Sequence[Rung] = RUNGS) -> dict[str, float]:
    """Error of each version against float64, relative to the largest element; BenchmarkError above 1e-5."""
    a, b, c = _operands(sizes)
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    largest = float(np.abs(wanted).max(initial=0.0)) or 1.0
    errors = {}
    for rung in rungs:
        c.fill(np.nan)
        if not getattr(kernels(rung.file), rung.kernel)(c, a, b):
            raise BenchmarkError(f"{LADDER}, {rung.title}: does not support {sizes}")
        errors[rung.title] = float(np.abs(c - wanted).max(initial=0.0)) / largest
        if not errors[rung.title] <= 1e-5:
            raise BenchmarkError(f"{LADDER}, {rung.title}: off by {errors[rung.title]:.2e}")
    return errors


def time_rungs(
    rungs: Sequence[Rung] = RUNGS, *, rounds: int = 7, seconds: float = 0.05
) -> list[dict[str, Any]]:
    """Verify all versions, then time them and NumPy's BLAS in interleaved rounds."""
    check(rungs=rungs)
    check(LARGE, rungs)
    a, b, c = _operands(LARGE)
    calls = {rung.title: partial(getattr(kernels(rung.file), rung.kernel), c, a, b) for rung in rungs}
    calls[BLAS] = partial(np.matmul, a, b, out=c)
    lessons = {rung.title: rung.lesson for rung in rungs}
    lessons[BLAS] = f"with threads of its own; ours are {tt.get_num_threads()}"
    groups = {title: group_for(call) for title, call in calls.items()}
    windows: dict[str, list[float]] = {title: [] for title in calls}
    for _ in range(rounds):
        for title, call in calls.items():
            windows[title].append(measure(call, seconds=seconds, group=groups[title]).seconds)
    rows = []
    for title, taken in windows.items():
        low, high = np.quantile(taken, (0.25, 0.75)).tolist()
        row = {"rung": title, "seconds": median(taken), "low": low, "high": high}
        rows.append(row | {"GFLOP/s": 2e-9 * np.prod(LARGE) / median(taken), "lesson": lessons[title]})
    return rows
