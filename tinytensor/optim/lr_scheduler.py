"""Learning rate schedules with PyTorch's names: `scheduler.step()` after each step, or epoch, of training.

`tt.optim.schedule` has schedules with warmup that are functions of the step, without state.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import cos, inf, pi
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import tinytensor.api as tt
from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import SCHEDULERS as _SCHEDULERS
from tinytensor.argument_errors import translate_keywords
from tinytensor.optim.optimizer import Optimizer, check_state

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

# The rates of groups before their first scheduler, from which all schedulers of an optimizer start.
_initial: WeakKeyDictionary[Optimizer, list[float]] = WeakKeyDictionary()


def _initial_rates(optimizer: Optimizer) -> list[float]:
    rates = _initial.setdefault(optimizer, [])
    rates += [group["lr"] for group in optimizer.param_groups[len(rates) :]]
    return list(rates)


class LRScheduler:
    """Base class: the learning rate of each group is a function of its initial rate and of the step.

    Args:
        optimizer: its rates are set to those of step 0 at once.

    Attributes:
        last_epoch: the step, from 0; the number of calls of `step`.
        base_lrs: the initial rate of each group.

    >>> class Halving(tt.optim.lr_scheduler.LRScheduler):
    ...     def rate(self, base, step, group):
    ...         return base * 0.5**step
    >>> scheduler = Halving(tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=0.5))
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base_lrs = _initial_rates(optimizer)
        self.last_epoch = 0
        self._set()

    def rate(self, base: float, step: int, group: int) -> float:
        """The learning rate of a group with the initial rate `base` at a step; defined by subclasses."""
        raise tt.ArgumentError(
            f"{type(self).__name__}: the scheduler has no rate",
            why="step() asks for that of each group",
            fix=f"define rate(self, base, step, group) in {type(self).__name__}",
        )

    def _set(self) -> None:
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            group["lr"] = self.rate(base, self.last_epoch, i)

    def step(self) -> None:
        """Set the rates of the next step."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The step and the initial rates: numbers, for `tt.save` or JSON."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the step of a `state_dict`, which sets the rates; ArgumentError for another object."""
        check_state(type(self).__name__, state, "last_epoch", "base_lrs")
        self.last_epoch, self.base_lrs = state["last_epoch"], list(state["base_lrs"])
        self._set()


