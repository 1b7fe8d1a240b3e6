"""Tensor creation from Python data, NumPy arrays, DLPack objects, and shapes (zeros, arange, eye, …)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytensor.autograd.levels import Batched
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import on_value
from tinytensor.dispatch.elementwise import NUMBERS
from tinytensor.dispatch.transfer import upload
from tinytensor.dtypes import DType, as_dtype, bfloat16, bool_, complex64, float32, iinfo, int64, uint64
from tinytensor.errors import ArgumentError, DTypeError, GradError, NumberRangeError, ShapeError, shown
from tinytensor.events import observers
from tinytensor.layout import Layout, contiguous
from tinytensor.ops.inplace import copy_
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.ops.views.manipulation import Full
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import NUMPY, Array, dtype_of, narrow, silent
from tinytensor.runtime.cpu.dlpack import Borrowed
from tinytensor.runtime.cpu.memory import allocating
from tinytensor.shapes import as_int, check_shape
from tinytensor.storage import borrow, wrap_foreign
from tinytensor.tensor import Tensor, arr, from_array, wrap
from tinytensor.tensor import empty as empty_of

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def place_of(device: Any, what: str) -> Device:
    """The device for a `device` argument, checked to be available; default: the CPU."""
    place = cpu if device is None else as_device(device, what)
    if place is not cpu:
        runtime_of(place)
    return place


def _shape(shape: Any, sizes: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """Sizes given as f(2, 3), f((2, 3)) or f(shape=(2, 3))."""
    return check_shape((shape, *sizes) if sizes else shape, what)


def stored(array: Array, dtype: DType, device: Device, what: str = "") -> Tensor:
    """Tensor of this dtype with a copy of the values; with `what` (a function), floats must be in range."""
    if what and dtype.rank == 1 and array.dtype.kind == "f" and array.size:
        check_range([array.min(), array.max()], dtype, what)
    made = from_array(silent().run(_converted, array, dtype), dtype)
    return made if device is cpu else upload(made, device)


def _converted(array: Array, dtype: DType) -> Array:
    """A C-contiguous copy of the values in the stored dtype."""
    if not dtype.narrow:
        return np.array(array, NUMPY[dtype], order="C", copy=True)
    copy: Array = np.empty(array.shape, NUMPY[dtype])
    narrow(np.asarray(array), dtype, copy)
    return copy


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data.

    Args:
        data: number, nested sequence, NumPy array or tensor.
        dtype: default: float32 for Python floats, int64 for integers, bool, complex64; arrays keep theirs.

    >>> tt.tensor([[1, 2], [3, 4]]).dtype
    tinytensor.int64
    """
    place = place_of(device, "tensor")
    wanted = None if dtype is None else as_dtype(dtype, "tensor")
    data = _shared_bfloat16(data)
    if isinstance(data, Tensor):
        if data.dtype.kind == "complex" and wanted is not None and wanted.kind != "complex":
            raise DTypeError(
                f"tensor: complex data for dtype {wanted}",
                why="the imaginary part would be lost",
                fix="pass x.real, or dtype=tt.complex64",
            )
        made = data.detach().astype(wanted or data.dtype)
        made = transfer(made, made.device if device is None else place)
    else:
        array = _read(data, "tensor", wanted)
        chosen = wanted or _default_dtype(array, data)
        if array.dtype.kind == "c" and chosen.kind != "complex":
            raise DTypeError(
                f"tensor: complex data for dtype {chosen}",
                why="the imaginary part would be lost",
                fix="pass the real part, or dtype=tt.complex64",
            )
        ours = not isinstance(data, np.ndarray)  # arrays are cast, as by `astype`
        if array.dtype.kind in "iuf" and array.size and chosen.rank == 1 and ours:
            check_range([array.min(), array.max()], chosen, "tensor")
        if observers and isinstance(data, np.ndarray):
            copies.note("tensor", "asked", array.size * chosen.itemsize, "a tensor of its own is asked for")
        made = stored(array, chosen, place)
    return made.requires_grad_() if requires_grad else made


