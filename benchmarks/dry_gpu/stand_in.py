"""The part of CuPy that `CupyRuntime` calls: every call answers, none computes.

Tests have a subclass whose streams, memory and kernels work (`tests/helpers/fake_cupy.py`).
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.dry_gpu.record import Event, Launch
from benchmarks.dry_gpu.traffic import Measured

VALUE = 1  # cudaErrorInvalidValue
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76  # attributes of a device, by CUDA's numbers
GRANTED = 97  # most bytes of shared memory of a block
ATTRIBUTES = {1: 1024, 2: 1024, 3: 1024, 4: 64, 5: 2**31 - 1, 6: 65_535, 7: 65_535, 8: 49_152, 10: 32}
ATTRIBUTES |= {12: 65_536, 38: 50 << 20, 39: 2048, 81: 233_472, 82: 65_536, GRANTED: 232_448, 106: 32}
NAMES = {1: "InvalidValue", 2: "MemoryAllocation", 35: "InsufficientDriver", 400: "InvalidResourceHandle"}
NAMES |= {700: "IllegalAddress", 701: "LaunchOutOfResources", 720: "CooperativeLaunchTooLarge"}
KINDS = {1: "h2d", 2: "d2h", 3: "d2d"}
UNIT = 512  # alignment of cudaMalloc
NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux, which Python names from 3.13 on
COPIED = 1 << 20  # larger copies are not carried out


class CUDAError(RuntimeError):
    """An error of CUDA, with its status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError{NAMES.get(status, status)}")


class CUDARuntimeError(CUDAError):
    """The stand-in of `cupy.cuda.runtime.CUDARuntimeError`."""


class CUDADriverError(CUDAError):
    """The stand-in of `cupy.cuda.driver.CUDADriverError`."""


class OutOfMemoryError(MemoryError):
    """The stand-in of `cupy.cuda.memory.OutOfMemoryError`."""


class Memory:
    """The memory of a card, which takes address space alone: pages that are not written are never backed.

    Small copies are carried out, so that tables of addresses and the like can be read back. All else reads as
    zeros.

    Args:
        capacity: bytes of the card.

    Attributes:
        held: bytes allocated now.
        peak: most bytes allocated at once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.held, self.peak = capacity, 0, 0
        space = 16 * capacity  # so that blocks of different sizes share no addresses
        self._pages = mmap.mmap(-1, space, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        self._next = self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        self._end = self._start + space
        self._free: dict[int, list[int]] = {}

    def alloc(self, nbytes: int) -> int:
        """Address of new bytes; OutOfMemoryError if the card has not as many left."""
        nbytes = -(-max(nbytes, 1) // UNIT) * UNIT
        free = self._free.get(nbytes)
        if self.held + nbytes > self.capacity or (not free and self._next + nbytes > self._end):
            raise OutOfMemoryError(nbytes)
        self.held += nbytes
        self.peak = max(self.peak, self.held)
        if free:
            return free.pop()
        address, self._next = self._next, self._next + nbytes
        return address

    def free(self, address: int, nbytes: int) -> None:
        nbytes = -(-max(nbytes, 1) // UNIT) * UNIT
        self.held -= nbytes
        self._free.setdefault(nbytes, []).append(address)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy between device and host, or within one of them; a large target on the host gets zeros."""
        if nbytes <= COPIED:
            ctypes.memmove(target, source, nbytes)
        elif not self._start <= target < self._end:
            ctypes.memset(target, 0, nbytes)


class Block:
    """`cupy.cuda.MemoryPointer`, and the memory that it keeps: freed with the object."""

    def __init__(self, memory: Memory, nbytes: int) -> None:
        self._memory, self.size, self.device_id = memory, nbytes, 0
        self.ptr = memory.alloc(nbytes)

    @property
    def mem(self) -> Block:
        """The memory; a property, because a cycle would be freed by the garbage collector alone."""
        return self

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            self._memory.free(self.ptr, self.size)


