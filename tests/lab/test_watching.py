"""Watching the engine changes no bit of a result."""

from collections.abc import Callable

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import lab
from tinytensor.tensor import Tensor

Program = Callable[[Tensor, Tensor], Tensor]
PROGRAMS: dict[str, Program] = {
    "add": lambda x, y: x + y,
    "add a transposed operand": lambda x, y: x.T + y,
    "add a number": lambda x, y: x * 1.1 + 3,
    "broadcast": lambda x, y: x * y[0],
    "matmul": lambda x, y: x @ y,
    "matmul of transposed": lambda x, y: x.T @ y,
    "linear": lambda x, y: tt.linear(x, y, y[0]),
    "sum": lambda x, y: x.sum() + y.mean(axis=0),
    "max": lambda x, y: x.max(axis=1) + y.max(),
    "softmax": lambda x, y: tt.softmax(x) * tt.log_softmax(y),
    "gelu": lambda x, y: tt.gelu(x) + tt.tanh(y),
    "layer_norm": lambda x, y: tt.layer_norm(x, y[0], y[1]),
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
