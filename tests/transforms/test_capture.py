"""Captured steps on devices: memory, and what is refused; test_capture_on_cpu.py has what devices share."""

import gc
from typing import Any

import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.threads import in_threads
from tinytensor.runtime import runtime_of

DEVICE = "emulated"
cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures


@pytest.mark.parametrize("place", ["cpu", DEVICE, pytest.param("lazy", marks=cupy_fixtures.needs_nvrtc)])
def test_a_graph_keeps_the_memory_that_it_reads_and_writes(
    place: str, request: pytest.FixtureRequest
) -> None:
    device = request.getfixturevalue("lazy") if place == "lazy" else place

    def captured() -> tt.CapturedGraph:
        x, y = tt.arange(6000, dtype=tt.float32, device=device), tt.zeros(3000, device=device)
        loaded = tt.zeros(3000, device=device)

        def step() -> tt.Tensor:
            total = y
            total += 0.25
            loaded.copy_(2.0)
            return total + x[::2] * loaded

        return tt.capture(step, device=device, warmup=3)

    graph = captured()
    gc.collect()
    others = [tt.full((n,), 88.0, device=device) for n in (6000, 3000) * 4]
    assert graph.replay().tolist() == [1.0 + 4.0 * i for i in range(3000)]
    assert others[0][0].item() == 88.0


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

    def both() -> tt.Tensor:
        with pytest.raises(tt.DeviceError, match="another thread is capturing"):
            in_threads(lambda _: tt.capture(lambda: x * 3.0, device=DEVICE, warmup=0))
        return x * 2.0

    assert tt.capture(both, device=DEVICE, warmup=0).replay().tolist() == [2.0] * 4
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


def test_results_on_another_device_are_refused() -> None:
    x, e = tt.ones(2), tt.ones(2, device="emulated")
    with pytest.raises(tt.DeviceError, match=r"a result of shape \(2,\) is on cpu, the graph on emulated"):
        tt.capture(lambda: {"ours": e * 2, "other": [x * 2]})
