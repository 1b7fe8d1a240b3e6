"""Arrays of the CuPy without a GPU (fake_cupy.py): work on them is queued in CuPy's current stream.

`__dlpack__` and `__cuda_array_interface__` tell consumers that stream alone, as CuPy's do.
"""

from __future__ import annotations

import ctypes
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.helpers.fake_streams import LEGACY, Stream


class Array:
    """`cupy.ndarray`."""

    def __init__(self, fake: Any, shape: Any, dtype: Any, memptr: Any, strides: Any = None) -> None:
        self.fake, self.shape, self.dtype, self.data = fake, tuple(shape), np.dtype(dtype), memptr
        steps = [self.dtype.itemsize * prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        self.strides = tuple(steps if strides is None else strides)
        self.size = prod(self.shape)
        self.device = SimpleNamespace(id=memptr.mem.device_id)

    def host(self) -> Any:
        """The bytes as they lie there now, seen by NumPy."""
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        below, above = sum(s for s in reach if s < 0), sum(s for s in reach if s > 0)
        raw = (ctypes.c_ubyte * (above - below + self.dtype.itemsize)).from_address(self.data.ptr + below)
        return np.ndarray(self.shape, self.dtype, raw, -below, self.strides)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A function of NumPy that CuPy has, too: computed in the current stream, and waited for."""
        if function.__name__ in self.fake.missing:
            return NotImplemented
        assert self.fake.strict, "CuPy would return NaN where there is no result"
        found = function(*[x.get() if isinstance(x, Array) else x for x in args], **kwargs)
        if isinstance(found, tuple):
            return tuple(array(self.fake, x) for x in found)
        return array(self.fake, found)

    def __setitem__(self, key: Any, value: Any) -> None:
        assert key is ...
        target, source = self.host(), value.host()  # work that is queued keeps nothing alive
        self.fake.get_current_stream().add(lambda: np.copyto(target, source))

    def __getitem__(self, key: Any) -> Any:
        return self.get()[key]  # for messages alone

    def fill(self, value: float) -> None:
        self.fake.get_current_stream().add(lambda: self.host().fill(value))

    def get(self) -> Any:
        """A copy in the current stream, for which the host waits: for no other stream."""
        stream = self.fake.get_current_stream()
        found: list[Any] = []
        stream.add(lambda: found.append(self.host().copy()))
        stream.synchronize()
        return found[0]

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Array:
        consumer: Stream = self.fake.stream_at(LEGACY if stream is None else stream)
        current: Stream = self.fake.get_current_stream()
        if consumer is not current:
            consumer.wait_event(current.record())
        return self  # stands in for the capsule

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        stream = self.fake.get_current_stream().ptr or LEGACY
        return {"shape": self.shape, "typestr": self.dtype.str, "strides": self.strides, "version": 3} | {
            "data": (self.data.ptr, False),
            "stream": stream,
        }


def from_dlpack(fake: Any, obj: Any) -> Any:
    """`cupy.from_dlpack`: tells the producer the current stream of the object's device."""
    before = fake.here.device
    fake.here.device = obj.__dlpack_device__()[1]
    try:
        return obj.__dlpack__(stream=fake.get_current_stream().ptr or LEGACY, max_version=(1, 0))
    finally:
        fake.here.device = before


def asarray(fake: Any, obj: Any) -> Any:
    """`cupy.asarray` of an object that is no array of CuPy: waits for the stream that it names."""
    found = obj.__cuda_array_interface__
    if found.get("stream") is not None:
        fake.stream_at(found["stream"]).synchronize()
    memory = SimpleNamespace(device_id=fake.here.device, owner=obj)
    pointer = SimpleNamespace(ptr=found["data"][0], mem=memory)
    return Array(fake, found["shape"], found["typestr"], pointer, found["strides"])


def array(fake: Any, values: Any) -> Array:
    """`cupy.array`: uploads in the current stream."""
    values = np.asarray(values)
    pointer = fake.cuda.alloc(values.nbytes)
    pointer.mem.device_id = fake.here.device
    made = Array(fake, values.shape, values.dtype, pointer)
    target = made.host()
    fake.get_current_stream().add(lambda: np.copyto(target, values))
    return made
