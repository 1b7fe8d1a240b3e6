"""Tensors and the memory behind them: made without history, read as NumPy arrays, carried between devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.launch import dense_for_transfer
from tinytensor.dtypes import DType
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import Array, widen
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.runtime.cpu.memory import without_memory
from tinytensor.tensor import Tensor, arr, empty, from_array


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
