"""The clocks of GPUs over a CuPy that pretends: 2.5 ms from mark to mark."""

from types import SimpleNamespace

import pytest

from benchmarks.contest.contestants import BenchmarkError, Case, Local
from benchmarks.contest.gpu_clock import CupyClock, EngineClock, TorchClock
from benchmarks.contest.windows import measure
from tests.helpers.cupy_fixtures import cupy, lazy, needs_nvrtc, pretended
from tests.helpers.fake_cupy import FakeCupy

__all__ = ["cupy", "lazy", "pretended"]  # fixtures

ELAPSED = 2.5e-3  # what the pretended GPU says


@needs_nvrtc
def test_the_engines_clock_counts_what_the_gpu_counts(lazy: str) -> None:
    window = measure(lambda: None, calls=4, group=2, clock=EngineClock(lazy))
    assert window.device == pytest.approx(ELAPSED / 2)
    assert window.host is not None
    assert 0 <= window.host <= window.seconds


def test_the_clock_of_cupy_counts_in_its_own_stream(cupy: FakeCupy) -> None:
    stream = cupy.get_current_stream()
    done: list[int] = []
    local = Local({"work": Case(lambda: stream.add(lambda: done.append(1)), None, "cuda", CupyClock(cupy))})
    window = local.window("work", calls=3)
    assert window.device == pytest.approx(ELAPSED)
    assert len(done) == 3  # the window has waited for all of it


def test_the_clock_of_pytorch_asks_its_events() -> None:
    events: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            events.append("mark")

        def synchronize(self) -> None:
            events.append("wait")

        def elapsed_time(self, later: object) -> float:
            assert events[-1] == "wait"
            return 4.0  # milliseconds

    torch = SimpleNamespace(
        cuda=SimpleNamespace(Event=Event, synchronize=lambda: events.append("wait for all"))
    )
    window = measure(lambda: events.append("work"), calls=2, group=2, clock=TorchClock(torch))
    assert events == ["wait for all", "mark", "work", "work", "mark", "wait"]
    assert window.device == pytest.approx(2e-3)


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_emulated_devices_have_no_clock(device: str) -> None:
    with pytest.raises(BenchmarkError, match="its seconds say nothing about a GPU"):
        EngineClock(device)
