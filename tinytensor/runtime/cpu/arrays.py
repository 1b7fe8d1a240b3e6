"""NumPy arrays as tensor storage: dtypes, 16-bit float conversion, copies and ufuncs on strided operands."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tinytensor import dtypes
from tinytensor.config import config
from tinytensor.dtypes import DType
from tinytensor.errors import ArgumentError
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.runtime.cpu.library import NATIVE

Array = npt.NDArray[Any]

NUMPY: dict[DType, np.dtype[Any]] = {d: np.dtype(d.code) for d in dtypes.ALL}
_FROM_NUMPY: dict[np.dtype[Any], DType] = {NUMPY[d]: d for d in dtypes.ALL if d is not dtypes.bfloat16}


def _for_numpy(dtype: DType) -> np.dtype[Any]:
    """np.dtype(tt.float32), which NumPy asks for since 2.4: so `np.zeros(3, dtype=x.dtype)` works."""
    if dtype is dtypes.bfloat16:
        raise AttributeError("NumPy has no bfloat16")
    return NUMPY[dtype]


DType.__numpy_dtype__ = property(_for_numpy)  # type: ignore[attr-defined]  # not in dtypes.py: no NumPy there


def dtype_of(array: Array) -> DType:
    """The DType that is stored as the dtype of this array (uint16 is uint16)."""
    found = _FROM_NUMPY.get(array.dtype)
    return dtypes.as_dtype(array.dtype) if found is None else found


# inf and nan are normal results, so NumPy must not warn about them. np.errstate takes as long as three small
# additions; `silent().run(np.add, a, b)` instead enters a copy of a context that has the setting. A copy each
# time, since a context cannot be entered twice at once.
_silent = Context()
_silent.run(np.seterr, all="ignore")
silent = _silent.copy


class _Quiet(threading.local):
    """`quiet.run` as `silent().run`, in half the time. RuntimeError where the thread is inside of it."""

    def __init__(self) -> None:
        self.run = silent().run


quiet = _Quiet()

_strict = Context()  # invalid values raise FloatingPointError
_strict.run(np.seterr, over="ignore", under="ignore", divide="ignore", invalid="raise")
strict = _strict.copy

_dividing = Context()  # divisions of integers by 0 raise FloatingPointError
_dividing.run(np.seterr, over="ignore", under="ignore", divide="raise", invalid="ignore")
dividing = _dividing.copy

_copying = HostKernels(str(NATIVE / "copying.cpp"))
_FEW_COPIED = 512  # elements; up to here NumPy is as fast as a C++ kernel
_STRIP = 32  # columns
LARGE = 1 << 15  # elements: larger arrays are processed in blocks
_BLOCK = 1 << 18  # elements: copies of blocks fit in the L3 cache and are worth several threads


def copying(y: Array, x: Array) -> partial[bool] | None:
    """The call of a C++ kernel that copies x into y; None for few elements."""
    return partial(_copying.copy, y, x) if x.size >= _FEW_COPIED else None


def copy_into(y: Array, x: Array) -> None:
    """y = x for arrays of the same shape and dtype without overlap; memory-bound for any strides."""
    if x.size >= _FEW_COPIED:
        if config.host_kernels != "off" and _copying.copy(y, x):
            return
        if x.size >= LARGE and x.ndim > 1:
            order = sorted(range(y.ndim), key=lambda axis: -abs(y.strides[axis]))  # memory order of y
            y, x = y.transpose(order), x.transpose(order)
            if abs(x.strides[-1]) >= 64:
                # row by row, each element would be in another cache line, which would be evicted before its
                # other elements are read
                for j in range(0, y.shape[-1], _STRIP):
                    np.copyto(y[..., j : j + _STRIP], x[..., j : j + _STRIP])
                return
    np.copyto(y, x)


def in_c_order(a: Array) -> Array:
    """The array if C-contiguous, else a C-contiguous copy."""
    if a.flags.c_contiguous:
        return a
    copy: Array = np.empty(a.shape, a.dtype)
    copy_into(copy, a)
    return copy


def fill(
    function: Callable[..., Any],
    y: Array,
    *xs: Any,
    host: Callable[..., partial[bool] | None] | None = None,
    dense: bool = False,
) -> None:
    """Compute y elementwise with function(*xs, out=y), or by a C++ kernel, of which host(y, *xs) is the call.

    Large operands whose memory order differs from the result are copied into its order block by block, in
    reused scratch memory; or the result, if that copies less. `dense`: also operands with gaps between rows.
    """
    if config.host_kernels == "off":
        host = None
    elif host is not None and (call := host(y, *xs)) is not None and call():
        return
    if y.size < LARGE or not (_scattered(y, *xs) or (dense and not xs[0].flags.c_contiguous)):
        silent().run(function, *xs, out=y)
        return
    order = _order(y, xs)
    if order is not None:
        xs = tuple([np.broadcast_to(x, y.shape).transpose(order) if np.ndim(x) else x for x in xs])
        y = y.transpose(order)
    for at in blocks(y.shape):
        place = y[at]
        parts: list[Any] = []
        for i, x in enumerate(xs):
            parts.append(parts[0] if i and x is xs[0] else _part(i, x, y.ndim, at, dense))
        if _scattered(place):
            out = scratch("fill.out", place.shape, place.dtype)
            _compute(function, host, out, parts)
            copy_into(place, out)
        else:
            _compute(function, host, place, parts)


def _compute(function: Callable[..., Any], host: Any, y: Array, xs: Sequence[Any]) -> None:
    call = None if host is None else host(y, *xs)
    if call is None or not call():
        silent().run(function, *xs, out=y)


def _scattered(*arrays: Any) -> int:
    """Number of arrays whose last axis does not have stride 1, nor 0."""
    count = 0
    for a in arrays:
        if isinstance(a, np.ndarray) and a.ndim and not a.flags.c_contiguous:
            count += a.shape[-1] > 1 and a.strides[-1] not in (a.itemsize, 0)
    return count


def _order(y: Array, xs: Sequence[Any]) -> tuple[int, ...] | None:
    """Memory order of the axes in which the fewest operands have a strided inner axis; None for C order."""
    whole = [a for a in (y, *xs) if isinstance(a, np.ndarray) and a.shape == y.shape]
    best, fewest = None, _scattered(*whole)
    for a in whole:
        order = tuple(sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis])))
        found = _scattered(*[each.transpose(order) for each in whole])
        if found < fewest:
            best, fewest = order, found
    return best


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Keys of an array's first axes that divide it into blocks of neighboring rows."""
    axis, inner = 0, math.prod(shape[1:])
    while inner > _BLOCK:
        axis += 1
        inner //= shape[axis]
    step = _BLOCK // inner
    for outer in np.ndindex(*shape[:axis]):
        for i in range(0, shape[axis], step):
            yield (*outer, slice(i, i + step))


