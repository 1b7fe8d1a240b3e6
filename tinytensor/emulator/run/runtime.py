"""Runtime of the device `emulated`: .cu files compiled by the host compiler and run on the CPU.

Synchronous: work is done when a call returns. `device/cuda_emu.h` documents the supported CUDA features.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which has no stubs
import contextlib
import ctypes
import os
import signal
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np

from tinytensor.device import Device, as_device
from tinytensor.dtypes import DType
from tinytensor.emulator.run.elf_symbols import refuse_static_shared, variables_of_library
from tinytensor.emulator.run.guarded_memory import Arena, GuardedMemory
from tinytensor.emulator.run.kernels import (
    FAST,
    Build,
    SourceFile,
    core_library,
    library_of,
    read,
    symbol,
)
from tinytensor.errors import KernelError
from tinytensor.runtime.base import (
    Argument,
    Buffer,
    DeviceStatistics,
    Dim,
    Source,
    TemplateArgument,
    not_captured,
    not_in_capture,
    three_sizes,
)
from tinytensor.runtime.compiler import logical_processors
from tinytensor.runtime.cpu.arrays import NUMPY, Array
from tinytensor.runtime.cuda.tensor_map import check
from tinytensor.runtime.kernel_files import locate
from tinytensor.runtime.signature import Packer

THRESHOLD = 300e-6  # seconds of work that justify waking other threads

BOX_MAP = struct.Struct("<5Q13I36x")  # struct BoxMap of core.h
HEADER = struct.Struct("<8I")  # grid, block, shared, 0: struct Packed of blocks.h
DONE, REFUSED, FAULT, INTERRUPTED = 0, 1, 2, 4


class Core:
    """Functions of the emulator's core: the fast one, or the checked one."""

    def __init__(self, build: Build = FAST) -> None:
        self.library = core_library(build)
        self.prefix = "tt_emu" if build is FAST else "tt_checked"
        pointer, text, unsigned = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint
        self.load = self.function("load", text, text, result=pointer)
        self.parameter = self.function("parameter", pointer, unsigned, result=ctypes.c_int)
        self.keep_alone = self.function("keep_alone", pointer)
        self.launch = self.function("launch", pointer, text, ctypes.c_int, result=ctypes.c_int)
        self.report = self.function("report", result=text)
        self.report_address = self.function("report_address", result=pointer)
        self.set_order = self.function("set_order", ctypes.c_ulonglong)
        self.set_patience = self.function("set_patience", ctypes.c_double)  # s that threads poll in vain
        self.set_workers = self.function("set_workers", unsigned, ctypes.c_double)

    def function(self, name: str, *types: type, result: type = ctypes.c_size_t) -> Callable[..., Any]:
        """A function of the core, with the types of its parameters and of what it returns."""
        function = self.library[f"{self.prefix}_{name}"]
        function.argtypes, function.restype = types, result
        return function


