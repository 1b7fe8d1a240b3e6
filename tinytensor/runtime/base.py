"""What a device runtime offers: memory, copies, kernels. Two implementations: `emulated` (the kernels
compiled for the CPU) and `cuda` (a GPU). The memory of the CPU (`cpu/memory.py`) needs none of this.

An address is a plain integer; who holds a `Buffer` keeps its bytes alive. Nothing here knows of shapes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tinytensor.device import Device
from tinytensor.dtypes import DType
from tinytensor.runtime.cpu.arrays import Array

__all__ = [
    "Argument",
    "Buffer",
    "DeviceStatistics",
    "Dim",
    "Graph",
    "Kernel",
    "Runtime",
    "Source",
    "TemplateArgument",
]

TemplateArgument = DType | int | bool | str  # in an instance name; see `signature.instance`
Argument = Any  # Buffer, anything with an integer `ptr`, None (a null pointer), a number, bytes (a struct)
Dim = int | tuple[int, ...]  # grid or block: up to three sizes, x first
Source = str | Path  # the stem of a file in `kernels/`, or the path of any other .cu file


class Buffer:
    """Bytes on a device. Give it back with `runtime.returned.append(buffer)`: no lock, so also in finalisers.

    Attributes:
        ptr: address of the first byte, aligned to 256.
        nbytes: bytes that may be used.
        runtime: who lent it.
        owner: whatever the runtime keeps with it (a memory pool's block, a mapping).
    """

    __slots__ = ("nbytes", "owner", "ptr", "runtime")

    def __init__(self, ptr: int, nbytes: int, runtime: Runtime, owner: Any = None) -> None:
        self.ptr, self.nbytes, self.runtime, self.owner = ptr, nbytes, runtime, owner

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes at {self.ptr:#x} on {self.runtime.device})"


@dataclass(slots=True)
class DeviceStatistics:
    """What a runtime did, in bytes unless it says calls."""

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
    """Captured work, at fixed addresses. Its memory goes back to the pool with it."""

    launches: int  # number of kernels in it

    def launch(self) -> None:
        """Do the work again."""


class Runtime(Protocol):
    """One device. All work is ordered by the current stream; on `emulated` it is done when a call returns."""

    device: Device
    returned: deque[Buffer]  # finalisers append; the next `alloc` sorts
    statistics: DeviceStatistics
    architecture: int  # compute capability times ten: 90 for sm_90; the emulator says 80
    multiprocessors: int

    @property
    def capturing(self) -> bool:
        """Whether a graph is being captured: work is recorded, not done."""

    def alloc(self, nbytes: int) -> Buffer:
        """Uninitialized bytes; AllocationError if there are no more."""

    def copy_in(self, ptr: int, source: Array) -> None:
        """Host to device; `source` is C-contiguous and may be written again when the call returns."""

    def copy_out(self, target: Array, ptr: int) -> None:
        """Device to host, waiting for all work queued before; `target` is C-contiguous."""

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Within the device; the ranges do not overlap."""

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        """Set bytes."""

    def kernel(
        self,
        source: Source,
        name: str,
        *arguments: TemplateArgument,
        together: Sequence[tuple[str, tuple[TemplateArgument, ...]]] = (),
    ) -> Kernel:
        """The instance `name<arguments>` of a kernel, compiled on first use and cached in memory and on disk.
        `together` names instances of the same file to be compiled with it, since starting a compiler costs
        more than an instance. KernelError with the compiler's words if it does not compile.
        """

    def synchronize(self) -> None:
        """Wait for all work."""

    # ---- several streams; on `emulated` they are one

    def make_stream(self) -> Any:
        """A stream: work in it keeps its order, and knows none with other streams."""

    def enter(self, stream: Any) -> None:
        """Send this thread's work to a stream, behind what is queued on its own so far."""

    def leave(self) -> None:
        """Send it where it went before `enter`; nothing waits."""

    def order(self, later: Any | None, earlier: Any | None) -> None:
        """What comes next in one stream waits for what is queued in another; None is this thread's own."""

    def wait(self, stream: Any) -> None:
        """Wait on the host for all work of a stream."""

    def pinned(self, nbytes: int) -> Array:
        """Bytes of host memory for `send` and `receive`, at least one."""

    def send(self, ptr: int, source: Array, keep: object) -> None:
        """Host to device without waiting; `source` is C-contiguous and pinned, and stays as it is until the
        copy is done. `keep` lives as long.
        """

    def receive(self, target: Array, ptr: int, keep: object) -> None:
        """Device to host without waiting: `target`, C-contiguous and pinned, is complete once its stream was
        waited for. `keep` lives as long.
        """

    def capture(self) -> AbstractContextManager[Graph]:
        """Record the work of the block into a graph instead of doing it. What the block makes lives in an
        arena of the graph; what it copies from the host is a constant of the graph. DeviceError, in the
        block, for what cannot be replayed: reading on the host, waiting.
        """
