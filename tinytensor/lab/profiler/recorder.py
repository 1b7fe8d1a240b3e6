"""Records op executions per thread, for the profiler.

Independent of tables and pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import FrameType
from typing import Any

from tinytensor.device import Device, cpu
from tinytensor.dispatch.watch import Run
from tinytensor.events import Observer, observing
from tinytensor.lab.context import Context
from tinytensor.op import Op, flops_of
from tinytensor.random_streams import Stream
from tinytensor.runtime import runtime_of
from tinytensor.runtime.user_lines import Line
from tinytensor.tensor import Tensor

EMULATED = ("emulated", "checked")  # devices whose times are unrelated to those of a GPU
Shapes = tuple[tuple[int, ...] | None, ...]


@dataclass(slots=True)
class Call:
    """One execution of an op's implementation; `path` to `backward` are those of `context.Place`.

    Attributes:
        op: its name, or that of a kernel that no op launched.
        begin: in seconds of `time.perf_counter`.
        seconds, own: host time, and without that of nested ops.
        outs, ins: shapes; None for absent arguments.
        nbytes: bytes of all its arrays, each once.
        flops: None if the op does not say.
        device_seconds: None if the host computes.
    """

    op: str
    device: str
    thread: int
    begin: float
    path: tuple[str, ...]
    lines: tuple[Line, ...]
    node: str
    backward: bool
    parent: Call | None
    seconds: float = 0.0
    own: float = 0.0
    outs: Shapes = ()
    ins: Shapes = ()
    dtype: str = ""
    nbytes: int = 0
    flops: float | None = None
    device_seconds: float | None = None
    marks: Any = None  # two device events, until they are read

    @property
    def is_emulated(self) -> bool:
        """Whether the CPU emulates the device."""
        return self.device in EMULATED


class _Running(threading.local):
    """Running ops of each thread, with the time of nested ops for each."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inner = [0.0]


class Recorder(Observer):
    """Collects the calls of all threads; `overhead`: its own seconds on the thread that opened it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.overhead = 0.0
        self.thread = threading.get_ident()
        self._open = False
        self._context = Context()
        self._here = _Running()

    @contextmanager
    def recording(self, caller_frame: FrameType | None) -> Iterator[None]:
        """Record while the block runs; source lines are recorded from the frame `caller_frame` on."""
        with observing(self), self._context.listening(caller_frame):
            self._open = True
            try:
                yield
            finally:
                self._open = False
        for call in self.calls:  # waits for the devices
            if call.marks is not None:
                first, last = call.marks
                call.device_seconds = last.seconds_since(first)
                call.marks = None

    def op(
        self, name: str, device: Device, operands: Sequence[Any], op: Op | None, run: Run
    ) -> Sequence[Any]:
        """Time an op, on a GPU between two events."""
        running, inner = self._here.calls, self._here.inner
        if running and running[-1].op == name:  # part of that call
            return run()
        entered = perf_counter()
        runtime = None if device is cpu else runtime_of(device)
        parent = running[-1] if running else None
        call = Call(name, str(device), threading.get_ident(), 0.0, *self._context.place(), parent)
        running.append(call)
        inner.append(0.0)
        first = _mark(runtime)
        outs: Sequence[Any] | None = None
        call.begin = perf_counter()
        try:
            outs = run()
        finally:
            ended = perf_counter()
            if outs is not None:
                call.marks = None if first is None else (first, _mark(runtime))
                _describe(call, outs, operands, op)
                self.calls.append(call)
            call.seconds = ended - call.begin
            call.own = call.seconds - inner.pop()
            running.pop()
            now = perf_counter()
            inner[-1] += now - entered
            if call.thread == self.thread:  # its time, without the recorder's own
                self.overhead += now - entered - call.seconds
        return outs


def _mark(runtime: Any) -> Any:
    """Record a GPU event after the queued work."""
    return None if runtime is None or runtime.device.type != "cuda" else runtime.event()


def _shape(x: Any) -> tuple[int, ...] | None:
    """Shape of an operand, () for a number; for several tensors, their total number of elements."""
    if x is None:
        return None
    if isinstance(x, list | tuple):
        return (sum([a.size for a in x if isinstance(a, Tensor)]),)
    return x.shape if isinstance(x, Tensor) else ()


def _describe(call: Call, outs: Sequence[Any], ins: Sequence[Any], op: Op | None) -> None:
    """Shapes, bytes and FLOPs of an op call."""
    ins = [x for x in ins if not isinstance(x, Stream)]
    everything = [a for x in (*outs, *ins) for a in (x if isinstance(x, list | tuple) else (x,))]
    tensors = [x for x in everything if isinstance(x, Tensor)]
    distinct = {(id(x.storage), x.layout): x for x in tensors}
    call.outs, call.ins = tuple([_shape(x) for x in outs]), tuple([_shape(x) for x in ins])
    call.nbytes = sum([x.nbytes for x in distinct.values()])
    call.dtype = tensors[0].dtype.name if tensors else ""
    if op is not None:
        inexact = any([x.dtype.is_inexact for x in tensors])
        call.flops = flops_of(op, call.outs, call.ins) if inexact else 0.0
