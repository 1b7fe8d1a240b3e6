"""Records op executions per thread, for the profiler.

A recorder is a watcher of ops (`dispatch/watch.py`). Independent of tables and pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any

from tinytensor.device import Device, cpu
from tinytensor.dispatch.watch import Run, watching
from tinytensor.lab.context import Context
from tinytensor.lab.profiler.calls import Call, describe
from tinytensor.op import AnyOp
from tinytensor.runtime import runtime_of


class _Running(threading.local):
    """Running ops of each thread, with the time of nested ops for each."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inner = [0.0]


class Recorder:
    """Collects the calls of all threads while it is open.

    Attributes:
        calls: finished op executions, in order of completion.
        overhead: seconds spent in the recorder itself on the thread that opened it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.overhead = 0.0
        self.thread = threading.get_ident()
        self._open = False
        self._context = Context()
        self._here = _Running()

    @contextmanager
    def recording(self, opener: FrameType | None) -> Iterator[None]:
        """Record while the block runs; source lines are recorded from the frame `opener` on."""
        with watching(self._watch), self._context.listening(opener):
            self._open = True
            try:
                yield
            finally:
                self._open = False
        self._read_marks()

    # ---- calls of ops

    def _begin(self, op: str, device: str) -> Call:
        here = self._here
        parent = here.calls[-1] if here.calls else None
        call = Call(op, device, threading.get_ident(), 0.0, *self._context.place(), parent)
        here.calls.append(call)
        here.inner.append(0.0)
        return call

    def _end(self, call: Call, entered: float, ended: float) -> None:
        """Pop the call from the stack, excluding the recorder's own time."""
        here = self._here
        call.seconds = ended - call.begin
        call.own = call.seconds - here.inner.pop()
        here.calls.pop()
        now = perf_counter()
        here.inner[-1] += now - entered
        if call.thread == self.thread:
            self.overhead += now - entered - call.seconds

    def _watch(
        self, op: str, device: Device, ins: Sequence[Any], kind: AnyOp | None, run: Run
    ) -> Sequence[Any]:
        """Time an op, on a GPU between two events."""
        running = self._here.calls
        if running and running[-1].op == op:  # part of that call
            return run()
        entered = perf_counter()
        runtime = None if device is cpu else runtime_of(device)
        call = self._begin(op, str(device))
        first = self._mark(runtime)
        outs: Sequence[Any] | None = None
        call.begin = perf_counter()
        try:
            outs = run()
        finally:
            ended = perf_counter()
            if outs is not None:
                call.marks = None if first is None else (first, self._mark(runtime))
                describe(call, outs, ins, kind)
                self.calls.append(call)
            self._end(call, entered, ended)
        return outs

    # ---- the clock of a GPU

    def _mark(self, runtime: Any) -> Any:
        """Record a GPU event after the queued work."""
        return None if runtime is None or runtime.device.type != "cuda" else runtime.event()

    def _read_marks(self) -> None:
        """Synchronize the devices and read the duration of each op."""
        for call in self.calls:
            if call.marks is not None:
                first, last = call.marks
                call.device_seconds = last.seconds_since(first)
                call.marks = None
