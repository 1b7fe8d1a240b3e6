"""A CuPy without a GPU: the part of it that `CupyRuntime` calls, over host memory.

Streams are lazy: work waits in a queue until somebody waits for it, so whoever relies on work being done when
a call returns reads old bytes. Kernels that NVRTC compiled run on the emulator. What CUDA refuses is refused:
copies from memory that is not pinned, work for another device than the current one, waiting while capturing.
"""

from __future__ import annotations

import ctypes
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinytensor.device import as_device
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.emulated.runtime import HEADER

Work = Callable[[], None]
HANDLE, MEMORY, VALUE, CAPTURE = 400, 2, 1, 900  # statuses
NAMES = {400: "InvalidResourceHandle", 2: "MemoryAllocation", 1: "InvalidValue", 700: "IllegalAddress"}


class CUDAError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError{NAMES.get(status, status)}")


class CUDARuntimeError(CUDAError):
    pass


class CUDADriverError(CUDAError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class Region:
    """Memory of a device (device ≥ 0) or pinned memory of the host (device -1)."""

    def __init__(self, fake: FakeCupy, nbytes: int, device: int) -> None:
        self.data = ctypes.create_string_buffer(b"\xff" * (nbytes + 512), nbytes + 512)
        self.ptr = -(-ctypes.addressof(self.data) // 512) * 512
        self.nbytes, self.device_id, self.fake = nbytes, device, fake
        fake.regions.append(self)

    def free(self) -> None:
        self.fake.regions.remove(self)
        self.fake.freed.append(self.nbytes)


class Pointer:
    """`MemoryPointer`: frees its memory on deallocation, as CuPy's `__dealloc__` does.

    A `__del__` would also run for memory of a collected cycle that a finalizer returns to the pool. The
    garbage collector does not track arrays.
    """

    def __init__(self, region: Region) -> None:
        self.mem, self.ptr = region, region.ptr
        self.held = np.empty(0)
        weakref.finalize(self.held, region.free).atexit = False


class Stream:
    def __init__(self, fake: FakeCupy, ptr: int, device: int) -> None:
        self.fake, self.ptr, self.device_id = fake, ptr, device
        self.queue: list[Work] = []
        self.done = 0  # how many were run
        self.captured: list[Work] | None = None

    def add(self, work: Work) -> None:
        if self.fake.here.device != self.device_id:
            raise CUDARuntimeError(HANDLE)
        (self.queue if self.captured is None else self.captured).append(work)

    def run(self, until: int) -> None:
        while self.done < until:
            self.done += 1
            self.queue[self.done - 1]()

    def synchronize(self) -> None:
        if self.captured is not None:
            raise CUDARuntimeError(CAPTURE)
        self.run(len(self.queue))

    def wait_event(self, event: Event) -> None:
        self.add(Event.again(event))

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Graph:
        captured, self.captured = self.captured, None
        if self.fake.broken_capture:
            raise CUDARuntimeError(CAPTURE)
        assert captured is not None
        return Graph(captured)

    def __enter__(self) -> Stream:
        if self.fake.here.device != self.device_id:
            raise RuntimeError("the stream belongs to another device")
        self.fake.here.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.here.streams.pop()


class Graph:
    def __init__(self, work: list[Work]) -> None:
        self.work = work

    def launch(self, stream: Stream) -> None:
        for work in self.work:
            stream.add(work)


class Event:
    def __init__(self, fake: FakeCupy) -> None:
        self.fake = fake
        self.mark: tuple[Stream | None, int] = None, 0

    done = property(lambda self: self.mark[0] is None or self.mark[0].done >= self.mark[1])

    def record(self, stream: Stream) -> None:
        if stream.device_id != self.fake.here.device:
            raise CUDARuntimeError(HANDLE)
        self.mark = stream, len(stream.queue)

    def synchronize(self) -> None:
        stream, until = self.mark
        if stream is not None:
            stream.run(until)

    def again(self) -> Work:
        """What waits for the mark as it stands now."""
        stream, until = self.mark
        return lambda: stream.run(until) if stream else None


class Function:
    """A kernel: `run` gets sizes, shared memory and the packed arguments."""

    def __init__(self, name: str, ptr: int, run: Callable[[tuple[int, ...], int, int], Work]) -> None:
        self.name, self.ptr, self.run = name, ptr, run


class Here(threading.local):
    """What CUDA and CuPy know per thread."""

    device = 0
    context = False

    def __init__(self) -> None:
        self.streams: list[Stream] = []


class FakeCupy:
    """Stands in for the module `cupy`.

    Attributes:
        gpus: compute capability of each device.
        capacity: bytes of memory of each device.
        launches: name, sizes and shared memory of each launch.
    """

    __version__ = "14.2.0"

    def __init__(self, gpus: tuple[str, ...] = ("90",), capacity: int = 1 << 40) -> None:
        self.gpus, self.capacity, self.driver_version = gpus, capacity, 13000
        self.here = Here()
        self.regions: list[Region] = []
        self.freed: list[int] = []
        self.streams: dict[int, Stream] = {}
        self.compiled: dict[str, tuple[Path, str, tuple[int, ...]]] = {}  # symbol → file, instance, sizes
        self.functions: dict[int, Function] = {}
        self.launches: list[tuple[str, tuple[int, ...], int]] = []
        self.granted: list[int] = []
        self.refuse_launch: int | None = None  # status of the next launch
        self.broken_capture = False
        self.runtime = self._runtime()
        self.cuda = self._cuda()
        self.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=int)

    def _runtime(self) -> SimpleNamespace:
        return SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            is_hip=False,
            cudaDevAttrMultiProcessorCount=16,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
            memcpyDeviceToDevice=3,
            driverGetVersion=lambda: self.driver_version,
            getDeviceCount=self._count,
            getDevice=lambda: self.here.device,
            setDevice=self._set_device,
            deviceGetAttribute=lambda attribute, device: 132,
            memGetInfo=self._memory,
            deviceSynchronize=self._wait_for_all,
            memcpyAsync=self._copy,
            memcpyPeerAsync=self._copy_peer,
            memsetAsync=self._memset,
        )

    def _cuda(self) -> SimpleNamespace:
        driver = SimpleNamespace(
            CUDADriverError=CUDADriverError,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            launchKernel=self._launch,
            funcSetAttribute=self._grant,
        )
        return SimpleNamespace(
            runtime=self.runtime,
            driver=driver,
            function=SimpleNamespace(Module=lambda: Module(self)),
            Stream=self._stream,
            Event=lambda block=False, disable_timing=False: Event(self),
            get_elapsed_time=lambda first, last: 2.5,
            Device=lambda index: Current(self, index),
            alloc=self._alloc,
            alloc_pinned_memory=self._pinned,
            UnownedMemory=lambda ptr, nbytes, owner, device: SimpleNamespace(ptr=ptr, owner=owner),
            MemoryPointer=lambda mem, offset: SimpleNamespace(ptr=mem.ptr + offset, mem=mem),
        )

    @staticmethod
    def from_dlpack(array: Any) -> Any:
        return array

    @staticmethod
    def ndarray(shape: Any, dtype: Any, memptr: Any, strides: Any) -> SimpleNamespace:
        return SimpleNamespace(shape=shape, dtype=dtype, pointer=memptr, strides=strides)

    # ---- devices and streams

    def _count(self) -> int:
        if not self.gpus:
            raise CUDARuntimeError(100)
        return len(self.gpus)

    def _set_device(self, index: int) -> None:
        assert 0 <= index < len(self.gpus)
        self.here.device = index

    def _memory(self) -> tuple[int, int]:
        self.here.context = True
        return self.capacity - self._used(self.here.device), self.capacity

    def _wait_for_all(self) -> None:
        for stream in self.streams.values():
            if stream.device_id == self.here.device:
                stream.synchronize()

    def _stream(self, null: bool, non_blocking: bool) -> Stream:
        assert (null, non_blocking) == (False, True)
        made = Stream(self, 0x100 + len(self.streams), self.here.device)
        return self.streams.setdefault(made.ptr, made)

    # ---- memory

    def _used(self, device: int) -> int:
        return sum(region.nbytes for region in self.regions if region.device_id == device)

    def _alloc(self, nbytes: int) -> Pointer:
        assert self.here.streams, "CuPy's pool must know the stream"
        device = self.here.device
        if self._used(device) + nbytes > self.capacity:
            raise OutOfMemoryError(nbytes)
        return Pointer(Region(self, nbytes, device))

    def _pinned(self, nbytes: int) -> Any:
        region = Region(self, nbytes, -1)
        kind: Any = type("Pinned", (ctypes.c_char * nbytes,), {})
        memory = kind.from_address(region.ptr)
        memory.ptr, memory.region = region.ptr, region
        return memory

    def check(self, ptr: int, nbytes: int, device: int) -> None:
        """The bytes lie within one region of this device."""
        for region in list(self.regions):  # other threads add and remove some
            if (
                region.device_id == device
                and region.ptr <= ptr
                and ptr + nbytes <= region.ptr + region.nbytes
            ):
                return
        raise CUDARuntimeError(VALUE)

    def _copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        device = self.here.device
        self.check(target, nbytes, -1 if kind == 2 else device)
        self.check(source, nbytes, -1 if kind == 1 else device)
        if self.streams[stream].captured is not None and kind == 2:
            raise CUDARuntimeError(CAPTURE)
        self.streams[stream].add(lambda: ctypes.memmove(target, source, nbytes) and None)

    def _copy_peer(self, target: int, to: int, source: int, of: int, nbytes: int, stream: int) -> None:
        self.check(target, nbytes, to)
        self.check(source, nbytes, of)
        self.streams[stream].add(lambda: ctypes.memmove(target, source, nbytes) and None)

    def _memset(self, ptr: int, value: int, nbytes: int, stream: int) -> None:
        self.check(ptr, nbytes, self.here.device)
        self.streams[stream].add(lambda: ctypes.memset(ptr, value, nbytes) and None)

    # ---- kernels

    def remember(self, path: Path, compiled: nvrtc.Compiled) -> None:
        """Which instance a symbol of a cubin is, so that the emulator can run it."""
        for instance, symbol in compiled.symbols.items():
            assert symbol.encode() in compiled.image
            self.compiled[symbol] = path, instance, compiled.parameters[instance]

    def function(self, symbol: str) -> Function:
        path, instance, sizes = self.compiled[symbol]
        name, _, arguments = instance.partition("<")
        parts = re.split(r",\s*(?![^<]*>)", arguments.removesuffix(">")) if arguments else []
        kernel: Any = runtime_of(as_device("emulated")).kernel(path, name, *parts)
        parameters = sizes_of(kernel)
        assert [abs(size) for size in parameters] == list(sizes), "NVRTC and the emulator disagree"

        def prepare(sizes: tuple[int, ...], shared: int, address: int) -> Work:
            packed = HEADER.pack(*sizes, shared, 0) + packed_at(address, parameters)
            return lambda: failed(kernel._core.launch(kernel._handle, packed, False))

        found = Function(instance, 0x1000 + len(self.functions), prepare)
        self.functions[found.ptr] = found
        return found

    def _launch(self, function: int, *numbers: int) -> None:
        *sizes, shared, stream, address, extra = numbers
        assert extra == 0
        assert self.here.context, "no call made a context in this thread"
        if self.refuse_launch is not None:
            status, self.refuse_launch = self.refuse_launch, None
            raise CUDADriverError(status)
        if shared > max([48 << 10, *self.granted]):
            raise CUDADriverError(VALUE)
        found = self.functions[function]
        self.launches.append((found.name, tuple(sizes), shared))
        self.streams[stream].add(found.run(tuple(sizes), shared, address))

    def _grant(self, function: int, attribute: int, nbytes: int) -> None:
        assert function in self.functions
        assert attribute == 8
        if nbytes > 227 << 10:
            raise CUDADriverError(VALUE)
        self.granted.append(nbytes)


