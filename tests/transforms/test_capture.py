"""Captured steps: the values of replays, random numbers, optimizers, memory, and what is refused."""

import gc
import threading
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tinytensor.runtime import runtime_of

DEVICE = "emulated"
cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures


def model(seed: int) -> list[tt.Tensor]:
    """Weights of a small network."""
    g = tt.Generator(seed)
    shapes = [(5, 8), (8,), (8, 3)]
    return [tt.normal(s, std=0.3, generator=g).to(DEVICE).requires_grad_() for s in shapes]


@pytest.mark.parametrize("place", [DEVICE, pytest.param("lazy", marks=cupy_fixtures.needs_nvrtc)])
def test_a_graph_keeps_the_memory_that_it_reads(place: str, request: pytest.FixtureRequest) -> None:
    device = request.getfixturevalue("lazy") if place == "lazy" else place

    def captured() -> tt.CapturedGraph:
        x, y = tt.arange(6000, dtype=tt.float32, device=device), tt.ones(3000, device=device)
        loaded = tt.zeros(3000, device=device)

        def step() -> tt.Tensor:
            loaded.copy_(2.0)
            return y + x[::2] * loaded

        return tt.capture(step, device=device)

    graph = captured()
    gc.collect()
    others = [tt.full((n,), 88.0, device=device) for n in (6000, 3000) * 4]
    assert graph.replay().tolist() == [1.0 + 4.0 * i for i in range(3000)]
    assert others[0][0].item() == 88.0


def loss_of(w: list[tt.Tensor], x: tt.Tensor, y: tt.Tensor) -> tt.Tensor:
    error = tt.tanh(x * w[0].sum() + w[1][:5]) - y
    return (error * error).mean() + (w[2] * w[2]).sum()


def batches(count: int) -> list[tuple[tt.Tensor, tt.Tensor]]:
    rng = np.random.default_rng(0)
    return [
        (
            tt.tensor(rng.normal(size=(4, 5)), dtype=tt.float32),
            tt.tensor(rng.normal(size=(4, 5)), dtype=tt.float32),
        )
        for _ in range(count)
    ]


def train(
    optimizer_class: Any, steps: int, captured: bool, lrs: list[float]
) -> tuple[list[float], list[list[float]]]:
    w = model(1)
    optimizer = optimizer_class(w, lr=lrs[0])
    data = batches(steps + 2)
    x, y = (t.to(DEVICE) for t in data[0])

    def step() -> tt.Tensor:
        optimizer.zero_grad()
        loss = loss_of(w, x, y)
        loss.backward()
        optimizer.step()
        return loss

    def load(i: int) -> None:
        x.copy_(data[i][0])
        y.copy_(data[i][1])
        optimizer.param_groups[0]["lr"] = lrs[i % len(lrs)]

    losses = []
    if captured:
        graph = tt.capture(step, warmup=1)
        for i in range(1, steps):
            load(i)
            losses.append(graph.replay().item())
    else:
        step()
        for i in range(1, steps):
            load(i)
            losses.append(step().item())
    return losses, [p.tolist() for p in w]


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adam"])
def test_replays_equal_calls_bit_for_bit(name: str) -> None:
    optimizer = getattr(tt.optim, name)
    assert train(optimizer, 5, True, [0.1]) == train(optimizer, 5, False, [0.1])


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adam"])
def test_the_learning_rate_may_change_between_replays(name: str) -> None:
    optimizer, lrs = getattr(tt.optim, name), [0.1, 0.05, 0.2]
    assert train(optimizer, 6, True, lrs) == train(optimizer, 6, False, lrs)


def test_random_numbers_go_on() -> None:
    x = tt.ones(50, device=DEVICE)

    def draw(g: tt.Generator) -> tt.Tensor:
        return tt.dropout(x, 0.5, generator=g) + tt.uniform(50, device=DEVICE, generator=g)

    eager, replayed = tt.Generator(3), tt.Generator(3)
    expected = [draw(eager).tolist() for _ in range(4)]
    graph = tt.capture(lambda: draw(replayed), warmup=1)
    assert [graph.replay().tolist() for _ in range(3)] == expected[1:]
    assert replayed.offset == eager.offset


def test_outputs_keep_their_memory_apart() -> None:
    """What is made after the capture must not lie where the graph writes."""
    x = tt.ones(1000, device=DEVICE)
    graph = tt.capture(lambda: (x * 2.0) + 1.0, warmup=1)
    others = [tt.full((1000,), float(i), device=DEVICE) for i in range(20)]
    for value in (4.0, 5.0):
        x.copy_(value)
        assert graph.replay().tolist() == [2.0 * value + 1.0] * 1000
    assert [o[0].item() for o in others] == [float(i) for i in range(20)]


