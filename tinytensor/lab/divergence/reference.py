"""NumPy references of ops: array functions, independent of tensors and devices.

16-bit floats are represented in float32, before their final rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinytensor import op as op_spec
from tinytensor.dispatch.elementwise import AnyElementwise
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import DType
from tinytensor.op import AnyOp
from tinytensor.ops.elementwise.gelu import gate_array
from tinytensor.ops.matmul.matmul import Linear
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import NUMPY, Array, narrow, silent, widen
from tinytensor.tensor import Tensor

Arrays = list[Array | None]
Spec = Callable[[Arrays], Sequence[Array | None]]


def own(t: Any) -> Array:
    """Copy of a tensor's elements as an array; 16-bit floats in float32."""
    return np.array(values(t), order="C")


def like(result: Any, out: Tensor) -> Array:
    """A result cast and broadcast to a tensor; 16-bit floats in float32."""
    dtype = out.dtype
    kind = np.dtype(np.float32) if dtype.narrow else NUMPY[dtype]
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(result).astype(kind), out.shape)


def copied_into(target: Tensor) -> Spec:
    """Reference of a broadcasting, casting copy."""
    return lambda ins: (like(ins[0], target),)


def of_elementwise(op: AnyElementwise, xs: Sequence[Any], out: Tensor) -> Spec:
    """Reference of an elementwise op on these operands."""
    operands = [op_spec.Spec(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in xs]
    dtype = op.compute_dtype(*operands)
    kind = np.dtype(np.float32) if dtype.narrow else NUMPY[dtype]

    def spec(ins: Arrays) -> Sequence[Array | None]:
        given = [x if i < op.untyped else np.asarray(x).astype(kind) for i, x in enumerate(ins)]
        return (like(silent().run(op.ufunc, *given), out),)

    return spec


def norm_of(ins: Arrays) -> Sequence[Array | None]:
    """Reference of the Euclidean norm."""
    return (np.asarray(np.linalg.norm(np.asarray(ins[0], np.float64))),)


def _gated_backward(op: Any, dx: Array, grad: Array, x: Array, slope: Array | None) -> None:
    """Reference of the gated backward: computes the slope, which the CPU code needs and devices drop."""
    if slope is None:
        slope = np.empty_like(x)
        gate_array(np.empty_like(x), slope, x, op.gate)
    np.multiply(grad, slope, out=dx)


def _linear_gelu(op: Any, y: Array, before: Array | None, slope: Array | None, *ins: Any) -> None:
    """Reference of linear + GELU: devices save the gate's input, the CPU saves its slope."""
    op.cpu(y, None, slope, *ins)
    if before is not None:
        Linear(transposed=op.transposed).cpu(before, *ins)


def _cast(_: Any, y: Array, x: Array) -> None:
    """Reference of a cast: the op's NumPy code takes 16-bit floats as bits, this one as floats."""
    np.copyto(y, x, casting="unsafe")


# Ops for which devices save other tensors than the CPU, or whose arrays would be bits.
_OTHERWISE: dict[str, Callable[..., None]] = {
    "cast": _cast,
    "gelu_backward": _gated_backward,
    "silu_backward": _gated_backward,
    "linear_gelu": _linear_gelu,
}


def of_op(op: AnyOp, made: Arrays, outputs: int, xs: Sequence[Any] = ()) -> Spec | None:
    """NumPy reference of an op on inputs that it may overwrite: returns results, then written inputs. It
    draws the samples that the call with the operands xs drew.
    """
    streams = [(i, x) for i, x in enumerate(xs) if isinstance(x, Stream)]
    otherwise = _OTHERWISE.get(op.name)
    code = getattr(op, "cpu", None) if otherwise is None else partial(otherwise, op)
    if code is None:
        return None

    def spec(ins: Arrays) -> Sequence[Array | None]:
        places = [None if t is None else np.empty_like(t) for t in made[:outputs]]
        given: list[Any] = [None if x is None else np.array(x) for x in ins]
        for i, stream in streams:
            given[i] = stream
        silent().run(code, *places, *given)
        written = [None if t is None else given[i] for i, t in enumerate(made[outputs:])]
        return [*places, *written]

    return spec


def rounded(array: Array, dtype: DType) -> Array:
    """A result rounded to its storage dtype, widened again."""
    if not dtype.narrow or array.dtype != np.float32:
        return array
    stored: Array = np.empty(array.shape, NUMPY[dtype])
    narrow(array, dtype, stored)
    return widen(stored, dtype)
