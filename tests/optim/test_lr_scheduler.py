"""Schedules with PyTorch's names against the recursions that define them; the oracle asks PyTorch itself."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import tinytensor as tt
from tinytensor.optim import lr_scheduler as schedules

Scheduler = schedules.LRScheduler


def optimizer() -> tt.optim.SGD:
    groups = [{"params": [tt.zeros(2, requires_grad=True)], "lr": lr} for lr in (0.5, 0.1)]
    return tt.optim.SGD(groups, lr=1.0)


def rates(scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return found


RECURSIONS: dict[str, tuple[Callable[[Any], Scheduler], Callable[[float, int], float]]] = {
    "step": (lambda o: schedules.StepLR(o, 3, 0.5), lambda lr, t: lr * (0.5 if t % 3 == 0 else 1)),
    "exponential": (lambda o: schedules.ExponentialLR(o, 0.9), lambda lr, t: lr * 0.9),
    "milestones": (
        lambda o: schedules.MultiStepLR(o, [2, 5, 5], 0.5),
        lambda lr, t: lr * {2: 0.5, 5: 0.25}.get(t, 1),
    ),
    "linear": (
        lambda o: schedules.LinearLR(o, 0.2, total_iters=4),
        lambda lr, t: lr + (0.5 - 0.1) / 4 if t <= 4 else lr,
    ),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 10), lambda lr, t: max(lr - 0.05, 0.0)),
}


@pytest.mark.parametrize("name", RECURSIONS)
def test_rates_follow_their_recursion(name: str) -> None:
    make, following = RECURSIONS[name]
    found = rates(make(optimizer()), 13)
    for t, (lr, after) in enumerate(itertools.pairwise(found), 1):
        assert after == pytest.approx(following(lr, t), abs=1e-12)


def test_half_a_cosine_meets_its_ends_and_its_middle() -> None:
    found = rates(schedules.CosineAnnealingLR(optimizer(), 10, eta_min=0.1), 21)
    assert found[::5] == pytest.approx([0.5, 0.3, 0.1, 0.3, 0.5])
    restarts = rates(schedules.CosineAnnealingWarmRestarts(optimizer(), 2, T_mult=2), 15)
    assert [t for t, lr in enumerate(restarts) if lr == 0.5] == [0, 2, 6, 14]
    assert restarts[4] == pytest.approx(0.25)


def test_all_schedulers_of_an_optimizer_start_from_its_first_rates() -> None:
    o = optimizer()
    warmup, decay = schedules.LinearLR(o, 0.1, total_iters=5), schedules.LambdaLR(o, lambda t: 1 / (t + 1))
    both = schedules.SequentialLR(o, [warmup, decay], [5])
    assert rates(both, 8) == pytest.approx([0.05, 0.14, 0.23, 0.32, 0.41, 0.5, 0.25, 0.5 / 3])
    assert o.param_groups[1]["lr"] == pytest.approx(o.param_groups[0]["lr"] / 5)


def test_a_saved_scheduler_continues() -> None:
    first, second = (schedules.CosineAnnealingLR(optimizer(), 12) for _ in range(2))
    rates(first, 5)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert rates(second, 5) == rates(first, 5)
    plateau, again = (schedules.ReduceLROnPlateau(optimizer(), patience=2) for _ in range(2))
    for loss in (1.0, 0.5, 0.7, 0.7):
        plateau.step(tt.tensor(loss))
    again.load_state_dict(plateau.state_dict())
    again.step(math.nan)
    assert again.get_last_lr() == pytest.approx([0.05, 0.01])


@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedules.StepLR(o, 0),
        lambda o: schedules.CosineAnnealingLR(o, -1),
        lambda o: schedules.LambdaLR(o, [abs]),
        lambda o: schedules.ReduceLROnPlateau(o, "least"),
        lambda o: schedules.SequentialLR(o, [schedules.StepLR(o, 3)], [3]),
        lambda o: schedules.SequentialLR(o, [schedules.StepLR(optimizer(), 3)], []),
        lambda o: schedules.LRScheduler(o),
    ],
)
def test_wrong_options_change_no_rate(make: Any) -> None:
    o = optimizer()
    with pytest.raises(tt.ArgumentError):
        make(o)
    assert o.param_groups[0]["lr"] == 0.5