def check_range(ends: list[Any], dtype: DType, what: str) -> None:
    """NumberRangeError if a number is out of range of the dtype, where NumPy would wrap around."""
    limits = iinfo(dtype)
    for x in ends:
        if isinstance(x, np.generic):
            x = x.item()
        whole = isinstance(x, int) or math.isfinite(x)
        if not (whole and limits.min <= math.trunc(x) <= limits.max):
            raise NumberRangeError(
                f"{what}: the number {shown(x)} does not fit into {dtype}",
                why=f"{dtype} holds {limits.min} to {limits.max}",
                fix="choose a wider dtype, or dtype=tt.float64",
            )


def _read(data: Any, what: str, wanted: DType | None) -> Array:
    """Python data as a NumPy array."""
    if isinstance(data, (list, tuple)) and _holds_tensor(data):
        data = _unwrap(data)
    _refuse_mask(data, what)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError) as error:
        raise ArgumentError(
            f"{what}: the data do not form a tensor ({error})",
            why="nested sequences must have equal lengths at each level, and numbers must fit their dtype",
            fix="pad the rows to one length, or pass numbers only",
        ) from None
    if wanted is uint64 and array.dtype.kind == "f" and array.size and isinstance(data, (list, tuple)):
        exact = np.asarray(data, object)  # NumPy converts integers on both sides of 2**63 to floats
        if all([isinstance(x, int) for x in exact.flat]):
            check_range([min(exact.flat), max(exact.flat)], wanted, what)
            array = exact.astype(np.uint64)
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            f"{what}: the data have type {array.dtype.name}",
            why="a tensor holds booleans, integers, floats or complex numbers",
            fix="convert the data to numbers first",
        )
    return array


def _refuse_mask(data: Any, what: str) -> None:
    if isinstance(data, np.ma.MaskedArray):
        raise DTypeError(
            f"{what}: the data are a masked array",
            why="a tensor has no mask, so masked values would become visible",
            fix="fill them first: array.filled(0)",
        )


def _holds_tensor(data: Any) -> bool:
    return any(isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and _holds_tensor(x)) for x in data)


def _unwrap(data: Any) -> Any:
    if isinstance(data, Tensor):
        if data.requires_grad:
            raise GradError(
                f"tensor: a tensor of shape {data.shape} among the data requires grad",
                why="its values would be copied without their history",
                fix="join recorded tensors with tt.stack([...]), or detach() them",
            )
        return data.tolist()
    return [_unwrap(x) for x in data] if isinstance(data, (list, tuple)) else data


