"""Learning rate schedules with warmup: pure functions of the step, without state.

Each schedule rises linearly in `warmup_steps` steps and never starts at 0: step 0 has lr peak / (warmup + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import cos, isfinite, pi
from typing import Protocol

import tinytensor.api as tt
from tinytensor.optim.optimizer import Optimizer


class Schedule(Protocol):
    """Learning rate schedule: any object with `lr_at`.

    >>> class Halving:
    ...     def lr_at(self, step):
    ...         return 0.5**step
    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)])
    >>> tt.optim.Scheduler(optimizer, Halving()).set(2)
    0.25
    """

    def lr_at(self, step: int) -> float:
        """Learning rate of a step; steps count from 0."""
        ...


def _check(schedule: object, *, peak: float, low: float, **steps: object) -> None:
    name = type(schedule).__name__
    if not (isfinite(peak) and 0 <= low <= peak):
        raise tt.ArgumentError(
            f"{name}: peak is {peak}, low is {low}",
            why="the rate falls from peak to low, and is not negative",
            fix=f"{name}(3e-4, 3e-5, ...)",
        )
    for field, count in steps.items():
        if not isinstance(count, int) or count < 0:
            raise tt.ArgumentError(
                f"{name}: {field} is {count!r}", why="it is a number of steps, at least 0", fix=f"{field}=100"
            )


def _fits(schedule: object, warmup_steps: int, end: int, what: str) -> None:
    if warmup_steps > end:
        raise tt.ArgumentError(
            f"{type(schedule).__name__}: warmup_steps is {warmup_steps}",
            why=f"{what} at step {end}, before the warmup is over",
            fix=f"warmup_steps={max(end, 0) // 10}",
        )


def _share(step: int, start: int, end: int) -> float:
    """Fraction of the way from start to end at a step: 0 to 1."""
    if step >= end:
        return 1.0
    return max(0, step - start) / max(1, end - start)


class _Warmup:
    """Base class: a linear warmup, and a rate after it."""

    peak: float
    warmup_steps: int

    def _after(self, step: int) -> float:
        return self.peak

    def lr_at(self, step: int) -> float:
        """Learning rate of a step; steps count from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        return self._after(step)


@dataclass(frozen=True)
class Constant(_Warmup):
    """Linear warmup, then a constant learning rate.

    >>> [tt.optim.schedule.Constant(0.4, warmup_steps=3).lr_at(step) for step in range(5)]
    [0.1, 0.2, 0.3, 0.4, 0.4]
    """

    peak: float
    _: KW_ONLY
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _check(self, peak=self.peak, low=0.0, warmup_steps=self.warmup_steps)


@dataclass(frozen=True)
class WarmupCosine(_Warmup):
    """Linear warmup to peak, cosine decay to low at step decay_steps, then constant.

    lr = low + (peak - low) * (1 + cos(pi * x)) / 2, x from 0 to 1 between warmup_steps and decay_steps

    Args:
        decay_steps: the step at which low is reached; counted from the start.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5, without restarts.

    >>> lr = tt.optim.schedule.WarmupCosine(1.0, 0.1, warmup_steps=1, decay_steps=5)
    >>> [round(lr.lr_at(step), 2) for step in range(7)]
    [0.5, 1.0, 0.87, 0.55, 0.23, 0.1, 0.1]
    """

    peak: float
    low: float = 0.0
    _: KW_ONLY
    warmup_steps: int = 0
    decay_steps: int

    def __post_init__(self) -> None:
        steps = {"warmup_steps": self.warmup_steps, "decay_steps": self.decay_steps}
        _check(self, peak=self.peak, low=self.low, **steps)
        _fits(self, self.warmup_steps, self.decay_steps, "the decay ends")

    def _after(self, step: int) -> float:
        x = _share(step, self.warmup_steps, self.decay_steps)
        return self.low + (self.peak - self.low) * (1.0 + cos(pi * x)) / 2


class WarmupLinear(WarmupCosine):
    """Linear warmup to peak, linear decay to low at step decay_steps, then constant.

    >>> lr = tt.optim.schedule.WarmupLinear(1.0, 0.2, warmup_steps=1, decay_steps=5)
    >>> [lr.lr_at(step) for step in range(7)]
    [0.5, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2]
    """

    def _after(self, step: int) -> float:
        x = _share(step, self.warmup_steps, self.decay_steps)
        return self.peak * (1.0 - x) + self.low * x


@dataclass(frozen=True)
class WarmupStableDecay(_Warmup):
    """Linear warmup to peak, constant for most of the run, linear decay to low in the last decay_steps.

    A decay can start at any step of the stable phase, so one long run serves several lengths.

    Source: Hu et al. 2024, "MiniCPM", arXiv:2404.06395, section 4; the linear decay is that of Hägele et al.
        2024, arXiv:2405.18392.

    >>> lr = tt.optim.schedule.WarmupStableDecay(1.0, 0.0, warmup_steps=1, total_steps=6, decay_steps=2)
    >>> [lr.lr_at(step) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    peak: float
    low: float = 0.0
    _: KW_ONLY
    warmup_steps: int = 0
    total_steps: int
    decay_steps: int

    def __post_init__(self) -> None:
        steps = {"warmup_steps": self.warmup_steps, "total_steps": self.total_steps}
        _check(self, peak=self.peak, low=self.low, decay_steps=self.decay_steps, **steps)
        _fits(self, self.warmup_steps, self.total_steps - self.decay_steps, "the decay begins")

    def _after(self, step: int) -> float:
        x = _share(step, self.total_steps - self.decay_steps, self.total_steps)
        return self.peak * (1.0 - x) + self.low * x


class Scheduler:
    """Sets the learning rate of an optimizer's groups. Stateless, so there is nothing to save.

    Args:
        scales: a factor for each group; default 1.

    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=1.0)
    >>> scheduler = tt.optim.Scheduler(optimizer, tt.optim.schedule.Constant(0.4, warmup_steps=1))
    >>> scheduler.set(0), optimizer.param_groups[0]["lr"]
    (0.2, 0.2)
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, *, scales: Sequence[float] | None = None
    ) -> None:
        count = len(optimizer.param_groups)
        self.optimizer, self.schedule = optimizer, schedule
        self.scales = [1.0] * count if scales is None else list(scales)
        self._check()

    def _check(self) -> None:
        count = len(self.optimizer.param_groups)
        if len(self.scales) != count:
            raise tt.ArgumentError(
                f"Scheduler: {len(self.scales)} scales for {count} groups",
                why="each group has one",
                fix=f"scales={[1.0] * count}",
            )

    def set(self, step: int) -> float:
        """Set the groups' lr to that of a step (the first is 0), times their scales; returns it, unscaled."""
        self._check()
        lr = self.schedule.lr_at(step)
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = lr * scale
        return lr
