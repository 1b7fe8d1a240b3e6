"""Captures the ops of a program: inputs, outputs and NumPy reference of each, as host arrays.

The NumPy implementation of an op is its specification, so each op is verified in isolation, on its own
inputs. 16-bit floats are represented in float32, before their final rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinytensor import op as op_spec
from tinytensor.device import Device
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.transfer import values
from tinytensor.dispatch.watch import Run
from tinytensor.dtypes import DType
from tinytensor.events import Observer
from tinytensor.op import Op
from tinytensor.ops.elementwise.gelu import gate_array
from tinytensor.ops.matmul.matmul import Linear
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import NUMPY, Array, narrow, silent, widen
from tinytensor.tensor import Tensor

Arrays = list[Array | None]
Spec = Callable[[Arrays], Sequence[Array | None]]


@dataclass(slots=True)
class OpRecord:
    """One execution of an op, with arrays of its own.

    Attributes:
        names, dtypes: of the results, as they are stored.
        spec: NumPy reference, from inputs to results before the final rounding; None if there is none.
        elementwise: whether each element of a result depends on one element of each input.
    """

    op: str
    device: str
    names: Sequence[str]
    ins: Arrays
    outs: Arrays
    dtypes: list[DType | None]
    kind: Op
    spec: Spec | None
    elementwise: bool


class Capture(Observer):
    """Copies the operands of each op of this thread before it runs, and the results after; `record` is
    called with them, for a step of several parameters with those of each.
    """

    def __init__(self, record: Callable[[OpRecord], None]) -> None:
        self._record = record
        self._thread = threading.get_ident()
        self._inside = False  # an op: those that it calls belong to it

    def op(
        self, name: str, device: Device, operands: Sequence[Any], op: Op | None, run: Run
    ) -> Sequence[Any]:
        """Run the op and report it."""
        if self._inside or op is None or threading.get_ident() != self._thread:
            return run()
        self._inside = True
        try:
            calls = _each_parameter(*operands) if name == "adamw" else [operands]
            given = [[_copied(x) for x in xs] for xs in calls]
            outs = run()
            for xs, before in zip(calls, given, strict=True):
                self._record(_recorded(op, device, xs, before, [] if name == "adamw" else list(outs)))
            return outs
        finally:
            self._inside = False


def _each_parameter(*ins: Any) -> list[Sequence[Any]]:
    """The operands of a step of several parameters, for each."""
    *lists, hyper, rows = ins
    numbers = _copied(hyper).reshape(-1, hyper.shape[-1])
    return [(*column, numbers[row]) for *column, row in zip(*lists, rows, strict=True)]


def _copied(x: Any) -> Any:
    """An operand or result as an array of its own; None for what the reference has."""
    if x is None or isinstance(x, Stream):
        return None
    if isinstance(x, list | tuple):
        return np.concatenate([_copied(t).reshape(-1) for t in x])
    return np.array(values(x), order="C") if isinstance(x, Tensor) else np.array(x)


def _recorded(op: Op, device: Device, ins: Sequence[Any], given: Arrays, results: list[Any]) -> OpRecord:
    """What an op that ran did; the inputs that it writes count as results."""
    outputs, made = len(results), results[0] if results else None
    results += [x if name in op.writes else None for name, x in zip(op.inputs, ins, strict=False)]
    outs: Arrays = [_copied(t) for t in results]
    spec: Spec | None
    if op.name == "copy":

        def spec(xs: Arrays) -> Sequence[Array | None]:
            return (_like(xs[0], made),)

    elif ins and type(ins[0]) in (list, tuple):  # of several gradients

        def spec(xs: Arrays) -> Sequence[Array | None]:
            return (np.asarray(np.linalg.norm(np.asarray(xs[0], np.float64))),)

    elif isinstance(op, Elementwise):
        operands = [op_spec.Spec(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in ins]
        kind = _kind(op.compute_dtype(*operands))

        def spec(xs: Arrays) -> Sequence[Array | None]:
            cast = [x if i < op.untyped else np.asarray(x).astype(kind) for i, x in enumerate(xs)]
            return (_like(silent().run(op.ufunc, *cast), made),)

    else:
        spec = _of_op(op, outs, outputs, ins)
    dtypes = [None if t is None else t.dtype for t in results]
    elementwise = op.name == "copy" or isinstance(op, Elementwise)
    names = [*op.outputs, *op.inputs]
    return OpRecord(op.name, str(device), names, given, outs, dtypes, op, spec, elementwise)


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


def _of_op(op: Op, made: Arrays, outputs: int, xs: Sequence[Any]) -> Spec | None:
    """NumPy reference of an op on inputs that it may overwrite: returns results, then written inputs. It
    draws the samples that the call with the operands xs drew.
    """
    otherwise = _OTHERWISE.get(op.name)
    code = getattr(op, "cpu", None) if otherwise is None else partial(otherwise, op)
    if code is None:
        return None

    def spec(ins: Arrays) -> Sequence[Array | None]:
        places = [None if t is None else np.empty_like(t) for t in made[:outputs]]
        given: list[Any] = [None if x is None else np.array(x) for x in ins]
        for i, stream in enumerate(xs):
            if isinstance(stream, Stream):
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