def _default_dtype(array: Array, data: Any) -> DType:
    """Dtype of data: arrays keep theirs, Python numbers get the default of their kind."""
    if isinstance(data, (np.ndarray, np.generic)):
        return as_dtype(array.dtype, "tensor")
    return {"b": bool_, "i": int64, "u": int64, "f": float32, "c": complex64}[array.dtype.kind]


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor with these values that shares their memory if possible.

    Args:
        obj: tensor, NumPy array, object with `__dlpack__` or the buffer protocol, number or nested sequence.
        copy: True always copies, False never (ArgumentError if it must), None only where needed.

    Returns:
        A tensor; on the array's memory if neither dtype nor layout requires a copy.

    Raises:
        DTypeError: the data are not numbers, or a masked array.

    >>> a = np.zeros(3)
    >>> t = tt.asarray(a)
    >>> a[0] = 7.0
    >>> t.tolist()
    [7.0, 0.0, 0.0]
    """
    place = place_of(device, "asarray")
    obj = _shared_bfloat16(obj)
    wanted = None if dtype is None else as_dtype(dtype, "asarray")
    moves = device is not None and place is not (obj.device if isinstance(obj, Tensor) else cpu)
    if moves:
        if copy is False:
            raise _needs_copy(f"a move to {place}")
        return transfer(asarray(obj, dtype=dtype), place)
    _refuse_mask(obj, "asarray")
    if _gpu_of(obj) is not None:
        there = from_dlpack(obj, copy=copy)
        return there if wanted is None else there.astype(wanted, copy=False)
    if isinstance(obj, Tensor):
        changes = wanted is not None and wanted is not obj.dtype
        if copy is False and changes:
            raise _needs_copy(f"a cast from {obj.dtype} to {wanted}")
        return obj.astype(wanted or obj.dtype, copy=bool(copy))
    if copy or not _has_memory(obj):
        if copy is False:
            raise _needs_copy(f"{type(obj).__name__} data")
        return tensor(obj, dtype=dtype)
    array = (
        obj
        if isinstance(obj, np.ndarray)
        else np.asarray(memoryview(obj))
        if _is_buffer(obj)
        else np.from_dlpack(obj)
    )
    shared = from_numpy(array) if _shareable(array) else None
    if shared is None or (wanted is not None and wanted is not shared.dtype):
        if copy is False:
            raise _needs_copy(f"a cast from {array.dtype} to {wanted or 'a dtype of ours'}")
        return tensor(array, dtype=dtype)
    return shared


def _shared_bfloat16(data: Any) -> Any:
    """Data of other libraries in bfloat16 as a tensor on their memory: NumPy does not read them."""
    if isinstance(data, Tensor) or not str(getattr(data, "dtype", "")).endswith("bfloat16"):
        return data
    numpy = isinstance(data, (np.ndarray, np.generic))
    return from_numpy(np.asarray(data)) if numpy else from_dlpack(data)


def _is_buffer(obj: Any) -> bool:
    try:
        memoryview(obj)
    except TypeError:
        return False
    return not isinstance(obj, np.generic)


def _has_memory(obj: Any) -> bool:
    return isinstance(obj, np.ndarray) or hasattr(obj, "__dlpack__") or _is_buffer(obj)


def _needs_copy(what: str) -> ArgumentError:
    return ArgumentError(
        f"asarray: copy=False, but {what} needs a copy",
        why="the memory cannot be shared as it is",
        fix="leave copy out, or pass an array of the wanted dtype",
    )


def _shareable(array: Array) -> bool:
    """Whether a tensor can share it: native byte order, supported dtype, aligned, whole strides."""
    item = array.itemsize
    return (
        array.dtype.kind in "biufc"
        and array.dtype.isnative
        and array.dtype.itemsize <= 16
        and array.flags.aligned
        and not any(s % item for n, s in zip(array.shape, array.strides, strict=True) if n > 1)
    )


def from_numpy(array: Array) -> Tensor:
    """A tensor on a NumPy array's memory: no copy, any strides, memory-mapped files included.

    Args:
        array: a NumPy array of a numeric dtype; a read-only one gives a read-only tensor.

    Returns:
        A tensor of the array's shape and strides. The array's memory lives as long as the tensor.

    Raises:
        DTypeError: it is not an array, it is a masked one, or its dtype is not numeric or not native.
        ArgumentError: its elements are not aligned to multiples of their size.

    >>> tt.from_numpy(np.arange(6)[::-2]).strides
    (-2,)
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            f"from_numpy: got a {type(array).__name__}",
            why="it shares the memory of an array",
            fix="tt.tensor(data)",
        )
    _refuse_mask(array, "from_numpy")
    narrow = array.dtype.name == "bfloat16"  # of ml_dtypes
    array = array.view(np.uint16) if narrow else array
    if array.dtype.kind not in "biufc" or not array.dtype.isnative or array.dtype.itemsize > 16:
        raise DTypeError(
            f"from_numpy: dtype {array.dtype} cannot be shared",
            why="a tensor holds native booleans, integers, floats or complex numbers",
            fix='convert first, for example array.astype("float32")',
        )
    if not _shareable(array):
        raise ArgumentError(
            f"from_numpy: strides of {array.strides} bytes for elements of {array.itemsize} bytes",
            why="strides of a tensor count whole, aligned elements",
            fix="pass np.ascontiguousarray(array)",
        )
    return _wrap_array(array, bfloat16 if narrow else dtype_of(array))


