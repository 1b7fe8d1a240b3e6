"""GPU memory pool: size classes, free lists per stream, and arenas for captured graphs.

A block returns to the free list of the stream it was allocated on. Work in one stream runs in order, so its
next use runs after its last, without synchronization. Independent of CUDA: the constructor gets a function
that allocates memory.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinytensor.errors import AllocationError, ArgumentError
from tinytensor.runtime.base import Buffer, DeviceStatistics, Runtime

Fresh = Callable[[int], tuple[int, Any]]  # bytes → address, owner; MemoryError if out of memory
_UNIT = 512  # granularity and alignment of cudaMalloc


def size_class(nbytes: int) -> int:
    """Round up to an eighth of the next power of two, at least 512, so that at most an eighth is wasted."""
    step = 1 << max(_UNIT.bit_length() - 1, nbytes.bit_length() - 3)
    return max(nbytes + step - 1, step) // step * step


class Block:
    """One block of device memory: the `Buffer.owner`. `lent`: another library may still use it."""

    __slots__ = ("arena", "lent", "memory", "ptr", "size_class", "stream")

    def __init__(self, ptr: int, memory: Any, size_class: int, stream: int, arena: Arena | None) -> None:
        self.ptr, self.memory, self.size_class = ptr, memory, size_class
        self.stream, self.arena, self.lent = stream, arena, False


class Borrowed:
    """Memory of another library: the `Buffer.owner`, which keeps its array alive. `lent` as in `Block`."""

    __slots__ = ("array", "lent")

    def __init__(self, array: Any) -> None:
        self.array, self.lent = array, False


class Arena:
    """The memory of one captured graph. A graph uses fixed addresses, so blocks allocated during capture are
    reserved for it as long as it lives; other blocks that are freed during capture are kept, too.
    `constants` is host memory that the graph copies from, `last` the event after its last replay.
    """

    __slots__ = ("blocks", "constants", "free", "kept", "last")

    def __init__(self) -> None:
        self.last: Any = None
        self.blocks: list[Block] = []
        self.free: dict[tuple[int, int], list[Block]] = {}
        self.kept: list[Block | Borrowed] = []
        self.constants: list[Any] = []

    @property
    def nbytes(self) -> int:
        """Bytes that belong to the graph."""
        return sum(block.size_class for block in self.blocks)


class DevicePool:
    """Caching allocator. Finalizers only append to `returned`, without a lock; the next `alloc` frees them.

    Args:
        fresh: allocates memory from the system.
        describe: returns the memory state of the device, for out-of-memory errors.
        wait: waits for all work of the device.
        hold: keeps an object alive until all work that is queued is done.
    """

    rounded = staticmethod(size_class)  # the bytes of a block

    def __init__(
        self,
        runtime: Runtime,
        fresh: Fresh,
        describe: Callable[[], str],
        wait: Callable[[], None],
        hold: Callable[[object], None],
    ) -> None:
        self.statistics = DeviceStatistics()
        self.returned: deque[Buffer] = deque()
        self.retired: deque[Arena] = deque()  # of deleted graphs
        self._runtime, self._fresh, self._describe = runtime, fresh, describe
        self._wait, self._hold = wait, hold
        self._free: dict[tuple[int, int], list[Block]] = {}
        self._arena: Arena | None = None
        self._lock = threading.RLock()  # reentrant: a finalizer that allocates may run here

    def alloc(self, nbytes: int, stream: int) -> Buffer:
        """A buffer of `nbytes` bytes for work on this stream."""
        wanted = self.rounded(nbytes)
        with self._lock:
            if self.returned or self.retired:
                self._drain()
            stats, arena = self.statistics, self._arena
            free = (self._free if arena is None else arena.free).get((stream, wanted))
            if free:
                block = free.pop()
                stats.reused_calls += 1
                if arena is None:
                    stats.cached -= wanted
            else:
                block = self._more(wanted, stream)
                stats.fresh_calls += 1
            stats.live += nbytes
            stats.peak = max(stats.peak, stats.live)
        return Buffer(block.ptr, nbytes, self._runtime, block)

    def _more(self, wanted: int, stream: int) -> Block:
        try:
            ptr, memory = self._fresh(wanted)
        except MemoryError:
            self.release()
            try:
                ptr, memory = self._fresh(wanted)
            except MemoryError:
                raise self._exhausted(wanted) from None
        block = Block(ptr, memory, wanted, stream, self._arena)
        if self._arena is not None:
            self._arena.blocks.append(block)
        return block

    def _exhausted(self, wanted: int) -> AllocationError:
        stats = self.statistics
        return AllocationError(
            f"allocation on {self._runtime.device}: out of memory: {wanted:,} bytes are not available",
            why=f"{stats.live:,} bytes are in use (peak {stats.peak:,}; {stats.fresh_calls:,} blocks "
            f"allocated, {stats.reused_calls:,} reused), no cached block is left to free; {self._describe()}",
            fix="use a smaller batch or a 16-bit dtype, recompute activations (tt.checkpoint)",
        )

    # ---- freed blocks

    def _drain(self) -> None:
        while self.returned:
            buffer = self.returned.popleft()
            owner: Block | Borrowed = buffer.owner
            if isinstance(owner, Block):
                self.statistics.live -= buffer.nbytes
                if owner.arena is not None:
                    owner.arena.free.setdefault((owner.stream, owner.size_class), []).append(owner)
                    continue
            if self._arena is not None:
                self._arena.kept.append(owner)
            else:
                self._give_back(owner)
        while self.retired and self._arena is None:
            arena = self.retired.popleft()
            if arena.last is not None:  # the last replay may have run on another stream than the blocks
                arena.last.wait()
            for block in arena.blocks:
                block.arena = None
            for owner in (*arena.kept, *(block for blocks in arena.free.values() for block in blocks)):
                self._give_back(owner)
            arena.blocks, arena.kept, arena.constants, arena.free = [], [], [], {}

    def _give_back(self, owner: Block | Borrowed) -> None:
        """Free memory for which all work is queued: later work of its own stream may use it."""
        if owner.lent:
            self._wait()
            owner.lent = False
        if isinstance(owner, Borrowed):  # which its library may give to any stream
            self._hold(owner.array)
        else:
            self._keep(owner)

    def _keep(self, block: Block) -> None:
        self._free.setdefault((block.stream, block.size_class), []).append(block)
        self.statistics.cached += block.size_class

    def settle(self) -> DeviceStatistics:
        """Process the freed blocks and return the statistics."""
        with self._lock:
            self._drain()
            return self.statistics

    def release(self) -> int:
        """Free all cached blocks; returns the number of bytes."""
        with self._lock:
            self._drain()
            given = self.statistics.cached
            self._free.clear()
            self.statistics.cached = 0
            return given

    # ---- arenas

    @contextmanager
    def arena(self) -> Iterator[Arena]:
        """Context manager: allocate from a new arena only."""
        with self._lock:
            self._drain()
            self._arena = arena = Arena()
        try:
            yield arena
        finally:
            with self._lock:
                self._drain()
                self._arena = None


class ExactPool(DevicePool):
    """Allocates each buffer by itself, in its exact size, and frees it when it is returned: slow, but
    compute-sanitizer sees accesses beyond the end of a buffer, and to buffers that were freed.
    """

    @staticmethod
    def rounded(nbytes: int) -> int:
        """The bytes of a block: at least 1."""
        return max(nbytes, 1)

    def _drain(self) -> None:
        if self.returned and self._arena is None:
            self._wait()  # work that is queued may still use them
        super()._drain()

    def _keep(self, block: Block) -> None:
        block.memory = None


def pooling() -> bool:
    """Whether freed memory is kept for later buffers: unless the variable TINYTENSOR_POOL is off."""
    asked = os.environ.get("TINYTENSOR_POOL") or "on"
    if asked not in ("on", "off"):
        raise ArgumentError(
            f"TINYTENSOR_POOL={asked}: it is on or off",
            why="the environment variable turns the pool of GPU memory off",
            fix="TINYTENSOR_POOL=off allocates each buffer by itself, for compute-sanitizer; or unset it",
        )
    return asked == "on"
