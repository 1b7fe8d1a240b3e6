"""Learning rates over steps against their formulas."""

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor.optim import SGD, Scheduler
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
    "wsd": (
        WarmupStableDecay(PEAK, LOW, warmup_steps=WARMUP, total_steps=END, decay_steps=END - STABLE),
        lambda s: line(s, STABLE),
    ),
    "constant": (
        Constant(PEAK, warmup_steps=WARMUP),
        lambda s: PEAK * (s + 1) / (WARMUP + 1) if s < WARMUP else PEAK,
    ),
}


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES.values(), ids=SCHEDULES)
def test_every_step_has_the_rate_of_the_formula(schedule, formula):
    steps = range(END + 20)
    got = [schedule.lr_at(step) for step in steps]
    assert got == pytest.approx([formula(step) for step in steps], rel=1e-12)


@given(
    warmup=st.integers(0, 20),
    stable=st.integers(0, 20),
    decay=st.integers(0, 20),
    low=st.floats(0, 1),
    step=st.integers(0, 70),
)
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
        (
            lambda: WarmupStableDecay(1.0, total_steps=10, decay_steps=5, warmup_steps=6),
            "the decay begins at step 5",
        ),
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