def _wrap_array(array: Array, dtype: DType) -> Tensor:
    storage, strides, offset = wrap_foreign(array, dtype)
    layout = Layout(array.shape, strides, offset)
    if layout.is_contiguous and offset == 0:
        layout = contiguous(array.shape)
        return wrap(storage.buffer.reshape(array.shape), layout, storage)
    t = wrap(None, layout, storage)
    arr(t)
    return t


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of any object that supports DLPack (NumPy, PyTorch, JAX, CuPy).

    Args:
        copy: True copies; None and False share.

    >>> tt.from_dlpack(np.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """
    place = place_of(device, "from_dlpack")
    if (there := _gpu_of(x)) is not None:
        shared = _borrow(x, there)
        return transfer(shared.clone() if copy else shared, there if device is None else place)
    _refuse_mask(x, "from_dlpack")
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(
            f"from_dlpack: {type(x).__name__} has no __dlpack__",
            why="it does not support DLPack",
            fix="tt.tensor(x)",
        )
    try:
        array = np.from_dlpack(borrowed := Borrowed(x))
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"from_dlpack: the memory cannot be shared ({error})",
            why="it is on another device, requires grad, or has a dtype that NumPy does not support",
            fix="move it to the CPU and detach it there first",
        ) from None
    shared = _wrap_array(array, bfloat16) if borrowed.bfloat16 else from_numpy(array)
    return transfer(tensor(shared) if copy else shared, place)


def _gpu_of(x: Any) -> Device | None:
    """The GPU of an object of another library, by DLPack or `__cuda_array_interface__`; None if on no GPU."""
    if isinstance(x, Tensor):
        return None
    kind, index = x.__dlpack_device__() if hasattr(x, "__dlpack_device__") else (0, 0)
    if int(kind) in (2, 13):  # kDLCUDA, kDLCUDAManaged
        return as_device(f"cuda:{index}")
    return as_device("cuda") if kind == 0 and hasattr(x, "__cuda_array_interface__") else None


def _borrow(x: Any, device: Device) -> Tensor:
    """Tensor on the memory of a GPU object of another library, without a copy."""
    runtime: Any = runtime_of(device)
    found = runtime.borrow(x)
    layout = Layout(found.shape, found.strides, found.offset)
    return wrap(None, layout, borrow(found.buffer, found.dtype))


def empty(
    shape: Any = (), *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An uninitialized tensor, float32 by default; the sizes as a tuple or one by one.

    >>> tt.empty(2, 3).shape
    (2, 3)
    """
    place = place_of(device, "empty")
    wanted = float32 if dtype is None else as_dtype(dtype, "empty")
    made = empty_of(_shape(shape, sizes, "empty"), wanted, device=place)
    return made.requires_grad_() if requires_grad else made


def full(
    shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with all elements equal to `fill_value`.

    Args:
        dtype: default: inferred from the number, as by `tt.tensor`.

    >>> tt.full((2,), 1.5).tolist()
    [1.5, 1.5]
    """
    place = place_of(device, "full")
    value = tensor(fill_value, dtype=dtype)
    if value.layout.shape:
        raise ShapeError(
            f"full: the value has shape {value.shape}",
            why="all elements get the same number",
            fix="tt.broadcast_to(value, shape).clone()",
        )
    number = fill_value if isinstance(fill_value, (*NUMBERS, np.generic)) else value.item()
    made = apply(Full(shape=check_shape(shape, "full"), dtype=value.dtype, device=place), number)
    return made.requires_grad_() if requires_grad else made


def zeros(
    shape: Any = (), *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros, float32 by default; the sizes as a tuple or one by one.

    >>> tt.zeros(2).tolist()
    [0.0, 0.0]
    """
    place = place_of(device, "zeros")
    wanted = float32 if dtype is None else as_dtype(dtype, "zeros")
    return full(_shape(shape, sizes, "zeros"), 0, dtype=wanted, device=place, requires_grad=requires_grad)


def ones(
    shape: Any = (), *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones, float32 by default; the sizes as a tuple or one by one.

    >>> tt.ones(2).tolist()
    [1.0, 1.0]
    """
    place = place_of(device, "ones")
    wanted = float32 if dtype is None else as_dtype(dtype, "ones")
    return full(_shape(shape, sizes, "ones"), 1, dtype=wanted, device=place, requires_grad=requires_grad)


def _like(x: Tensor, dtype: Any) -> DType:
    return x.dtype if dtype is None else as_dtype(dtype)


def empty_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An uninitialized tensor of x's shape and dtype.

    >>> tt.empty_like(tt.ones(2, 3)).shape
    (2, 3)
    """
    if isinstance(x, Batched):
        return on_value(empty_like, x, dtype=dtype, device=device)
    return empty(x.shape, dtype=_like(x, dtype), device=x.device if device is None else device)


def zeros_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of zeros of x's shape and dtype.

    >>> tt.zeros_like(tt.ones(2)).tolist()
    [0.0, 0.0]
    """
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of ones of x's shape and dtype.

    >>> tt.ones_like(tt.zeros(2)).tolist()
    [1.0, 1.0]
    """
    return full_like(x, 1, dtype=dtype, device=device)


def full_like(x: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of x's shape and dtype, contiguous, with all elements equal to `fill_value`.

    >>> tt.full_like(tt.zeros(2), 3).tolist()
    [3.0, 3.0]
    """
    if isinstance(x, Batched):
        return on_value(full_like, x, fill_value, dtype=dtype, device=device)
    return full(x.shape, fill_value, dtype=_like(x, dtype), device=x.device if device is None else device)


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Evenly spaced values start, start + step, … below stop.

    Args:
        start: first number; if stop is left out, 0 is the first and this is the stop.
        dtype: default int64 if all are integers, else float32.

    Returns:
        shape (ceil((stop - start) / step),).

    >>> tt.arange(1, 7, 2).tolist()
    [1, 3, 5]
    """
    place = place_of(device, "arange")
    if stop is None:
        start, stop = 0, start
    bounds = [x.item() if isinstance(x, (Tensor, np.generic)) else x for x in (start, stop, step)]
    whole = all(isinstance(x, int) for x in bounds)
    wanted = as_dtype(dtype, "arange") if dtype is not None else int64 if whole else float32
    count = _count(*bounds)
    check_shape(count, "arange")
    with allocating("arange", count * 8):
        numbers = _whole_steps(bounds[0], bounds[2], count, wanted) if whole else np.arange(*bounds)
        return stored(numbers, wanted, place, "arange")


def _count(start: Any, stop: Any, step: Any) -> int:
    """Number of values of `arange`."""
    try:
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return max(0, -((start - stop) // step))
        count: int = math.ceil((stop - start) / step)
        return max(0, count)
    except (TypeError, ArithmeticError, ValueError):  # no number, step 0, inf or nan
        raise ArgumentError(
            f"arange: start {shown(start)}, stop {shown(stop)}, step {shown(step)}",
            why="the bounds and (stop - start) / step must be finite numbers and the step not zero",
            fix="for example tt.arange(0, 10, 2)",
        ) from None


def _whole_steps(start: int, step: int, count: int, dtype: DType) -> Array:
    """Integers start, start + step, …, exact for Python integers of any size."""
    last = start + max(0, count - 1) * step
    kind = dtype if dtype.rank == 1 else int64
    if count:
        check_range([start, last], kind, "arange")
    numbers = np.arange(count, dtype=np.uint64)  # arithmetic modulo 2**64 gives exact results
    numbers *= np.uint64(step % 2**64)
    numbers += np.uint64(start % 2**64)
    return numbers.astype(NUMPY[kind], copy=False) if kind.kind == "uint" else numbers.view(np.int64)


def linspace(
    start: float, stop: float, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced values from start to stop, float32 by default.

    >>> tt.linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    place = place_of(device, "linspace")
    (count,) = check_shape(num, "linspace")
    wanted = float32 if dtype is None else as_dtype(dtype, "linspace")
    first, last = _as_float(start, "linspace"), _as_float(stop, "linspace")
    with allocating("linspace", count * 8):
        if math.isinf(last - first) and math.isfinite(first) and math.isfinite(last):
            half = first / 2, last / 2  # their distance is finite
            numbers = 2 * np.linspace(*half, count, endpoint=endpoint)
        else:
            numbers = np.linspace(first, last, count, endpoint=endpoint)
        return stored(numbers, wanted, place, "linspace")


def _as_float(x: Any, what: str) -> float:
    try:
        return float(x)
    except OverflowError:
        raise NumberRangeError(
            f"{what}: the number {shown(x)} does not fit into float64",
            why="the numbers are computed in float64",
            fix="use ends between -1.7e308 and 1.7e308",
        ) from None


def eye(
    n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """A matrix of ones on a diagonal and zeros elsewhere, float32 by default.

    Args:
        k: index of the diagonal; positive: above the main diagonal.

    >>> tt.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    place = place_of(device, "eye")
    shape = check_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    wanted = float32 if dtype is None else as_dtype(dtype, "eye")
    made = full(shape, 0, dtype=wanted, device=place)
    copy_(wrap(None, made.layout.diagonal(as_int(k, "eye", "a diagonal"), 0, 1), made.storage), 1)
    return made