def _part(number: int, x: Any, ndim: int, at: tuple[Any, ...], dense: bool) -> Any:
    """A block of an operand broadcast to `ndim` axes; a copy if it is not as contiguous as needed."""
    if not isinstance(x, np.ndarray) or not x.ndim:
        return x
    missing = ndim - x.ndim
    key = [
        k if x.shape[i] > 1 else 0 if isinstance(k, int) else slice(None) for i, k in enumerate(at[missing:])
    ]
    part = x[tuple(key)]
    if part.flags.c_contiguous if dense else part.size < _FEW_COPIED or not _scattered(part):
        return part
    copy = scratch(f"fill.{number}", part.shape, part.dtype)
    copy_into(copy, part)
    return copy


_kernels = HostKernels(str(NATIVE / "bfloat16.cpp"))
_FEW = 64  # elements; up to here NumPy is as fast as a C++ kernel


def widen(raw: Array, dtype: DType, out: Array | None = None) -> Array:
    """Stored 16-bit floats converted to a C-contiguous float32 array, `out` or a new one."""
    result: Array = np.empty(raw.shape, np.float32) if out is None else out
    if dtype is not dtypes.bfloat16:
        fill(_copied, result, raw)
    elif raw.size > _FEW:
        fill(_widen, result, raw, host=widening, dense=True)
    else:
        _widen(raw, result)
    return result


