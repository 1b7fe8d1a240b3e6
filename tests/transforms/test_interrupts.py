"""Ctrl-C in front of any line of a training step: afterwards the engine works as if nothing had been."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.interrupting import interrupt, interrupt_raises, places, spread
from tinytensor.autograd.graph import checks
from tinytensor.autograd.modes import casting, retaining
from tinytensor.dispatch.record import observers
from tinytensor.transforms.checkpoint import _active

# functions of a mode, or of a state that a step begins: all of their lines
ALWAYS = {
    *("__enter__", "__exit__", "__get__", "_leave", "inside", "in_backward", "advance", "started", "fresh")
}


class MLP:
    """Two layers and SGD with momentum."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = tt.tensor(rng.standard_normal((4, 5)).astype("float32"))
        self.params = [
            tt.tensor(rng.standard_normal(shape).astype("float32"), requires_grad=True)
            for shape in ((5, 6), (6,), (6, 1))
        ]
        self.optimizer: Any = tt.optim.SGD(self.params, lr=0.1, momentum=0.9)

    def step(self) -> None:
        w, b, v = self.params
        self.optimizer.zero_grad()
        (((self.x @ w + b).relu() @ v) ** 2).mean().backward()
        self.optimizer.step()


class Block:
    """A transformer block with AdamW, autocast, a gradient scaler and clipping."""

    def __init__(self) -> None:
        tt.manual_seed(0)
        nn = tt.nn
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 5)
        self.x = tt.randn(2, 4, 8)
        self.targets = tt.tensor([[0, 1, 2, 3], [4, 0, 1, 2]])
        modules = (self.norm, self.up, self.down, self.qkv, self.head)
        self.params = [p for m in modules for p in m.parameters()]
        self.optimizer: Any = tt.optim.AdamW(self.params, lr=0.01)
        self.scaler = tt.optim.GradScaler(128.0)

    def step(self) -> None:
        self.optimizer.zero_grad()
        with tt.autocast(tt.bfloat16):
            x = self.x + tt.causal_self_attention(self.qkv(self.norm(self.x)), 2)
            x = x + self.down(self.up(x).gelu())
            loss = tt.cross_entropy(self.head(x).reshape(8, 5), self.targets.reshape(8))
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        tt.optim.clip_grad_norm_(self.params, 0.5)
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Twice(tt.Function):
    """A function of the user's own."""

    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: tt.Tensor) -> tt.Tensor:
        return grad * 2


class Checkpointed(MLP):
    """Nested checkpoints under autocast, with dropout, hooks, `no_grad` and a Function."""

    def __init__(self) -> None:
        super().__init__()
        self.params[0].register_hook(lambda grad: grad * 0.5)
        self.params[1].register_post_accumulate_grad_hook(lambda leaf: leaf.grad.mul_(0.5))

    def layer(self, x: tt.Tensor) -> tt.Tensor:
        w, b, _ = self.params
        return Twice.apply(tt.checkpoint(lambda x: (x @ w + b).tanh(), x))

    def step(self) -> None:
        self.optimizer.zero_grad()
        with tt.no_grad():
            scale = self.x.abs().mean()
        with tt.detect_anomaly(), tt.autocast(tt.bfloat16):
            y = tt.checkpoint(lambda x: tt.dropout(self.layer(x), 0.2), self.x / scale)
            y.retain_grad()
            loss = (y @ self.params[2]).sum()
        loss.backward()
        self.optimizer.step()


def modes() -> list[Any]:
    """What a step changes for a while."""
    return [tt.is_grad_enabled(), retaining(), casting(), _active.get(), list(observers), list(checks)]


def numbers(make: Callable[[], Any]) -> list[bytes]:
    """Two steps of a new model: the bits of its parameters."""
    model = make()
    tt.manual_seed(1)
    model.step()
    model.step()
    return [p.detach().numpy().tobytes() for p in model.params]


