"""Twenty steps of each optimizer against PyTorch's, clipping, and the rates of 40 steps of two groups."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import optim

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning")]

SHAPES = [(7, 5), (5,), ()]
MATRICES = [(8, 24), (24, 8), (8, 8)]
MUON = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.8, "weight_decay": 0.2, "alpha": 0.9}),
    "rmsprop centered": ("RMSprop", {"lr": 0.01, "centered": True, "eps": 1e-3}),
    "rmsprop all": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "alpha": 0.9}),
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd decay": ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}),
    "sgd dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    "sgd nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam decay": ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.2}),
    "muon": ("Muon", MUON | {"nesterov": False}),
    "muon nesterov": ("Muon", MUON | {"nesterov": True}),
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw decay": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.2}),
}


def pairs(seed: int, shapes: list[tuple[int, ...]] = SHAPES) -> tuple[list[Any], list[Any]]:
    """The same numbers as our and as their leaves."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.normal(size=shape), np.float32) for shape in shapes]
    return [tt.tensor(a, requires_grad=True) for a in arrays], [
        torch.tensor(a, requires_grad=True) for a in arrays
    ]


@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_twenty_steps(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())  # our Muon computes in float32
    shapes, more = (MATRICES, {"adjust_lr_fn": "match_rms_adamw"}) if name == "Muon" else (SHAPES, {})
    ours, theirs = pairs(0, shapes)
    mine, other = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options, **more)
    within = 1e-5 if name == "Muon" else 1e-6
    for step in range(20):
        for i, (p, q, g) in enumerate(zip(ours, theirs, pairs(100 + step, shapes)[0], strict=True)):
            absent = i == 1 and step % 3 == 0  # now and then a gradient is missing
            p.grad = None if absent else g.detach()
            q.grad = None if absent else torch.tensor(g.detach().numpy())
        mine.param_groups[0]["lr"] = other.param_groups[0]["lr"] = options["lr"] * (1 + step % 4)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=within, atol=within)


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping(max_norm: float) -> None:
    ours, theirs = pairs(1)
    for p, q, g in zip(ours, theirs, pairs(2)[0], strict=True):
        p.grad, q.grad = g.detach(), torch.tensor(g.detach().numpy())
    norm = optim.clip_grad_norm_(ours, max_norm)
    assert norm.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm).item(), rel=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


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
