"""What goes through a stream of a GPU: marks in it, and captured graphs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError
from .device_pool import Arena

if TYPE_CHECKING:
    from .cupy_runtime import CupyRuntime

__all__ = ["Event", "Graph", "PerThread"]


class PerThread(threading.local):
    """What each thread has of its own: the stream that its work goes to."""

    def __init__(self, runtime: CupyRuntime) -> None:
        self.stream: Any = runtime.main
        runtime.call(runtime.cupy.cuda.runtime.memGetInfo)  # a launch needs a context, and does not make one


class Event:
    """A mark in a stream.

    Attributes:
        handle: the event of CuPy.
    """

    __slots__ = ("_runtime", "handle")

    def __init__(self, runtime: CupyRuntime, handle: Any) -> None:
        self._runtime, self.handle = runtime, handle

    def wait(self) -> None:
        """Wait on the host until all work before the mark is done."""
        self._runtime.call(self.handle.synchronize)

    def seconds_since(self, earlier: Event) -> float:
        """Time that the GPU took between two marks; waits for this one."""
        self.wait()
        elapsed = self._runtime.cupy.cuda.get_elapsed_time
        return float(self._runtime.call(elapsed, earlier.handle, self.handle)) / 1e3


class Graph:
    """Captured work. Its memory goes back to the pool with it.

    Attributes:
        executable: the graph of CuPy.
        arena: the memory that it works in.
        launches: number of kernels in it.
    """

    def __init__(self, runtime: CupyRuntime) -> None:
        self._runtime = runtime
        self.executable: Any = None
        self.arena = Arena()
        self.launches = 0

    def launch(self) -> None:
        """Do the work again, on the stream of this thread."""
        runtime = self._runtime
        if self.executable is None:
            raise DeviceError(
                "graph: it was not captured",
                why="the block of `with runtime.capture() as graph` has not ended, or it failed",
                fix="launch the graph after the block",
            )
        runtime.call(self.executable.launch, runtime.stream)
        runtime.statistics.launch_calls += self.launches
        runtime.recent.append((f"graph of {self.launches} kernels", 0, 0))

    def __del__(self) -> None:
        self._runtime.retire(self.arena)
