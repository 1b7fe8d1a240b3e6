"""Elementwise ops: the `Elementwise` base class, type promotion, and operands as arrays and kernel arguments.

The reference implementation of an elementwise op is a NumPy ufunc (or a function with the same `out=`).
Python scalars are weakly typed: they promote the kind of the result (int tensor + 0.5 → float32), never its
width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinytensor.dispatch import copies
from tinytensor.dispatch import launch as launching
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.launch import Launched, View, view_of
from tinytensor.dispatch.transfer import widened
from tinytensor.dtypes import DType, bool_, complex64, complex128, float32, float64, promote
from tinytensor.errors import DTypeError, NumberRangeError, shown
from tinytensor.events import observers
from tinytensor.op import Direct, Op, Spec
from tinytensor.runtime.cpu.arrays import NUMPY, silent
from tinytensor.shapes import broadcast_shapes
from tinytensor.tensor import Tensor, arr

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
        accepts: supported kinds of dtype; others raise DTypeError.
        untyped: number of leading inputs that keep their dtype (the condition of `where`).
        host: C++ kernel, tried first for large results.
        refuses: some integer values raise, before the ufunc writes to `out`.
        check: on a device, called with Launch, operands and dtype before the computation: raises for invalid
            values, or launches a kernel that reports them.
    """

    numbers = True

    ufunc: ClassVar[Callable[..., Any]]
    result: ClassVar[str] = "same"
    accepts: ClassVar[tuple[str, ...]] = ("bool", "uint", "int", "float", "complex")
    untyped: ClassVar[int] = 0
    refuses: ClassVar[bool] = False
    check: ClassVar[Callable[..., None] | None] = None

    def compute_dtype(self, *operands: Any) -> DType:
        """The dtype that the op computes in, for operands as `infer` gets them."""
        dtypes = [x.dtype for x in operands if isinstance(x, Spec)]
        return result_dtype(self, dtypes, [x for x in operands if not isinstance(x, Spec)])

    def infer(self, *operands: Any) -> tuple[Spec]:
        """Shape and dtype of the result; an operand is a Spec, or the type of a Python number."""
        shape = common_shape(self, [x.shape for x in operands if isinstance(x, Spec)])
        dtype = self.compute_dtype(*operands)
        if self.result == "bool":
            dtype = bool_
        elif self.result == "real":
            dtype = _PARTS.get(dtype, dtype)
        return (Spec(shape, dtype),)

    def direct(self, *operands: Any) -> Direct | None:
        """The ufunc, if the operands have the dtype that it computes in, and it returns the right dtype."""
        dtype = self.compute_dtype(*operands)
        typed = [x for x in operands if isinstance(x, Spec)]
        if any([x.dtype is not dtype for x in typed[self.untyped :]]):
            return None
        if any(
            [not (isinstance(x, Spec) or x is int or (x is float and dtype.is_floating)) for x in operands]
        ):
            return None
        wanted = self.infer(*operands)[0].dtype
        if len(typed) < len(operands) and wanted is bool_ and not dtype.is_floating:
            return None  # NumPy compares with integers that the dtype does not have
        ufunc, kind = self.ufunc, NUMPY[dtype].type
        run: Direct = partial(ufunc, out=..., order="C")
        if len(typed) < len(operands) and (wanted is bool_ or not isinstance(ufunc, np.ufunc)):
            # logical ufuncs and Python functions take numbers as they are

            def run(*xs: Any) -> Any:
                xs = tuple([x if isinstance(x, np.ndarray) else kind(x) for x in xs])
                return ufunc(*xs, out=..., order="C")

        examples = [np.ones((3, 2), NUMPY[x.dtype]).T if isinstance(x, Spec) else x(1) for x in operands]
        try:
            result = silent().run(run, *examples)
            return run if result.dtype == NUMPY[wanted] and result.flags.c_contiguous else None
        except (ValueError, OverflowError, TypeError):
            return None


def op_of(function: Callable[..., Any]) -> Elementwise:
    """The op that a function was declared with: see ops/elementwise/declaration.py."""
    op: Elementwise = function.op  # type: ignore[attr-defined]
    return op


REAL = ("bool", "uint", "int", "float")
NUMERIC = ("uint", "int", "float", "complex")
REAL_NUMERIC = ("uint", "int", "float")
INTEGRAL = ("bool", "uint", "int")
_PARTS = {complex64: float32, complex128: float64}


def reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The reflected operator: a tensor on the right, another object on the left."""

    def operator(self: Tensor, other: Any) -> Tensor:
        return function(other, self)

    return operator


def common_shape(op: Op, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape to which the operands broadcast."""
    if not shapes:
        raise DTypeError(
            f"{op.name}: no operand is a tensor",
            why="the result would be a Python number",
            fix="tt.asarray(x)",
        )
    if any([shape != shapes[0] for shape in shapes]):
        return broadcast_shapes(*shapes, what=op.name)
    return shapes[0]


def result_dtype(op: Elementwise, dtypes: list[DType], kinds: list[type]) -> DType:
    """The dtype that the op computes in; DTypeError if the op does not support it."""
    typed = dtypes[op.untyped :] or dtypes
    dtype = promote(*typed, scalars=tuple(kinds), what=op.name)
    if op.result == "float" and not dtype.is_inexact:
        dtype = float32
    if dtype.kind not in op.accepts:
        raise DTypeError(
            f"{op.name}: dtype {dtype} is not supported",
            why=f"it is defined for {', '.join(op.accepts)} only",
            fix=f"cast the operand, for example x.astype(tt.{_cast_for(op)})",
        )
    return dtype


def _cast_for(op: Elementwise) -> str:
    kinds = {"float": "float32", "complex": "complex64", "int": "int64"}
    return next(name for kind, name in kinds.items() if kind in op.accepts)


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
        if observers:
            copies.note(what, "dtype", a.size * kind.itemsize, f"an operand becomes {wide}")
        return a.astype(kind)
    try:
        return silent().run(np.asarray, x, kind) if wide.is_inexact else kind.type(x)
    except OverflowError:
        raise _out_of_range(what, x, dtype) from None


def on_device(
    op: Elementwise,
    items: Sequence[Any],
    out: View,
    dtype: DType,
    untyped: int = 0,
    known: Launched | None = None,
) -> Launched | None:
    """out = op(*items) with the CUDA functor named like the op, computed in this dtype; others are cast, but
    for 16-bit floats beside float32, which kernels of two operands read as they are. `known` is what an
    earlier call with the same metadata returned.
    """
    device = out.storage.device
    launch = launching.launch_for(op, device)
    mixed = dtype is float32 and len(items) == 2 and not untyped
    if dtype.narrow and any([isinstance(x, Tensor) and x.storage.dtype.rank == 1 for x in items]):
        dtype = float32  # integers would be rounded, or become inf
    operands: list[View | bytes] = []
    for i, x in enumerate(items):
        if not isinstance(x, Tensor):
            operands.append(number(op.name, x, dtype))
        elif i < untyped or x.storage.dtype is dtype or (mixed and x.storage.dtype.narrow):
            operands.append(view_of(x))
        else:
            operands.append(launch.dense(view_of(x), dtype, op=op.name))
    check = getattr(op, "check", None)
    if check is not None and out.size:
        check(launch, operands, dtype)
        if device.type != "cuda":
            raise_reported(launch.runtime)
    first = operands[0].dtype if isinstance(operands[0], View) else dtype
    rest = operands[1].dtype if mixed and isinstance(operands[1], View) else dtype
    functor = type(op).__name__
    return launching.elementwise(launch.runtime, launch.stem, functor, out, operands, rest, first, known)


def number(what: str, x: Scalar, dtype: DType) -> bytes:
    """A Python scalar as a kernel argument: 8 bytes, stored form first (16-bit floats: float32)."""
    return bytes(np.asarray(convert(what, x, dtype)).tobytes().ljust(8, b"\0"))


def _out_of_range(what: str, x: Scalar, dtype: DType) -> Exception:
    return NumberRangeError(
        f"{what}: the Python number {shown(x)} does not fit into {dtype}",
        why="a Python number is converted to the dtype of the tensor operand",
        fix="cast the tensor first, for example x.astype(tt.int64)",
    )


def arrays_of(op: Elementwise, xs: Sequence[Any], dtype: DType) -> list[Any]:
    """The operands as NumPy arrays or scalars of the compute dtype."""
    skip = op.untyped
    return [
        arr(x) if i < skip and isinstance(x, Tensor) else convert(op.name, x, dtype) for i, x in enumerate(xs)
    ]
