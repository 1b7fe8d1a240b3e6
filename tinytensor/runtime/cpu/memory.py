"""Host memory pool: caches blocks for tensor storage, and raises clear out-of-memory errors.

Reason for a pool: the first access to fresh pages takes longer than the arithmetic in them, so results of
more than 4,096 elements use recycled blocks. A block may be reused only when nothing else references it:
every NumPy view of a block has the block's bytes as its `.base`, so `sys.getrefcount` counts them all
(including slices, memoryviews and DLPack capsules).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tinytensor.errors import AllocationError, TinyTensorError
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.forks import MEMORY, lock_for_forks

# ---- the pool ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class PoolStatistics:
    """Pool statistics, in bytes, except for the numbers of calls. `live`: blocks in use by storages;
    `graphs`: blocks of captured graphs.
    """

    live: int = 0
    peak: int = 0
    cached: int = 0
    fresh_calls: int = 0
    reused_calls: int = 0
    escaped_calls: int = 0
    released: int = 0
    graphs: int = 0


class Block:
    """One block of the pool: `bytes` is a NumPy byte array, `offset` its first 64-byte aligned position."""

    __slots__ = ("bytes", "nbytes", "offset", "size_class")

    bytes: Array
    nbytes: int
    offset: int
    size_class: int


def _size_class(nbytes: int) -> int:
    """Round up to an eighth of the next power of two, at least 4 KiB, so that at most an eighth is wasted."""
    step = 1 << max(12, nbytes.bit_length() - 3)
    return (nbytes + step - 1) // step * step


def _others_see(block: Block) -> bool:
    return sys.getrefcount(block.bytes) > _ALONE


_lock = lock_for_forks(MEMORY)  # reentrant: the garbage collector may run a finalizer that allocates


class Pool:
    """Caching allocator of 64-byte aligned blocks, which are reused when nothing references them.

    Finalizers only append to `returned` (a deque, without a lock: a finalizer may run at any instruction,
    also while this thread holds a lock). The next `alloc` sorts them: free, or, if a NumPy view is still
    alive, one more round in limbo; a block that is referenced even then leaves the pool ("escaped") and is
    freed with its last view.
    """

    def __init__(self) -> None:
        self.statistics = PoolStatistics()
        self.returned: deque[Block] = deque()
        self.returned_by_graphs: deque[Block] = deque()
        self._free: dict[int, list[Block]] = {}
        self._limbo: list[Block] = []

    def alloc(self, nbytes: int) -> Block:
        """A block of at least nbytes."""
        size_class = _size_class(nbytes)
        with _lock:
            if self.returned or self._limbo or self.returned_by_graphs:
                self._drain()
            stats = self.statistics
            free = self._free.get(size_class)
            if free:
                block = free.pop()
                stats.reused_calls += 1
                stats.cached -= size_class
            else:
                block = self._fresh(size_class)
                stats.fresh_calls += 1
            block.nbytes = nbytes
            stats.live += nbytes
            if stats.live > stats.peak:
                stats.peak = stats.live
        return block

    def alloc_for_graph(self, nbytes: int) -> Block:
        """A block of at least nbytes, counted as memory of graphs."""
        with _lock:
            block = self.alloc(nbytes)
            self.statistics.live -= nbytes
            self.statistics.graphs += nbytes
        return block

    def _fresh(self, size_class: int) -> Block:
        block = Block()
        block.size_class = size_class
        try:
            block.bytes = np.empty(size_class + 64, np.uint8)
        except (MemoryError, ValueError):  # ValueError: more bytes than there are addresses
            self.release()
            try:
                block.bytes = np.empty(size_class + 64, np.uint8)
            except (MemoryError, ValueError):
                raise out_of_memory("allocation", size_class) from None
        block.offset = -block.bytes.ctypes.data % 64
        return block

    def _drain(self) -> None:
        again, self._limbo = self._limbo, []
        for block in again:
            if _others_see(block):
                self.statistics.escaped_calls += 1
            else:
                self._keep(block)
        while self.returned:
            block = self.returned.popleft()
            self.statistics.live -= block.nbytes
            self._take_back(block)
        while self.returned_by_graphs:
            block = self.returned_by_graphs.popleft()
            self.statistics.graphs -= block.nbytes
            self._take_back(block)

    def _take_back(self, block: Block) -> None:
        if _others_see(block):
            self._limbo.append(block)
        else:
            self._keep(block)

    def _keep(self, block: Block) -> None:
        self._free.setdefault(block.size_class, []).append(block)
        self.statistics.cached += block.size_class

    def settle(self) -> PoolStatistics:
        """Process the returned blocks and return the statistics."""
        with _lock:
            self._drain()
            return self.statistics

    def reset_peak(self) -> None:
        """Reset `peak` to the bytes in use now."""
        with _lock:
            self._drain()
            self.statistics.peak = self.statistics.live

    def release(self) -> int:
        """Free all cached blocks; returns the number of bytes."""
        with _lock:
            self._drain()
            given = self.statistics.cached
            self._free.clear()
            self.statistics.cached = 0
            self.statistics.released += given
            return given


class Arena:
    """Memory of a captured graph: blocks of the pool that the graph keeps as long as it can be replayed.

    The steps of a graph run in the order in which they were captured, so a block whose storage is gone can be
    used again by later steps of the same capture, although earlier steps still refer to it.
    """

    def __init__(self) -> None:
        self.returned: deque[Block] = deque()  # by finalizers, as in Pool
        self._blocks: list[Block] = []
        self._free: dict[int, list[Block]] = {}

    def alloc(self, nbytes: int) -> Block:
        """A block of at least nbytes."""
        while self.returned:
            block = self.returned.popleft()
            self._free.setdefault(block.size_class, []).append(block)
        free = self._free.get(_size_class(nbytes))
        if free:
            return free.pop()
        block = pool.alloc_for_graph(nbytes)
        self._blocks.append(block)
        return block

    def __del__(self) -> None:
        pool.returned_by_graphs.extend(self._blocks)


def _measure_alone() -> int:
    """Reference count in `_others_see` if only the Block references its bytes: differs by version."""
    block = Block()
    block.bytes = np.empty(1, np.uint8)

    def probe(block: Block) -> int:
        return sys.getrefcount(block.bytes)

    return probe(block)


_ALONE = _measure_alone()
pool = Pool()


def out_of_memory(what: str, nbytes: int | None = None) -> AllocationError:
    """AllocationError for a failed allocation, of nbytes if known."""
    return AllocationError(
        f"{what}: {'the memory needed is' if nbytes is None else f'{nbytes:,} bytes are'} not available",
        why=f"the pool has {pool.statistics.live:,} bytes in use, and the system has no more",
        fix="use smaller tensors, or delete some",
    )


def without_memory(what: str, error: Exception, size: int) -> AllocationError | None:
    """AllocationError for NumPy's MemoryError, or its ValueError for too many bytes; else None."""
    if isinstance(error, TinyTensorError) or not (isinstance(error, MemoryError) or size >= 2**63 // 16):
        return None
    return out_of_memory(what)


@contextmanager
def allocating(what: str, nbytes: int) -> Iterator[None]:
    """Context manager that raises AllocationError if NumPy cannot allocate an array of nbytes."""
    if nbytes >= 2**63:  # NumPy's size arithmetic overflows here
        raise out_of_memory(what, nbytes)
    try:
        yield
    except TinyTensorError:
        raise
    except (MemoryError, ValueError):  # ValueError: more bytes than there are addresses
        raise out_of_memory(what, nbytes) from None
