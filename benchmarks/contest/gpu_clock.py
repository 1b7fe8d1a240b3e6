"""Clocks of a GPU: time between two marks in a stream, as the GPU itself counts it.

An emulated device has no clock: the CPU plays it, so its seconds say nothing of a GPU.
"""

from __future__ import annotations

from typing import Any

from benchmarks.contest.contest import PRETENDED
from benchmarks.contest.contestants import BenchmarkError
from tinytensor.device import as_device
from tinytensor.runtime import runtime_of

__all__ = ["CupyClock", "EngineClock", "TorchClock"]


class EngineClock:
    """The clock of a device of the engine, in the stream that the engine uses.

    Args:
        device: "cuda" or "cuda:1".

    Raises:
        BenchmarkError: the device is emulated.
        DeviceError: there is no such device here.
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


class CupyClock:
    """The clock of the GPU in the stream that CuPy uses.

    Args:
        cupy: the library.
    """

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
    """The clock of the GPU in the stream that PyTorch uses.

    Args:
        torch: the library.
    """

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
