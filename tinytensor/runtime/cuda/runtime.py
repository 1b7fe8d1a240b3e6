"""CUDA runtime: memory, copies and launches through CuPy's bindings, kernels compiled by `nvrtc`.

All work of a thread goes to one stream that does not synchronize with CUDA's default stream; every call
passes it explicitly, so CuPy's current stream matters to shared memory alone. CuPy is imported on first use
of a GPU.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from tinytensor.device import Device, as_device
from tinytensor.errors import DeviceError, KernelError
from tinytensor.runtime.base import Buffer, DeviceStatistics, Dim, Source, TemplateArgument, not_in_capture
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cuda import foreign_memory, nvrtc, tensor_map
from tinytensor.runtime.cuda.kernel import CupyKernel
from tinytensor.runtime.cuda.memory_pool import Arena, DevicePool, ExactPool, pooling
from tinytensor.runtime.cuda.occupancy import Resources
from tinytensor.runtime.cuda.pinned_copies import Staging
from tinytensor.runtime.cuda.stream import Graph, PerThread, StreamWork
from tinytensor.runtime.kernel_files import locate
from tinytensor.runtime.signature import Packer, signature_of

_OLDEST_CUPY = 14
_OLDEST_GPU = 75
_OUT_OF_MEMORY, _OLD_DRIVER = 2, 35  # cudaErrorMemoryAllocation, cudaErrorInsufficientDriver
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and Minor
_OLDEST_DRIVER = {12: "525", 13: "580"}


def _cupy() -> Any:
    """The module cupy. DeviceError if it is missing, too old, or not built for CUDA."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device cuda: CuPy cannot be imported",
            why=str(error),
            fix='pip install ".[gpu13]" (driver 580 or newer) or ".[gpu12]"; or use '
            'device="emulated", which runs the same kernels on the CPU',
        ) from None
    if int(cupy.__version__.partition(".")[0]) < _OLDEST_CUPY or cupy.cuda.runtime.is_hip:
        raise DeviceError(
            f"device cuda: CuPy {cupy.__version__} cannot be used",
            why=f"tinytensor needs CuPy {_OLDEST_CUPY} or newer, built for CUDA",
            fix='pip install --upgrade ".[gpu13]"',
        )
    return cupy


def device_count() -> int:
    """Number of GPUs."""
    api = _cupy().cuda.runtime
    count, why = 0, "the driver sees no GPU"
    if api.driverGetVersion() == 0:
        why = "there is no NVIDIA driver on this machine"
    else:
        try:
            count = api.getDeviceCount()
        except api.CUDARuntimeError as error:
            if error.status == _OLD_DRIVER:
                raise _old_driver(api) from None
            why = str(error)
    if count == 0:
        raise DeviceError(
            "device cuda: no NVIDIA driver or GPU found",
            why=why,
            fix='device="emulated" runs the same kernels on the CPU',
        )
    return int(count)


def _old_driver(api: Any) -> DeviceError:
    driver, cuda = api.driverGetVersion(), api.runtimeGetVersion() // 1000
    older = 'pip uninstall the CuPy for CUDA 13 and pip install ".[gpu12]"; or ' if cuda > 12 else ""
    return DeviceError(
        "device cuda: the NVIDIA driver is too old",
        why=f"the driver is for CUDA {driver // 1000}.{driver % 1000 // 10}, and this CuPy for CUDA {cuda}",
        fix=f"{older}update the driver to {_OLDEST_DRIVER.get(cuda, 'the newest')} or newer; "
        'device="emulated" runs the same kernels on the CPU',
    )


def make_current(index: int) -> None:
    """Make a GPU the current one of CUDA in this thread; DeviceError if CuPy cannot be used."""
    _cupy().cuda.runtime.setDevice(index)


