"""Tensors and the memory behind them: made without history, read as NumPy arrays, carried between devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.launch import dense_for_transfer
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError, ShapeError
from tinytensor.layout import Layout, contiguous, large, ordered
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.runtime.cpu.memory import NUMPY, Array, widen, without_memory
from tinytensor.storage import Storage, adopt, alloc, alloc_on, view_buffer

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor

new = object.__new__
Shape = tuple[int, ...]

_Tensor: type[Tensor]  # the class of all results, given once by tensor.py


def use_result_class(cls: type[Tensor]) -> None:
    """tensor.py says here what results are made of: the layers below it cannot import it."""
    global _Tensor
    _Tensor = cls


def is_tensor(x: object) -> TypeGuard[Tensor]:
    """Whether x is a Tensor of this engine."""
    return isinstance(x, _Tensor)


def wrap(array: Array | None, layout: Layout, storage: Storage) -> Tensor:
    """A tensor without history."""
    t = new(_Tensor)
    t.storage = storage
    t.layout = layout
    t._grad = None
    t._array = array
    t._requires = False
    t._edge = t._base = t._hooks = None
    return t


def from_array(array: Array, dtype: DType) -> Tensor:
    """A tensor over a C-contiguous array that nobody else will write to."""
    return wrap(array, contiguous(array.shape), adopt(array, dtype))


def constant(array: Array, dtype: DType, device: Device) -> Tensor:
    """A tensor on any device with the elements of a C-contiguous array that nobody else will write to."""
    return from_array(array, dtype) if device is cpu else upload(from_array(array, dtype), device)


def upload(t: Tensor, device: Device) -> Tensor:
    """A copy of a tensor of the CPU on a device, without history."""
    refuse("a copy to a device")
    made = empty(t.layout.shape, t.storage.dtype, device=device)
    if t.layout.size:
        array = arr(t)
        if not array.flags.c_contiguous:
            if copies.listener is not None:
                lies = copies.describe(t.layout.shape, t.layout.strides)
                copies.note("to", "layout", array.nbytes, f"elements travel as one block: x is {lies}")
            array = np.ascontiguousarray(array)
        runtime_of(device).copy_in(made.storage.buffer.ptr, array)
        _note_transfer(t, device)
    return made


def download(t: Tensor) -> Tensor:
    """A copy of a tensor of a device on the CPU, without history; waits for the device, and raises
    what its kernels reported.
    """
    refuse("a copy from a device")
    made = empty(t.layout.shape, t.storage.dtype)
    if t.layout.size:
        view = dense_for_transfer(t)
        runtime = runtime_of(t.storage.device)
        runtime.copy_out(arr(made), view.ptr)
        raise_reported(runtime)
        _note_transfer(t, cpu)
    return made


def copy_between_gpus(t: Tensor, device: Device) -> Tensor:
    """A copy of a tensor of one GPU on another one, not by way of the host, without history."""
    made = empty(t.layout.shape, t.storage.dtype, device=device)
    if t.layout.size:
        view = dense_for_transfer(t)
        target: Any = runtime_of(device)
        target.copy_from(made.storage.buffer.ptr, runtime_of(t.storage.device), view.ptr, view.nbytes)
        _note_transfer(t, device)
    return made


def _note_transfer(t: Tensor, device: Device) -> None:
    if copies.listener is not None:
        nbytes = t.layout.size * t.storage.dtype.itemsize
        copies.note("to", "device", nbytes, f"from {t.storage.device} to {device}")


def same_memory(t: Tensor) -> Tensor:
    """A tensor over the same memory, read in the same way, without history."""
    return wrap(arr(t) if t.storage.device is cpu else None, t.layout, t.storage)


def arr(t: Tensor) -> Array:
    """The NumPy view of a tensor of the CPU, as stored; built once."""
    array = t._array
    if array is None:
        layout, storage = t.layout, t.storage
        if storage.device is not cpu:
            raise DeviceError(
                f"the tensor of shape {layout.shape} is on {storage.device}",
                why="this step reads host memory, and the host does not see the memory of a device",
                fix='copy it first: x.to("cpu")',
            )
        try:
            if layout.size:
                array = view_buffer(storage, layout.shape, layout.strides, layout.offset)
            else:
                array = np.empty(layout.shape, NUMPY[storage.dtype])
        except ValueError:
            raise ShapeError(
                f"reading: shape {layout.shape} of dtype {storage.dtype} is too large to be read",
                why="NumPy counts its bytes in 64 bits: repeated ones, too, and in an empty shape 1 for 0",
                fix="read a part of it: x[:10]",
            ) from None
        t._array = array
    return array


def values(t: Tensor) -> Array:
    """The elements of a tensor in a dtype that NumPy computes in (16-bit floats become float32); from a
    device, a copy.
    """
    refuse("reading a result")
    dtype = t.storage.dtype
    if t.storage.device is not cpu:
        t = download(t)
    return widened("values", arr(t), dtype) if dtype.narrow else arr(t)


def widened(op: str, array: Array, dtype: DType) -> Array:
    """Stored 16-bit floats as float32, for what computes in it."""
    if copies.listener is not None:
        copies.note(op, "dtype", 2 * array.nbytes, f"{dtype} is computed in float32")
    try:
        return widen(array, dtype)
    except (MemoryError, ValueError) as error:
        if (missing := without_memory(op, error, array.size)) is None:
            raise
        raise missing from None


def empty(shape: Shape, dtype: DType, order: Shape | None = None, device: Device = cpu) -> Tensor:
    """An uninitialized tensor; `order` lists its axes as they lie in memory, slowest first."""
    layout = contiguous(shape) if order is None else ordered(shape, order)
    if device is not cpu:
        return wrap(None, large(layout), alloc_on(runtime_of(device), layout.size, dtype))
    if layout.small:
        return small(layout, dtype)
    array, storage = alloc(shape, dtype)
    return wrap(array if order is None else None, layout, storage)


def small(layout: Layout, dtype: DType) -> Tensor:
    """An uninitialized tensor of a small layout, in memory of NumPy's."""
    storage = new(Storage)
    storage.buffer = array = np.empty(layout.shape, NUMPY[dtype])
    storage.dtype = dtype
    storage.device = cpu
    storage.version = 0
    return wrap(array, layout, storage)
