"""Runs a ladder: verifies every version against NumPy, then counts its traffic (without a GPU) or times it.

Counting runs on the device `checked`: memory requests of each kernel, exact and repeatable, on any machine.
It does not predict times. Timing needs a GPU; emulated times are never reported next to real ones.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.kernels_lab.ladders import Ladder, Rung, Sizes, Tensors


def inputs_of(ladder: Ladder, sizes: Sizes, device: str) -> tuple[Tensors, np.ndarray[Any, Any]]:
    """Inputs of a ladder on a device, and NumPy's result."""
    arrays = ladder.inputs(np.random.default_rng(0), sizes)
    return {name: tt.asarray(a, device=device) for name, a in arrays.items()}, ladder.reference(arrays)


def error_of(rung: Rung, result: tt.Tensor, reference: np.ndarray[Any, Any]) -> float:
    """Largest difference relative to the largest element; BenchmarkError if it is too large."""
    actual = result.cpu().numpy()
    if actual.shape != reference.shape:
        raise BenchmarkError(f"{rung.title}: shape {actual.shape}, expected {reference.shape}")
    largest = float(np.abs(reference).max(initial=0.0))
    error = float(np.abs(actual - reference).max(initial=0.0)) / (largest or 1.0)
    if not error <= rung.rtol:
        raise BenchmarkError(f"{rung.title}: differs by {error:.2e}, allowed is {rung.rtol:.0e}")
    return error


def check(ladder: Ladder, device: str, sizes: Sizes | None = None) -> dict[str, float]:
    """Error of each version on a device."""
    sizes = ladder.small if sizes is None else sizes
    tensors, reference = inputs_of(ladder, sizes, device)
    return {rung.title: error_of(rung, rung.run(tensors, sizes), reference) for rung in ladder.rungs}


@dataclass(frozen=True)
class Count:
    """Memory traffic of one version.

    Attributes:
        rung: title of the version.
        launches: number of kernel launches.
        moved: bytes transferred from and to global memory, 32 per sector.
        floor: minimum bytes of any version.
        used: share of the transferred bytes that was requested.
        sectors: sectors per request of a warp.
        ways: shared memory passes per request; 1 without bank conflicts, 0 if it is not used.
        lanes: active lanes per request, of 32.
        error: difference from NumPy.
    """

    rung: str
    launches: int
    moved: int
    floor: int
    used: float
    sectors: float
    ways: float
    lanes: float
    error: float


def count(ladder: Ladder, sizes: Sizes | None = None) -> list[Count]:
    """Traffic of each version, counted over all blocks."""
    sizes = ladder.small if sizes is None else sizes
    tensors, reference = inputs_of(ladder, sizes, "emulated")
    counts = []
    for rung in ladder.rungs:
        with tt.cuda.check(blocks=1_000_000) as report:
            result = rung.run(tensors, sizes)
        error = error_of(rung, result, reference)
        if report.findings:
            raise BenchmarkError(f"{ladder.name}, {rung.title}: {report.findings[0]}")
        in_global = [line for line in report.lines if line.space == "global"]
        in_shared = [line for line in report.lines if line.space == "shared"]
        sectors, requests = (sum(getattr(x, name) for x in in_global) for name in ("sectors", "requests"))
        ideal = sum(x.ideal for x in in_shared)
        counts.append(
            Count(
                rung=rung.title,
                launches=report.launches,
                moved=32 * sectors,
                floor=ladder.floor(sizes),
                used=sum(x.bytes for x in in_global) / (32 * sectors or 1),
                sectors=sectors / (requests or 1),
                ways=sum(x.wavefronts for x in in_shared) / ideal if ideal else 0.0,
                lanes=sum(x.lanes for x in report.lines) / (sum(x.requests for x in report.lines) or 1),
                error=error,
            )
        )
    return counts


@dataclass(frozen=True)
class Timing:
    """GPU time of one version: median and quartiles of the rounds, in seconds."""

    rung: str
    seconds: float
    low: float
    high: float
    error: float


def time_rungs(ladder: Ladder, *, device: str = "cuda", rounds: int = 9, calls: int = 20) -> list[Timing]:
    """Time all versions in interleaved rounds, `calls` launches per window. DeviceError without a GPU."""
    if device in ("emulated", "checked"):
        raise BenchmarkError(f"{device} is not timed: its seconds say nothing about a GPU")
    tensors, reference = inputs_of(ladder, ladder.large, device)
    errors = {r.title: error_of(r, r.run(tensors, ladder.large), reference) for r in ladder.rungs}
    runs = {rung.title: partial(rung.run, tensors, ladder.large) for rung in ladder.rungs}
    return timings(runs, errors, device, rounds, calls)


def timings(
    runs: Mapping[str, Callable[[], Any]], errors: Mapping[str, float], device: str, rounds: int, calls: int
) -> list[Timing]:
    """Time versions that are warm in interleaved rounds, each of which another version begins."""
    windows: dict[str, list[float]] = {title: [] for title in runs}
    for turn in range(rounds):
        first = turn % len(runs)
        for title in [*runs][first:] + [*runs][:first]:
            tt.cuda.synchronize(device)
            start = time.perf_counter()
            for _ in range(calls):
                runs[title]()
            tt.cuda.synchronize(device)
            windows[title].append((time.perf_counter() - start) / calls)
    return [
        Timing(title, median(taken), *np.quantile(taken, (0.25, 0.75)).tolist(), errors[title])
        for title, taken in windows.items()
    ]
