"""Conversion of tensors to Python numbers and lists, and zero-copy exchange with NumPy, DLPack and CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import bfloat16
from tinytensor.errors import DeviceError, DTypeError, GradError, ShapeError
from tinytensor.events import observers
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.dlpack import lend_bfloat16
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.runtime.cpu.memory import out_of_memory
from tinytensor.tensor import Tensor, arr

# ---- Python numbers and lists ------------------------------------------------------------------------------


def item(x: Tensor) -> Any:
    """The single element as a Python number.

    Raises:
        ShapeError: there is not exactly one element.

    >>> tt.tensor([[2.5]]).item()
    2.5
    """
    if x.layout.size != 1:
        raise ShapeError(
            f"item: shape {x.shape} has {x.layout.size} elements",
            why="only a tensor with one element converts to a Python number",
            fix="reduce first, for example x.sum().item(), or use x.tolist()",
        )
    return values(x).item()


def tolist(x: Tensor) -> Any:
    """The elements as nested Python lists; a Python number for 0-d tensors."""
    try:
        return values(x).tolist()
    except MemoryError:
        raise out_of_memory("tolist") from None


def as_float(x: Tensor) -> float:
    """`float(x)` of a tensor with one element."""
    return float(item(x))


def as_int(x: Tensor) -> int:
    """`int(x)` of a tensor with one element."""
    return int(item(x))


def as_complex(x: Tensor) -> complex:
    """`complex(x)` of a tensor with one element."""
    return complex(item(x))


def formatted(x: Tensor, spec: str) -> str:
    """`format(x, spec)`: as in f"{loss:.4f}" of one element; f"{loss}" of shape () is the number."""
    return format(item(x), spec) if spec or not x.layout.shape else repr(x)


def as_index(x: Tensor) -> int:
    """`operator.index(x)` of an integer tensor with one element."""
    if x.dtype.kind not in ("int", "uint") or x.layout.size != 1:
        raise DTypeError(
            f"index: a tensor of dtype {x.dtype} and shape {x.shape} is not an index",
            why="only integer tensors with one element convert to a Python integer",
            fix="int(x), or index with the tensor itself",
        )
    return int(values(x).item())


def as_bool(x: Tensor) -> bool:
    """`bool(x)` of a tensor with one element."""
    if x.layout.size != 1:
        raise ShapeError(
            f"bool: the truth value of a tensor of shape {x.shape} is ambiguous",
            why="only a single element has a truth value",
            fix="use x.any() or x.all()",
        )
    return bool(values(x).item())


def contains(x: Tensor, value: object) -> bool:
    """`value in x`: whether an element equals value."""
    return bool((values(x) == (values(value) if isinstance(value, Tensor) else value)).any())


# ---- memory shared with other libraries --------------------------------------------------------------------


def numpy(x: Tensor) -> Array:
    """NumPy array on the same memory, for CPU tensors that do not require grad.

    Writes to it change the tensor, but do not count as in-place operations: the version stays.

    Returns:
        The array, with the strides of the tensor; read-only if the tensor's memory is.

    Raises:
        GradError: the tensor requires grad.
        DTypeError: bfloat16, unless ml_dtypes is installed.

    >>> tt.arange(3).numpy()
    array([0, 1, 2])
    """
    array = _readable(x, "numpy")
    return array.view(_ml_bfloat16()) if x.dtype is bfloat16 else array


def _readable(x: Tensor, what: str) -> Array:
    """The elements in the stored dtype, for a library that does not record what it does with them."""
    _refuse_recorded(x, what)
    _on_cpu(x, what)
    return arr(x)


def _refuse_recorded(x: Tensor, what: str) -> None:
    if x.requires_grad:
        raise GradError(
            f"{what}: the tensor of shape {x.shape} requires grad",
            why="operations of another library on it would not be recorded",
            fix="call x.detach().numpy()" if what == "numpy" else "call x.detach() first",
        )


def _on_cpu(x: Tensor, what: str) -> None:
    refuse(what)
    if x.storage.device is not cpu:
        raise DeviceError(
            f"{what}: the tensor is on {x.device}",
            why="NumPy reads host memory only",
            fix=f'copy it first: x.to("cpu").{what}()',
        )


def as_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    """`__array__`: NumPy's conversion protocol."""
    array = x.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"__array__: a cast from {array.dtype} to {dtype} needs a copy")
        return _noted(array.astype(dtype), "dtype", f"NumPy asks for {dtype}")
    return _noted(array.copy(), "asked", "NumPy asks for a copy") if copy else array


def _noted(array: Array, kind: str, why: str) -> Array:
    if observers:
        copies.note("__array__", kind, array.nbytes, why)
    return array


def dlpack(
    x: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """`__dlpack__`: DLPack capsule on the same memory, for CPU and GPU tensors."""
    if observers and copy:
        copies.note("__dlpack__", "asked", x.nbytes, "DLPack asks for a copy")
    options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    if x.storage.device.type == "cuda":
        with _lent(x, "__dlpack__") as array:
            return array.__dlpack__(**options)
    capsule = _readable(x, "__dlpack__").__dlpack__(**options)
    return lend_bfloat16(capsule) if x.dtype is bfloat16 else capsule


def cuda_array_interface(x: Tensor) -> dict[str, Any]:
    """`__cuda_array_interface__` of a GPU tensor; AttributeError on other devices, so `hasattr` is False."""
    if x.storage.device.type != "cuda":
        raise AttributeError("__cuda_array_interface__: the tensor is not on a GPU")
    with _lent(x, "__cuda_array_interface__") as array:
        interface: dict[str, Any] = array.__cuda_array_interface__
    return interface


@contextmanager
def _lent(x: Tensor, what: str) -> Iterator[Any]:
    """Context manager: CuPy array on the same memory as a GPU tensor, whose consumers wait for our stream.

    The stream in which a consumer reads may be another than it named, or be destroyed by now. So this memory
    is not used again before the device has been waited for: once, after the last of its owners is gone.
    """
    _refuse_recorded(x, what)
    runtime: Any = runtime_of(x.storage.device)
    layout, storage = x.layout, x.storage
    with runtime.current():
        lent = runtime.lend(
            storage.buffer, storage.dtype, layout.shape, layout.strides, layout.offset, storage
        )
        storage.buffer.owner.lent = True
        yield lent


def dlpack_device(x: Tensor) -> tuple[int, int]:
    """`__dlpack_device__`: DLPack device type and device index."""
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
            why="the dtype is provided by the package ml_dtypes, which is not installed",
            fix="cast first: x.astype(tt.float32).numpy(), or pip install ml_dtypes",
        ) from None
    return ml_dtypes.bfloat16
