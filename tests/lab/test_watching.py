"""Watching the engine changes no bit of a result, is for one at a time, and leaves nothing behind."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import tinytensor as tt
from tests.helpers.layouts import bits, tensors
from tests.helpers.observed import observed
from tinytensor import lab
from tinytensor.commands.exercises import LENGTHS
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.events import observers
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import as_tuple
from tinytensor.tensor import Tensor

WATCHED = (
    *("add", "add:row", "multiply:scalar", "matmul", "linear", "sum:last", "mean", "max:axis", "softmax"),
    *("log_softmax", "gelu", "layer_norm", "where", "concat:columns", "getitem:rows", "cumulative_sum"),
)


def results(row: Row, dtype: str, layout: str) -> list[bytes]:
    xs = tensors(row, row.sample(dtype), dtype, layout)
    leaves = [xs[i].requires_grad_() for i in row.differentiable()]
    ys = as_tuple(row.call(*xs))
    grads = tt.grad(ys, leaves, [tt.ones_like(y) for y in ys], allow_unused=True)
    return [bits(t) for t in (*ys, *grads) if t is not None]


@pytest.mark.parametrize("layout", ["packed", "transposed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", WATCHED)
def test_watching_changes_no_bit(name: str, dtype: str, layout: str) -> None:
    (small,) = [row for row in ROWS if row.name == name]
    for row in (small, small.enlarged(LENGTHS.__getitem__)):  # small operands take shorter paths
        expected = results(row, dtype, layout)
        with lab.profile():
            assert results(row, dtype, layout) == expected, "lab.profile"
        with lab.trace_copies():
            assert results(row, dtype, layout) == expected, "lab.trace_copies"
        seen: list[list[bytes]] = []

        def run(device: str, row: Row = row, seen: list[list[bytes]] = seen) -> Tensor:
            if device == "cpu":
                seen.append(results(row, dtype, layout))
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
