"""NumPy references of ops: array functions, independent of tensors and devices.

16-bit floats are represented in float32, before their final rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytensor import op as op_spec
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import DType
from tinytensor.op import Op, registry
from tinytensor.ops.elementwise.gelu import gate_array
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


def of_elementwise(op: type[Elementwise], xs: Sequence[Any], out: Tensor) -> Spec:
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


def _gated_backward(dx: Array, grad: Array, x: Array, slope: Array | None, *, gate: str) -> None:
    """Reference of the gated backward: computes the slope, which the CPU code needs and devices drop."""
    if slope is None:
        slope = np.empty_like(x)
        gate_array(np.empty_like(x), slope, x, gate)
    np.multiply(grad, slope, out=dx)


def _linear_gelu(
    y: Array,
    before: Array | None,
    slope: Array | None,
    x: Array,
    weight: Array,
    bias: Array | None,
    **how: Any,
) -> None:
    """Reference of linear + GELU: devices save the gate's input, the CPU saves its slope."""
    registry["linear_gelu"].cpu(y, None, slope, x, weight, bias, **how)
    if before is not None:
        registry["linear"].cpu(before, x, weight, bias, transposed=how["transposed"])


def _cast(y: Array, x: Array, **_: Any) -> None:
    """Reference of a cast: the op's NumPy code takes 16-bit floats as bits, this one as floats."""
    np.copyto(y, x, casting="unsafe")


# Ops for which devices save other tensors than the CPU, or whose arrays would be bits.
_OTHERWISE: dict[str, Callable[..., None]] = {
    "cast": _cast,
    "gelu_backward": _gated_backward,
    "silu_backward": _gated_backward,
    "linear_gelu": _linear_gelu,
}


def of_op(op: type[Op], made: Arrays, outputs: int, params: dict[str, Any]) -> Spec | None:
    """NumPy reference of an op on inputs that it may overwrite: returns results, then written inputs."""
    code = _OTHERWISE.get(op.name) or getattr(op, "cpu", None)
    if code is None:
        return None

    def spec(ins: Arrays) -> Sequence[Array | None]:
        places = [None if t is None else np.empty_like(t) for t in made[:outputs]]
        given = [None if x is None else np.array(x) for x in ins]
        silent().run(code, *places, *given, **params)
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
