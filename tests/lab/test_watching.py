"""Watching the engine changes no bit of a result, is for one at a time, and leaves nothing behind."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.observed import observed
from tinytensor import lab
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.events import observers
from tinytensor.tensor import Tensor

Program = Callable[[Tensor, Tensor], Tensor]
PROGRAMS: dict[str, Program] = {
    "add": lambda x, y: x + y,
    "add a transposed operand": lambda x, y: x.T + y,
    "add a number": lambda x, y: x * 1.1 + 3,
    "broadcast": lambda x, y: x * y[0],
    "matmul": lambda x, y: x @ y,
    "matmul of transposed": lambda x, y: x.T @ y,
    "linear": lambda x, y: tt.linear(x, y, y[0], transposed=False),
    "sum": lambda x, y: x.sum() + y.mean(axis=0),
    "max": lambda x, y: x.max(axis=1) + y.max(),
    "softmax": lambda x, y: tt.softmax(x, -1) * tt.log_softmax(y, -1),
    "gelu": lambda x, y: tt.gelu(x, "tanh") + tt.tanh(y),
    "layer_norm": lambda x, y: ops.layer_norm(x, y[0], y[1]),
    "where": lambda x, y: tt.where(x > y, x, y),
    "concat": lambda x, y: tt.concat([x, y]).cumulative_sum(axis=0),
    "index": lambda x, y: x[tt.arange(x.shape[0])[::-1]] + y[1:2],
    "16-bit": lambda x, y: (x.to(tt.bfloat16) @ y.to(tt.bfloat16)) + x.to(tt.bfloat16),
}


def results(program: Program, side: int) -> list[bytes]:
    random = np.random.default_rng(side)
    x, y = (tt.tensor(random.standard_normal((side, side), np.float32), requires_grad=True) for _ in range(2))
    out = program(x, y)
    (out.astype(tt.float32) * 1.5).sum().backward()
    return [t.detach().astype(tt.float32).numpy().tobytes() for t in (out, x.grad, y.grad) if t is not None]


@pytest.mark.parametrize("side", [4, 160])  # small operands take shorter paths
@pytest.mark.parametrize("name", PROGRAMS)
def test_watching_changes_no_bit(name: str, side: int) -> None:
    program = PROGRAMS[name]
    expected = results(program, side)
    with lab.profile():
        assert results(program, side) == expected, "lab.profile"
    with lab.trace_copies():
        assert results(program, side) == expected, "lab.trace_copies"
    seen: list[list[bytes]] = []

    def run(device: str) -> Tensor:
        if device == "cpu":
            seen.append(results(program, side))
        return tt.zeros(1, device=device)

    lab.divergence(run, "cpu", "emulated")
    assert seen
    assert all(got == expected for got in seen), "lab.divergence"


OPENED: dict[str, Callable[[], Any]] = {"profile": lab.profile, "ledger": lab.memory, "log": lab.trace_copies}


def broken(device: str = "cpu") -> None:
    x = tt.ones(2, 8, device=device, requires_grad=True)
    _ = tt.nn.Linear(8, 8).to(device)(x).sum().backward(), 1 / 0


def opened(name: str) -> None:
    with OPENED[name]():
        broken()


FAILING: dict[str, Callable[[], object]] = {
    **{name: (lambda name=name: opened(name)) for name in OPENED},  # type: ignore[misc]
    "divergence": lambda: lab.divergence(broken, "cpu", "emulated"),
    "kernel": lambda: lab.kernel("matmul", tt.ones(2, 3), tt.ones(2, 3)),
}


@pytest.mark.parametrize("name", FAILING)
def test_the_engine_is_as_it_was_after_an_error(name: str) -> None:
    with pytest.raises((ZeroDivisionError, ShapeError)):
        FAILING[name]()
    assert observers == []
    assert (tt.ones(3, device="emulated") + 1.0).tolist() == [2.0] * 3


SEEN: dict[str, Callable[[Any], object]] = {
    "profile": lambda profile: {name: op.calls for name, op in profile.ops.items()},
    "ledger": lambda ledger: (ledger.peak, ledger.at_most),
    "log": lambda log: [(e.op, e.kind, e.nbytes) for e in log.entries],
}


@pytest.mark.parametrize("name", OPENED)
def test_several_may_be_open_at_once(name: str) -> None:
    """Also in different threads, and ended in another order."""
    views: list[Any] = []
    inside, done = threading.Event(), threading.Event()

    def another() -> None:
        with OPENED[name]() as view:
            views.append(view)
            inside.set()
            done.wait()

    thread = threading.Thread(target=another)
    thread.start()
    inside.wait()
    with OPENED[name]() as view, OPENED[name]() as third:
        views += [view, third]
        w = tt.ones(40, 50, requires_grad=True)
        (tt.exp(w.T.reshape(2000)) * 2.0).sum().backward()
        done.set()
        thread.join()
    first, *others = map(SEEN[name], views)
    assert first
    assert others == [first, first]
    assert observers == []


def test_an_op_that_fails_is_seen_once() -> None:
    seen: list[str] = []

    def op(name: str, *about: Any) -> Any:
        seen.append(name)
        return about[-1]()

    x = tt.tensor([1, 2])
    with observed(op=op):
        _ = x // 2  # its plan is there afterwards
        seen.clear()
        with pytest.raises(ArgumentError, match="divided by 0"):
            _ = x // 0
    assert seen == ["floor_divide"]