class EmulatedKernel:
    """One compiled instance of a kernel."""

    __slots__ = ("_core", "_handle", "_packer", "_runtime", "arguments", "library", "name", "source")

    @property
    def declared(self) -> str:
        """Name by which its file declares it: without namespaces, of several with parameters."""
        return next(name for name, of in self.source.signatures.items() if of is self._packer.signature)

    def __init__(
        self,
        runtime: EmulatedRuntime,
        source: SourceFile,
        packer: Packer,
        arguments: tuple[TemplateArgument, ...],
        library: Path,
    ) -> None:
        self.name, self.source, self.arguments, self.library = packer.name, source, arguments, library
        self._runtime, self._packer = runtime, packer
        self._core = core = runtime.core
        self._handle: int | None = core.load(os.fsencode(os.path.realpath(library)), symbol(packer).encode())
        if self._handle is None:
            raise KernelError(
                f"kernel {self.name}: the compiled library cannot be loaded",
                why=core.report().decode(errors="replace"),
                fix=f"remove {library} and try again",
            )
        variables = variables_of_library(Path(os.path.realpath(library)))
        refuse_static_shared(packer.signature.name, variables)
        if source.has_variables:
            core.keep_alone(self._handle)
        sizes = [core.parameter(self._handle, i) for i in range(len(packer.kinds))]  # negative for structs
        packer.check_sizes([abs(size) for size in sizes], [size < 0 for size in sizes])

    def __call__(self, grid: Dim, block: Dim, args: Sequence[Argument], shared: int = 0) -> None:
        """Run all threads. KernelError for sizes that a GPU rejects, faults, deadlocks and failed asserts."""
        arguments, _ = self._packer.pack(args)
        try:
            packed = HEADER.pack(*three_sizes(grid), *three_sizes(block), shared, 0) + arguments
        except (struct.error, TypeError, ValueError):
            self._fail("grid and block are up to three sizes, shared is one", (grid, block, shared))
        graph = self._runtime.graph
        if graph is not None:
            for _, at in self._packer.pointers(args):
                self._runtime.memory.keep(at)
            graph.add(partial(self.start, packed, (grid, block, shared)), is_launch=True)
            return
        self.start(packed, (grid, block, shared), args)

    def start(self, packed: bytes, sizes: tuple[Dim, Dim, int], args: Sequence[Argument] = ()) -> None:
        """Run all threads of a packed launch; `args` are for error messages."""
        self._runtime.statistics.launch_calls += 1
        if self._runtime.instead is not None:
            self._runtime.instead(self, packed, sizes, args)
            return
        result = self._core.launch(self._handle, packed, interruptible())
        if result != DONE:
            self._explain(result, sizes, args)

    def _explain(self, result: int, sizes: tuple[Dim, Dim, int], args: Sequence[Argument]) -> NoReturn:
        if result == INTERRUPTED:
            raise KeyboardInterrupt  # if the signal handler has not raised it yet
        said = self._core.report().decode(errors="replace")
        address = self._core.report_address()
        if result == FAULT and address is not None:
            said += self._whose(address, args)
        fix = "give sizes that a GPU takes" if result == REFUSED else None
        if ".cu:" not in said:
            fix = fix or 'find the line with device "checked", or with a printf in the kernel'
        self._fail(said, sizes, fix or "mend the line that it names")

    def _whose(self, address: int, args: Sequence[Argument]) -> str:
        """Description of the argument whose buffer contains or is near an address."""
        memory = self._runtime.memory
        found = memory.near(address)
        if found is None:
            return ""
        start, nbytes = found
        pointers = self._packer.pointers(args) if args else []
        names = [f"`{name}`" for name, at in pointers if memory.near(at) == found]
        past = address - start - nbytes
        side = f"{past} bytes past the end" if past >= 0 else f"{start - address} bytes before the start"
        return f"; that is {side} of a buffer of {nbytes} bytes" + (f", {names[0]}" if names else "")

    def _fail(self, why: str, sizes: tuple[Dim, Dim, int], fix: str = "give ints") -> NoReturn:
        grid, block, shared = sizes
        raise KernelError(
            f"kernel {self.name}: launch with grid {grid}, block {block}"
            + (f", shared {shared}" if shared else ""),
            why=why,
            fix=fix,
        )