class LambdaLR(LRScheduler):
    """The initial rate times a function of the step.

    Args:
        lr_lambda: step → factor; or one for each group.

    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=1.0)
    >>> scheduler = tt.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise tt.ArgumentError(
                f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups",
                why="each group has one",
                fix="give one function for all, or one for each",
            )
        super().__init__(optimizer)

    def rate(self, base: float, step: int, group: int) -> float:
        """base * lr_lambda(step)."""
        return base * self.lr_lambdas[group](step)


# ---- schedulers that are a formula -------------------------------------------------------------------------


class _Formula(LRScheduler):
    """Base class: the rate is a function of the initial rate, the step, and the options of the class."""

    formula: ClassVar[Callable[..., float]]
    __signature__: ClassVar[inspect.Signature]

    def __init__(self, optimizer: Optimizer, *args: Any, **options: Any) -> None:
        name = type(self).__name__
        words = translate_keywords(type(self), name, 1 + len(args), options)
        given = self.__signature__.bind(optimizer, *args, **words)
        given.apply_defaults()
        self.options = {key: value for key, value in given.arguments.items() if key != "optimizer"}
        for key in {"step_size", "T_max", "T_0", "T_mult", "total_iters"} & self.options.keys():
            if self.options[key] < 1:
                raise tt.ArgumentError(
                    f"{name}: {key} is {self.options[key]}",
                    why="it is a number of steps, at least 1",
                    fix=f"{key}=10",
                )
        super().__init__(optimizer)

    def rate(self, base: float, step: int, group: int) -> float:
        """The formula."""
        return type(self).formula(base, step, **self.options)

    def __getattr__(self, name: str) -> Any:
        options = self.__dict__.get("options", {})
        if name not in options:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return options[name]


def _as_scheduler(name: str, formula: Callable[..., float]) -> type[_Formula]:
    """The scheduler of a function (base, step, *options) → rate, whose options are its arguments."""
    first = inspect.Parameter("optimizer", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    options = list(inspect.signature(formula).parameters.values())[2:]
    members = {
        "__doc__": formula.__doc__,
        "__module__": __name__,
        "__signature__": inspect.Signature([first, *options]),
        "formula": staticmethod(formula),
    }
    return type(name, (_Formula,), members)


def _step(base: float, step: int, step_size: int, gamma: float = 0.1) -> float:
    """The rate times gamma after every step_size steps."""
    return base * gamma ** (step // step_size)


def _multi_step(base: float, step: int, milestones: Sequence[int], gamma: float = 0.1) -> float:
    """The rate times gamma at each of some steps."""
    return base * gamma ** sum([step >= at for at in milestones])


def _constant(base: float, step: int, factor: float = 1 / 3, total_iters: int = 5) -> float:
    """The rate times a factor for the first total_iters steps, then the initial one."""
    return base * factor if step < total_iters else base


def _linear(
    base: float, step: int, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> float:
    """The initial rate times a factor that changes linearly until step total_iters: a warmup."""
    share = min(step, total_iters) / total_iters
    return base * (start_factor + (end_factor - start_factor) * share)


def _exponential(base: float, step: int, gamma: float) -> float:
    """The rate times gamma at every step."""
    return base * gamma**step


def _polynomial(base: float, step: int, total_iters: int = 5, power: float = 1.0) -> float:
    """The rate falls to 0, at step total_iters, as a power of the steps that are left; 1 is a line."""
    return float(base * (1 - min(step, total_iters) / total_iters) ** power)


def _cosine(base: float, step: int, T_max: int, eta_min: float = 0.0) -> float:
    """The rate falls along half a cosine to eta_min at step T_max, and rises again.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, without restarts.

    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=1.0)
    >>> scheduler = tt.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> scheduler.step()
    >>> [round(lr, 6) for lr in scheduler.get_last_lr()]
    [0.5]
    """
    return eta_min + (base - eta_min) * (1 + cos(pi * step / T_max)) / 2


def _cosine_with_restarts(base: float, step: int, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> float:
    """The rate falls along half a cosine, and starts again: after T_0 steps, then T_mult times as many.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983.
    """
    length = T_0
    if T_mult == 1:
        step %= length
    while step >= length:
        step -= length
        length *= T_mult
    return eta_min + (base - eta_min) * (1 + cos(pi * step / length)) / 2


StepLR = _as_scheduler("StepLR", _step)
MultiStepLR = _as_scheduler("MultiStepLR", _multi_step)
ConstantLR = _as_scheduler("ConstantLR", _constant)
LinearLR = _as_scheduler("LinearLR", _linear)
ExponentialLR = _as_scheduler("ExponentialLR", _exponential)
PolynomialLR = _as_scheduler("PolynomialLR", _polynomial)
CosineAnnealingLR = _as_scheduler("CosineAnnealingLR", _cosine)
CosineAnnealingWarmRestarts = _as_scheduler("CosineAnnealingWarmRestarts", _cosine_with_restarts)


# ---- of several schedulers, and of what is measured --------------------------------------------------------


class SequentialLR(LRScheduler):
    """One scheduler after another: a warmup, then a decay.

    Args:
        milestones: the step at which each scheduler but the first begins, at its step 0.

    >>> schedules = tt.optim.lr_scheduler
    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=1.0)
    >>> warmup = schedules.LinearLR(optimizer, 0.5, total_iters=2)
    >>> decay = schedules.ExponentialLR(optimizer, 0.5)
    >>> both, rates = schedules.SequentialLR(optimizer, [warmup, decay], [2]), []
    >>> for _ in range(4):
    ...     rates += both.get_last_lr()
    ...     both.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        if len(milestones) != len(schedulers) - 1 or any([s.optimizer is not optimizer for s in schedulers]):
            raise tt.ArgumentError(
                f"SequentialLR: {len(schedulers)} schedulers and {len(milestones)} milestones",
                why="each scheduler but the first begins at one, and all are of this optimizer",
                fix="SequentialLR(optimizer, [warmup, decay], [100])",
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def rate(self, base: float, step: int, group: int) -> float:
        """The rate of the scheduler of this step."""
        at = bisect_right(self.milestones, step)
        return self.schedulers[at].rate(base, step - (self.milestones[at - 1] if at else 0), group)


class ReduceLROnPlateau:
    """The rate times a factor whenever a number, such as the validation loss, has stopped improving.

    Args:
        mode: "min" if smaller is better, "max" if larger is.
        patience: steps without an improvement that are waited for.
        threshold: the least change that is an improvement: a share of the best number, or with threshold_mode
            "abs" a difference.
        cooldown: steps after a reduction in which nothing is counted.
        eps: smaller changes of the rate are left out.

    >>> optimizer = tt.optim.SGD([tt.zeros(2, requires_grad=True)], lr=1.0)
    >>> scheduler = tt.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or not factor < 1:
            raise tt.ArgumentError(
                f"ReduceLROnPlateau: mode {mode!r}, threshold_mode {threshold_mode!r}, factor {factor}",
                why='the modes are "min" and "max", "rel" and "abs", and the factor is below 1',
                fix='ReduceLROnPlateau(optimizer, "min", 0.1)',
            )
        self.optimizer, self.factor, self.patience = optimizer, factor, patience
        self.sign, self.threshold, self.relative = (
            1 if mode == "min" else -1,
            threshold,
            threshold_mode == "rel",
        )
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best, self.num_bad_epochs, self.cooldown_counter, self.last_epoch = inf * self.sign, 0, 0, 0

    def _improves(self, value: float) -> bool:
        if self.best == inf * self.sign:
            return value * self.sign < inf
        margin = self.threshold * (self.best if self.relative else 1.0)
        return value * self.sign < self.best * self.sign - margin

    def step(self, metrics: float | tt.Tensor) -> None:
        """Count a number, and reduce the rates if it is one bad number too many."""
        value = float(metrics)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lower = max(group["lr"] * self.factor, self.min_lr)
                group["lr"] = lower if group["lr"] - lower > self.eps else group["lr"]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Counters, as numbers for `tt.save`."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the numbers of a `state_dict`; the rates are in that of the optimizer."""
        check_state(type(self).__name__, state, *self.state_dict())
        for name in self.state_dict():
            setattr(self, name, state[name])


if not TYPE_CHECKING:
    _publish(globals(), _SCHEDULERS)
