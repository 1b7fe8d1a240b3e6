"""Elementwise ops: a fast path for small float32 tensors and a general path, both calling a ufunc.

The reference implementation of an elementwise op is a NumPy ufunc (or a function with the same `out=`).
Python scalars are weakly typed: they promote the kind of the result (int tensor + 0.5 → float32), never its
width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinytensor.autograd.modes import casting, grad_enabled
from tinytensor.config import config
from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch import launch as launching
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.launch import View, view_of
from tinytensor.dispatch.record import edge_of, record
from tinytensor.dispatch.transfer import widened
from tinytensor.dtypes import DType, bool_, complex64, complex128, float32, float64, promote
from tinytensor.errors import DTypeError, GradError, NumberRangeError, shown
from tinytensor.layout import contiguous
from tinytensor.op import Op
from tinytensor.runtime.cpu.arrays import NUMPY, Array, fill, narrow, silent
from tinytensor.runtime.cpu.graph import HostGraph, capturing, graphs
from tinytensor.runtime.cpu.memory import without_memory
from tinytensor.shapes import broadcast_shapes
from tinytensor.storage import Storage, adopt, alloc
from tinytensor.tensor import Tensor, arr, empty, from_array, new, wrap

Scalar = bool | int | float | complex
Operand = Any  # a tensor or a Python scalar
NUMBERS = (bool, int, float, complex)


class Elementwise(Op):
    """Base class of elementwise ops.

    Attributes:
        ufunc: NumPy's function, or one with the same `out=` and `order=`. It may write to `out` only after it
            has read the inputs: in place, `out` is one of them.
        result: "same" (the promoted dtype), "float" (at least float32), "bool", or "real" (the promoted
            dtype; for complex dtypes that of the parts).
        of_float32: the dtype of the result for float32 operands: bool_ where result is "bool".
        accepts: supported kinds of dtype; others raise DTypeError.
        untyped: number of leading inputs that keep their dtype (the condition of `where`).
        host: C++ kernel, tried first for large results.
        refuses: some integer values raise, before the ufunc writes to `out`.
        check: on a device, called with Launch, operands and dtype before the computation: raises for invalid
            values, or launches a kernel that reports them.
    """

    ufunc: ClassVar[Callable[..., Any]]
    result: ClassVar[str] = "same"
    of_float32: ClassVar[DType] = float32
    accepts: ClassVar[tuple[str, ...]] = ("bool", "uint", "int", "float", "complex")
    untyped: ClassVar[int] = 0
    refuses: ClassVar[bool] = False
    check: ClassVar[Callable[..., None] | None] = None


REAL = ("bool", "uint", "int", "float")
NUMERIC = ("uint", "int", "float", "complex")
REAL_NUMERIC = ("uint", "int", "float")
INTEGRAL = ("bool", "uint", "int")
_PARTS = {complex64: float32, complex128: float64}
_BLOCK = 16_384  # elements: a block and its scratch fit in the L2 cache
Step = Callable[[Array, Array], None]


def steps(fill: Step) -> Callable[..., Array]:
    """Unary ufunc from a function of several NumPy calls: `fill(x, out)` runs block by block, and may use out
    as scratch once it has read x.
    """

    def ufunc(x: Array, out: Any = None, order: str = "K") -> Array:
        result: Array = out if isinstance(out, np.ndarray) else np.empty(x.shape, x.dtype)
        whole = x.ndim > 0 and result.size <= _BLOCK  # a 0-d array would become a NumPy scalar
        if whole or not (x.flags.c_contiguous and result.flags.c_contiguous):
            fill(x, result)
            return result
        flat, target = x.reshape(-1), result.reshape(-1)
        for i in range(0, flat.size, _BLOCK):
            fill(flat[i : i + _BLOCK], target[i : i + _BLOCK])
        return result

    return staticmethod(ufunc)


def reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The reflected operator: a tensor on the right, another object on the left."""

    def operator(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, np.ndarray):
            raise DTypeError(
                f"{function.__name__}: a NumPy array of shape {other.shape} is combined with a tensor",
                why="arrays are not converted to tensors implicitly",
                fix="make it a tensor first: tt.asarray(array)",
            )
        return function(other, self)

    return operator


