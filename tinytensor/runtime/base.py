"""Interface of device runtimes: memory, copies, kernels, streams, graphs.

Implementations: `emulated` (the kernels compiled for the CPU) and `cuda` (a GPU). CPU memory is in
`cpu/memory.py`.

An address is an integer; a reference to a `Buffer` keeps its bytes alive.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tinytensor.device import Device
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError
from tinytensor.runtime.cpu.arrays import Array

TemplateArgument = DType | int | bool | str  # of an instance name; see `signature.instance`
Argument = Any  # Buffer, anything with an integer `ptr`, None (a null pointer), a number, bytes (a struct)
Dim = int | tuple[int, ...]  # grid or block: up to three sizes, x first
Source = str | Path  # the stem of a file in `kernels/`, or the path of any other .cu file


def three_sizes(sizes: Any) -> tuple[int, int, int]:
    """A grid or block, padded to three axes. TypeError or ValueError unless it is one to three integers."""
    if isinstance(sizes, int):
        return sizes, 1, 1
    if not isinstance(sizes, Sequence):
        return operator.index(sizes), 1, 1
    if not 1 <= len(sizes) <= 3:
        raise ValueError
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def not_in_capture(device: Device, what: str) -> DeviceError:
    """DeviceError for an operation that a captured graph cannot replay."""
    return DeviceError(
        f"{device}: {what} is not possible while a graph is captured",
        why="nothing runs during capture, and a replay repeats device work only",
        fix="read results after replay(); tt.where instead of if; do all else before or after the function",
    )


def not_captured() -> DeviceError:
    """DeviceError for the launch of a graph whose capture has not ended."""
    return DeviceError(
        "graph: it was not captured",
        why="the block of `with runtime.capture() as graph` has not ended, or it failed",
        fix="launch the graph after the block",
    )


class Buffer:
    """Bytes on a device. Free it with `runtime.returned.append(buffer)`: lock-free, so also in finalizers.

    Attributes:
        ptr: address of the first byte, aligned to 256.
        nbytes: usable bytes.
        runtime: the runtime that allocated it.
        owner: data of the runtime (a memory pool's block, a mapping).
    """

    __slots__ = ("nbytes", "owner", "ptr", "runtime")

    def __init__(self, ptr: int, nbytes: int, runtime: Runtime, owner: Any = None) -> None:
        self.ptr, self.nbytes, self.runtime, self.owner = ptr, nbytes, runtime, owner

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes at {self.ptr:#x} on {self.runtime.device})"


@dataclass(slots=True)
class DeviceStatistics:
    """Memory statistics of a runtime, in bytes, except for the numbers of calls."""

    live: int = 0
    peak: int = 0
    cached: int = 0
    fresh_calls: int = 0
    reused_calls: int = 0
    launch_calls: int = 0
    copy_in_bytes: int = 0
    copy_out_bytes: int = 0


class Kernel(Protocol):
    """One compiled instance of a kernel. Its arguments are typed by its signature in the source."""

    name: str  # the instance, such as layer_norm_forward<float>

    def __call__(self, grid: Dim, block: Dim, args: Sequence[Argument], shared: int = 0) -> None:
        """Launch on the current stream. `shared` is the size of dynamic shared memory in bytes."""


class Graph(Protocol):
    """Captured work, at fixed addresses. Its memory returns to the pool on deletion."""

    launches: int  # number of kernels in it

    def launch(self) -> None:
        """Replay the work."""


class Runtime(Protocol):
    """One device. All work is ordered by the current stream; on `emulated` it is done when a call returns."""

    device: Device
    returned: deque[Buffer]  # finalizers append; the next `alloc` frees
    statistics: DeviceStatistics
    architecture: int  # compute capability times ten: 90 for sm_90; 80 for the emulator
    multiprocessors: int

    @property
    def capturing(self) -> bool:
        """Whether a graph is being captured: work is recorded, not executed."""

    def alloc(self, nbytes: int) -> Buffer:
        """Allocate uninitialized bytes; AllocationError if out of memory."""

    def copy_in(self, ptr: int, source: Array) -> None:
        """Copy host to device; `source` is C-contiguous and may be modified when the call returns."""

    def copy_out(self, target: Array, ptr: int) -> None:
        """Copy device to host, after all work queued before; `target` is C-contiguous."""

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device; the ranges do not overlap."""

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        """Fill with a byte value."""

    def kernel(
        self,
        source: Source,
        name: str,
        *arguments: TemplateArgument,
        together: Sequence[tuple[str, tuple[TemplateArgument, ...]]] = (),
    ) -> Kernel:
        """The instance `name<arguments>` of a kernel, compiled on first use and cached in memory and on disk.
        `together` names instances of the same file to be compiled with it, since starting a compiler takes
        longer than compiling one instance. KernelError with the compiler's output if it does not compile.
        """

    def library(self, what: str) -> AbstractContextManager[None]:
        """Context manager for NumPy's functions on arrays of `lend`: CuPy's for those of a GPU."""

    def lend(
        self,
        buffer: Buffer,
        dtype: DType,
        shape: Sequence[int],
        strides: Sequence[int],
        offset: int,
        owner: object = None,
    ) -> Any:
        """An array over a buffer, which keeps the owner alive; strides and offset are in elements."""

    def tensor_map(
        self, ptr: int, dtype: DType, shape: Sequence[int], strides: Sequence[int], box: Sequence[int]
    ) -> bytes:
        """The tensor map of a tensor, for compute capability 9.0: see `runtime/cuda/tensor_map.py`."""

    def synchronize(self) -> None:
        """Wait for all work."""

    # ---- several streams; on `emulated` they are one

    def make_stream(self) -> Any:
        """Create a stream: work in it runs in order, independently of other streams."""

    def enter(self, stream: Any) -> None:
        """Make a stream current in this thread, after the work queued so far on its stream."""

    def leave(self) -> None:
        """Restore the stream that was current before `enter`, without waiting."""

    def order(self, later: Any | None, earlier: Any | None) -> None:
        """Make later work of one stream wait for queued work of another; None: this thread's stream."""

    def wait(self, stream: Any) -> None:
        """Block the host until all work of a stream is done."""

    def pinned(self, nbytes: int) -> Array:
        """Allocate pinned host memory for `send` and `receive`, at least one byte."""

    def send(self, ptr: int, source: Array, keep: object) -> None:
        """Asynchronous copy host to device; `source` is C-contiguous and pinned, and must not change until
        the copy is done. `keep` is kept alive until then.
        """

    def receive(self, target: Array, ptr: int, keep: object) -> None:
        """Asynchronous copy device to host: `target`, C-contiguous and pinned, is complete when its stream is
        synchronized. `keep` is kept alive until then.
        """

    def capture(self) -> AbstractContextManager[Graph]:
        """Record the work of the block into a graph instead of executing it. Memory allocated in the block
        belongs to an arena of the graph; data copied from the host are constants of the graph. Operations
        that cannot be replayed, such as host reads and synchronization, raise DeviceError.
        """
