"""Device memory that takes address space alone: pages that are not written are never backed."""

from __future__ import annotations

import ctypes
import mmap

_UNIT = 512  # alignment of cudaMalloc
_NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux, which Python names from 3.13 on
_COPIED = 1 << 20  # larger copies are not carried out


class OutOfMemoryError(MemoryError):
    """The stand-in of `cupy.cuda.memory.OutOfMemoryError`."""


class Memory:
    """The memory of a card.

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
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        self._pages = mmap.mmap(
            -1, 16 * capacity, flags=flags
        )  # blocks of different sizes share no addresses
        self._next = self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        self._end = self._start + 16 * capacity
        self._free: dict[int, list[int]] = {}

    def alloc(self, nbytes: int) -> int:
        """Address of new bytes; OutOfMemoryError if the card has not as many left."""
        nbytes = -(-max(nbytes, 1) // _UNIT) * _UNIT
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
        """Give bytes back."""
        nbytes = -(-max(nbytes, 1) // _UNIT) * _UNIT
        self.held -= nbytes
        self._free.setdefault(nbytes, []).append(address)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy between device and host, or within one of them; a large target on the host gets zeros."""
        if nbytes <= _COPIED:
            ctypes.memmove(target, source, nbytes)
        elif target not in self:
            ctypes.memset(target, 0, nbytes)

    def fill(self, address: int, value: int, nbytes: int) -> None:
        """Set bytes, if they are few."""
        if nbytes <= _COPIED:
            ctypes.memset(address, value, nbytes)

    def __contains__(self, address: int) -> bool:
        return self._start <= address < self._end