def binary(op: type[Elementwise], a: Any, b: Any) -> Tensor:
    """Fast path for binary ops: small float32 tensors that own their memory, or one and a Python scalar."""
    ta, tb = type(a), type(b)
    if ta is Tensor and a._base is None and (la := a.layout).small and a.storage.dtype is float32:
        if tb is Tensor:
            lb = b.layout
            if lb is la:
                if b._base is None and b.storage.dtype is float32:
                    return _small(op, a, b, a._array, b._array, la, None)
            elif lb.small and b._base is None and b.storage.dtype is float32 and la.size * lb.size <= 1 << 24:
                return _small(op, a, b, a._array, b._array, None, ((la.shape, float32), (lb.shape, float32)))
        elif tb is float or tb is int:
            return _small(op, a, b, a._array, b, la, None)
    elif tb is Tensor and (ta is float or ta is int) and b._base is None:  # noqa: SIM102 - reads better
        if b.layout.small and b.storage.dtype is float32:
            return _small(op, a, b, a, b._array, b.layout, None)
    return elementwise(op, a, b)


def _small(op: type[Elementwise], a: Any, b: Any, x: Any, y: Any, layout: Any, specs: Any) -> Tensor:
    """Fast path with a result allocated and broadcast by NumPy; backward sums gradients back to `specs`."""
    if graphs:
        return elementwise(op, a, b)
    try:
        r = silent().run(op.ufunc, x, y, out=...)
    except (ValueError, OverflowError, TypeError):
        return elementwise(op, a, b)  # raises ShapeError
    if layout is None:
        layout = contiguous(r.shape)
        specs = (None if a.layout is layout else specs[0], None if b.layout is layout else specs[1])
    t = new(Tensor)
    s = new(Storage)
    s.buffer = t._array = r
    s.dtype = dtype = op.of_float32
    s.device = a.storage.device if x is not a else b.storage.device
    s.version = 0
    t.storage = s
    t.layout = layout
    t._requires = False
    t._grad = t._edge = t._base = t._hooks = None
    ra = x is not a and a._requires
    rb = y is not b and b._requires
    if (ra or rb) and dtype is float32 and grad_enabled():
        ea = (a._edge or a) if ra else None
        eb = (b._edge or b) if rb else None
        record(op, (a, b), (ea, eb), (t,), None, specs)
    return t


def unary(op: type[Elementwise], x: Tensor) -> Tensor:
    """Fast path for unary ops: a small float32 tensor that owns its memory."""
    if (
        type(x) is Tensor
        and x._base is None
        and (layout := x.layout).small
        and x.storage.dtype is float32
        and not graphs
    ):
        r = silent().run(op.ufunc, x._array, out=...)
        t = new(Tensor)
        s = new(Storage)
        s.buffer = t._array = r
        s.dtype = dtype = op.of_float32
        s.device = x.storage.device
        s.version = 0
        t.storage = s
        t.layout = layout
        t._requires = False
        t._grad = t._edge = t._base = t._hooks = None
        if x._requires and dtype is float32 and grad_enabled():
            record(op, (x,), (x._edge or x,), (t,), None)
        return t
    return elementwise(op, x)


def operands(op: type[Op], xs: Sequence[Any]) -> tuple[list[Any], list[DType], list[type], tuple[int, ...]]:
    """Operands of an elementwise call: (tensors and scalars, dtypes, scalar types, broadcast shape)."""
    dtypes: list[DType] = []
    kinds: list[type] = []
    shapes: list[tuple[int, ...]] = []
    items: list[Any] = []
    for x in xs:
        if isinstance(x, Tensor):
            dtypes.append(x.storage.dtype)
            shapes.append(x.layout.shape)
        else:
            if isinstance(x, np.generic):
                x = x.item()
            if not isinstance(x, NUMBERS):
                raise DTypeError(
                    f"{op.name}: an operand of type {type(x).__name__}",
                    why="operands must be tensors or Python numbers",
                    fix="make it a tensor first: tt.asarray(x)",
                )
            kinds.append(type(x))
        items.append(x)
    if not shapes:
        raise DTypeError(
            f"{op.name}: no operand is a tensor",
            why="the result would be a Python number",
            fix="tt.asarray(x)",
        )
    shape = shapes[0]
    if any(s != shape for s in shapes):
        shape = broadcast_shapes(*shapes, what=op.name)
    return items, dtypes, kinds, shape


