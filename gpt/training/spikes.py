"""Detection of loss spikes."""

from collections.abc import Mapping
from math import inf, sqrt
from operator import index
from typing import Any


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
