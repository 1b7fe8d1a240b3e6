"""Device transfer: upload, download and GPU-to-GPU copies of tensors, and reading them as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.launch import dense_for_transfer
from tinytensor.dtypes import DType
from tinytensor.events import observers
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import Array, widen
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.runtime.cpu.memory import without_memory
from tinytensor.tensor import Tensor, arr, empty, from_array


def constant(array: Array, dtype: DType, device: Device) -> Tensor:
    """Tensor on any device from a C-contiguous array, of which it takes ownership."""
    return from_array(array, dtype) if device is cpu else upload(from_array(array, dtype), device)


def upload(t: Tensor, device: Device) -> Tensor:
    """Copy of a CPU tensor on a device, without autograd history."""
    refuse("a copy to a device")
    made = empty(t.layout.shape, t.storage.dtype, device=device)
    if t.layout.size:
        array = arr(t)
        if not array.flags.c_contiguous:
            if observers:
                lies = copies.describe(t.layout.shape, t.layout.strides)
                copies.note("to", "layout", array.nbytes, f"elements travel as one block: x is {lies}")
            array = np.ascontiguousarray(array)
        runtime_of(device).copy_in(made.storage.buffer.ptr, array)
        _note_transfer(t, device)
    return made


def download(t: Tensor) -> Tensor:
    """Copy of a device tensor on the CPU, without autograd history; synchronizes, and raises errors that
    kernels reported.
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
    """Direct copy of a GPU tensor on another GPU, without autograd history."""
    made = empty(t.layout.shape, t.storage.dtype, device=device)
    if t.layout.size:
        view = dense_for_transfer(t)
        target: Any = runtime_of(device)
        target.copy_from(made.storage.buffer.ptr, runtime_of(t.storage.device), view.ptr, view.nbytes)
        _note_transfer(t, device)
    return made


def _note_transfer(t: Tensor, device: Device) -> None:
    if observers:
        nbytes = t.layout.size * t.storage.dtype.itemsize
        copies.note("to", "device", nbytes, f"from {t.storage.device} to {device}")


def values(t: Tensor) -> Array:
    """The elements of a tensor as a NumPy array, 16-bit floats as float32; for device tensors a copy."""
    refuse("reading a result")
    dtype = t.storage.dtype
    if t.storage.device is not cpu:
        t = download(t)
    return widened("values", arr(t), dtype) if dtype.narrow else arr(t)


def widened(op: str, array: Array, dtype: DType, out: Array | None = None) -> Array:
    """Stored 16-bit floats converted to float32, in `out` or a new array."""
    if observers:
        copies.note(op, "dtype", 2 * array.nbytes, f"{dtype} is computed in float32")
    try:
        return widen(array, dtype, out)
    except (MemoryError, ValueError) as error:
        if (missing := without_memory(op, error, array.size)) is None:
            raise
        raise missing from None
