"""Measures NumPy's peak copy bandwidth and matmul throughput on this machine.

Other results are reported as shares of these measured peaks, not of data sheet values.
"""

import numpy as np

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Process, Suite

COPY_MIB = 64  # far more than the caches hold
MATMUL = 1024
COPY, PRODUCT = f"copy {COPY_MIB} MiB", f"matmul {MATMUL}"
RATES = tuple(1 << n for n in range(14, 27, 2))  # bytes of both arrays of a copy: from the cache to memory


def suite() -> Suite:
    """Suite of both probes; their results are not compared."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((MATMUL, MATMUL), dtype=np.float32) for _ in range(2))
    product = np.empty_like(a)
    source = np.ones(COPY_MIB << 18, np.float32)
    target = np.zeros_like(source)
    return {
        PRODUCT: Case(lambda: np.matmul(a, b, out=product), lambda: []),
        COPY: Case(lambda: np.copyto(target, source), lambda: []),
    }


def peaks(report: Report, threads: int, plan: Plan, *, pinned: bool = False) -> dict[str, float]:
    """Measure both peaks and add the best window of each to a report.

    Args:
        report: receives one finding.
        threads: number of BLAS threads; the copy uses one.
        plan: rounds and windows.
        pinned: pin to one CPU.

    Returns:
        "matmul_gflops": 10⁹ float32 operations per second.
        "copy_gb_per_second": 10⁹ bytes per second, read plus written.
    """
    with Process("benchmarks.contest.probes:suite", threads=threads, pinned=pinned) as probe:
        product, copy = Report("probes").compete({"NumPy": probe}, plan)
    found = {
        "matmul_gflops": round(2e-9 * MATMUL**3 / product.times("NumPy").min, 1),
        "copy_gb_per_second": round(2e-9 * (COPY_MIB << 20) / copy.times("NumPy").min, 2),
    }
    report.findings[f"peaks, {threads} thread{'s' * (threads > 1)}"] = found
    return found


def copies() -> Suite:
    """Suite of copies of increasing size."""
    arrays = {n: (np.ones(n // 8, np.float32), np.zeros(n // 8, np.float32)) for n in RATES}
    return {str(n): Case(lambda a=a, b=b: np.copyto(b, a), lambda: []) for n, (a, b) in arrays.items()}


def copy_rates(report: Report, plan: Plan, *, pinned: bool = True) -> dict[int, float]:
    """Measure the copy bandwidth of one thread over sizes, from cache to memory, and add it to a report.

    Args:
        report: receives one finding.
        plan: rounds and windows.
        pinned: pin to one CPU.

    Returns:
        bytes read plus written by one copy → bytes per second; the median of the windows.
    """
    with Process("benchmarks.contest.probes:copies", pinned=pinned) as probe:
        results = Report("probes").compete({"NumPy": probe}, plan)
    rates = {int(r.case): int(r.case) / r.times("NumPy").median for r in results}
    shown = {f"{n >> 10} KiB": round(rate / 1e9, 2) for n, rate in rates.items()}
    report.findings["copy, GB/s by bytes"] = shown
    return rates