@pytest.mark.parametrize("make", [MLP, Block, Checkpointed])
def test_an_interrupt_anywhere_leaves_the_engine_as_it_was(make: Callable[[], Any]) -> None:
    expected, before = numbers(make), modes()
    ran = places(make().step)
    assert len(ran) > 500
    for at in spread(ran, 1 if FULL else 37, len(make.__name__), ALWAYS):
        model = make()
        came = interrupt(model.step, at)
        assert came, f"no interrupt arrived at {ran[at]}"
        assert modes() == before, f"interrupted at {ran[at]}"
        model.step()  # as it stands, it can go on
        assert modes() == before
        assert numbers(make) == expected, f"interrupted at {ran[at]}"


@pytest.mark.parametrize(
    "make",
    [
        lambda p: tt.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda p: tt.optim.AdamW(p, lr=0.1),
        lambda p: tt.optim.Muon(p, lr=0.1),
        lambda p: tt.optim.Joint(tt.optim.Adam(p[:1]), tt.optim.SGD(p[1:], momentum=0.9)),
    ],
    ids=["SGD", "AdamW", "Muon", "Joint"],
)
def test_a_step_that_was_interrupted_leaves_whole_states_or_none(make: Callable[[Any], Any]) -> None:
    def begun() -> tuple[list[tt.Tensor], Any]:
        params = [tt.ones(2, 3, requires_grad=True) for _ in range(3)]
        for p in params:
            p.grad = tt.ones(2, 3)
        return params, make(params)

    names = set.union(*[set(kept) for kept in states_after_a_step(*begun()).values()])
    ran = places(begun()[1].step)
    for at in spread(ran, 1 if FULL else 7, 0, ALWAYS):
        params, optimizer = begun()
        assert interrupt(optimizer.step, at)
        assert all(set(kept) <= names and kept for kept in optimizer.state.values()), f"at {ran[at]}"
        optimizer.step()
        assert len(optimizer.state) == len(params), f"interrupted at {ran[at]}"


def states_after_a_step(_: Any, optimizer: Any) -> Any:
    """What it keeps for each parameter."""
    optimizer.step()
    return optimizer.state


def test_a_scaler_divides_the_gradients_that_follow_an_interrupted_step() -> None:
    w = tt.ones(1, requires_grad=True)
    optimizer, scaler = tt.optim.SGD([w], lr=1.0), tt.optim.GradScaler(1024.0)
    for lost in (True, False):
        optimizer.zero_grad()
        scaler.scale(w * 0.5).sum().backward()
        scaler.unscale_(optimizer)
        if lost:
            continue  # Ctrl-C: neither step nor update
        scaler.step(optimizer)
        scaler.update()
    assert w.tolist() == [0.5]


def test_modes_may_be_entered_by_hand_and_in_any_nesting() -> None:
    mode, found = tt.no_grad(), []
    with mode, mode:
        found.append(tt.is_grad_enabled())
    mode.__enter__()
    with tt.enable_grad():
        found.append(tt.is_grad_enabled())
    mode.__exit__(None, None, None)
    found.append(tt.is_grad_enabled())
    with contextlib.ExitStack() as stack:
        stack.enter_context(mode)
        stack.enter_context(tt.enable_grad())
        stack.enter_context(mode)
        found.append(tt.is_grad_enabled())
    leave = mode.__exit__
    mode.__enter__()
    found.append(tt.is_grad_enabled())
    leave(None, None, None)
    assert [*found, tt.is_grad_enabled()] == [False, True, True, False, False, True]


def test_a_mode_ends_though_the_traceback_of_its_interrupt_is_kept() -> None:
    def work() -> None:
        with tt.no_grad():
            pass

    for at in range(len(places(work))):
        with pytest.raises(KeyboardInterrupt) as kept:
            interrupt_raises(work, at)
        assert kept.tb is not None
        assert tt.is_grad_enabled()
