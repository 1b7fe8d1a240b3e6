"""A CuPy without a GPU: the part of it that `CupyRuntime` calls, over host memory.

Streams are lazy (fake_streams.py), so code that takes work for done when a call returns reads old bytes.
Kernels that NVRTC compiled run on the emulator. What CUDA refuses is refused: copies from memory that is not
pinned, work for another device than the current one, waiting while capturing.
"""

from __future__ import annotations

import ctypes
import math
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.dry_gpu.stand_in import CUDADriverError, CUDARuntimeError, OutOfMemoryError, StandIn
from tests.helpers import fake_arrays
from tests.helpers.fake_streams import (
    CAPTURE,
    LEGACY,
    MEMORY,
    NOT_TOGETHER,
    OUT_OF_RESOURCES,
    VALUE,
    Event,
    Stream,
    Work,
    elapsed,
    query,
)
from tinytensor.device import as_device
from tinytensor.emulator.run.runtime import HEADER
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import Resources, occupancy

FREE_SHARED = 48 << 10  # bytes of shared memory, static and dynamic, that a kernel has without asking


class Region:
    """Memory of a device (device ≥ 0) or pinned memory of the host (device -1)."""

    def __init__(self, fake: FakeCupy, nbytes: int, device: int) -> None:
        self.data = ctypes.create_string_buffer(b"\xff" * (nbytes + 512), nbytes + 512)
        self.ptr = -(-ctypes.addressof(self.data) // 512) * 512
        self.nbytes, self.device_id, self.fake = nbytes, device, fake
        fake.regions.append(self)

    def cut(self, nbytes: int) -> Region | None:
        """Make it smaller; what is left over."""
        rest = copy(self)
        rest.ptr, rest.nbytes = self.ptr + nbytes, self.nbytes - nbytes
        self.nbytes = nbytes
        return rest if rest.nbytes else None

    def free(self, *, to: list[Region] | None = None) -> None:
        """Give the memory back to CuPy: `to` is the free list of the stream that it was allocated on."""
        self.fake.regions.remove(self)
        self.fake.freed.append(self.nbytes)
        if to is not None:
            to.append(self)


class Pointer:
    """`MemoryPointer`: frees its memory on deallocation, as CuPy's `__dealloc__` does.

    A `__del__` would also run for memory of a collected cycle that a finalizer returns to the pool. The
    garbage collector does not track arrays.
    """

    def __init__(self, region: Region, free: Callable[[], None]) -> None:
        self.mem, self.ptr = region, region.ptr
        self.held = np.empty(0)
        weakref.finalize(self.held, free).atexit = False


class Function:
    """A kernel: `run` gets sizes, shared memory, the packed arguments, whether its blocks run together."""

    def __init__(
        self, name: str, ptr: int, run: Callable[[tuple[int, ...], int, int, bool], Work], used: Resources
    ) -> None:
        self.name, self.ptr, self.run, self.used = name, ptr, run, used
        self.dynamic = FREE_SHARED - used.shared  # bytes that a launch may ask for

    def check(self, sizes: tuple[int, ...], shared: int) -> None:
        """Refuse what the driver refuses."""
        grid, block = sizes[:3], sizes[3:]
        threads = math.prod(block)
        if shared > self.dynamic or min(sizes) < 1 or threads > 1024:
            raise CUDADriverError(VALUE)
        most = (2**31 - 1, 65_535, 65_535, 1024, 1024, 64)
        if any(n > limit for n, limit in zip((*grid, *block), most, strict=True)):
            raise CUDADriverError(VALUE)
        warps, per_warp = -(-threads // 32), -(-self.used.registers * 32 // 256) * 256
        if warps * per_warp > 65_536:
            raise CUDADriverError(OUT_OF_RESOURCES)

    def resident(self, threads: int, shared: int) -> int:
        """How many blocks run on one multiprocessor of an H100 at once."""
        return occupancy(90, threads, self.used.registers, self.used.shared + shared).blocks


class Here(threading.local):
    """What CUDA and CuPy know per thread."""

    device = 0
    context = False

    def __init__(self) -> None:
        self.entered: dict[int, list[Stream]] = {}  # the current stream of each device is the last


class FakeCupy(StandIn):
    """The stand-in of CuPy, with several devices, memory, streams and kernels.

    Attributes:
        gpus: compute capability of each device.
        capacity: bytes of memory of each device.
        launches: name, sizes and shared memory of each launch.
        together: the names of those whose blocks run together (cooperative launches).
    """

    def __init__(self, gpus: tuple[str, ...] = ("90",), capacity: int = 1 << 40) -> None:
        ModuleType.__init__(self, "cupy")
        self.gpus, self.capacity = gpus, capacity
        self.driver_version = self.cuda_version = 13000
        self.contexts: set[int] = set()  # of devices: memory on each, for as long as the process lives
        self.here = Here()
        self.regions: list[Region] = []
        self.freed: list[int] = []  # bytes of each block that CuPy got back
        self.cached: dict[tuple[int, int], list[Region]] = {}  # CuPy's free blocks of a device and stream
        self.mallocs: list[int] = []  # bytes of each cudaMalloc
        self.early = 0  # how often memory was freed by cudaFree while work was queued
        self.fault = 0  # status that every call reports after a kernel has failed
        self.streams: Any = weakref.WeakValueDictionary()  # by handle
        self.orphans: list[Work] = []  # of streams that were destroyed with work in flight
        self.events: Any = weakref.WeakValueDictionary()
        self.legacy = [Stream(self, 0, device) for device in range(len(gpus))]
        self.compiled: dict[str, tuple[Path, str, tuple[int, ...], Resources]] = {}  # by symbol
        self.functions: dict[int, Function] = {}
        self.launches: list[tuple[str, tuple[int, ...], int]] = []
        self.together: list[str] = []
        self.granted: list[int] = []  # bytes, in the order that they were asked for
        self.refuse_launch: int | None = None  # status of the next launch
        self.broken_capture = False
        self.missing = ["svdvals"]  # functions of NumPy that CuPy does not have
        self.strict = False  # cupyx.errstate(linalg="raise")
        self.bind()

    def bind(self) -> None:
        super().bind()
        vars(self.runtime).update(
            driverGetVersion=lambda: self.driver_version,
            runtimeGetVersion=lambda: self.cuda_version,
            getDevice=lambda: self.here.device,
            memcpyPeerAsync=self.copy_peer,
        )
        self.cuda.get_elapsed_time = elapsed
        resident = lambda function, *sizes: self.functions[function].resident(*sizes)  # noqa: E731
        self.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor = resident
        self.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=self.free_all)

    # ---- arrays

    def ndarray(self, shape: Any, dtype: Any, memptr: Any, strides: Any) -> fake_arrays.Array:
        return fake_arrays.Array(self, shape, dtype, memptr, strides)

    def array(self, values: Any) -> fake_arrays.Array:
        return fake_arrays.array(self, values)

    def asarray(self, obj: Any) -> Any:
        return fake_arrays.asarray(self, obj)

    def from_dlpack(self, obj: Any) -> Any:
        return fake_arrays.from_dlpack(self, obj)

    @contextmanager
    def errstate(self, *, linalg: str) -> Iterator[None]:
        """`cupyx.errstate`."""
        self.strict = linalg == "raise"
        yield
        self.strict = False

    # ---- devices and streams

    def count_devices(self) -> int:
        if self.driver_version // 1000 < self.cuda_version // 1000:
            raise CUDARuntimeError(35)
        if not self.gpus:
            raise CUDARuntimeError(100)
        return len(self.gpus)

    def attribute(self, attribute: int, device: int) -> int:
        major, minor = divmod(int(self.gpus[device]), 10)
        return {16: 132, 75: major, 76: minor}[attribute]

    def set_device(self, index: int) -> None:
        """`setDevice`: since CUDA 12 it makes a context on the device."""
        assert 0 <= index < len(self.gpus)
        self.here.device = index
        self.contexts.add(index)

    def free_and_total(self) -> tuple[int, int]:
        self.here.context = True
        self.contexts.add(self.here.device)
        return self.capacity - self._used(self.here.device), self.capacity

    def wait_for_all(self) -> None:
        for stream in [*self.legacy, *list(self.streams.values())]:
            if stream.device_id == self.here.device:
                stream.synchronize()
        while self.orphans:
            self.orphans.pop(0)()

    def look(self) -> None:
        """What each call of CUDA does first."""
        if self.fault:
            raise CUDARuntimeError(self.fault)

    def new_stream(self, null: bool = False, non_blocking: bool = False) -> Stream:
        assert (null, non_blocking) == (False, True)
        free = next(ptr for ptr in range(0x100, 0x10000) if ptr not in self.streams)
        self.streams[free] = made = Stream(self, free, self.here.device)
        return made

    def stream_at(self, ptr: int) -> Stream:
        """The stream with this handle: 0 and 1 are the default stream of the current device."""
        found: Stream = self.legacy[self.here.device] if ptr in (0, LEGACY) else self.streams[ptr]
        return found

    def get_current_stream(self) -> Stream:
        """CuPy's current stream of this thread, on the current device."""
        device = self.here.device
        return [self.legacy[device], *self.here.entered.get(device, [])][-1]

    # ---- memory

    def _used(self, device: int) -> int:
        cached = [region for (at, _), free in self.cached.items() if at == device for region in free]
        live = [region for region in self.regions if region.device_id == device]
        return sum(region.nbytes for region in live + cached)

    def new_event(self, block: bool = False, disable_timing: bool = False) -> Event:
        return Event(self, disable_timing)

    def query_event(self, ptr: int) -> int:
        return query(self, ptr)

    def device(self, index: int = 0) -> Current:
        return Current(self, index)

    def module(self) -> Module:
        return Module(self)

    def alloc(self, nbytes: int) -> Pointer:
        """A free block of the current stream, or a part of it; else by cudaMalloc."""
        device = self.here.device
        free = self.cached.setdefault((device, self.get_current_stream().ptr), [])
        fits = sorted((region for region in free if region.nbytes >= nbytes), key=lambda r: r.nbytes)
        if fits:
            region = fits[0]
            free.remove(region)
            if rest := region.cut(nbytes):
                free.append(rest)
            self.regions.append(region)
        else:
            if self._used(device) + nbytes > self.capacity:
                self.free_all()
            if self._used(device) + nbytes > self.capacity:
                raise OutOfMemoryError(nbytes)
            self.mallocs.append(nbytes)
            region = Region(self, nbytes, device)
        return Pointer(region, lambda: region.free(to=free))

    def free_all(self) -> None:
        """`free_all_blocks`: of the current device alone. Frees nothing while a graph is captured."""
        device = self.here.device
        if any(s.captured is not None for s in list(self.streams.values()) if s.device_id == device):
            raise CUDARuntimeError(CAPTURE)
        for at, free in self.cached.items():
            if at[0] == device:
                free.clear()

    def alloc_exactly(self, nbytes: int) -> Pointer:
        """`cupy.cuda.Memory`: cudaMalloc of so many bytes, freed by cudaFree."""
        device = self.here.device
        if self._used(device) + nbytes > self.capacity:
            raise CUDARuntimeError(MEMORY)
        self.mallocs.append(nbytes)
        region = Region(self, nbytes, device)

        def free() -> None:
            region.free()
            self.early += any(s.done < len(s.queue) for s in list(self.streams.values()))
            self.orphans.append(lambda: region.data and None)  # work that is queued may still write there

        return Pointer(region, free)

    def alloc_pinned(self, nbytes: int) -> Any:
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

    def copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        device = self.here.device
        self.check(target, nbytes, -1 if kind == 2 else device)
        self.check(source, nbytes, -1 if kind == 1 else device)
        if self.stream_at(stream).captured is not None and kind == 2:
            raise CUDARuntimeError(CAPTURE)
        self.stream_at(stream).add(lambda: ctypes.memmove(target, source, nbytes) and None)

    def copy_peer(self, target: int, to: int, source: int, of: int, nbytes: int, stream: int) -> None:
        self.check(target, nbytes, to)
        self.check(source, nbytes, of)
        self.stream_at(stream).add(lambda: ctypes.memmove(target, source, nbytes) and None)

    def fill(self, ptr: int, value: int, nbytes: int, stream: int) -> None:
        self.check(ptr, nbytes, self.here.device)
        self.stream_at(stream).add(lambda: ctypes.memset(ptr, value, nbytes) and None)

    # ---- kernels

    def remember(self, path: Path, compiled: nvrtc.Compiled) -> None:
        """Which instance a symbol of a cubin is, so that the emulator can run it."""
        for instance, symbol in compiled.symbols.items():
            assert symbol.encode() in compiled.image
            used = compiled.resources.get(instance, Resources())
            self.compiled[symbol] = path, instance, compiled.parameters[instance], used

    def function(self, symbol: str) -> Function:
        path, instance, sizes, used = self.compiled[symbol]
        name, _, arguments = instance.partition("<")
        parts = re.split(r",\s*(?![^<]*>)", arguments.removesuffix(">")) if arguments else []
        kernel: Any = runtime_of(as_device("emulated")).kernel(path, name, *parts)
        parameters = sizes_of(kernel)
        assert [abs(size) for size in parameters] == list(sizes), "NVRTC and the emulator disagree"

        def prepare(sizes: tuple[int, ...], shared: int, address: int, together: bool) -> Work:
            packed = HEADER.pack(*sizes, shared, not together) + packed_at(address, parameters)
            return lambda: failed(kernel._core.launch(kernel._handle, packed, False))

        found = Function(instance, 0x1000 + len(self.functions), prepare, used)
        self.functions[found.ptr] = found
        return found

    def launch(self, function: int, *numbers: int) -> None:
        *given, extra = numbers
        assert extra == 0
        self._start(function, *given, together=False)

    def launch_together(self, function: int, *numbers: int) -> None:
        """`launchCooperativeKernel`: without `extra`, and all blocks must be resident."""
        *sizes, shared, _, _ = numbers
        blocks, found = math.prod(sizes[:3]), self.functions[function]
        if blocks > found.resident(math.prod(sizes[3:]), shared) * self.attribute(16, 0):
            raise CUDADriverError(NOT_TOGETHER)
        self._start(function, *numbers, together=True)
        self.together.append(found.name)

    def _start(self, function: int, *numbers: int, together: bool) -> None:
        *sizes, shared, stream, address = numbers
        if not all(0 <= n < 1 << 32 for n in (*sizes, shared)):
            raise OverflowError("value too large to convert to unsigned int")  # Cython's
        assert self.here.context, "no call made a context in this thread"
        if self.refuse_launch is not None:
            status, self.refuse_launch = self.refuse_launch, None
            raise CUDADriverError(status)
        found = self.functions[function]
        found.check(tuple(sizes), shared)
        self.launches.append((found.name, tuple(sizes), shared))
        self.stream_at(stream).add(found.run(tuple(sizes), shared, address, together))

    def grant(self, function: int, attribute: int, nbytes: int) -> None:
        assert attribute == 8
        found = self.functions[function]
        if found.used.shared + nbytes > 227 << 10:
            raise CUDADriverError(VALUE)
        found.dynamic = nbytes
        self.granted.append(nbytes)


class Current:
    """`cupy.cuda.Device`."""

    def __init__(self, fake: FakeCupy, index: int) -> None:
        self.fake, self.id = fake, index
        self.before: list[int] = []

    @property
    def compute_capability(self) -> str:
        with self:
            return self.fake.gpus[self.id]

    def __enter__(self) -> Current:
        self.before.append(self.fake.here.device)
        self._switch(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self._switch(self.before.pop())

    def _switch(self, index: int) -> None:
        if index != self.fake.here.device:
            self.fake.runtime.setDevice(index)


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
        align = size if size > 0 else 128 if size % 128 == 0 else 16
        assert start % align == 0
        packed += bytes(-len(packed) % align) + ctypes.string_at(start, abs(size))
    return packed


def failed(result: int) -> None:
    if result:
        raise CUDARuntimeError(700)
