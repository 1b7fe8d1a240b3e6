"""What the profiler hears: each run of an op's code, each module and each node of a backward pass, by thread.

While a recorder is open, the implementations of all ops, launches of kernels, calls of modules and steps of
backward passes are wrapped; when it is closed the engine is as it was. Knows nothing of tables and pictures.
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
_Asked = tuple[str, Sequence[Any], dict[str, Any]]  # an op, arrays and parameters


@dataclass(slots=True)
class _Thread:
    """The ops that are running on one thread, and the seconds of the ops inside each of them."""

    calls: list[Call] = field(default_factory=list)
    inner: list[float] = field(default_factory=lambda: [0.0])


class Recorder:
    """Collects calls and spans of all threads while it is open.

    Attributes:
        calls: ended runs of ops, in the order in which they ended.
        spans: of modules and nodes.
        overhead: seconds that the recorder itself took on the thread that opened it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.spans: list[Span] = []
        self.overhead = 0.0
        self.thread = threading.get_ident()
        self._open = False
        self._context = Context(self._span)
        self._threads: dict[int, _Thread] = {}
        self._starts: dict[str, tuple[Any, float]] = {}  # by device: a mark, and when the host made it

    @contextmanager
    def recording(self, opener: FrameType | None) -> Iterator[None]:
        """Listen while the block runs; `opener` is the frame whose lines, and those it calls, are noted."""
        with replaced(self._replacements()), self._context.listening(opener):
            self._open = True
            try:
                yield
            finally:
                self._open = False
        self._read_marks()

    def _replacements(self) -> Iterator[Replacement]:
        """Who gets which attribute."""
        for name, op in registry.items():
            for attribute in IMPLEMENTATIONS:
                if attribute == "ufunc" and not issubclass(op, Elementwise):
                    continue  # of a reduction: a part of its code, whose `reduce` it calls
                if getattr(op, attribute, None) is not None:
                    yield op, attribute, staticmethod(self._on_host(name, op, attribute))
            if getattr(op, "cuda", None) is not None:
                yield op, "cuda", staticmethod(self._on_device(name, op, op.cuda))
        # roads of small tensors, which leave the code of the op out
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
        """Take the call from the stack; what the recorder did counts for nobody."""
        call.seconds = ended - call.begin
        call.own = call.seconds - here.inner.pop()
        here.calls.pop()
        now = perf_counter()
        here.inner[-1] += now - entered
        if call.thread == self.thread:
            self.overhead += now - entered - call.seconds

    def _on_host(self, name: str, op: type[Op], attribute: str) -> Callable[..., Any]:
        """The code of an attribute of the op, timed."""
        code: Callable[..., Any] = getattr(op, attribute)
        ufunc, dtype = attribute == "ufunc", "bfloat16" if attribute == "host_bf16" else ""
        outputs = 0 if ufunc else len(op.outputs)

        def timed(*args: Any, **params: Any) -> Any:
            if not self._open:  # a graph that was captured meanwhile still holds this code
                return code(*args, **params)
            entered = perf_counter()
            running = self._here().calls
            if running and running[-1].op == name and running[-1].device == "cpu":  # a part of that call
                return code(*args, **params)
            here, call = self._begin(name, "cpu")
            result: Any = False
            call.begin = perf_counter()
            try:
                result = code(*args, **params)
            finally:
                ended = perf_counter()
                if result is not False:  # a kernel that left the case to NumPy was not a call
                    made = (result,) if ufunc else args[:outputs]
                    describe(call, made, args[outputs:], params, dtype)
                    self.calls.append(call)
                self._end(here, call, entered, ended)
            return result

        return timed

    def _short(self, code: Callable[..., Any], read: Callable[..., _Asked]) -> Callable[..., Any]:
        """A road that takes tensors: `read` says which op on which arrays it stands for."""

        def timed(*args: Any) -> Any:
            if not self._open:
                return code(*args)
            entered = perf_counter()
            name, ins, params = read(*args)
            if not all([isinstance(x, np.ndarray) for x in ins]):  # on a device, where kernels are seen
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
        """Kernels that no op launched, such as that of AdamW."""

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
        """Kernels of the user."""

        def timed(launcher: Launcher, *arguments: Any) -> None:
            tensors = [getattr(a, "tensor", a) for a in arguments]
            views = [
                View(t.storage, t.layout) for t in tensors if hasattr(t, "storage") and t.device.type != "cpu"
            ]
            if not views:  # an error, in the words of the launch
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
        """Run what launches kernels; without `params` the work is not known. On a GPU between two marks."""
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
        """An event behind what is queued, on a GPU; the first one waits, so that both clocks meet."""
        if runtime.device.type != "cuda":
            return None
        device = str(runtime.device)
        if device not in self._starts:
            runtime.synchronize()
            self._starts[device] = runtime.event(), perf_counter()
        return runtime.event()

    def _read_marks(self) -> None:
        """Wait for the devices, and read when and how long each op ran there."""
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
