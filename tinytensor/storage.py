"""Storage: a flat typed buffer on one device, with a version counter. Independent of shapes and autograd.

The memory is one of four kinds: a block of the host memory pool (`alloc`), an array that NumPy just allocated
for a small result (`adopt`), memory owned by another library (`wrap_foreign`), or a device buffer
(`alloc_on`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.config import config
from tinytensor.device import Device, cpu
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError
from tinytensor.events import fire, observers
from tinytensor.layout import Layout
from tinytensor.runtime.base import Buffer, Runtime
from tinytensor.runtime.cpu.arrays import NUMPY, Array
from tinytensor.runtime.cpu.graph import capturing, graphs
from tinytensor.runtime.cpu.memory import Arena, Block, pool

__all__ = ["Storage"]

_new = object.__new__


class Storage:
    """One flat buffer, shared by a tensor and its views.

    Attributes:
        buffer: C-contiguous array over all bytes, of any shape, read through byte offsets; on other devices a
            Buffer of the runtime.
        dtype: type of one element.
        device: device of the buffer.
        version: number of in-place writes; backward raises if the version of a saved tensor has changed.
        last_op: name of the last in-place op (unset before the first).
    """

    __slots__ = ("__weakref__", "buffer", "device", "dtype", "last_op", "version")

    buffer: Any  # an Array; a Buffer in a DeviceStorage
    dtype: DType
    device: Device
    version: int
    last_op: str

    @property
    def size(self) -> int:
        """Number of elements."""
        size: int = self.buffer.size
        return size

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        nbytes: int = self.buffer.nbytes
        return nbytes

    def bump(self, why: str) -> None:
        """Count an in-place write, by the op named `why`."""
        self.version += 1
        self.last_op = why
        if observers:
            fire("written", self)

    def __repr__(self) -> str:
        return (
            f"Storage({self.size} x {self.dtype}, {self.nbytes} bytes, {self.device}, version {self.version})"
        )


class PooledStorage(Storage):
    """A storage whose block returns to the host memory pool on deletion."""

    __slots__ = ("block",)

    block: Block

    def __del__(self) -> None:
        pool.returned.append(self.block)  # append only, without a lock: a finalizer may run at any point


class GraphStorage(Storage):
    """A storage made while a CPU graph is captured, in memory of the graph."""

    __slots__ = ("arena", "block")

    arena: Arena
    block: Block

    def __del__(self) -> None:
        self.arena.returned.append(self.block)


class DeviceStorage(Storage):
    """A storage on a device other than the CPU; frees its buffer on deletion."""

    __slots__ = ()

    buffer: Buffer

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.buffer.nbytes // self.dtype.itemsize

    def __del__(self) -> None:
        self.buffer.runtime.returned.append(self.buffer)


class BorrowedStorage(DeviceStorage):
    """A storage over GPU memory of another library, which the buffer keeps alive."""

    __slots__ = ()


def borrow(buffer: Buffer, dtype: DType) -> BorrowedStorage:
    """Storage over a buffer owned by another library."""
    storage = _new(BorrowedStorage)
    storage.buffer = buffer
    storage.dtype = dtype
    storage.device = buffer.runtime.device
    storage.version = 0
    return storage


def alloc_on(runtime: Runtime, size: int, dtype: DType) -> DeviceStorage:
    """Uninitialized storage of `size` elements on a device."""
    if dtype.kind == "complex":
        raise DeviceError(
            f"dtype {dtype} on {runtime.device}",
            why="complex dtypes are supported on the CPU only: there are no CUDA kernels for them",
            fix='keep the tensor on the CPU, or move its parts: x.real.to("cuda"), x.imag.to("cuda")',
        )
    buffer = runtime.alloc(size * dtype.itemsize)
    if config.debug and runtime.device.type == "cuda":  # others: the same bytes already
        runtime.memset(buffer.ptr, 0xFF if dtype.is_inexact else 0x7F, buffer.nbytes)
    storage = _new(DeviceStorage)
    storage.buffer = buffer
    storage.dtype = dtype
    storage.device = runtime.device
    storage.version = 0
    if observers:
        fire("storage", storage)
    return storage


def alloc(shape: tuple[int, ...], dtype: DType) -> tuple[Array, Storage]:
    """Uninitialized, 64-byte aligned array of this shape from the pool, and its storage."""
    kind = NUMPY[dtype]
    nbytes = kind.itemsize
    for size in shape:
        nbytes *= size
    storage: PooledStorage | GraphStorage
    if graphs and (graph := capturing()) is not None:
        block = graph.arena.alloc(nbytes)
        storage = _new(GraphStorage)
        storage.arena = graph.arena
    else:
        block = pool.alloc(nbytes)
        storage = _new(PooledStorage)
    storage.block = block
    storage.dtype = dtype
    storage.device = cpu
    storage.version = 0
    storage.buffer = array = np.ndarray(shape, kind, block.bytes, block.offset)
    if observers:
        fire("storage", storage)
    return array, storage


def adopt(array: Array, dtype: DType) -> Storage:
    """Storage that takes ownership of a C-contiguous array."""
    storage = over(array, dtype)
    if graphs and (graph := capturing()) is not None:
        graph.note_constant(storage)
    if observers:
        fire("storage", storage)
    return storage


def over(array: Array, dtype: DType) -> Storage:
    """Storage over memory that it does not own; the array keeps it alive."""
    storage = _new(Storage)
    storage.buffer = array
    storage.dtype = dtype
    storage.device = cpu
    storage.version = 0
    return storage


def wrap_foreign(array: Array, dtype: DType) -> tuple[Storage, tuple[int, ...], int]:
    """Storage over memory of another library, without a copy, for any strides: (storage, strides, offset), in
    elements. The storage keeps the owner alive. Strides must be multiples of the itemsize.
    """
    item = array.itemsize
    if array.size == 0:
        return adopt(np.empty(0, array.dtype), dtype), (0,) * array.ndim, 0
    back = [size > 1 and stride < 0 for size, stride in zip(array.shape, array.strides, strict=True)]
    # Flip axes with negative strides: the array then begins at its lowest address. The ellipsis makes a view,
    # also of an array without axes, and not its number.
    forward = array[(*[slice(None, None, -1) if b else slice(None) for b in back], ...)]
    steps = [(n - 1) * s // item for n, s in zip(forward.shape, forward.strides, strict=True) if n > 1]
    flat = np.lib.stride_tricks.as_strided(
        forward, (1 + sum(steps),), (item,), writeable=array.flags.writeable
    )
    strides = tuple(s // item for s in array.strides)
    offset = sum(-(n - 1) * s for n, s, b in zip(array.shape, strides, back, strict=True) if b)
    return over(flat, dtype), strides, offset


def view_buffer(storage: Storage, layout: Layout) -> Array:
    """NumPy view of a storage through a layout."""
    kind: np.dtype[Any] = NUMPY[storage.dtype]
    item = kind.itemsize
    # np.ndarray checks that the view stays inside the buffer, and is ten times faster than as_strided
    steps = None if layout.is_contiguous else tuple([s * item for s in layout.strides])
    return np.ndarray(layout.shape, kind, storage.buffer, layout.offset * item, steps)
