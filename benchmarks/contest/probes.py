"""Measures the rate of a matrix product in NumPy on this machine: times are reported as shares of it."""

import numpy as np

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Process, Suite

MATMUL = 1024


def suite() -> Suite:
    """Suite of the product; its results are not compared."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((MATMUL, MATMUL), dtype=np.float32) for _ in range(2))
    product = np.empty_like(a)
    return {f"matmul {MATMUL}": Case(lambda: np.matmul(a, b, out=product), lambda: [])}


def matmul_peak(report: Report, threads: int, plan: Plan, *, pinned: bool = False) -> float:
    """Measure the product and add the best window to a report.

    Args:
        report: receives one finding.
        threads: number of BLAS threads.
        plan: rounds and windows.
        pinned: pin to one CPU.

    Returns:
        10⁹ float32 operations per second.
    """
    with Process("benchmarks.contest.probes:suite", threads=threads, pinned=pinned) as probe:
        (product,) = Report("probes").compete({"NumPy": probe}, plan)
    peak = round(2e-9 * MATMUL**3 / product.times("NumPy").min, 1)
    report.findings[f"peaks, {threads} thread{'s' * (threads > 1)}"] = {"matmul_gflops": peak}
    return peak
