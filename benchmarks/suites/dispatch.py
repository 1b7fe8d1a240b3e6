"""Dispatch overhead: time of small operations with recorded graph, against PyTorch, on one thread.

The tensors have about ten elements, so nearly all of the time is engine overhead; some cases also run with
one element and with a thousand. Two small networks run a whole training step. Each case is written once for
both libraries; the overhead of a Python function call (0.05 µs) is included.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Suite, contestants

HIDDEN, SAMPLES, LEARNING_RATE, MLP_STEPS = 16, 100, 0.05, 5
SIZES, DIGITS = (1, 1000), 64


class Library(NamedTuple):
    """Functions that differ between the two libraries; everything else is tensor methods."""

    tensor: Callable[..., Any]  # (array, requires_grad=)
    no_grad: Callable[[], Any]
    linear: Callable[[Any, Any, Any], Any]
    softmax: Callable[[Any], Any]
    cross_entropy: Callable[[Any, Any], Any]
    mlp: Callable[[list[np.ndarray]], tuple[Any, Any]]  # weights (in, out) → layers, optimizer
    captured: Callable[[Callable[[], Any]], Callable[[], Any]]  # a training step, replayed as a graph


def ours() -> Suite:
    import tinytensor as tt
    from tinytensor import nn, optim

    def mlp(weights: list[np.ndarray]) -> tuple[Any, Any]:
        layers: list[Any] = []
        for weight in weights:
            layer = nn.Linear(*weight.shape)
            layer.load_state_dict({"weight": tt.tensor(weight), "bias": tt.zeros(weight.shape[1])})
            layers.append(layer)
        return layers, optim.SGD([p for layer in layers for p in layer.parameters()], lr=LEARNING_RATE)

    affine, softmax = partial(tt.linear, transposed=False), partial(tt.softmax, axis=-1)
    return small_ops(Library(tt.tensor, tt.no_grad, affine, softmax, tt.cross_entropy, mlp, captured))


def captured(step: Callable[[], Any]) -> Callable[[], Any]:
    """A training step: the first call is eager, the second one is captured, and the graph replayed."""
    import tinytensor as tt

    replay: Any = None
    calls = 0

    def run() -> Any:
        nonlocal replay, calls
        calls += 1
        if calls == 1:
            return step()
        if replay is None:
            replay = tt.capture(step, device="cpu", warmup=0).replay
        return replay()

    return run


def peer() -> Suite:
    import torch
    from torch.nn import functional

    def mlp(weights: list[np.ndarray]) -> tuple[Any, Any]:
        layers: list[Any] = []
        for weight in weights:
            layer = torch.nn.Linear(*weight.shape)
            layer.load_state_dict({"weight": torch.tensor(weight.T), "bias": torch.zeros(weight.shape[1])})
            layers.append(layer)
        parameters = [p for layer in layers for p in layer.parameters()]
        return layers, torch.optim.SGD(parameters, lr=LEARNING_RATE)

    def linear(x: Any, weight: Any, bias: Any) -> Any:
        return functional.linear(x, weight, bias)

    lib = Library(
        *(torch.tensor, torch.no_grad, linear, lambda x: torch.softmax(x, dim=-1), functional.cross_entropy),
        *(mlp, lambda step: step),  # PyTorch captures steps on GPUs alone
    )
    return small_ops(lib, transposed=True)


def small_ops(lib: Library, *, transposed: bool = False) -> Suite:
    """Cases; `x`, `a`, `weight` require gradients; `transposed`: linear weights are stored as (out, in)."""
    rng = np.random.default_rng(0)

    def made(*shape: int, grad: bool = False) -> Any:
        return lib.tensor(rng.standard_normal(shape, dtype=np.float32), requires_grad=grad)

    x, y, z = made(10, grad=True), made(10), made(10)
    a, b, row = made(2, 5, grad=True), made(5, 3), made(5)
    stored = rng.standard_normal((5, 3), dtype=np.float32)
    weight = lib.tensor(stored.T.copy() if transposed else stored, requires_grad=True)
    bias, nothing = made(3, grad=True), lib.tensor(np.zeros(10, np.float32))

    def add_in_place() -> Any:
        nonlocal z
        z += nothing
        return z

    def set_item() -> Any:
        z[2:5] = 1.0
        return z

    def without_grad() -> Any:
        with lib.no_grad():
            return x + y

    def expression() -> Any:
        return ((x * y + y).tanh() * y).sum()

    def backward() -> Any:
        x.grad = None
        expression().backward()
        return x.grad

    calls: dict[str, Callable[[], Any]] = {
        "x + y": lambda: x + y,
        "x + y, no_grad": without_grad,
        "x * y": lambda: x * y,
        "x * 2.0": lambda: x * 2.0,
        "tanh": lambda: x.tanh(),
        "(2, 5) + (5,)": lambda: a + row,
        "matmul (2, 5) @ (5, 3)": lambda: a @ b,
        "linear (2, 5), (5, 3), (3,)": lambda: lib.linear(a, weight, bias),
        "reshape": lambda: x.reshape(2, 5),
        "slice x[2:8]": lambda: x[2:8],
        "transpose": lambda: a.transpose(0, 1),
        "sum": lambda: x.sum(),
        "softmax": lambda: lib.softmax(x),
        "z += y, no graph": add_in_place,
        "z[2:5] = 1.0, no graph": set_item,
        "5 ops, forward": expression,
        "5 ops, forward and backward": backward,
    }
    for size in SIZES:
        calls |= sized_ops(lib, rng, size)
    suite = {name: Case(call, lambda call=call: call().tolist()) for name, call in calls.items()}
    return suite | training_steps(lib, rng)


def training_steps(lib: Library, rng: np.random.Generator) -> Suite:
    suite: dict[str, Case] = {}
    for way in ("", ", captured"):
        suite |= {
            f"MLP 2-{HIDDEN}-{HIDDEN}-1, {SAMPLES} samples, SGD step{way}": mlp_step(lib, rng, bool(way)),
            f"MLP 784-128-10, {DIGITS} samples, SGD step{way}": digits_step(lib, rng, bool(way)),
        }
    return suite


def sized_ops(lib: Library, rng: np.random.Generator, size: int) -> dict[str, Callable[[], Any]]:
    def made(*shape: int, grad: bool = False) -> Any:
        # small, to keep tanh away from 1, where its slope loses digits
        return lib.tensor(rng.random(shape, dtype=np.float32) - np.float32(0.5), requires_grad=grad)

    x, y = made(size, grad=True), made(size)
    rows = max(1, size // 100)
    a, b = made(rows, size // rows, grad=True), made(size // rows, rows)

    def backward() -> Any:
        x.grad = None
        ((x * y + y).tanh() * y).sum().backward()
        return x.grad

    calls = {
        "x + y": lambda: x + y,
        "tanh": lambda: x.tanh(),
        f"matmul {a.shape[0], a.shape[1]} @ {b.shape[0], b.shape[1]}": lambda: a @ b,
        "slice": lambda: x[: (size + 1) // 2],
        "sum": lambda: x.sum(),
        "softmax": lambda: lib.softmax(x),
        "5 ops, forward and backward": backward,
    }
    return {f"{name}, {size} element{'s' * (size > 1)}": call for name, call in calls.items()}


def digits_step(lib: Library, rng: np.random.Generator, captured: bool) -> Case:
    """Training step of a digit classifier: forward, cross-entropy, backward, SGD."""
    images = lib.tensor(rng.random((DIGITS, 784), dtype=np.float32))
    labels = lib.tensor(rng.integers(0, 10, DIGITS))
    return _training(lib, rng, [784, 128, 10], images, lambda y: lib.cross_entropy(y, labels), captured)


def mlp_step(lib: Library, rng: np.random.Generator, captured: bool) -> Case:
    """Training step of a small classifier with hinge loss: forward, backward, SGD."""
    points = rng.standard_normal((SAMPLES, 2), dtype=np.float32)
    sides = np.where(points[:, :1] * points[:, 1:] > 0, 1, -1).astype(np.float32)  # (SAMPLES, 1)
    inputs, targets = lib.tensor(points), lib.tensor(sides)
    widths = [2, HIDDEN, HIDDEN, 1]
    return _training(lib, rng, widths, inputs, lambda y: (1 - targets * y).relu().mean(), captured)


def _training(
    lib: Library,
    rng: np.random.Generator,
    widths: list[int],
    inputs: Any,
    loss_of: Callable[[Any], Any],
    captured: bool,
) -> Case:
    """Training step of a network of linear layers with relu between them."""
    weights = [
        rng.standard_normal((m, n), dtype=np.float32) / np.float32(m**0.5) for m, n in pairwise(widths)
    ]
    layers, optimizer = lib.mlp(weights)

    def step() -> Any:
        x = inputs
        for layer in layers[:-1]:
            x = layer(x).relu()
        loss = loss_of(layers[-1](x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = lib.captured(step) if captured else step
    return Case(lambda: float(run().item()), lambda: [float(run().item()) for _ in range(MLP_STEPS)])


def run(plan: Plan, *, alone: bool = False, only: str = "") -> Report:
    report = Report("dispatch", "PyTorch")
    with contestants(__name__, alone=alone, pinned=True) as both:
        cases = [name for name in both["tinytensor"].cases() if only in name]
        report.compete(both, plan, cases=cases)
    return report
