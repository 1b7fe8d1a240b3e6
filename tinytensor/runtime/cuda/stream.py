"""CUDA streams: events, asynchronous copies, and captured graphs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinytensor.errors import KernelError
from tinytensor.runtime.base import DeviceStatistics, not_captured
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cuda.memory_pool import Arena

_STREAMS = 32  # of a device; further ones share them, as in PyTorch
_NOT_READY = 600  # cudaErrorNotReady


class PerThread(threading.local):
    """Thread-local state: the current stream, and the stack of streams to restore."""

    def __init__(self, runtime: Any) -> None:
        self.stream: Any = runtime.main
        self.outer: list[Any] = []
        runtime.call(runtime.cupy.cuda.runtime.memGetInfo)  # creates the context that a launch needs


class Event:
    """An event: a marker in a stream.

    Attributes:
        handle: the event of CuPy, which goes to `home` on deletion: streams that wait for it are not
            concerned, since they wait for what it marked at the call.
    """

    __slots__ = ("_home", "_runtime", "handle")

    def __init__(self, runtime: StreamWork, handle: Any, home: list[Any] | None = None) -> None:
        self._runtime, self.handle, self._home = runtime, handle, home

    def __del__(self) -> None:
        if self._home is not None:
            self._home.append(self.handle)

    @property
    def done(self) -> bool:
        """Whether all work before it is done. KernelError if a kernel failed, which CuPy takes for "no"."""
        api = self._runtime.cupy.cuda.runtime
        status = self._runtime.call(api.eventQuery, self.handle.ptr)
        if status not in (0, _NOT_READY):
            raise self._runtime.failed(api.CUDARuntimeError(status))
        return bool(status == 0)

    def wait(self) -> None:
        """Block the host until all work before the event is done."""
        self._runtime.call(self.handle.synchronize)

    def seconds_since(self, earlier: Event) -> float:
        """GPU time between two events, in seconds; waits for this one."""
        self.wait()
        elapsed = self._runtime.cupy.cuda.get_elapsed_time
        return float(self._runtime.call(elapsed, earlier.handle, self.handle)) / 1e3


class StreamWork:
    """The part of the runtime that handles streams, which are CuPy objects with `ptr`."""

    cupy: Any
    main: Any
    statistics: DeviceStatistics
    call: Callable[..., Any]
    _api: Any
    _thread: PerThread
    _graph: Graph | None
    _streams: deque[Any]
    _events: list[Any]  # idle events of CuPy, without times
    _in_flight: deque[tuple[Event, object]]  # work in flight, and the objects it keeps alive
    _refuse_in_capture: Callable[[str], None]
    failed: Callable[[Exception], KernelError]

    def event(self) -> Event:
        """Record an event with a time, after the work that this thread has queued so far."""
        handle = self.call(self.cupy.cuda.Event)
        self.call(handle.record, self._thread.stream)
        return Event(self, handle)

    def mark(self, stream: Any = None) -> Event:
        """Record an event without a time, which costs less, in a stream; None: this thread's stream."""
        idle = self._events
        handle = idle.pop() if idle else self.call(self.cupy.cuda.Event, False, True)  # disable_timing=True
        event = Event(self, handle, idle)  # which puts it back
        self.call(handle.record, stream or self._thread.stream)
        return event

    @property
    def stream(self) -> Any:
        """The current stream of this thread."""
        return self._thread.stream

    @contextmanager
    def using(self, stream: Any) -> Iterator[None]:
        """Make another stream current (CuPy's, or any `__cuda_stream__`), between work before and after."""
        if not hasattr(stream, "ptr"):
            stream = self.call(self.cupy.cuda.Stream.from_external, stream)
        self.enter(stream)
        try:
            yield
        finally:
            self.leave()
            self.order(None, stream)

    def make_stream(self) -> Any:
        """A stream: the first 32 are created, then they are given out in turns. None is ever destroyed, since
        its handle could be given to a new stream, to which the pool would give memory that the old one still
        writes.
        """
        made = self._streams
        if len(made) < _STREAMS:
            made.append(self.call(self.cupy.cuda.Stream, False, True))  # null=False, non_blocking=True
        else:
            made.rotate(-1)
        return made[-1]

    def enter(self, stream: Any) -> None:
        """Make a stream current in this thread, after the work queued so far on its stream."""
        self._refuse_in_capture("work on another stream")
        self.order(stream, None)
        self._thread.outer.append(self._thread.stream)
        self._thread.stream = stream

    def leave(self) -> None:
        """Restore the stream that was current before `enter`, without waiting."""
        self._thread.stream = self._thread.outer.pop()

    def order(self, later: Any | None, earlier: Any | None) -> None:
        """Make later work of one stream wait for queued work of another; None: this thread's stream."""
        mark = self.mark(earlier)
        self.call((later or self._thread.stream).wait_event, mark.handle)

    def wait(self, stream: Any) -> None:
        """Block the host until all work of a stream is done."""
        self._refuse_in_capture("waiting for a stream")
        self.call(stream.synchronize)

    def pinned(self, nbytes: int) -> Array:
        """Allocate pinned host memory."""
        memory = self.call(self.cupy.cuda.alloc_pinned_memory, nbytes)
        return np.frombuffer(memory, np.uint8, nbytes)

    def send(self, ptr: int, source: Array, keep: object) -> None:
        """Asynchronous copy from pinned memory to the device; see `base.Runtime.send`."""
        self._start(ptr, source.ctypes.data, source.nbytes, self._api.memcpyHostToDevice, keep)
        self.statistics.copy_in_bytes += source.nbytes

    def receive(self, target: Array, ptr: int, keep: object) -> None:
        """Asynchronous copy from the device to pinned memory; see `base.Runtime.receive`."""
        self._start(target.ctypes.data, ptr, target.nbytes, self._api.memcpyDeviceToHost, keep)
        self.statistics.copy_out_bytes += target.nbytes

    def hold(self, keep: object) -> None:
        """Keep an object alive until all work that is queued now, in any stream, is done."""
        streams = {stream.ptr: stream for stream in (self.main, *self._streams, self._thread.stream)}
        self._in_flight.extend((self.mark(stream), keep) for stream in streams.values())

    def let_go(self) -> None:
        """Let go of what is kept alive for work that is done by now."""
        waiting = self._in_flight
        while waiting and self._graph is None:
            try:
                first = waiting.popleft()  # before the look at it: other threads do the same
            except IndexError:
                break
            if not first[0].done:
                waiting.appendleft(first)
                break

    def _start(self, target: int, source: int, nbytes: int, kind: int, keep: object) -> None:
        self._refuse_in_capture("a copy from or to pinned memory")
        self.call(self._api.memcpyAsync, target, source, nbytes, kind, self._thread.stream.ptr)
        self._in_flight.append((self.mark(), keep))
        self.let_go()


class Graph:
    """A captured graph. Its memory returns to the pool on deletion.

    Attributes:
        executable: the CuPy graph.
        arena: the memory of the graph.
        launches: number of kernels in it.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.executable: Any = None
        self.arena = Arena()
        self.launches = 0

    def launch(self) -> None:
        """Replay the graph on the current stream of this thread."""
        runtime = self._runtime
        if self.executable is None:
            raise not_captured()
        runtime.call(self.executable.launch, runtime.stream)
        self.arena.last = runtime.mark()  # replays of one graph run in order, on any stream
        runtime.statistics.launch_calls += self.launches
        runtime.recent.append((f"graph of {self.launches} kernels", 0, 0))

    def __del__(self) -> None:
        self._runtime.retire(self.arena)
