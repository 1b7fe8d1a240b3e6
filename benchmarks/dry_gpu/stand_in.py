"""The part of CuPy that `CupyRuntime` calls: every call answers, none computes."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.dry_gpu.memory import Memory, OutOfMemoryError
from benchmarks.dry_gpu.record import Event, Launch

INVALID = 1  # cudaErrorInvalidValue
# Attributes of a device, by CUDA's numbers: as on an H100.
ATTRIBUTES = {
    1: 1024,
    2: 1024,
    3: 1024,
    4: 64,
    5: 2**31 - 1,
    6: 65_535,
    7: 65_535,
    8: 49_152,
    10: 32,
    12: 65_536,
}
ATTRIBUTES |= {38: 50 << 20, 39: 2048, 81: 233_472, 82: 65_536, 97: 232_448, 106: 32}
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76
KINDS = {1: "h2d", 2: "d2h", 3: "d2d"}


class CUDARuntimeError(RuntimeError):
    """The stand-in of `cupy.cuda.runtime.CUDARuntimeError`."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status} of CUDA's runtime")


class CUDADriverError(RuntimeError):
    """The stand-in of `cupy.cuda.driver.CUDADriverError`."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status} of CUDA's driver")


class Block:
    """`cupy.cuda.MemoryPointer`, and the memory that it keeps: freed with the object."""

    def __init__(self, memory: Memory, nbytes: int) -> None:
        self._memory, self.size = memory, nbytes
        self.ptr = memory.alloc(nbytes)
        self.device_id = 0

    @property
    def mem(self) -> Block:
        """The memory; a property, because a cycle would be freed by the garbage collector alone."""
        return self

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            self._memory.free(self.ptr, self.size)


class Stream:
    """A stream. `queued` and `finished` are positions: what is queued, and what the host has waited for."""

    def __init__(self, gpu: StandIn, ptr: int) -> None:
        self._gpu, self.ptr, self.device_id = gpu, ptr, 0
        self.queued = self.finished = 0

    done = True

    def synchronize(self) -> None:
        self._gpu.wait(self, self.queued)

    def record(self, event: Stamp | None = None) -> Stamp:
        event = event or Stamp(self._gpu)
        event.record(self)
        return event

    def wait_event(self, event: Stamp) -> None:
        self.queued += 1

    def begin_capture(self, mode: int | None = None) -> None:
        self._gpu.captured = []

    def end_capture(self) -> SimpleNamespace:
        captured, self._gpu.captured = tuple(self._gpu.captured or ()), None
        self._gpu.note(Event("capture"), None)
        replay = Event("replay", graph=captured)
        return SimpleNamespace(
            launch=lambda stream: self._gpu.note(replay, stream.ptr), upload=lambda stream: None
        )

    def __enter__(self) -> Stream:
        self._gpu.current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._gpu.current.pop()


class Stamp:
    """`cupy.cuda.Event`."""

    done = True

    def __init__(self, gpu: StandIn) -> None:
        self._gpu, self._stream, self._position = gpu, None, 0
        self.ptr = next(gpu.handles)

    def record(self, stream: Stream | None = None) -> None:
        self._stream: Stream | None = stream or self._gpu.current[-1]
        self._position = self._stream.queued
        self._gpu.note(Event("event"), None)

    def synchronize(self) -> None:
        if self._stream is not None:
            self._gpu.wait(self._stream, self._position)


class Device:
    """`cupy.cuda.Device`, always number 0."""

    id = 0

    def __init__(self, gpu: StandIn) -> None:
        self._gpu, self.compute_capability = gpu, str(gpu.architecture)

    def synchronize(self) -> None:
        self._gpu.wait_for_all()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Function:
    """`cupy.cuda.function.Function`; `name` is the instance."""

    def __init__(self, gpu: StandIn, name: str) -> None:
        self.name, self.ptr = name, next(gpu.handles)
        gpu.functions[self.ptr] = name


class StandIn(ModuleType):
    """Stands in for the module `cupy`, with one GPU.

    Args:
        architecture: compute capability, times ten.
        multiprocessors: their number.
        capacity: bytes of memory.

    Attributes:
        listener: gets each event; None: events are not counted.
        captured: events of the graph that is being captured; None: no capture.
        names: symbol in a compiled image → instance.
        describe: makes a Launch of a name, grid, block and bytes of shared memory.
    """

    __version__ = "14.2.0"

    def __init__(self, architecture: int, multiprocessors: int, capacity: int) -> None:
        super().__init__("cupy", "A CuPy that computes nothing.")
        self.__spec__ = ModuleSpec("cupy", None)
        self.architecture, self.memory = architecture, Memory(capacity)
        self.listener: Callable[[Event], None] | None = None
        self.captured: list[Event] | None = None
        self.names: dict[str, str] = {}
        self.functions: dict[int, str] = {}
        self._blocks: dict[int, Block] = {}  # of `malloc`
        self.describe: Callable[..., Launch] = Launch
        self.handles = itertools.count(0x1000, 16)
        self._attributes = {
            MULTIPROCESSORS: multiprocessors,
            MAJOR: architecture // 10,
            MINOR: architecture % 10,
        }
        self._attributes |= ATTRIBUTES
        self.streams: dict[int, Stream] = {0: Stream(self, 0)}
        self.current = [self.streams[0]]
        self.runtime, driver = self._runtime(), self._driver()
        self.cuda = self._cuda(driver)
        pool = SimpleNamespace(free_all_blocks=lambda: None, used_bytes=lambda: self.memory.held)
        self.get_default_memory_pool = lambda: pool

    def _runtime(self) -> SimpleNamespace:
        return SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            is_hip=False,
            cudaDevAttrMultiProcessorCount=MULTIPROCESSORS,
            cudaDevAttrComputeCapabilityMajor=MAJOR,
            cudaDevAttrComputeCapabilityMinor=MINOR,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
            memcpyDeviceToDevice=3,
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            getDeviceCount=lambda: 1,
            getDevice=lambda: 0,
            setDevice=lambda index: None,
            deviceGetAttribute=self._attribute,
            getDeviceProperties=lambda index: {"name": b"a GPU that computes nothing"},
            memGetInfo=lambda: (self.memory.capacity - self.memory.held, self.memory.capacity),
            malloc=self._malloc,
            free=lambda ptr: self._blocks.pop(ptr, None) and None,
            deviceSynchronize=self.wait_for_all,
            streamSynchronize=lambda ptr: self._stream(ptr).synchronize(),
            eventQuery=lambda ptr: 0,
            streamQuery=lambda ptr: 0,
            profilerStart=lambda: None,
            profilerStop=lambda: None,
            memcpyAsync=self._copy,
            memsetAsync=self._fill,
        )

    def _driver(self) -> SimpleNamespace:
        return SimpleNamespace(
            CUDADriverError=CUDADriverError,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            launchKernel=self._launch,
            launchCooperativeKernel=lambda *numbers: self._launch(*numbers, 0),
            funcSetAttribute=self._grant,
        )

    def _cuda(self, driver: SimpleNamespace) -> SimpleNamespace:
        module = lambda: SimpleNamespace(load=lambda image: None, get_function=self._function)  # noqa: E731
        return SimpleNamespace(
            runtime=self.runtime,
            driver=driver,
            function=SimpleNamespace(Module=module),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            Stream=lambda null=False, non_blocking=False, ptds=False: self._stream(next(self.handles)),
            Event=lambda block=False, disable_timing=False, interprocess=False: Stamp(self),
            get_elapsed_time=lambda first, last: 1.0,
            get_current_stream=lambda: self.current[-1],
            Device=lambda index=0: Device(self),
            alloc=self._alloc,
            Memory=self._alloc,
            alloc_pinned_memory=self._pinned,
            UnownedMemory=lambda ptr, nbytes, owner, device: SimpleNamespace(ptr=ptr, owner=owner),
            MemoryPointer=lambda memory, offset: SimpleNamespace(ptr=memory.ptr + offset, mem=memory),
        )

    # ---- events

    def note(self, event: Event, stream: int | None) -> None:
        """Count an event; one for a stream is part of the graph while one is captured."""
        if stream is not None:
            self._stream(stream).queued += 1
            if self.captured is not None:
                self.captured.append(event)
                return
        if self.listener is not None:
            self.listener(event)

    def wait(self, stream: Stream, position: int) -> None:
        """The host waits until a stream has come to a position; nothing is counted if it knows that."""
        if position > stream.finished:
            stream.finished = position
            if self.listener is not None:
                self.listener(Event("wait"))

    def wait_for_all(self) -> None:
        """The host waits for all streams."""
        for stream in self.streams.values():
            stream.synchronize()

    def _stream(self, ptr: int) -> Stream:
        return self.streams.get(ptr) or self.streams.setdefault(ptr, Stream(self, ptr))

    # ---- memory

    def _alloc(self, nbytes: int) -> Block:
        self.note(Event("allocation", nbytes), None)
        return Block(self.memory, nbytes)

    def _malloc(self, nbytes: int) -> int:
        block = self._alloc(nbytes)
        self._blocks[block.ptr] = block
        return block.ptr

    def _pinned(self, nbytes: int) -> Any:
        self.note(Event("pinned", nbytes), None)
        kind: Any = type("Pinned", (ctypes.c_char * nbytes,), {})
        memory = kind()
        memory.ptr = ctypes.addressof(memory)
        return memory

    def _copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        if kind not in KINDS:
            raise CUDARuntimeError(INVALID)
        self.memory.copy(target, source, nbytes)
        self.note(Event(KINDS[kind], nbytes), stream)

    def _fill(self, ptr: int, value: int, nbytes: int, stream: int) -> None:
        self.memory.fill(ptr, value, nbytes)
        self.note(Event("memset", nbytes), stream)

    # ---- kernels

    def _attribute(self, attribute: int, device: int) -> int:
        if attribute not in self._attributes:
            raise CUDARuntimeError(INVALID)
        return self._attributes[attribute]

    def _function(self, symbol: str) -> Function:
        return Function(self, self.names.get(symbol, symbol))

    def _grant(self, function: int, attribute: int, nbytes: int) -> None:
        if nbytes > ATTRIBUTES[97]:
            raise CUDADriverError(INVALID)

    def _launch(self, function: int, *numbers: int) -> None:
        gx, gy, gz, bx, by, bz, shared, stream, _, _ = numbers
        if max(gy, gz) > 65_535 or gx >= 2**31 or not 0 < bx * by * bz <= 1024 or min(gx, gy, gz) < 1:
            raise CUDADriverError(INVALID)
        launch = self.describe(self.functions[function], (gx, gy, gz), (bx, by, bz), shared)
        self.note(Event("launch", launch=launch), stream)