def test_a_replay_counts_as_a_write_to_what_it_writes_and_makes() -> None:
    w, x = tt.ones(4, device="emulated", requires_grad=True), tt.ones(4, device="emulated")

    def double() -> tt.Tensor:
        with tt.no_grad():
            return w.mul_(2.0) + x

    graph = tt.capture(double, device="emulated", warmup=1)
    y: Any = graph.replay()
    version = x.version
    for loss in ((w * w).sum(), (w * y).sum()):
        graph.replay()
        with pytest.raises(tt.GradError, match="overwritten by a replay"):
            loss.backward()
    assert x.version == version  # only read


def test_the_memory_comes_back() -> None:
    runtime: Any = runtime_of(tt.Device(DEVICE))
    x = tt.ones(3000, device=DEVICE)
    gc.collect()
    before = runtime.memory.settle().live
    graph = tt.capture(lambda: x * 3.0, warmup=1)
    output = graph.replay()
    streams = 256  # the places of random streams
    assert runtime.memory.settle().live == before + x.nbytes + streams
    del graph
    assert output[0].item() == 3.0, "an output outlives its graph"
    del output
    assert runtime.memory.settle().live == before


@pytest.mark.parametrize(
    ("fn", "word"),
    [
        (lambda x: x.sum().item(), "host"),
        (lambda x: x.tolist(), "host"),
        (lambda x: x[x > 0.0], "captured"),
        (lambda x: tt.cuda.synchronize(DEVICE), "waiting"),
    ],
)
def test_what_cannot_be_replayed_is_refused(fn: Any, word: str) -> None:
    x = tt.ones(4, device=DEVICE)
    with pytest.raises(tt.DeviceError, match=rf"{word}(?s:.*)after replay\(\); tt\.where instead of if"):
        tt.capture(lambda: fn(x), device=DEVICE)
    assert (x + 1.0).tolist() == [2.0] * 4, "the device works as before"


def test_a_graph_belongs_to_one_device() -> None:
    x, y, z = (tt.ones(4, device=device) for device in ("cpu", DEVICE, "checked"))
    with pytest.raises(tt.DeviceError, match="computed nothing on emulated"):
        tt.capture(lambda: x + 1.0, device=DEVICE)
    with pytest.raises(tt.DeviceError, match="on emulated, checked"):
        tt.capture(lambda: (y + 1.0, z + 1.0))
    with pytest.raises(tt.ArgumentError, match="warmup"):
        tt.capture(lambda: x + 1.0, warmup=0)


def test_two_threads_cannot_capture_on_a_device_at_once() -> None:
    x = tt.ones(4, device=DEVICE)
    refused = []

    def other() -> None:
        with pytest.raises(tt.DeviceError, match="another thread is capturing"):
            tt.capture(lambda: x * 3.0, device=DEVICE, warmup=0)
        refused.append(True)

    def both() -> tt.Tensor:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return x * 2.0

    assert tt.capture(both, device=DEVICE, warmup=0).replay().tolist() == [2.0] * 4
    assert refused == [True]
    assert tt.capture(lambda: x * 3.0, device=DEVICE, warmup=0).replay().tolist() == [3.0] * 4


def test_arguments_of_graphs_are_refused() -> None:
    x = tt.ones(4, device=DEVICE)
    with pytest.raises(tt.ArgumentError, match=r"takes no arguments(?s:.*)lambda: fn\(x\)"):
        tt.capture(tt.exp, x)
    graph = tt.capture(lambda: x + 1.0, device=DEVICE)
    for call in (lambda: graph(), lambda: graph(x), lambda: graph(x=x)):
        with pytest.raises(tt.ArgumentError, match=r"x\.copy_\(batch\)(?s:.*)graph\.replay\(\)"):
            call()


def test_a_graph_is_shown_with_its_outputs() -> None:
    x = tt.ones(2, 3, device=DEVICE)
    graph = tt.capture(lambda: {"sum": x.sum(), "all": (x * 2.0, [x[0]], None, 3)}, warmup=1)
    outputs = "{'sum': (), 'all': [(2, 3), [(3,)], None, int]}"
    assert repr(graph) == f"CapturedGraph(device={DEVICE}, launches={graph.launches}, outputs={outputs})"


def test_indices_are_checked_at_replay() -> None:
    table, ids = tt.ones(4, 2, device=DEVICE), tt.tensor([0, 3], device=DEVICE)
    graph = tt.capture(lambda: table[ids], warmup=1)
    graph.replay()
    ids.copy_(9)
    with pytest.raises(tt.errors.IndexRangeError, match="9"):
        graph.replay().tolist()


def test_before_replay_runs_now_and_before_each_replay() -> None:
    x, calls = tt.ones(2, device=DEVICE), []

    def step() -> tt.Tensor:
        tt.before_replay(lambda: calls.append(len(calls)))
        return x + 1.0

    graph = tt.capture(step, warmup=1)
    assert len(calls) == 1
    graph.replay()
    graph.replay()
    assert len(calls) == 3


def test_results_on_another_device_are_refused() -> None:
    x, e = tt.ones(2), tt.ones(2, device="emulated")
    with pytest.raises(tt.DeviceError, match=r"a result of shape \(2,\) is on cpu, the graph on emulated"):
        tt.capture(lambda: {"ours": e * 2, "other": [x * 2]})