def interruptible() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt in this thread. Otherwise the kernel runs to its end, and the
    handler after it.
    """
    handler = _signal.getsignal(signal.SIGINT)  # `signal.getsignal` takes 3 us, for an enum
    return handler is signal.default_int_handler and threading.get_ident() == threading.main_thread().ident


@cache
def the_core() -> Core:
    """The core of the process, compiled on first use."""
    core = Core()
    core.set_workers(processors(), THRESHOLD)
    return core


@cache
def processors() -> int:
    """Number of workers that run the blocks of a large launch."""
    asked = os.environ.get("TINYTENSOR_EMULATOR_WORKERS", "")
    if asked.isdigit():
        return int(asked)
    return logical_processors()


class Watcher(Protocol):
    """Observer of memory operations."""

    def allocated(self, buffer: Buffer) -> None:
        """A buffer was allocated; its bytes are uninitialized."""

    def written(self, ptr: int, nbytes: int) -> None:
        """The host wrote bytes."""

    def moved(self, target: int, source: int, nbytes: int) -> None:
        """Bytes were copied within the device."""

    def read(self, ptr: int, nbytes: int) -> None:
        """The host reads bytes."""


class EmulatedRuntime:
    """Runtime of the device `emulated`; implements `base.Runtime`."""

    build = FAST
    kernel_class: type[EmulatedKernel] = EmulatedKernel

    def __init__(self) -> None:
        self.device: Device = as_device("emulated")
        self.memory = GuardedMemory()
        self.returned: deque[Buffer] = self.memory.returned
        self.statistics: DeviceStatistics = self.memory.statistics
        self.architecture = 80
        self.multiprocessors = processors()
        self._kernels: dict[tuple[object, ...], EmulatedKernel] = {}
        self._sources: dict[Path, SourceFile] = {}
        self._lock = threading.RLock()
        self.core = self._make_core()
        self._captured: tuple[EmulatedGraph, int] | None = None  # graph being captured, and its thread
        self.instead: Callable[..., None] | None = None  # runs kernels instead of this runtime
        self.watcher: Watcher | None = None

    def _make_core(self) -> Core:
        return the_core()

    # ---- memory

    def alloc(self, nbytes: int) -> Buffer:
        """Allocate bytes filled with 0xff; the end, rounded up to 256, is followed by a guard page."""
        buffer = self.memory.alloc(nbytes, self)
        if self.watcher is not None:
            self.watcher.allocated(buffer)
        return buffer

    def copy_in(self, ptr: int, source: Array) -> None:
        """Copy host to device."""
        self.memory.check("copy_in", ptr, source.nbytes)
        if self.watcher is not None:
            self.watcher.written(ptr, source.nbytes)
        if self.graph is not None:  # a constant: the graph keeps a copy
            kept = source.copy()
            self._do(lambda: ctypes.memmove(ptr, kept.ctypes.data, kept.nbytes), ptr)
            return
        ctypes.memmove(ptr, source.ctypes.data, source.nbytes)
        self.statistics.copy_in_bytes += source.nbytes

    def copy_out(self, target: Array, ptr: int) -> None:
        """Copy device to host."""
        self.memory.check("copy_out", ptr, target.nbytes)
        self._refuse_in_capture("reading a tensor on the host")
        if self.watcher is not None:
            self.watcher.read(ptr, target.nbytes)
        ctypes.memmove(target.ctypes.data, ptr, target.nbytes)
        self.statistics.copy_out_bytes += target.nbytes

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device."""
        self.memory.check("copy to", target, nbytes)
        self.memory.check("copy from", source, nbytes)
        if self.watcher is not None:
            self.watcher.moved(target, source, nbytes)
        self._do(partial(ctypes.memmove, target, source, nbytes), target, source)

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        """Fill with a byte value."""
        self.memory.check("memset", ptr, nbytes)
        if self.watcher is not None:
            self.watcher.written(ptr, nbytes)
        self._do(partial(ctypes.memset, ptr, value, nbytes), ptr)

    def _do(self, step: Callable[[], object], *addresses: int) -> None:
        """Execute a step on this memory, or record it."""
        if self.graph is None:
            step()
            return
        for address in addresses:
            self.memory.keep(address)
        self.graph.add(step)

    # ---- kernels

    def kernel(
        self,
        source: Source,
        name: str,
        *arguments: TemplateArgument,
        together: Sequence[tuple[str, tuple[TemplateArgument, ...]]] = (),
    ) -> EmulatedKernel:
        """The instance `name<arguments>`, compiled if it is not cached."""
        key = (source, name, arguments)
        found = self._kernels.get(key)
        if found is not None and found.source.is_current():
            return found
        with self._lock:
            path = locate(source)
            file = self._sources.get(path)
            if file is None or not file.is_current():
                file = self._sources[path] = read(path, self.build)
            packer = Packer(file.signature(name), arguments)
            others = [Packer(file.signature(n), a) for n, a in together]
            library = library_of(file, packer, others)
            made = self._kernels[key] = self.kernel_class(self, file, packer, arguments, library)
            return made

    @contextlib.contextmanager
    def library(self, what: str) -> Iterator[None]:
        """Context manager for NumPy's functions on arrays of `lend`."""
        self._refuse_in_capture(what)
        yield

    def lend(
        self,
        buffer: Buffer,
        dtype: DType,
        shape: Sequence[int],
        strides: Sequence[int],
        offset: int,
        owner: object = None,
    ) -> Array:
        """A NumPy array over a buffer, which may be written to."""
        if self.watcher is not None:
            self.watcher.written(buffer.ptr, buffer.nbytes)
        raw = memoryview((ctypes.c_ubyte * buffer.nbytes).from_address(buffer.ptr))
        steps = [step * dtype.itemsize for step in strides]
        return np.ndarray(tuple(shape), NUMPY[dtype], raw, offset * dtype.itemsize, steps)

    def tensor_map(
        self,
        ptr: int,
        dtype: DType,
        shape: Sequence[int],
        strides: Sequence[int],
        box: Sequence[int],
        *,
        swizzle: int = 128,
        promotion: int = 128,
    ) -> bytes:
        """The tensor map of a tensor, as the emulator reads it; see `runtime/cuda/tensor_map.py`."""
        check(ptr, dtype, shape, strides, box, swizzle, promotion)
        rank, size = len(shape), dtype.itemsize
        pad = [0] * (5 - rank)
        steps = [step * size for step in reversed(strides[:-1])]
        sizes, counts = [*reversed(shape), *pad], [*reversed(box), *pad]
        return BOX_MAP.pack(ptr, *steps, *pad, *sizes, *counts, rank, size, swizzle)

    def synchronize(self) -> None:
        """Do nothing: work is synchronous."""
        self._refuse_in_capture("waiting for the device")

    # ---- several streams: all work is done when a call returns, so their order is that of the calls

    def make_stream(self) -> object:
        """Create a placeholder for a stream."""
        return object()

    def enter(self, stream: object) -> None:
        """Do nothing: work is synchronous."""
        self._refuse_in_capture("work on another stream")

    def leave(self) -> None:
        """Do nothing: work is synchronous."""

    def order(self, later: object | None, earlier: object | None) -> None:
        """Do nothing: work is synchronous."""

    def wait(self, stream: object) -> None:
        """Do nothing: work is synchronous."""
        self._refuse_in_capture("waiting for a stream")

    def pinned(self, nbytes: int) -> Array:
        """Allocate host memory, which needs no pinning here."""
        return np.empty(nbytes, np.uint8)

    def send(self, ptr: int, source: Array, keep: object) -> None:
        """Copy host to device."""
        self._refuse_in_capture("a copy from or to pinned memory")
        self.copy_in(ptr, source)

    def receive(self, target: Array, ptr: int, keep: object) -> None:
        """Copy device to host."""
        self._refuse_in_capture("a copy from or to pinned memory")
        self.copy_out(target, ptr)

    # ---- graphs

    @contextlib.contextmanager
    def capture(self) -> Iterator[EmulatedGraph]:
        """Record the work of the block into a graph instead of executing it; see `CupyRuntime.capture`."""
        self._refuse_in_capture("capturing")
        with self.memory.arena() as arena:
            graph = EmulatedGraph(self, arena)
            self._captured = graph, threading.get_ident()
            try:
                yield graph
                graph.ended = True
            finally:
                self._captured = None

    @property
    def graph(self) -> EmulatedGraph | None:
        """The graph that this thread is capturing, or None; work of other threads is not recorded."""
        captured = self._captured
        return captured[0] if captured is not None and captured[1] == threading.get_ident() else None

    @property
    def capturing(self) -> bool:
        """Whether work is recorded, not executed."""
        return self.graph is not None

    def _refuse_in_capture(self, what: str) -> None:
        if self.graph is not None:
            raise not_in_capture(self.device, what)

    @contextlib.contextmanager
    def schedule(self, *, order: int = 0, workers: int | None = None) -> Iterator[None]:
        """Set the order of threads and blocks: 1 is backwards, other numbers seed a random order.

        A kernel whose result depends on the order lacks a barrier. `workers`, if given, is the number of
        operating system threads of every launch. For tests: it applies to the whole process.
        """
        core = self.core
        core.set_order(order)
        if workers is not None:
            core.set_workers(workers, 0.0)
        try:
            yield
        finally:
            core.set_order(0)
            if workers is not None:
                core.set_workers(processors(), THRESHOLD)


class EmulatedGraph:
    """A recorded sequence of launches, copies and fills at fixed addresses. Its memory is freed with it.

    Attributes:
        arena: the memory of the graph.
        launches: number of kernels in it.
    """

    def __init__(self, runtime: EmulatedRuntime, arena: Arena) -> None:
        self._runtime, self.arena = runtime, arena
        self._steps: list[Callable[[], object]] = []
        self.launches = 0
        self.ended = False

    def add(self, step: Callable[[], object], *, is_launch: bool = False) -> None:
        """Record one step; `step` contains addresses and packed bytes, but no references to memory."""
        self._steps.append(step)
        self.launches += is_launch

    def launch(self) -> None:
        """Replay all steps in order."""
        if not self.ended:
            raise not_captured()
        for step in self._steps:
            step()

    def __del__(self) -> None:
        self._runtime.memory.retired.append(self.arena)
