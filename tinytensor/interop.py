"""Memory that tensors share with other libraries: NumPy, DLPack, `__cuda_array_interface__`; never a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.transfer import arr
from tinytensor.dtypes import bfloat16
from tinytensor.errors import DeviceError, DTypeError, GradError
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.runtime.cpu.memory import Array

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor


def numpy(x: Tensor) -> Array:
    """A NumPy array on the same memory, for tensors on the CPU without history.

    Writes through it reach the tensor, but do not count as in-place operations: the version stays.

    Returns:
        The array, strided like the tensor; read-only if the tensor's memory is.

    Raises:
        GradError: the tensor requires grad.
        DTypeError: bfloat16, unless ml_dtypes is installed.

    Example:
        >>> tt.arange(3).numpy()
        array([0, 1, 2])
    """
    if x.requires_grad:
        raise GradError(
            f"numpy: the tensor of shape {x.shape} requires grad",
            why="what NumPy does to it would not be recorded",
            fix="call x.detach().numpy()",
        )
    _on_cpu(x, "numpy")
    if x.dtype is bfloat16:
        return arr(x).view(_ml_bfloat16())
    return arr(x)


def _on_cpu(x: Tensor, what: str) -> None:
    refuse(what)
    if x.storage.device is not cpu:
        raise DeviceError(
            f"{what}: the tensor is on {x.device}",
            why="NumPy reads host memory only",
            fix=f'copy it first: x.to("cpu").{what}()',
        )


def as_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    """NumPy's protocol."""
    array = x.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"__array__: a cast from {array.dtype} to {dtype} needs a copy")
        return _noted(array.astype(dtype), "dtype", f"NumPy asks for {dtype}")
    return _noted(array.copy(), "asked", "NumPy asks for a copy") if copy else array


def _noted(array: Array, kind: str, why: str) -> Array:
    if copies.listener is not None:
        copies.note("__array__", kind, array.nbytes, why)
    return array


def dlpack(x: Tensor, **options: Any) -> Any:
    """DLPack's protocol, for the memory of the CPU and of GPUs."""
    if copies.listener is not None and options.get("copy"):
        copies.note("__dlpack__", "asked", x.nbytes, "DLPack asks for a copy")
    if x.storage.device.type == "cuda":
        return _lent(x, "__dlpack__").__dlpack__(**options)
    return x.numpy().__dlpack__(**options)


def cuda_array_interface(x: Tensor) -> dict[str, Any]:
    """Numba's protocol, for GPUs; AttributeError elsewhere, so `hasattr` says no."""
    if x.storage.device.type != "cuda":
        raise AttributeError("__cuda_array_interface__: the tensor is not on a GPU")
    interface: dict[str, Any] = _lent(x, "__cuda_array_interface__").__cuda_array_interface__
    return interface


def _lent(x: Tensor, what: str) -> Any:
    """A tensor of a GPU as an array of CuPy on the same memory."""
    if x.requires_grad:
        raise GradError(
            f"{what}: the tensor of shape {x.shape} requires grad",
            why="what another library does to it would not be recorded",
            fix="call x.detach() first",
        )
    runtime: Any = runtime_of(x.storage.device)
    layout, storage = x.layout, x.storage
    with runtime.stream:
        return runtime.lend(
            storage.buffer, storage.dtype, layout.shape, layout.strides, layout.offset, storage
        )


def dlpack_device(x: Tensor) -> tuple[int, int]:
    """DLPack's number of the kind of device, and the device's own."""
    if x.storage.device.type == "cuda":
        return 2, x.storage.device.index  # kDLCUDA
    _on_cpu(x, "__dlpack_device__")
    return 1, 0  # kDLCPU


def _ml_bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise DTypeError(
            "numpy: NumPy has no bfloat16",
            why="the dtype comes from the package ml_dtypes, which is not installed",
            fix="cast first: x.astype(tt.float32).numpy(), or pip install ml_dtypes",
        ) from None
    return ml_dtypes.bfloat16


class ExchangeMethods:
    """What Tensor inherits from this file."""

    __slots__ = ()

    numpy = numpy
    __array__ = as_array
    __dlpack__ = dlpack
    __dlpack_device__ = dlpack_device
    __cuda_array_interface__ = property(cuda_array_interface)