def widening(wide: Array, raw: Array) -> partial[bool] | None:
    """The call of a C++ kernel that widens stored bfloat16 to float32; None for few elements."""
    return partial(_kernels.widen, wide, raw) if raw.size > _FEW else None


def narrowing(raw: Array, wide: Array) -> partial[bool] | None:
    """The call of a C++ kernel that narrows float32 to stored bfloat16; None for few elements."""
    return partial(_kernels.narrow, raw, wide) if wide.size > _FEW else None


def _widen(raw: Array, out: Array) -> None:
    bits = out.view(np.uint32)
    np.left_shift(raw, np.uint32(16), out=bits, dtype=np.uint32)


def narrow(wide: Array, dtype: DType, out: Array) -> None:
    """Convert real values to 16-bit storage, rounded once, to nearest, ties to even."""
    if dtype is not dtypes.bfloat16:
        fill(_copied, out, wide)
    else:
        fill(_narrow, out, wide if wide.dtype == np.float32 else _sticky(wide), host=narrowing, dense=True)


def _copied(x: Array, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


def _narrow(source: Array, out: Array) -> None:
    source = np.ascontiguousarray(source)
    bits = source.view(np.uint32)
    up: Array = np.right_shift(bits, np.uint32(16), out=np.empty_like(bits))  # an array even if 0-d
    up &= np.uint32(1)
    up += np.uint32(0x7FFF)
    up += bits  # may carry into the exponent: that is rounding up to the next binade or to infinity
    up >>= np.uint32(16)
    np.copyto(up, np.uint32(0x7FC0), where=np.isnan(source))
    np.copyto(out, up.reshape(out.shape), casting="unsafe")


def _sticky(numbers: Array) -> Array:
    """Values rounded to odd in float32, so that rounding to 16 bits equals rounding once."""
    wide = numbers.astype(np.float64)
    if numbers.dtype.kind in "iu" and numbers.itemsize == 8:  # float64 is not exact beyond 2**53, either
        cut = numbers & ~numbers.dtype.type(2047)
        cut |= ((cut != numbers) * numbers.dtype.type(2048)).astype(numbers.dtype)
        wide = np.where(np.abs(wide) < 2.0**53, wide, cut.astype(np.float64))
    near: Array = silent().run(wide.astype, np.float32)
    off = (near != wide) & (near.view(np.uint32) & 1 == 0)
    other = np.where(near < wide, np.float32(np.inf), np.float32(-np.inf))
    return np.where(off, np.nextafter(near, other), near)


_local = threading.local()  # one set per thread: NumPy releases the GIL inside a call
_SCRATCH_LIMIT = 64 << 20  # bytes a thread may keep between calls


def negated(x: Array, out: Any = None, order: Any = "K") -> Array:
    """`np.negative`. Where the elements of x are 16 or 64 bytes apart, and those of the result apart, too,
    that of NumPy 2.4 reads others.
    """
    found: Array = np.negative(x if x.flags.c_contiguous else np.ascontiguousarray(x), out=out, order=order)
    return found


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Uninitialized, 64-byte aligned array of this thread, reused by the next call with the same name."""
    kept: dict[str, Array] = _local.__dict__
    nbytes = dtype.itemsize
    for size in shape:
        nbytes *= size
    flat = kept.get(name)
    if flat is None or flat.nbytes < nbytes:
        if nbytes > _SCRATCH_LIMIT:
            return np.empty(shape, dtype)
        flat = np.empty(max(nbytes, 4096) + 64, np.uint8)
        flat = kept[name] = flat[-flat.ctypes.data % 64 :]
    return np.ndarray(shape, dtype, flat)


def check_writeable(array: Array, what: str) -> None:
    """Raise ArgumentError if the memory of this array is read-only."""
    if not array.flags.writeable:
        raise ArgumentError(
            f"{what}: the tensor is read-only",
            why="it shares memory that its owner marked read-only (a NumPy array, a memory-mapped file)",
            fix="write to a copy: x.clone()",
        )