class Current:
    """`cupy.cuda.Device`."""

    def __init__(self, fake: FakeCupy, index: int) -> None:
        self.fake, self.id = fake, index
        self.compute_capability = fake.gpus[index]
        self.before: list[int] = []

    def __enter__(self) -> Current:
        self.before.append(self.fake.here.device)
        self.fake.here.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.here.device = self.before.pop()


class Module:
    def __init__(self, fake: FakeCupy) -> None:
        self.fake = fake

    def load(self, image: bytes) -> None:
        if not image.startswith(b"\x7fELF"):
            raise CUDADriverError(218)

    def get_function(self, symbol: str) -> Function:
        return self.fake.function(symbol)


def sizes_of(kernel: Any) -> list[int]:
    """Bytes of the parameters as the compiler of the emulator sees them; negative for structs."""
    sizes: list[int] = []
    while size := kernel._core.parameter(kernel._handle, len(sizes)):
        sizes.append(size)
    return sizes


def packed_at(address: int, sizes: list[int]) -> bytes:
    """The arguments behind an array of addresses, as the emulator takes them."""
    packed = b""
    for start, size in zip((ctypes.c_void_p * len(sizes)).from_address(address), sizes, strict=True):
        packed += bytes(-len(packed) % (16 if size < 0 else size)) + ctypes.string_at(start, abs(size))
    return packed


def failed(result: int) -> None:
    if result:
        raise CUDARuntimeError(700)
