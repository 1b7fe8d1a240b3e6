"""How fast can this machine copy memory and multiply matrices, as NumPy sees it?

The measured peaks: other numbers are shares of these, not of a data sheet.
"""

from __future__ import annotations

import numpy as np

from benchmarks.contestants import Case, Process, Suite
from benchmarks.harness import Plan, Report

COPY_MIB = 64  # far more than the caches hold
MATMUL = 1024
COPY, PRODUCT = f"copy {COPY_MIB} MiB", f"matmul {MATMUL}"


def suite() -> Suite:
    """Both probes; there is nobody that they would have to agree with."""
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
    """Measure both, add them to the report, and give them as rates.

    Args:
        report: gets two rows.
        threads: of BLAS; the copy always has one.
        plan: rounds and windows.
        pinned: on one CPU.

    Returns:
        "matmul_flops": float32 operations a second; "copy_bytes": bytes read and written a second.
    """
    with Process("benchmarks.probes:suite", threads=threads, pinned=pinned) as probe:
        name = f"NumPy, {threads} thread{'s' * (threads > 1)}{', pinned' if pinned else ''}: {{}}"
        product, copy = report.compete({"NumPy": probe}, plan, label=name)
    return {
        "matmul_flops": 2 * MATMUL**3 / product.times("NumPy").median,
        "copy_bytes": 2 * (COPY_MIB << 20) / copy.times("NumPy").median,
    }
