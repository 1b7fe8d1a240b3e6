"""Twenty steps of each optimizer against PyTorch's, learning rates, and clipping."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import optim
from tinytensor.optim import schedule

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SHAPES = [(7, 5), (5,), ()]
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
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw decay": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.2}),
}


def pairs(seed: int) -> tuple[list[Any], list[Any]]:
    """The same numbers as our and as their leaves."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.normal(size=shape), np.float32) for shape in SHAPES]
    return [tt.tensor(a, requires_grad=True) for a in arrays], [
        torch.tensor(a, requires_grad=True) for a in arrays
    ]


@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_twenty_steps(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pairs(0)
    mine, other = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(20):
        for i, (p, q, g) in enumerate(zip(ours, theirs, pairs(100 + step)[0], strict=True)):
            absent = i == 1 and step % 3 == 0  # now and then a gradient is missing
            p.grad = None if absent else g.detach()
            q.grad = None if absent else torch.tensor(g.detach().numpy())
        mine.param_groups[0]["lr"] = other.param_groups[0]["lr"] = options["lr"] * (1 + step % 4)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_pytorchs(nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())  # ours computes in float32
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=shape), np.float32) for shape in ((8, 24), (24, 8), (8, 8))]
    ours, theirs = (
        [tt.tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    options: dict[str, Any] = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.2, "nesterov": nesterov}
    mine = optim.Muon(ours, **options)
    other = torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options)
    for _ in range(20):
        for p, q in zip(ours, theirs, strict=True):
            g = np.asarray(rng.normal(size=p.shape), np.float32)
            p.grad, q.grad = tt.tensor(g), torch.tensor(g)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping(max_norm: float) -> None:
    ours, theirs = pairs(1)
    for p, q, g in zip(ours, theirs, pairs(2)[0], strict=True):
        p.grad, q.grad = g.detach(), torch.tensor(g.detach().numpy())
    norm = optim.clip_grad_norm_(ours, max_norm)
    assert norm.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm).item(), rel=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


def test_a_cosine_is_pytorchs() -> None:
    ours = schedule.WarmupCosine(0.1, 0.01, decay_steps=50)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    for step in range(51):
        assert ours.lr_at(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()
