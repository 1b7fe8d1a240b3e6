"""Numbers about a training: validation loss, utilization of the processor."""

import math
import platform
import time
from itertools import islice
from pathlib import Path

import tinytensor as tt
from gpt.data.batches import Tokens, consecutive_blocks
from gpt.models.gpt import GPT


def evaluate(model: GPT, tokens: Tokens, batch_size: int, batches: int = 0) -> float:
    """Mean cross-entropy in nats over all tokens (N,) of a split, or over some batches of it, in consecutive
    blocks.
    """
    total, count = 0.0, 0
    blocks = consecutive_blocks(tokens, model.config.block_size, batch_size)
    with model.evaluating():
        for inputs, targets in islice(blocks, batches or None):
            ids, wanted = [tt.from_numpy(x).to(model.device) for x in (inputs, targets)]
            total += model.loss(ids, wanted).item() * targets.size
            count += targets.size
    return total / count


SIZE = 1024  # rows and columns: larger products are no faster per core
LOOKS = 4  # measurements of the peak, since the machine may be busy at the first


def cpu_model() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def product_speed(size: int = SIZE, repeats: int = 4) -> float:
    """FLOP/s of the fastest of some products of large matrices on the CPU, in the dtype of autocast; the
    first one is a warmup.
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
    """Model FLOPs utilization: FLOP/s of the model by the measured peak, of several processes on a machine.

    The peak is that of large products, not of the model's sizes: a small model uses little of it. It is
    measured in the first few calls, and the maximum is kept.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 4.1.
    """

    def __init__(self, flops_per_token: float, ranks: int) -> None:
        self.flops_per_token, self.ranks = flops_per_token, ranks
        self.peak, self.looks = 0.0, 0

    def share(self, tokens_per_second: float) -> float | None:
        """Utilization in (0, 1]; None in the first call, when caches and kernels are still cold."""
        reached = tokens_per_second * self.flops_per_token
        first = self.looks == 0
        if self.looks < LOOKS:
            self.looks += 1
            self.peak = max(self.peak, self.ranks * product_speed())
        if first:
            return None
        self.peak = max(self.peak, reached)
        return reached / self.peak
