"""Records op executions, module calls and backward nodes per thread, for the profiler.

While a recorder is open, op implementations, kernel launches, module calls and backward steps are wrapped; on
close, the originals are restored. Independent of tables and pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType
from typing import Any

import numpy as np

from tinytensor.cuda.user_kernels import Launcher
from tinytensor.dispatch import launch as launching
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.launch import Launch, View
from tinytensor.lab.context import Context
from tinytensor.lab.patching import Replacement, replaced
from tinytensor.lab.profiler.calls import Call, Span, describe
from tinytensor.op import Op, registry, snake_case
from tinytensor.ops.elementwise.arithmetic import ALGEBRA
from tinytensor.ops.matmul import matmul
from tinytensor.ops.reductions import reduction
from tinytensor.runtime import runtime_of
from tinytensor.tensor import Tensor

__all__ = ["Recorder"]

IMPLEMENTATIONS = ("cpu", "host", "host_bf16", "many", "ufunc")
_Asked = tuple[str, Sequence[Any], dict[str, Any]]  # op name, arrays and parameters


@dataclass(slots=True)
class _Thread:
    """Stack of running ops on one thread, with the time of nested ops for each."""

    calls: list[Call] = field(default_factory=list)
    inner: list[float] = field(default_factory=lambda: [0.0])


class Recorder:
    """Collects calls and spans of all threads while it is open.

    Attributes:
        calls: finished op executions, in order of completion.
        spans: module calls and backward nodes.
        overhead: seconds spent in the recorder itself on the thread that opened it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.spans: list[Span] = []
        self.overhead = 0.0
        self.thread = threading.get_ident()
        self._open = False
        self._context = Context(self._span)
        self._threads: dict[int, _Thread] = {}
        self._starts: dict[str, tuple[Any, float]] = {}  # by device: an event, and its host time

    @contextmanager
    def recording(self, opener: FrameType | None) -> Iterator[None]:
        """Record while the block runs; source lines are recorded from the frame `opener` on."""
        with replaced(self._replacements()), self._context.listening(opener):
            self._open = True
            try:
                yield
            finally:
                self._open = False
        self._read_marks()

    def _replacements(self) -> Iterator[Replacement]:
        """Attributes to patch, with their replacements."""
        for name, op in registry.items():
            for attribute in IMPLEMENTATIONS:
                if attribute == "ufunc" and not issubclass(op, Elementwise):
                    continue  # part of a reduction's code, which calls its `reduce`
                if getattr(op, attribute, None) is not None:
                    yield op, attribute, staticmethod(self._on_host(name, op, attribute))
            if getattr(op, "cuda", None) is not None:
                yield op, "cuda", staticmethod(self._on_device(name, op, op.cuda))
        # fast paths of small tensors, which bypass the op's code
        yield matmul, "_small", self._short(matmul._small, _of_product)
        yield reduction, "_quick", self._short(reduction._quick, _of_sum)
        yield ALGEBRA, "add_into", self._short(ALGEBRA.add_into, _of_gradients)
        yield launching, "elementwise", self._elementwise(launching.elementwise)
        yield Launch, "__call__", self._lone_kernel(Launch.__call__)
        yield Launcher, "__call__", self._own_kernel(Launcher.__call__)

    def _here(self) -> _Thread:
        ident = threading.get_ident()
        found = self._threads.get(ident)
        return found if found is not None else self._threads.setdefault(ident, _Thread())

    # ---- calls of ops

    def _begin(self, op: str, device: str) -> tuple[_Thread, Call]:
        here = self._here()
        parent = here.calls[-1] if here.calls else None
        call = Call(op, device, threading.get_ident(), 0.0, *self._context.place(), parent)
        here.calls.append(call)
        here.inner.append(0.0)
        return here, call

    def _end(self, here: _Thread, call: Call, entered: float, ended: float) -> None:
        """Pop the call from the stack, excluding the recorder's own time."""
        call.seconds = ended - call.begin
        call.own = call.seconds - here.inner.pop()
        here.calls.pop()
        now = perf_counter()
        here.inner[-1] += now - entered
        if call.thread == self.thread:
            self.overhead += now - entered - call.seconds

    def _on_host(self, name: str, op: type[Op], attribute: str) -> Callable[..., Any]:
        """Timed wrapper of an op's host implementation."""
        code: Callable[..., Any] = getattr(op, attribute)
        ufunc, dtype = attribute == "ufunc", "bfloat16" if attribute == "host_bf16" else ""
        outputs = 0 if ufunc else len(op.outputs)

        def timed(*args: Any, **params: Any) -> Any:
            if not self._open:  # a graph captured while recording still refers to this wrapper
                return code(*args, **params)
            entered = perf_counter()
            running = self._here().calls
            if running and running[-1].op == name and running[-1].device == "cpu":  # part of that call
                return code(*args, **params)
            here, call = self._begin(name, "cpu")
            result: Any = False
            call.begin = perf_counter()
            try:
                result = code(*args, **params)
            finally:
                ended = perf_counter()
                if result is not False:  # False: the kernel fell back to NumPy, so this was not a call
                    made = (result,) if ufunc else args[:outputs]
                    describe(call, made, args[outputs:], params, dtype)
                    self.calls.append(call)
                self._end(here, call, entered, ended)
            return result

        return timed

    def _short(self, code: Callable[..., Any], read: Callable[..., _Asked]) -> Callable[..., Any]:
        """Timed wrapper of a path that takes tensors: `read` returns its op, arrays and parameters."""

        def timed(*args: Any) -> Any:
            if not self._open:
                return code(*args)
            entered = perf_counter()
            name, ins, params = read(*args)
            if not all([isinstance(x, np.ndarray) for x in ins]):  # on a device, where kernels are recorded
                return code(*args)
            here, call = self._begin(name, "cpu")
            result = ended = None
            call.begin = perf_counter()
            try:
                result = code(*args)
                ended = perf_counter()
                describe(call, (ins[0] if result is None else result._array,), ins, params)
                self.calls.append(call)
            finally:
                self._end(here, call, entered, ended or perf_counter())
            return result

        return timed

    def _on_device(self, name: str, op: type[Op], code: Callable[..., None]) -> Callable[..., None]:
        outputs = len(op.outputs)

        def timed(launch: Launch, *views: Any, **params: Any) -> None:
            def ran() -> None:
                code(launch, *views, **params)

            self._timed(name, launch.runtime, ran, views[:outputs], views[outputs:], params)

        return timed

    def _elementwise(self, code: Callable[..., None]) -> Callable[..., None]:
        def timed(runtime: Any, stem: str, functor: str, out: View, operands: Any, *dtypes: Any) -> None:
            def ran() -> None:
                code(runtime, stem, functor, out, operands, *dtypes)

            self._timed(snake_case(functor), runtime, ran, (out,), operands, {})

        return timed

    def _lone_kernel(self, code: Callable[..., None]) -> Callable[..., None]:
        """Timed wrapper of kernels that no op launched, such as AdamW's."""

        def timed(launch: Launch, name: str, *template: Any, **options: Any) -> None:
            if not self._open or self._here().calls:
                code(launch, name, *template, **options)
                return
            views = [a for a in options["args"] if isinstance(a, View)]
            self._timed(
                name, launch.runtime, lambda: code(launch, name, *template, **options), (), views, None
            )

        return timed

    def _own_kernel(self, code: Callable[..., None]) -> Callable[..., None]:
        """Timed wrapper of user kernels."""

        def timed(launcher: Launcher, *arguments: Any) -> None:
            tensors = [getattr(a, "tensor", a) for a in arguments]
            views = [
                View(t.storage, t.layout) for t in tensors if hasattr(t, "storage") and t.device.type != "cpu"
            ]
            if not views:  # the launch raises the error
                code(launcher, *arguments)
                return
            runtime, name = runtime_of(views[0].storage.device), launcher.kernel.signature.name
            self._timed(name, runtime, lambda: code(launcher, *arguments), (), views, None)

        return timed

    def _timed(
        self,
        name: str,
        runtime: Any,
        code: Callable[[], None],
        outs: Sequence[Any],
        ins: Sequence[Any],
        params: dict[str, Any] | None,
    ) -> None:
        """Run a launching function, on a GPU between two events; without `params` the FLOPs are unknown."""
        if not self._open or runtime.capturing:
            code()
            return
        entered = perf_counter()
        here, call = self._begin(name, str(runtime.device))
        first = self._mark(runtime)
        ran = False
        call.begin = perf_counter()
        try:
            code()
            ran = True
        finally:
            ended = perf_counter()
            if ran:
                call.marks = None if first is None else (first, runtime.event())
                describe(call, outs, ins, params)
                self.calls.append(call)
            self._end(here, call, entered, ended)

    # ---- the clock of a GPU

    def _mark(self, runtime: Any) -> Any:
        """Record a GPU event after the queued work; the first one synchronizes, to align both clocks."""
        if runtime.device.type != "cuda":
            return None
        device = str(runtime.device)
        if device not in self._starts:
            runtime.synchronize()
            self._starts[device] = runtime.event(), perf_counter()
        return runtime.event()

    def _read_marks(self) -> None:
        """Synchronize the devices and read the start and duration of each op."""
        for call in self.calls:
            if call.marks is None:
                continue
            first, last = call.marks
            start, at = self._starts[call.device]
            call.device_seconds = last.seconds_since(first)
            call.device_begin = at + first.seconds_since(start)
            call.marks = None
        self._starts.clear()

    @contextmanager
    def _span(self, kind: str, name: str) -> Iterator[None]:
        span = Span(kind, name, threading.get_ident(), perf_counter())
        try:
            yield
        finally:
            span.seconds = perf_counter() - span.begin
            self.spans.append(span)


# ---- helpers -----------------------------------------------------------------------------------------------


def _of_product(a: Any, b: Any, x: Any, y: Any, ta: bool, tb: bool) -> _Asked:
    return "matmul", (x, y), {"ta": ta, "tb": tb}


def _of_sum(op: type[Op], x: Tensor, axis: Any) -> _Asked:
    return op.name, (x._array,), {}


def _of_gradients(total: Tensor, grad: Tensor) -> _Asked:
    return "add", (total._array, grad._array), {}
