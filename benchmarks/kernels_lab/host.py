"""Ladder of C++ matmul kernels: every version is verified against NumPy, then timed in interleaved rounds.

Unlike ladders of device kernels, these are timed on every machine, since they target the processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import aligned
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.contest.windows import group_for, measure
from tinytensor.runtime.cpu.kernels import HostKernels


@dataclass(frozen=True)
class HostRung:
    """One version: a kernel that computes c from a and b, and its lesson."""

    title: str
    kernel: str
    lesson: str


@dataclass(frozen=True)
class HostLadder:
    """Versions of the matrix product.

    Attributes:
        name: name of the ladder and its .cpp file.
        question: the computed function.
        small, large: rows, columns and inner size, for verification and for timing.
        rungs: versions from naive to optimized.
    """

    name: str
    question: str
    small: tuple[int, int, int]
    large: tuple[int, int, int]
    rungs: tuple[HostRung, ...]

    def kernels(self) -> HostKernels:
        """Compile the kernels of the file; BenchmarkError if that fails."""
        # An absolute path overrides the engine's kernel directory.
        found = HostKernels(str(Path(__file__).with_name(self.name)))
        if not found.usable():
            raise BenchmarkError(f"{self.name}: C++ kernels are not available; see the log for the reason")
        return found


MATMUL = HostLadder(
    name="matmul_cpu",
    question="C = A @ B on the CPU, float32",
    small=(37, 70, 400),
    large=(768, 768, 768),
    rungs=(
        HostRung("naive", "matmul_naive", "of each line of the cache that is read, one number is used"),
        HostRung("reordered", "matmul_reordered", "the inner loop runs along rows: vectors by the compiler"),
        HostRung(
            "blocked", "matmul_blocked", "a block of B stays in the cache; four of its rows are added at once"
        ),
        HostRung("vectorized", "matmul_vectorized", "sums stay in registers: B is read once for many rows"),
        HostRung("packed", "matmul_packed", "operands lie in the order of reading"),
        HostRung("threaded", "matmul_threaded", "threads share the packed B and take strips of A"),
    ),
)
LADDERS = {MATMUL.name: MATMUL}


def check(ladder: HostLadder, sizes: tuple[int, int, int] | None = None) -> dict[str, float]:
    """Error of each version against float64, relative to the largest element; BenchmarkError above 1e-5."""
    m, n, k = ladder.small if sizes is None else sizes
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    largest = float(np.abs(wanted).max(initial=0.0)) or 1.0
    kernels, errors = ladder.kernels(), {}
    for rung in ladder.rungs:
        c = np.full((m, n), np.nan, np.float32)
        if not getattr(kernels, rung.kernel)(c, a, b):
            raise BenchmarkError(f"{ladder.name}, {rung.title}: does not support {m} x {k} x {n}")
        errors[rung.title] = float(np.abs(c - wanted).max(initial=0.0)) / largest
        if not errors[rung.title] <= 1e-5:
            raise BenchmarkError(f"{ladder.name}, {rung.title}: off by {errors[rung.title]:.2e}")
    return errors


@dataclass(frozen=True)
class HostTiming:
    """Time of a version: median and quartiles of the rounds, in seconds."""

    rung: str
    seconds: float
    low: float
    high: float
    gflops: float


def time_rungs(ladder: HostLadder, *, rounds: int = 7, seconds: float = 0.05) -> list[HostTiming]:
    """Verify all versions, then time them and NumPy's BLAS in interleaved rounds."""
    check(ladder)
    check(ladder, ladder.large)
    m, n, k = ladder.large
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    c, kernels = np.empty((m, n), np.float32), ladder.kernels()
    calls = {rung.title: partial(getattr(kernels, rung.kernel), c, a, b) for rung in ladder.rungs}
    calls["NumPy's BLAS"] = partial(np.matmul, a, b, out=c)
    groups = {title: group_for(call) for title, call in calls.items()}
    windows: dict[str, list[float]] = {title: [] for title in calls}
    for _ in range(rounds):
        for title, call in calls.items():
            windows[title].append(measure(call, seconds=seconds, group=groups[title]).seconds)
    flops = 2 * m * n * k / 1e9
    return [
        HostTiming(title, median(taken), *np.quantile(taken, (0.25, 0.75)).tolist(), flops / median(taken))
        for title, taken in windows.items()
    ]


def table(ladder: HostLadder, found: Sequence[HostTiming]) -> str:
    """Text table of versions with speeds and lessons."""
    lessons = {rung.title: rung.lesson for rung in ladder.rungs}
    rows = [("version", "ms", "spread", "GFLOP/s", "lesson")]
    for t in found:
        spread = f"{(t.high - t.low) / t.seconds:.0%}"
        lesson = lessons.get(t.rung, f"with threads of its own; ours are {tt.get_num_threads()}")
        rows.append((t.rung, f"{t.seconds * 1e3:.2f}", spread, f"{t.gflops:.1f}", lesson))
    m, n, k = ladder.large
    return "\n".join([f"{ladder.name}: {ladder.question}, {m} x {k} x {n}", *aligned(rows)])
