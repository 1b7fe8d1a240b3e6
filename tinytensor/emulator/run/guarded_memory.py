"""Allocator with guard pages: an access past the end of a buffer faults.

A mapping is [guard][pages of data][guard]; a buffer is at the end of the data, rounded up to 256 bytes.
Guards use address space, not memory, and are wide, so that a wrong index does not reach other memory.
Mappings are reused, since creating one takes longer than a small kernel. New buffers are filled with 0xff
(NaN, or -1): GPU memory is not zero-initialized, either.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import threading
from bisect import bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Iterator

from tinytensor.errors import AllocationError, ArgumentError
from tinytensor.runtime.base import Buffer, DeviceStatistics, Runtime

PAGE = mmap.PAGESIZE
ROUND = 256
GUARDS = 16 << 20, PAGE  # bytes; the second if the address space is limited (ulimit -v)
# Limits of the cache of mappings. The system allows 65,530 mappings, of which a buffer takes two.
CACHED_BYTES, CACHED_MAPPINGS = 512 << 20, 4096
# Filled bytes of a buffer; filling more would allocate pages that its owner may never access.
FILLED_BYTES = 64 << 20

_NONE, _READ_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


class Mapping:
    """Mapped pages; the data are at start ≤ address < end."""

    __slots__ = ("arena", "buffer_bytes", "end", "guard", "start")

    arena: Arena | None  # of the captured graph that uses it

    def __init__(self, size: int) -> None:
        """Map the pages; raises OSError."""
        base = _FAILED
        if size >= 1 << 56:  # ctypes would cut it off
            raise OSError(errno.ENOMEM, "mmap")
        for self.guard in GUARDS:
            base = _libc.mmap(None, size + 2 * self.guard, _NONE, _PRIVATE, -1, 0)
            if base != _FAILED:
                break
        else:
            raise OSError(ctypes.get_errno(), "mmap")
        self.start, self.end = base + self.guard, base + self.guard + size
        self.buffer_bytes = -1  # of its current buffer; -1: none
        self.arena = None
        if _libc.mprotect(self.start, size, _READ_WRITE):
            number = ctypes.get_errno()
            self.unmap()
            raise OSError(number, "mprotect")

    def unmap(self) -> None:
        """Unmap the pages."""
        _libc.munmap(self.start - self.guard, self.end - self.start + 2 * self.guard)


class Arena:
    """The memory of one captured graph, which uses the same addresses at each replay: memory allocated during
    capture, and memory freed during capture that the graph may still read.
    """

    __slots__ = ("free", "mappings", "own")

    def __init__(self) -> None:
        self.own: set[int] = set()  # start addresses of mappings allocated during capture
        self.free: dict[int, list[Mapping]] = {}  # by size, for use within the graph
        self.mappings: dict[int, Mapping] = {}  # by start address

    @property
    def nbytes(self) -> int:
        """Bytes that belong to the graph."""
        return sum(m.end - m.start for m in self.mappings.values())


class GuardedMemory:
    """Caching allocator of the emulated devices."""

    def __init__(self) -> None:
        self.returned: deque[Buffer] = deque()
        self.retired: deque[Arena] = deque()  # of deleted graphs
        self._arena: Arena | None = None  # of the graph being captured
        self.statistics = DeviceStatistics()
        self._free: OrderedDict[int, list[Mapping]] = OrderedDict()  # by size, least recently used first
        self._cached_mappings = 0
        self._starts: list[tuple[int, Mapping]] = []  # start addresses of all mappings, ascending
        self._lock = threading.RLock()  # reentrant: a finalizer that allocates may run here
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """Reset the lock in a forked process, where its owner does not exist."""
        self._lock = threading.RLock()

    def alloc(self, nbytes: int, runtime: Runtime) -> Buffer:
        """A buffer of nbytes, filled with 0xff."""
        if nbytes < 0:
            raise ArgumentError(
                f"allocation: {nbytes:,} bytes",
                why="a size must not be negative",
                fix="give a size of 0 or more",
            )
        size = max(PAGE, -(-nbytes // PAGE) * PAGE)
        with self._lock:
            self._drain()
            arena = self._arena
            mappings = self._free.get(size)
            stats = self.statistics
            if arena is not None and (own := arena.free.get(size)):
                mapping = own.pop()
                stats.reused_calls += 1
            elif mappings:
                mapping = mappings.pop()
                self._cached_mappings -= 1
                stats.cached -= size
                stats.reused_calls += 1
            else:
                mapping = self._fresh(size, nbytes)
                stats.fresh_calls += 1
            if arena is not None:
                mapping.arena = arena
                arena.mappings[mapping.start] = mapping
                arena.own.add(mapping.start)
            mapping.buffer_bytes = nbytes
            stats.live += nbytes
            stats.peak = max(stats.peak, stats.live)
        address = mapping.end - -(-nbytes // ROUND) * ROUND
        ctypes.memset(mapping.start, 0xFF, min(size, FILLED_BYTES))
        return Buffer(address, nbytes, runtime, mapping)

    def _fresh(self, size: int, nbytes: int) -> Mapping:
        try:
            try:
                mapping = Mapping(size)
            except OSError:
                self.release()
                mapping = Mapping(size)
        except OSError as error:
            count = len(self._starts)
            many = error.errno == errno.ENOMEM and count > 20_000
            raise AllocationError(
                f"allocation: out of memory: {nbytes:,} bytes are not available",
                why=f"{self.statistics.live:,} bytes in {count:,} buffers are in use"
                + (
                    "; the system limits their number (vm.max_map_count)"
                    if many
                    else "; the system has no more"
                ),
                fix="use smaller tensors, or delete some",
            ) from None
        insort(self._starts, (mapping.start, mapping))
        return mapping

    def _drain(self) -> None:
        while self.returned:
            buffer = self.returned.popleft()
            mapping: Mapping = buffer.owner
            size = mapping.end - mapping.start
            self.statistics.live -= mapping.buffer_bytes
            mapping.buffer_bytes = -1
            arena = self._arena
            if mapping.arena is None and arena is None:
                self._keep(mapping)
            elif mapping.arena is None and arena is not None:  # the graph may read it
                arena.mappings[mapping.start] = mapping
                mapping.arena = arena
            elif mapping.arena is arena and arena is not None and mapping.start in arena.own:
                arena.free.setdefault(size, []).append(mapping)
        while self.retired:
            for mapping in self.retired.popleft().mappings.values():
                mapping.arena = None
                if mapping.buffer_bytes < 0:
                    self._keep(mapping)
        while self._free and (
            self.statistics.cached > CACHED_BYTES or self._cached_mappings > CACHED_MAPPINGS
        ):
            self._drop_oldest()

    def _keep(self, mapping: Mapping) -> None:
        size = mapping.end - mapping.start
        self._free.setdefault(size, []).append(mapping)
        self._free.move_to_end(size)
        self._cached_mappings += 1
        self.statistics.cached += size

    @contextlib.contextmanager
    def arena(self) -> Iterator[Arena]:
        """Context manager: allocate from a new arena."""
        with self._lock:
            self._drain()
            self._arena = arena = Arena()
        try:
            yield arena
        finally:
            with self._lock:
                self._drain()
                self._arena = None

    def _drop_oldest(self) -> None:
        size, mappings = next(iter(self._free.items()))
        if mappings:
            mapping = mappings.pop()
            self._cached_mappings -= 1
            self.statistics.cached -= size
            del self._starts[bisect_right(self._starts, mapping.start, key=lambda pair: pair[0]) - 1]
            mapping.unmap()
        else:
            del self._free[size]

    def release(self) -> int:
        """Unmap all cached mappings; returns the number of bytes."""
        with self._lock:
            self._drain()
            given = self.statistics.cached
            while self._free:
                self._drop_oldest()
            return given

    def settle(self) -> DeviceStatistics:
        """Process the returned buffers and return the statistics."""
        with self._lock:
            self._drain()
            return self.statistics

    def keep(self, address: int) -> None:
        """Do not reuse the memory at this address before the graph being captured is deleted."""
        with self._lock:
            arena = self._arena
            place = bisect_right(self._starts, address, key=lambda pair: pair[0]) - 1
            if arena is None or place < 0:
                return
            mapping = self._starts[place][1]
            if mapping.arena is None and address < mapping.end:
                mapping.arena = arena
                arena.mappings[mapping.start] = mapping

    def live(self) -> list[tuple[int, int]]:
        """Address and size of all buffers. For memory of captured graphs, whole mappings: several buffers of
        a graph share one, at different times.
        """
        with self._lock:
            self._drain()
            of_graphs = [m for _, m in self._starts if m.arena is not None]
            lent = [m for _, m in self._starts if m.buffer_bytes >= 0 and m.arena is None]
        found = [(m.end - -(-m.buffer_bytes // ROUND) * ROUND, m.buffer_bytes) for m in lent]
        return found + [(m.start, m.end - m.start) for m in of_graphs]

    def near(self, address: int) -> tuple[int, int] | None:
        """Address and size of the buffer whose pages or guards contain this address."""
        with self._lock:
            place = bisect_right(self._starts, address, key=lambda pair: pair[0]) - 1
            for _, mapping in self._starts[max(place, 0) : place + 2]:  # the one below, and the one above
                guard = mapping.guard
                if mapping.start - guard <= address < mapping.end + guard and mapping.buffer_bytes >= 0:
                    return mapping.end - -(-mapping.buffer_bytes // ROUND) * ROUND, mapping.buffer_bytes
        return None

    def check(self, what: str, address: int, nbytes: int) -> None:
        """Raise ArgumentError unless these bytes are inside one buffer."""
        if nbytes == 0:
            return
        found = self.near(address)
        if found is None or nbytes < 0 or address < found[0] or address + nbytes > found[0] + found[1]:
            raise ArgumentError(
                f"{what}: {nbytes:,} bytes at {address:#x} are not inside one buffer",
                why="there is no buffer at this address"
                if found is None
                else f"a buffer of {found[1]:,} bytes begins at {found[0]:#x}",
                fix="stay within buffer.ptr and buffer.nbytes, and keep the buffer alive",
            )
