"""Copies between host and GPU through pinned staging buffers.

Double buffering: while the GPU copies one buffer, the host fills or empties the other. NumPy arrays are in
pageable memory, from which a copy would be slower and would block the host. Small copies have more buffers:
those of a training step (ids, numbers of the optimizer) then need not wait until the GPU has done the step
before.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytensor.runtime.cpu.arrays import Array

_LARGE = 2, 4 << 20  # number of buffers, and bytes of one
_SMALL = 16, 64 << 10


class _Slot:
    """One pinned buffer, and the event recorded after its last copy."""

    __slots__ = ("bytes", "event", "memory", "ptr")

    def __init__(self, cuda: Any, size: int) -> None:
        self.memory = cuda.alloc_pinned_memory(size)
        self.ptr: int = self.memory.ptr
        self.bytes: Array = np.frombuffer(self.memory, np.uint8, size)
        self.event = cuda.Event(False, True)  # block=False, disable_timing=True


class Staging:
    """The pinned buffers of one GPU.

    Args:
        call: calls a function with the GPU current; see `CupyRuntime.call`.
    """

    def __init__(self, call: Callable[..., Any], cuda: Any) -> None:
        self._call, self._cuda, self._api = call, cuda, cuda.runtime
        self._slots: dict[tuple[int, int], deque[_Slot]] = {}  # the next one is the first
        self._lock = threading.Lock()  # one copy at a time: they would share one bus

    def send(self, ptr: int, source: Array, stream: Any) -> None:
        """Copy host to device; the source may be overwritten when this returns."""
        with self._lock:
            kind = _LARGE if source.size > _SMALL[1] else _SMALL
            for start in range(0, source.size, kind[1]):
                slot, part = self._next(kind), source[start : start + kind[1]]
                slot.bytes[: part.size] = part
                self._copy(ptr + start, slot.ptr, part.size, self._api.memcpyHostToDevice, slot, stream)

    def send_constant(self, ptr: int, source: Array, stream: Any) -> Any:
        """Copy host to device in a captured graph, from new host memory, which the caller keeps."""
        if not source.size:
            return None
        memory = self._call(self._cuda.alloc_pinned_memory, source.size)
        np.frombuffer(memory, np.uint8, source.size)[:] = source
        kind = self._api.memcpyHostToDevice
        self._call(self._api.memcpyAsync, ptr, memory.ptr, source.size, kind, stream.ptr)
        return memory

    def receive(self, target: Array, ptr: int, stream: Any) -> None:
        """Copy device to host; the target is complete when this returns."""
        with self._lock:
            for slot, part in self._parts(target, ptr, stream):
                self._call(slot.event.synchronize)
                part[:] = slot.bytes[: part.size]

    def _parts(self, target: Array, ptr: int, stream: Any) -> Iterator[tuple[_Slot, Array]]:
        """Pipeline the copy in parts: start each before waiting for the previous one."""
        ahead: tuple[_Slot, Array] | None = None
        kind = _LARGE if target.size > _SMALL[1] else _SMALL
        for start in range(0, target.size, kind[1]):
            slot, part = self._next(kind), target[start : start + kind[1]]
            self._copy(slot.ptr, ptr + start, part.size, self._api.memcpyDeviceToHost, slot, stream)
            if ahead:
                yield ahead
            ahead = slot, part
        if ahead:
            yield ahead

    def _next(self, kind: tuple[int, int]) -> _Slot:
        """The next buffer of a kind, after its last copy is done."""
        slots = self._slots.get(kind)
        if slots is None:
            count, size = kind
            slots = self._slots[kind] = deque(self._call(_Slot, self._cuda, size) for _ in range(count))
        slots.rotate(-1)
        slot = slots[0]
        self._call(slot.event.synchronize)
        return slot

    def _copy(self, target: int, source: int, nbytes: int, kind: int, slot: _Slot, stream: Any) -> None:
        self._call(self._api.memcpyAsync, target, source, nbytes, kind, stream.ptr)
        self._call(slot.event.record, stream)
