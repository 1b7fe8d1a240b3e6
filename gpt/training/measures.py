"""Numbers about a training: validation loss, utilization of the processor, spikes of the loss."""

import math
import platform
import time
from collections.abc import Mapping
from itertools import islice
from math import inf, sqrt
from operator import index
from pathlib import Path
from typing import Any

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


class SpikeGuard:
    """Detects spikes: steps whose loss or gradient norm is far above the mean of the last steps.

    Skipped steps are part of the statistics, too: the deviation grows, and a loss that stays high is accepted
    after a few steps.

    Args:
        deviations: threshold above the mean, in standard deviations.
        window: number of last steps for mean and deviation; before there are so many, all are accepted.

    Example:
        >>> guard = SpikeGuard(4.0, window=3)
        >>> [guard.accepts(loss, 1.0) for loss in (2.0, 2.1, 1.9, 9.0, 2.0)]
        [True, True, True, False, True]
    """

    def __init__(self, deviations: float, window: int) -> None:
        self.deviations, self.window = deviations, window
        self.recent: dict[str, list[float]] = {"loss": [], "grad_norm": []}
        self.skipped = 0

    def accepts(self, loss: float, grad_norm: float) -> bool:
        """Whether to take a step; adds finite values to the statistics."""
        values = {"loss": loss, "grad_norm": grad_norm}
        good = all([value <= self._limit(self.recent[name]) for name, value in values.items()])
        for name, value in values.items():
            if abs(value) < inf:
                self.recent[name] = [*self.recent[name], value][-self.window :]
        self.skipped += not good
        return good

    def _limit(self, values: list[float]) -> float:
        if len(values) < self.window:
            return inf
        mean = sum(values) / len(values)
        return mean + self.deviations * sqrt(sum([(v - mean) * (v - mean) for v in values]) / len(values))

    def state_dict(self) -> dict[str, Any]:
        """State as JSON values."""
        return {"recent": self.recent, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        recent = state["recent"]
        self.recent = {name: [float(value) for value in recent[name]][-self.window :] for name in self.recent}
        self.skipped = index(state["skipped"])