def result_dtype(op: type[Elementwise], dtypes: list[DType], kinds: list[type]) -> DType:
    """The dtype that the op computes in; DTypeError if the op does not support it."""
    typed = dtypes[op.untyped :] or dtypes
    dtype = promote(*typed, scalars=tuple(kinds))
    if op.result == "float" and not dtype.is_inexact:
        dtype = float32
    if dtype.kind not in op.accepts:
        raise DTypeError(
            f"{op.name}: dtype {dtype} is not supported",
            why=f"it is defined for {', '.join(op.accepts)} only",
            fix="cast the operand, for example x.astype(tt.float32)",
        )
    return dtype


def convert(what: str, x: Any, dtype: DType) -> Any:
    """Tensor or scalar as a NumPy operand of this dtype (16-bit floats as float32)."""
    wide = float32 if dtype.narrow else dtype
    kind = NUMPY[wide]
    if isinstance(x, Tensor):
        a = arr(x)
        have = x.storage.dtype
        if have.narrow:
            a = widened(what, a, have)
            have = float32
        if have is wide:
            return a
        if copies.listener is not None:
            copies.note(what, "dtype", a.size * kind.itemsize, f"an operand becomes {wide}")
        return a.astype(kind)
    try:
        return silent().run(np.asarray, x, kind) if wide.is_inexact else kind.type(x)
    except OverflowError:
        raise _out_of_range(what, x, dtype) from None


def on_device(op: type[Op], items: Sequence[Any], out: View, dtype: DType, untyped: int = 0) -> None:
    """out = op(*items) with the CUDA functor named like the op, computed in this dtype; others are cast."""
    device = out.storage.device
    launch = launching.launch_for(op, device)
    if dtype.narrow and any([isinstance(x, Tensor) and x.storage.dtype.rank == 1 for x in items]):
        dtype = float32  # integers would be rounded, or become inf
    operands: list[View | bytes] = []
    for i, x in enumerate(items):
        if not isinstance(x, Tensor):
            operands.append(number(op.name, x, dtype))
        elif i < untyped or x.storage.dtype is dtype:
            operands.append(view_of(x))
        else:
            operands.append(launch.dense(view_of(x), dtype, op=op.name))
    check = getattr(op, "check", None)
    if check is not None and out.size:
        check(launch, operands, dtype)
        if device.type != "cuda":
            raise_reported(launch.runtime)
    first = operands[0].dtype if untyped and isinstance(operands[0], View) else dtype
    launching.elementwise(launch.runtime, launch.stem, op.__name__, out, operands, dtype, first)


def number(what: str, x: Scalar, dtype: DType) -> bytes:
    """A Python scalar as a kernel argument: 8 bytes, stored form first (16-bit floats: float32)."""
    return bytes(np.asarray(convert(what, x, dtype)).tobytes().ljust(8, b"\0"))


def _out_of_range(what: str, x: Scalar, dtype: DType) -> Exception:
    return NumberRangeError(
        f"{what}: the Python number {shown(x)} does not fit into {dtype}",
        why="a Python number is converted to the dtype of the tensor operand",
        fix="cast the tensor first, for example x.astype(tt.int64)",
    )


