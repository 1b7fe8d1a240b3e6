"""tt.optim.lr_scheduler against torch.optim.lr_scheduler: the rates of 40 steps, of two groups."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning")]

CALLS = """
LambdaLR(o, lambda t: 0.9**t)
LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (t + 1)])
StepLR(o, 7, gamma=0.3)
StepLR(o, step_size=3)
MultiStepLR(o, [5, 12, 12, 30], gamma=0.5)
ConstantLR(o)
ConstantLR(o, factor=0.5, total_iters=9)
LinearLR(o)
LinearLR(o, start_factor=0.01, total_iters=20)
LinearLR(o, 1.0, 0.2, 10)
ExponentialLR(o, 0.9)
PolynomialLR(o, 15, power=2.0)
PolynomialLR(o)
CosineAnnealingLR(o, 15)
CosineAnnealingLR(o, T_max=30, eta_min=0.01)
CosineAnnealingWarmRestarts(o, 7)
CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.001)
SequentialLR(o, [L.LinearLR(o, 0.1, total_iters=8), L.CosineAnnealingLR(o, 20)], milestones=[8])
SequentialLR(o, [L.ConstantLR(o, 0.1, 3), L.StepLR(o, 4), L.ExponentialLR(o, 0.9)], [10, 25])
""".strip().splitlines()
PLATEAUS = """
ReduceLROnPlateau(o)
ReduceLROnPlateau(o, "min", patience=2)
ReduceLROnPlateau(o, "max", factor=0.5, patience=1, cooldown=3, min_lr=0.02)
ReduceLROnPlateau(o, patience=0, threshold=0.3, threshold_mode="abs", factor=0.7)
""".strip().splitlines()


def rates(lib: Any, text: str, numbers: Any = None) -> list[list[float]]:
    groups = [{"params": [lib.zeros(2, requires_grad=True)], "lr": lr} for lr in (0.5, 0.1)]
    o = lib.optim.SGD(groups, lr=1.0)
    schedulers = lib.optim.lr_scheduler
    scheduler = eval(f"L.{text}", {"o": o, "L": schedulers})
    found = [[group["lr"] for group in o.param_groups]]
    for i in range(40):
        o.step()
        scheduler.step(*([] if numbers is None else [numbers[i]]))
        found.append([group["lr"] for group in o.param_groups])
        assert scheduler.get_last_lr() == found[-1]
    return found


@pytest.mark.parametrize("text", CALLS)
def test_rates_are_pytorchs(text: str) -> None:
    np.testing.assert_allclose(rates(tt, text), rates(torch, text), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", PLATEAUS)
def test_plateaus_are_pytorchs(text: str) -> None:
    rng = np.random.default_rng(0)
    for numbers in (rng.normal(size=40), 3 - np.log1p(np.arange(40)), np.ones(40), -np.arange(40.0)):
        ours, theirs = rates(tt, text, numbers.tolist()), rates(torch, text, numbers.tolist())
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
