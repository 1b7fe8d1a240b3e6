"""GPU clocks: time between two events in a stream, measured by the GPU.

Emulated devices have no clock: they run on the CPU, so their times say nothing about a GPU.
"""

from typing import Any

from benchmarks.contest.contest import PRETENDED
from benchmarks.contest.contestants import BenchmarkError
from tinytensor.device import as_device
from tinytensor.runtime import runtime_of


class EngineClock:
    """Clock of an engine device, in the engine's stream.

    Args:
        device: "cuda" or "cuda:1".

    Raises:
        BenchmarkError: the device is emulated.
        DeviceError: the device is not available.
    """

    def __init__(self, device: str) -> None:
        if device in PRETENDED:
            raise BenchmarkError(f"{device} is not timed: its seconds say nothing about a GPU")
        self._runtime: Any = runtime_of(as_device(device))

    def mark(self) -> Any:
        return self._runtime.event()

    def seconds(self, begin: Any, end: Any) -> float:
        return float(end.seconds_since(begin))

    def wait(self) -> None:
        self._runtime.synchronize()


def clock_of(device: str) -> EngineClock | None:
    """Clock of the engine on a device; None on the CPU, and where nothing is timed."""
    return None if device == "cpu" or device in PRETENDED else EngineClock(device)


class CupyClock:
    """Clock of the GPU in CuPy's current stream."""

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda

    def mark(self) -> Any:
        event = self._cuda.Event()
        event.record(self._cuda.get_current_stream())
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        end.synchronize()
        return float(self._cuda.get_elapsed_time(begin, end)) / 1e3

    def wait(self) -> None:
        self._cuda.get_current_stream().synchronize()


class TorchClock:
    """Clock of the GPU in PyTorch's current stream."""

    def __init__(self, torch: Any) -> None:
        self._cuda = torch.cuda

    def mark(self) -> Any:
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    def wait(self) -> None:
        self._cuda.synchronize()