def elementwise(op: type[Elementwise], *xs: Any) -> Tensor:
    """General path: any dtypes, layouts and sizes."""
    if (cast := casting()) is not None:
        xs = tuple(cast(op.autocast, xs))
    items, dtypes, kinds, shape = operands(op, xs)
    dtype = result_dtype(op, dtypes, kinds)
    device = common_device(op.name, xs)
    if device is not cpu:
        return _elementwise_on_device(op, items, dtype, shape, device)
    out_dtype = bool_ if op.result == "bool" else _PARTS.get(dtype, dtype) if op.result == "real" else dtype
    layout = contiguous(shape)
    try:
        arrays = _arrays(op, items, dtype)
        if graphs and (graph := capturing()) is not None:
            t = empty(shape, out_dtype)
            _note(graph, op, items, arrays, dtype, t)
        elif out_dtype.narrow:
            t = _narrow_result(op, arrays, shape, out_dtype)
        elif layout.small:
            r = silent().run(op.ufunc, *arrays, out=..., order="C")
            if r.dtype != NUMPY[out_dtype]:
                if copies.listener is not None:
                    copies.note(op.name, "dtype", r.nbytes, f"the result becomes {out_dtype}")
                r = r.astype(NUMPY[out_dtype])
            t = wrap(r, layout, adopt(r, out_dtype))
        else:
            r, s = alloc(shape, out_dtype)
            if config.debug and r.dtype.kind in "fc":
                r.fill(np.nan)
            fill(op.ufunc, r, *arrays, host=op.host)
            t = wrap(r, layout, s)
    except (MemoryError, ValueError) as error:
        if (missing := without_memory(op.name, error, math.prod(shape))) is None:
            raise
        raise missing from None
    if out_dtype.is_inexact and grad_enabled():
        _record(op, items, t, shape, out_dtype)
    return t


def _arrays(op: type[Elementwise], items: list[Any], dtype: DType) -> list[Any]:
    """The operands as NumPy arrays or scalars of the compute dtype."""
    skip = op.untyped
    return [
        arr(x) if i < skip and isinstance(x, Tensor) else convert(op.name, x, dtype)
        for i, x in enumerate(items)
    ]


def _note(
    graph: HostGraph, op: type[Elementwise], items: list[Any], arrays: list[Any], dtype: DType, t: Tensor
) -> None:
    """Record the computation of t in the graph."""
    place, out_dtype = arr(t), t.storage.dtype
    host = None if config.host_kernels == "off" else op.host

    def as_they_lie() -> None:
        fill(op.ufunc, place, *arrays, host=host)

    def anew() -> None:  # operands are cast at each replay
        operands = _arrays(op, items, dtype)
        if out_dtype.narrow:
            _compute_narrow(op, operands, out_dtype, place)
        else:
            fill(op.ufunc, place, *operands)

    if all([a is x._array for x, a in zip(items, arrays, strict=True) if isinstance(x, Tensor)]):
        graph.add(as_they_lie, operands=[place, *arrays] if host is not None else None)
    else:
        graph.add(anew)


def _elementwise_on_device(
    op: type[Elementwise], items: list[Any], dtype: DType, shape: tuple[int, ...], device: Device
) -> Tensor:
    out_dtype = bool_ if op.result == "bool" else dtype
    t = empty(shape, out_dtype, device=device)
    on_device(op, items, view_of(t), dtype, op.untyped)
    if out_dtype.is_inexact and grad_enabled():
        _record(op, items, t, shape, out_dtype)
    return t


def _narrow_result(op: type[Elementwise], arrays: list[Any], shape: tuple[int, ...], dtype: DType) -> Tensor:
    """Compute in float32 and round to the 16-bit dtype."""
    r: Array = np.empty(shape, NUMPY[dtype])
    _compute_narrow(op, arrays, dtype, r)
    return from_array(r, dtype)


def _compute_narrow(op: type[Elementwise], arrays: list[Any], dtype: DType, place: Array) -> None:
    if copies.listener is not None:
        copies.note(op.name, "dtype", place.nbytes, f"the result is rounded to {dtype}")
    narrow(np.asarray(silent().run(op.ufunc, *arrays, out=..., order="C"), np.float32), dtype, place)


def _record(op: type[Op], items: list[Any], t: Tensor, shape: tuple[int, ...], dtype: DType) -> None:
    edges: list[Any] = []
    specs: list[Any] = []
    fits = True
    for x in items:
        edge = edge_of(x) if isinstance(x, Tensor) else None
        edges.append(edge)
        if edge is None or (x.layout.shape == shape and x.storage.dtype is dtype):
            specs.append(None)
        else:
            specs.append((x.layout.shape, x.storage.dtype))
            fits = False
    if any([e is not None for e in edges]):
        if not dtype.is_floating:
            raise GradError(
                f"{op.name}: the result is {dtype}, and an operand requires grad",
                why="gradients of complex tensors are not supported",
                fix="call x.detach() first, or compute under tt.no_grad()",
            )
        record(op, items, tuple(edges), (t,), None, None if fits else specs)
