"""How much of the machine training uses: its products, as a share of the fastest ones (MFU)."""

from __future__ import annotations

import math
import time

import tinytensor as tt

__all__ = ["Utilization", "product_speed"]

SIZE = 1024  # rows and columns: beyond them a core multiplies no faster
LOOKS = 4  # a machine that was busy at the first look shows its peak at another one


def product_speed(size: int = SIZE, repeats: int = 4) -> float:
    """Measure how fast the CPU multiplies large matrices, in the dtype that autocast is set to.

    Args:
        size: rows and columns of both matrices.
        repeats: products; the first one wakes the threads and does not count.

    Returns:
        FLOP/s of the fastest of them, which a disturbance cannot slow down.

    Memory: three matrices, 12 MB.

    Example:
        >>> product_speed(size=64, repeats=3) > 1e6
        True
    """
    a, b = tt.ones((size, size)), tt.ones((size, size))
    best = math.inf
    for number in range(repeats):
        begun = time.perf_counter()
        a @ b
        seconds = time.perf_counter() - begun
        best = min(best, seconds if number else math.inf)
    return 2.0 * size**3 / best


class Utilization:
    """Model FLOPs utilization: the products that training needs, by the fastest that was ever seen.

    The peak is the machine's, not that of a product of the model's size: a small model uses little of it. It
    is looked for at the first few questions, and the largest found is kept.

    Args:
        flops_per_token: of forward and backward together.
        ranks: how many processes do the same at the same time.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 4.1.

    Example:
        >>> used = Utilization(1e6, ranks=1)
        >>> used.share(100.0) is None, 0 < used.share(100.0) <= 1
        (True, True)
    """

    def __init__(self, flops_per_token: float, ranks: int) -> None:
        self.flops_per_token, self.ranks = flops_per_token, ranks
        self.peak, self.looks = 0.0, 0

    def share(self, tokens_per_second: float) -> float | None:
        """Of the peak, in (0, 1]; None at the first question, when caches and kernels are still cold."""
        reached = tokens_per_second * self.flops_per_token
        first = self.looks == 0
        if self.looks < LOOKS:
            self.looks += 1
            self.peak = max(self.peak, self.ranks * product_speed())
        if first:
            return None
        self.peak = max(self.peak, reached)
        return reached / self.peak
