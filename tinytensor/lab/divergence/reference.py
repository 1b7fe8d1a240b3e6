"""The NumPy reference of an op that ran: its NumPy code is its specification, so each op is verified in
isolation, on its own inputs. 16-bit floats are represented in float32, before their final rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinytensor import op as op_spec
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import DType
from tinytensor.ops.elementwise.gelu import gate_array
from tinytensor.ops.matmul.matmul import Linear
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import NUMPY, Array, narrow, silent, widen
from tinytensor.tensor import Tensor

Arrays = list[Array | None]
Reference = Callable[[Arrays], Sequence[Array | None]]  # from inputs to results before the final rounding


def each_parameter(*ins: Any) -> list[Sequence[Any]]:
    """The operands of a step of several parameters, for each."""
    *lists, hyper, rows = ins
    numbers = copied(hyper).reshape(-1, hyper.shape[-1])
    return [(*column, numbers[row]) for *column, row in zip(*lists, rows, strict=True)]


def copied(x: Any) -> Any:
    """An operand or result as an array of its own; None for what the reference has."""
    if x is None or isinstance(x, Stream):
        return None
    if isinstance(x, list | tuple):
        return np.concatenate([copied(t).reshape(-1) for t in x])
    return np.array(values(x), order="C") if isinstance(x, Tensor) else np.array(x)


def reference_of(op: Any, xs: Sequence[Any], made: Sequence[Any], outs: Arrays) -> Reference | None:
    """The reference of an op that ran on the operands xs: it gives the results `made`, of which `outs` are
    copies, and behind these the inputs that the op writes. None: there is none.
    """

    def of_copy(ins: Arrays) -> Sequence[Array | None]:
        return (_like(ins[0], made[0]),)

    def of_gradients(ins: Arrays) -> Sequence[Array | None]:
        return (np.asarray(np.linalg.norm(np.asarray(ins[0], np.float64))),)

    def of_elements(ins: Arrays) -> Sequence[Array | None]:
        operands = [op_spec.Spec(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in xs]
        kind = _kind(op.compute_dtype(*operands))
        cast = [x if i < op.untyped else np.asarray(x).astype(kind) for i, x in enumerate(ins)]
        return (_like(silent().run(op.ufunc, *cast), made[0]),)

    if op.name == "copy":
        return of_copy
    if xs and type(xs[0]) in (list, tuple):  # of several gradients
        return of_gradients
    return of_elements if isinstance(op, Elementwise) else _of_op(op, xs, outs, len(made))


def _kind(dtype: DType) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype.narrow else NUMPY[dtype]


def _like(result: Any, out: Any) -> Array:
    """A result cast and broadcast to a tensor."""
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(result).astype(_kind(out.dtype)), out.shape)


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


def _of_op(op: Any, xs: Sequence[Any], outs: Arrays, outputs: int) -> Reference | None:
    """Of the NumPy code of an op; it draws the samples that the call drew."""
    otherwise = _OTHERWISE.get(op.name)
    code = getattr(op, "cpu", None) if otherwise is None else partial(otherwise, op)
    if code is None:
        return None

    def reference(ins: Arrays) -> Sequence[Array | None]:
        places = [None if t is None else np.empty_like(t) for t in outs[:outputs]]
        given: list[Any] = [None if x is None else np.array(x) for x in ins]
        for i, stream in enumerate(xs):
            if isinstance(stream, Stream):
                given[i] = stream
        silent().run(code, *places, *given)
        written = [None if t is None else given[i] for i, t in enumerate(outs[outputs:])]
        return [*places, *written]

    return reference


def rounded(array: Array, dtype: DType) -> Array:
    """A result rounded to its storage dtype, widened again."""
    if not dtype.narrow or array.dtype != np.float32:
        return array
    stored: Array = np.empty(array.shape, NUMPY[dtype])
    narrow(array, dtype, stored)
    return widen(stored, dtype)
