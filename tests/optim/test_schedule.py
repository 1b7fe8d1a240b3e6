"""Learning rates over steps against their formulas; schedules with PyTorch's names against recursions."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor.optim import SGD, Scheduler
from tinytensor.optim import lr_scheduler as schedules
from tinytensor.optim.schedule import Constant, WarmupCosine, WarmupLinear, WarmupStableDecay

PEAK, LOW, WARMUP, END, STABLE = 6e-4, 6e-5, 10, 110, 80


def nanogpt(step):
    """The published recipe of nanoGPT, written once more."""
    if step < WARMUP:
        return PEAK * (step + 1) / (WARMUP + 1)
    if step > END:
        return LOW
    ratio = (step - WARMUP) / (END - WARMUP)
    return LOW + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (PEAK - LOW)


def line(step, start):
    if step < WARMUP:
        return PEAK * (step + 1) / (WARMUP + 1)
    if step <= start:
        return PEAK
    return LOW if step >= END else PEAK * (END - step) / (END - start) + LOW * (step - start) / (END - start)


SCHEDULES = {
    "cosine": (WarmupCosine(PEAK, LOW, warmup_steps=WARMUP, decay_steps=END), nanogpt),
    "linear": (WarmupLinear(PEAK, LOW, warmup_steps=WARMUP, decay_steps=END), lambda s: line(s, WARMUP)),
    "wsd": (WarmupStableDecay(PEAK, LOW, warmup_steps=WARMUP, total_steps=END, decay_steps=END - STABLE),
            lambda s: line(s, STABLE)),
    "constant": (Constant(PEAK, warmup_steps=WARMUP), lambda s: line(min(s, WARMUP), END)),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES.values(), ids=SCHEDULES)
def test_every_step_has_the_rate_of_the_formula(schedule, formula):
    steps = range(END + 20)
    got = [schedule.lr_at(step) for step in steps]
    assert got == pytest.approx([formula(step) for step in steps], rel=1e-12)


@given(*[st.integers(0, 20)] * 3, st.floats(0, 1), st.integers(0, 70))
def test_rates_stay_between_zero_and_peak_and_end_low(warmup, stable, decay, low, step):
    end = warmup + stable + decay
    for schedule in (
        WarmupCosine(1.0, low, warmup_steps=warmup, decay_steps=end),
        WarmupLinear(1.0, low, warmup_steps=warmup, decay_steps=end),
        WarmupStableDecay(1.0, low, warmup_steps=warmup, total_steps=end, decay_steps=decay),
    ):
        assert warmup == 0 or schedule.lr_at(0) > 0
        assert 0 <= schedule.lr_at(step) <= 1.0 + 1e-12
        assert schedule.lr_at(end) == pytest.approx(low, abs=1e-12)
        rates = [schedule.lr_at(s) for s in range(end + 1)]
        assert rates[:warmup] == sorted(rates[:warmup])
        assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_schedules_are_values():
    a, b = [WarmupCosine(1.0, decay_steps=5) for _ in range(2)]
    assert a == b
    with pytest.raises(FrozenInstanceError):
        a.peak = 2.0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Constant(-1.0), r"Constant: peak is -1\.0"),
        (lambda: Constant(math.nan), "Constant: peak is nan"),
        (lambda: Constant(1.0, warmup_steps=-1), "warmup_steps is -1"),
        (lambda: Constant(1.0, warmup_steps=1.5), r"warmup_steps is 1\.5"),
        (lambda: WarmupCosine(1.0, 2.0, decay_steps=5), r"low is 2\.0"),
        (lambda: WarmupCosine(1.0, decay_steps=5, warmup_steps=6), "the decay ends at step 5"),
        (lambda: WarmupLinear(1.0, decay_steps=5, warmup_steps=6), "the decay ends at step 5"),
        (lambda: WarmupStableDecay(1.0, total_steps=10, decay_steps=5, warmup_steps=6), "begins at step 5"),
    ],
)
def test_wrong_numbers_are_refused(make, text):
    with pytest.raises(tt.ArgumentError, match=text):
        make()


def test_a_scheduler_sets_every_group():
    params = [tt.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = SGD([{"params": [p]} for p in params], lr=9.0)
    scheduler = Scheduler(optimizer, Constant(0.5, warmup_steps=1), scales=[1.0, 0.1])
    assert scheduler.set(0) == 0.25
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 0.025]
    scheduler.set(7)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.05]


def test_a_scheduler_needs_a_scale_for_each_group():
    optimizer = SGD([tt.zeros(1, requires_grad=True)])
    with pytest.raises(tt.ArgumentError, match="2 scales for 1 groups"):
        Scheduler(optimizer, Constant(0.5), scales=[1.0, 0.1])
    scheduler = Scheduler(optimizer, Constant(0.5))
    optimizer.add_param_group({"params": tt.zeros(1, requires_grad=True)})
    with pytest.raises(tt.ArgumentError, match="1 scales for 2 groups"):
        scheduler.set(0)


def optimizer() -> tt.optim.SGD:
    groups = [{"params": [tt.zeros(2, requires_grad=True)], "lr": lr} for lr in (0.5, 0.1)]
    return tt.optim.SGD(groups, lr=1.0)


def rates(scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return found


RECURSIONS: dict[str, tuple[Callable[[Any], schedules.LRScheduler], Callable[[float, int], float]]] = {
    "step": (lambda o: schedules.StepLR(o, 3, 0.5), lambda lr, t: lr * (0.5 if t % 3 == 0 else 1)),
    "exponential": (lambda o: schedules.ExponentialLR(o, 0.9), lambda lr, t: lr * 0.9),
    "milestones": (lambda o: schedules.MultiStepLR(o, [2, 5, 5], 0.5),
                   lambda lr, t: lr * {2: 0.5, 5: 0.25}.get(t, 1)),
    "linear": (lambda o: schedules.LinearLR(o, 0.2, total_iters=4),
               lambda lr, t: lr + (0.5 - 0.1) / 4 if t <= 4 else lr),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 10), lambda lr, t: max(lr - 0.05, 0.0)),
}  # fmt: skip


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
