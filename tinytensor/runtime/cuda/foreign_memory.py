"""Zero-copy exchange of GPU memory with other libraries, by DLPack and `__cuda_array_interface__`.

Both go through a CuPy array, which implements the protocols, and orders other libraries behind CuPy's own
current stream: so the stream of the engine must be current in CuPy while it is asked (`current`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytensor import dtypes
from tinytensor.dtypes import DType, as_dtype
from tinytensor.errors import DeviceError, DTypeError
from tinytensor.runtime.base import Buffer
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.runtime.cuda.memory_pool import Borrowed


@dataclass(frozen=True, slots=True)
class Foreign:
    """External memory, with its layout: strides and offset are in elements."""

    buffer: Buffer
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@contextmanager
def current(runtime: Any) -> Iterator[None]:
    """Context manager: this GPU and this thread's stream are the current ones of CuPy, too."""
    stream = runtime.stream  # first: see `CupyRuntime.stays`
    with runtime.cupy.cuda.Device(runtime.index), stream:
        yield


@contextmanager
def library(runtime: Any, what: str) -> Iterator[None]:
    """Context manager for NumPy's functions on arrays of `lend`: CuPy computes them, by cuSOLVER and cuBLAS,
    in this thread's stream.

    Raises:
        DeviceError: a graph is being captured, a library is missing, or CuPy has no such function.
    """
    runtime._refuse_in_capture(what)
    errors = importlib.import_module("cupyx").errstate(linalg="raise")  # else matrices of NaN
    try:
        with runtime.current(), errors:
            yield
    except ImportError as error:
        raise DeviceError(
            f"{what}: a library of CUDA is missing on {runtime.device}",
            why=str(error),
            fix='pip install ".[vendor13]", or ".[vendor12]" beside the CuPy for CUDA 12; or x.to("cpu")',
        ) from None
    except TypeError as error:
        if "no implementation found" not in str(error):  # NumPy's words: CuPy does not have it
            raise
        raise DeviceError(
            f"{what}: CuPy {runtime.cupy.__version__} cannot compute it on {runtime.device}",
            why=str(error),
            fix='copy the inputs: x.to("cpu")',
        ) from None


def borrow(runtime: Any, obj: Any) -> Foreign:
    """Memory of an object with `__dlpack__` or `__cuda_array_interface__`. Later work of this thread's stream
    runs after the work that its library has queued. The object is kept alive until the buffer is returned and
    the work that is queued then is done.

    Raises:
        DeviceError: it is not on this GPU, or has no such method; or a graph is being captured.
    """
    runtime._refuse_in_capture("sharing memory with another library")
    cupy = runtime.cupy
    with cupy.cuda.Device(runtime.index):  # arrays of CuPy do not wait for the stream that is current here
        runtime.order(None, cupy.cuda.get_current_stream())
    with runtime.current():
        if hasattr(obj, "__dlpack__"):
            array = cupy.from_dlpack(obj)
        elif hasattr(obj, "__cuda_array_interface__"):
            array = cupy.asarray(obj)
        else:
            raise DeviceError(
                f"{type(obj).__name__} has no GPU memory to share",
                why="it has neither __dlpack__ nor __cuda_array_interface__",
                fix='tt.asarray(x).to("cuda") copies from the host',
            )
    if array.device.id != runtime.index:
        raise DeviceError(
            f"{type(obj).__name__}: its memory is on cuda:{array.device.id}, not on {runtime.device}",
            why="memory is shared without a copy, so it stays on its device",
            fix=f'use device="cuda:{array.device.id}"',
        )
    dtype = as_dtype(array.dtype)
    itemsize = dtype.itemsize
    if dtype.kind == "complex" or any(step % itemsize for step in array.strides):
        raise DTypeError(
            f"{type(obj).__name__}: dtype {dtype} with strides of {array.strides} bytes cannot be shared",
            why="kernels support real dtypes, with strides of whole elements",
            fix="copy it to the host",
        )
    reach = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)] if array.size else []
    below = -sum(step for step in reach if step < 0)
    nbytes = below + sum(step for step in reach if step > 0) + itemsize if array.size else 0
    buffer = Buffer(array.data.ptr - below, nbytes, runtime, Borrowed(array))
    strides = tuple(step // itemsize for step in array.strides)
    return Foreign(buffer, dtype, tuple(array.shape), strides, below // itemsize)


def lend(
    runtime: Any,
    buffer: Buffer,
    dtype: DType,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int,
    owner: object = None,
) -> Any:
    """A CuPy array over a buffer, which keeps the owner alive; strides and offset are in elements.

    It has `__dlpack__` and `__cuda_array_interface__`. Use it under `with runtime.current()`.

    Raises:
        DeviceError: a graph is being captured.
    """
    runtime._refuse_in_capture("sharing memory with another library")
    cupy = runtime.cupy
    kind = _bfloat16() if dtype is dtypes.bfloat16 else NUMPY[dtype]
    memory = cupy.cuda.UnownedMemory(buffer.ptr, buffer.nbytes, owner or buffer, runtime.index)
    pointer = cupy.cuda.MemoryPointer(memory, offset * dtype.itemsize)
    steps = tuple(step * dtype.itemsize for step in strides)
    return cupy.ndarray(tuple(shape), kind, pointer, steps)


def _bfloat16() -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
        return found
    except ImportError:
        raise DTypeError(
            "dtype bfloat16 needs the package ml_dtypes to be shared",
            why="NumPy and CuPy have no bfloat16 dtype",
            fix="pip install ml_dtypes, or cast: x.to(tt.float32)",
        ) from None