class CupyRuntime(StreamWork):
    """Runtime of one GPU; implements `base.Runtime`.

    Attributes:
        stays: calls leave this GPU current, for a process that uses no other. Else they restore the one that
            was, on which CUDA takes about 0.5 GB then; each thread begins with GPU 0.
    """

    def __init__(self, device: Device) -> None:
        self.cupy = _cupy()
        self._api = self.cupy.cuda.runtime
        count = device_count()
        if device.index >= count:
            raise DeviceError(
                f"device {device} is not available",
                why=f"this machine has {count} GPU{'s' if count > 1 else ''}, counted from 0",
                fix=f'use "{as_device("cuda")}"' if count == 1 else f'use "cuda:0" to "cuda:{count - 1}"',
            )
        self.device = device
        self.index = device.index
        self.stays = False
        major, minor = (self._api.deviceGetAttribute(name, self.index) for name in (_MAJOR, _MINOR))
        self.architecture = int(10 * major + minor)
        if self.architecture < _OLDEST_GPU:
            raise DeviceError(
                f"device {device} has compute capability {self.architecture / 10}",
                why=f"the kernels need {_OLDEST_GPU / 10} (Turing, 2018) or newer",
                fix='device="emulated" runs the same kernels on the CPU',
            )
        self.multiprocessors = int(
            self._api.deviceGetAttribute(self._api.cudaDevAttrMultiProcessorCount, self.index)
        )
        self.recent: deque[tuple[str, Dim, Dim]] = deque(maxlen=4)  # launches, for messages
        self.main = self.call(self.cupy.cuda.Stream, False, True)  # null=False, non_blocking=True
        self._thread = PerThread(self)
        self._exact = not pooling()
        pool = ExactPool if self._exact else DevicePool
        self._pool = pool(self, self._fresh, self._describe, self._wait_for_all, self.hold)
        self.statistics, self.returned = self._pool.statistics, self._pool.returned
        self._staging = Staging(self.call, self.cupy.cuda)
        self._kernels: dict[object, CupyKernel] = {}
        self._lock = threading.Lock()
        self._graph: Graph | None = None  # the graph being captured
        self._in_flight, self._streams, self._events = deque(), deque(), []

    def __repr__(self) -> str:
        return f"CupyRuntime({self.device}, sm_{self.architecture}, {self.multiprocessors} multiprocessors)"

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function with this GPU as the current device of the calling thread."""
        api = self._api
        before = api.getDevice()
        if before != self.index:
            api.setDevice(self.index)
        try:
            return function(*arguments)
        except api.CUDARuntimeError as error:
            raise self.failed(error) from None
        finally:
            if before != self.index and not self.stays:
                api.setDevice(before)

    def failed(self, error: Exception) -> KernelError:
        """KernelError for an asynchronous error, which is reported at a later call."""
        started = ", ".join(f"{name} (grid {grid}, block {block})" for name, grid, block in self.recent)
        return KernelError(
            f"{self.device}: {error}",
            why="a kernel that was started before has failed, or CUDA itself; the last launches were "
            f"{started or 'none'}",
            fix='run it on device="checked", which reports file and line, or with CUDA_LAUNCH_BLOCKING=1, '
            "which raises at the launch that failed; after an illegal address this process cannot use the "
            "GPU any more",
        )

    # ---- memory

    def alloc(self, nbytes: int) -> Buffer:
        """Allocate uninitialized bytes from the pool."""
        if self._in_flight:
            self.let_go()
        return self._pool.alloc(nbytes, self._thread.stream.ptr)

    def _fresh(self, nbytes: int) -> tuple[int, Any]:
        """Allocate from CuPy's pool, which has free lists per stream; without pools by cudaMalloc."""
        cuda, api = self.cupy.cuda, self._api
        with self.current():
            try:
                memory = (cuda.Memory if self._exact else cuda.alloc)(nbytes)
            except api.CUDARuntimeError as error:
                if error.status != _OUT_OF_MEMORY:
                    raise self.failed(error) from None
                raise MemoryError from None
        return memory.ptr, memory

    def _describe(self) -> str:
        free, total = self.call(self._api.memGetInfo)
        return f"{free:,} of the {total:,} bytes of the GPU are free"

    def settle(self) -> DeviceStatistics:
        """Process the freed blocks and return the statistics."""
        found = self._pool.settle()
        self.let_go()
        return found

    def release(self) -> int:
        """Free all cached blocks, and those of CuPy's pool; returns the number of bytes of this pool."""
        given = self._pool.release()
        self.call(self.cupy.get_default_memory_pool().free_all_blocks)
        return given

    # ---- copies

    def copy_in(self, ptr: int, source: Array) -> None:
        """Copy host to device through pinned memory, asynchronously; in a capture a constant."""
        flat, stream = source.reshape(-1).view(np.uint8), self._thread.stream
        if self._graph is not None:
            self._graph.arena.constants.append(self._staging.send_constant(ptr, flat, stream))
            return
        self._staging.send(ptr, flat, stream)
        self.statistics.copy_in_bytes += source.nbytes

    def copy_out(self, target: Array, ptr: int) -> None:
        """Copy device to host through pinned memory, after all work queued before."""
        self._refuse_in_capture("reading on the host")
        self._staging.receive(target.reshape(-1).view(np.uint8), ptr, self._thread.stream)
        self.statistics.copy_out_bytes += target.nbytes

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device."""
        api = self._api
        stream = self._thread.stream.ptr
        self.call(api.memcpyAsync, target, source, nbytes, api.memcpyDeviceToDevice, stream)

    def copy_from(self, target: int, other: CupyRuntime, source: int, nbytes: int) -> None:
        """Copy from another GPU, after the work queued there, and before work queued there later."""
        self._refuse_in_capture("copying from another GPU")
        stream = self._thread.stream
        ready = other.mark()
        self.call(stream.wait_event, ready.handle)
        self.call(self._api.memcpyPeerAsync, target, self.index, source, other.index, nbytes, stream.ptr)
        done = self.mark()
        other.call(other._thread.stream.wait_event, done.handle)

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        """Fill with a byte value."""
        self.call(self._api.memsetAsync, ptr, value, nbytes, self._thread.stream.ptr)

    # ---- waiting; streams and events are in `StreamWork`

    def synchronize(self) -> None:
        """Wait for all work of this thread's stream."""
        self._refuse_in_capture("waiting for the device")
        self.call(self._thread.stream.synchronize)

    def _wait_for_all(self) -> None:
        self.call(self._api.deviceSynchronize)

    # ---- memory shared with other libraries: functions of a runtime, as methods

    current = foreign_memory.current
    library = foreign_memory.library
    borrow = foreign_memory.borrow
    lend = foreign_memory.lend

    # ---- kernels

    tensor_map = staticmethod(tensor_map.encode)  # an argument of kernels, for TMA

    def kernel(
        self,
        source: Source,
        name: str,
        *arguments: TemplateArgument,
        together: Sequence[tuple[str, tuple[TemplateArgument, ...]]] = (),
    ) -> CupyKernel:
        """An instance of a kernel, compiled on first use."""
        found = self._kernels.get((source, name, arguments))
        if found is None:
            self._refuse_in_capture(f"loading the kernel {name}")
            with self._lock:
                self._load(source, [(name, arguments), *together])
                found = self._kernels[source, name, arguments]
        return found

    def _load(self, source: Source, wanted: Sequence[tuple[str, tuple[TemplateArgument, ...]]]) -> None:
        path = locate(source)
        declared = nvrtc.signatures(path)
        packers = {
            (source, name, arguments): Packer(signature_of(name, declared, path), arguments)
            for name, arguments in wanted
            if (source, name, arguments) not in self._kernels
        }
        target = nvrtc.target_for(self.architecture, path)
        compiled = nvrtc.build(path, [packer.name for packer in packers.values()], target)
        module = self.cupy.cuda.function.Module()
        try:
            self.call(module.load, compiled.image)
        except self.cupy.cuda.driver.CUDADriverError as error:
            raise KernelError(
                f"{path.name}: the driver does not load the code for {target}",
                why=f"{error}; compiled by NVRTC {'.'.join(map(str, nvrtc.version()))}",
                fix='update the driver, or install an older CUDA: pip install ".[gpu12]"',
            ) from None
        for key, packer in packers.items():
            packer.check_sizes(compiled.parameters[packer.name])
            function = self.call(module.get_function, compiled.symbols[packer.name])
            used = compiled.resources.get(packer.name, Resources())
            together = packer.name in compiled.cooperative
            self._kernels[key] = CupyKernel(self, packer, function, used, together)

    # ---- graphs

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        """Record the work of the block into a graph instead of executing it.

        The graph reads and writes the same addresses each time, so keep tensors that were made before the
        block and are used in it. Memory allocated in the block belongs to an arena of the graph. No other
        thread may use this device during capture, and all kernels must have run once before.

        Raises:
            DeviceError: in the block, for operations that cannot be replayed: host reads, synchronization,
                the first use of a kernel.
        """
        self._refuse_in_capture("capturing")
        self._pool.release()  # to CuPy's pool, from which the graph takes it: its arena has no other blocks
        stream = self._thread.stream
        graph = Graph(self)
        with self._pool.arena() as graph.arena:
            self.call(stream.begin_capture)
            self._graph = graph
            before = self.statistics.launch_calls
            try:
                yield graph
            except BaseException:
                with suppress(KernelError):  # an invalidated capture; its cause is already being raised
                    self.call(stream.end_capture)
                raise
            else:
                graph.executable = self.call(stream.end_capture)
                graph.launches = self.statistics.launch_calls - before
            finally:
                self._graph = None
                self.statistics.launch_calls = before

    @property
    def capturing(self) -> bool:
        """Whether work is recorded, not executed."""
        return self._graph is not None

    def retire(self, arena: Arena) -> None:
        """Free the memory of a graph; for finalizers."""
        self._pool.retired.append(arena)

    def _refuse_in_capture(self, what: str) -> None:
        if self._graph is not None:
            raise not_in_capture(self.device, what)