class Stream:
    """A stream. `queued` and `finished` are positions: what is queued, and what the host has waited for."""

    done = True

    def __init__(self, gpu: StandIn, ptr: int) -> None:
        self._gpu, self.ptr, self.device_id = gpu, ptr, 0
        self.queued = self.finished = 0

    def add(self, event: Event) -> None:
        """Count an event; it is part of the graph while one is captured."""
        self.queued += 1
        (self._gpu.listener if self._gpu.captured is None else self._gpu.captured.append)(event)

    def wait(self, position: int) -> None:
        """The host waits until the stream has come to a position; not counted if it knows that."""
        if position > self.finished:
            self.finished = position
            self._gpu.listener(Event("wait"))

    def synchronize(self) -> None:
        self.wait(self.queued)

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
        self._gpu.listener(Event("capture"))
        replay = Event("replay", graph=captured)
        return SimpleNamespace(launch=lambda stream: stream.add(replay), upload=lambda stream: None)

    def __enter__(self) -> Stream:
        self._gpu.current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._gpu.current.pop()


class Stamp:
    """`cupy.cuda.Event`."""

    done = True

    def __init__(self, gpu: StandIn) -> None:
        self._gpu, self._position, self.ptr = gpu, 0, next(gpu.handles)
        self._stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        self._stream = stream or self._gpu.current[-1]
        self._position = self._stream.queued
        self._gpu.listener(Event("event"))

    def synchronize(self) -> None:
        if self._stream is not None:
            self._stream.wait(self._position)


class Device:
    """`cupy.cuda.Device`, always number 0."""

    id = 0

    def __init__(self, gpu: StandIn) -> None:
        self.synchronize, self.compute_capability = gpu.wait_for_all, str(gpu.architecture)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class StandIn(ModuleType):
    """Stands in for the module `cupy`, with one GPU.

    Args:
        architecture: compute capability, times ten.
        multiprocessors: their number.
        capacity: bytes of memory.

    Attributes:
        listener: gets each event.
        captured: events of the graph that is being captured; None: no capture.
        describe: makes a Launch of the name of an instance.
    """

    __version__ = "14.2.0"

    def __init__(self, architecture: int = 90, multiprocessors: int = 132, capacity: int = 80 << 30) -> None:
        super().__init__("cupy", "A CuPy without a GPU.")
        self.__spec__ = ModuleSpec("cupy", None)
        self.architecture, self.memory = architecture, Memory(capacity)
        self.listener: Callable[[Event], None] = lambda event: None
        self.captured: list[Event] | None = None
        self.describe: Callable[[str], Launch] = lambda name: Launch(name, Measured(0.0))
        self.names: dict[int, str] = {}  # of functions
        self._blocks: dict[int, Block] = {}  # of `malloc`
        self.handles = itertools.count(0x1000, 16)
        self.attributes = ATTRIBUTES | {MULTIPROCESSORS: multiprocessors}
        self.attributes |= {MAJOR: architecture // 10, MINOR: architecture % 10}
        self.streams: dict[int, Stream] = {0: Stream(self, 0)}
        self.current = [self.streams[0]]
        self.bind()

    def bind(self) -> None:
        """Give the functions of this object the names that they have in CuPy."""
        self.runtime = SimpleNamespace(
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
            getDeviceCount=self.count_devices,
            getDevice=lambda: 0,
            setDevice=self.set_device,
            deviceGetAttribute=self.attribute,
            getDeviceProperties=lambda index: {"name": b"a GPU that computes nothing"},
            memGetInfo=self.free_and_total,
            malloc=self.malloc,
            free=lambda ptr: self._blocks.pop(ptr, None) and None,
            deviceSynchronize=self.wait_for_all,
            streamSynchronize=lambda ptr: self.stream_at(ptr).synchronize(),
            eventQuery=self.query_event,
            streamQuery=lambda ptr: 0,
            profilerStart=lambda: None,
            profilerStop=lambda: None,
            memcpyAsync=self.copy,
            memsetAsync=self.fill,
        )
        driver = SimpleNamespace(
            CUDADriverError=CUDADriverError,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            launchKernel=self.launch,
            launchCooperativeKernel=self.launch_together,
            funcSetAttribute=self.grant,
        )
        self.cuda = SimpleNamespace(
            runtime=self.runtime,
            driver=driver,
            function=SimpleNamespace(Module=self.module),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            Stream=self.new_stream,
            Event=self.new_event,
            get_elapsed_time=lambda first, last: 1.0,
            get_current_stream=self.get_current_stream,
            Device=self.device,
            alloc=self.alloc,
            Memory=self.alloc_exactly,
            alloc_pinned_memory=self.alloc_pinned,
            UnownedMemory=lambda ptr, nbytes, owner, device: SimpleNamespace(
                ptr=ptr, owner=owner, device_id=device
            ),
            MemoryPointer=lambda mem, offset: SimpleNamespace(ptr=mem.ptr + offset, mem=mem),
        )
        pool = SimpleNamespace(free_all_blocks=self.free_all, used_bytes=lambda: self.memory.held)
        self.get_default_memory_pool = lambda: pool

    # ---- devices and streams

    def count_devices(self) -> int:
        return 1

    def set_device(self, index: int) -> None:
        pass

    def attribute(self, attribute: int, device: int) -> int:
        if attribute not in self.attributes:
            raise CUDARuntimeError(VALUE)
        return self.attributes[attribute]

    def device(self, index: int = 0) -> Any:
        return Device(self)

    def wait_for_all(self) -> None:
        for stream in self.streams.values():
            stream.synchronize()

    def stream_at(self, ptr: int) -> Any:
        return self.streams.get(ptr) or self.streams.setdefault(ptr, Stream(self, ptr))

    def new_stream(self, null: bool = False, non_blocking: bool = False) -> Any:
        return self.stream_at(next(self.handles))

    def get_current_stream(self) -> Any:
        return self.current[-1]

    def new_event(self, block: bool = False, disable_timing: bool = False) -> Any:
        return Stamp(self)

    def query_event(self, ptr: int) -> int:
        return 0

    # ---- memory

    def free_and_total(self) -> tuple[int, int]:
        return self.memory.capacity - self.memory.held, self.memory.capacity

    def alloc(self, nbytes: int) -> Any:
        self.listener(Event("allocation", nbytes))
        return Block(self.memory, nbytes)

    def alloc_exactly(self, nbytes: int) -> Any:
        """`cupy.cuda.Memory`: by cudaMalloc."""
        return self.alloc(nbytes)

    def malloc(self, nbytes: int) -> int:
        block: Block = self.alloc(nbytes)
        self._blocks[block.ptr] = block
        return block.ptr

    def free_all(self) -> None:
        pass

    def alloc_pinned(self, nbytes: int) -> Any:
        self.listener(Event("pinned", nbytes))
        kind: Any = type("Pinned", (ctypes.c_char * nbytes,), {})
        memory = kind()
        memory.ptr = ctypes.addressof(memory)
        return memory

    def copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        if kind not in KINDS:
            raise CUDARuntimeError(VALUE)
        self.memory.copy(target, source, nbytes)
        self.stream_at(stream).add(Event(KINDS[kind], nbytes))

    def fill(self, ptr: int, value: int, nbytes: int, stream: int) -> None:
        if nbytes <= COPIED:
            ctypes.memset(ptr, value, nbytes)
        self.stream_at(stream).add(Event("memset", nbytes))

    # ---- kernels

    def module(self) -> Any:
        return SimpleNamespace(load=lambda image: None, get_function=self.function)

    def function(self, symbol: str) -> Any:
        ptr = next(self.handles)
        self.names[ptr] = symbol
        return SimpleNamespace(name=symbol, ptr=ptr)

    def grant(self, function: int, attribute: int, nbytes: int) -> None:
        if nbytes > ATTRIBUTES[GRANTED]:
            raise CUDADriverError(VALUE)

    def launch_together(self, function: int, *numbers: int) -> None:
        self.launch(function, *numbers, 0)

    def launch(self, function: int, *numbers: int) -> None:
        gx, gy, gz, bx, by, bz, _, stream, _, _ = numbers
        if max(gy, gz) > 65_535 or gx >= 2**31 or not 0 < bx * by * bz <= 1024 or min(gx, gy, gz) < 1:
            raise CUDADriverError(VALUE)
        self.stream_at(stream).add(Event("launch", launch=self.describe(self.names[function])))
