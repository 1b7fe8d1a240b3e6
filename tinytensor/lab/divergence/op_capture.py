"""Captures the ops of a program: inputs, outputs and NumPy reference of each, as host arrays.

The NumPy implementation of an op is its specification, so each op is verified in isolation, on its own
inputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytensor.device import Device
from tinytensor.dispatch.elementwise import is_elementwise
from tinytensor.dispatch.watch import Run
from tinytensor.dtypes import DType
from tinytensor.lab.divergence.reference import Arrays, Spec, copied_into, norm_of, of_elementwise, of_op, own
from tinytensor.op import AnyOp
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor


@dataclass(slots=True)
class OpRecord:
    """One execution of an op.

    Attributes:
        names, dtypes: of the results, as they are stored.
        ins, outs: owned arrays; 16-bit floats widened to float32.
        spec: NumPy reference, from inputs to results before the final rounding; None if there is none.
        elementwise: whether each element of a result depends on one element of each input.
    """

    op: str
    device: str
    names: Sequence[str]
    ins: Arrays
    outs: Arrays
    dtypes: list[DType | None]
    kind: AnyOp
    spec: Spec | None
    elementwise: bool


class Capture:
    """A watcher of ops that copies the operands of each op of this thread before it runs, and the results
    after; `record` is called with them.
    """

    def __init__(self, record: Callable[[OpRecord], None]) -> None:
        self._record = record
        self._thread = threading.get_ident()
        self._inside = False  # an op: those that it calls belong to it

    def watch(
        self, op: str, device: Device, ins: Sequence[Any], kind: AnyOp | None, run: Run
    ) -> Sequence[Any]:
        """Run the op and report it."""
        if self._inside or kind is None or threading.get_ident() != self._thread:
            return run()
        self._inside = True
        try:
            if op == "adamw":
                return self._adamw(device, ins, kind, run)
            given = [_copied(x) for x in ins]
            outs = run()
            names, results, spec = _described(kind, ins, outs)
            elementwise = op == "copy" or is_elementwise(kind)
            self._tell(kind, device, names, given, results, spec, elementwise)
            return outs
        finally:
            self._inside = False

    def _tell(
        self,
        op: AnyOp,
        device: Device,
        names: Sequence[str],
        ins: Arrays,
        results: Sequence[Any],
        spec: Spec | None,
        elementwise: bool,
    ) -> None:
        outs, dtypes = [_copied(t) for t in results], [None if t is None else t.dtype for t in results]
        self._record(OpRecord(op.name, str(device), names, ins, outs, dtypes, op, spec, elementwise))

    def _adamw(self, device: Device, ins: Sequence[Any], op: AnyOp, run: Run) -> Sequence[Any]:
        """A step of several parameters, reported for each."""
        *lists, hyper, rows = ins
        columns, numbers = list(zip(*lists, strict=True)), own(hyper).reshape(-1, hyper.shape[-1])
        given: list[Arrays] = [
            [*[own(x) for x in column], numbers[row]] for column, row in zip(columns, rows, strict=True)
        ]
        outs = run()
        for before, (p, _, m, v) in zip(given, columns, strict=True):
            results = [p, None, m, v]
            spec = of_op(op, [_copied(t) for t in results], 0)
            self._tell(op, device, ("param", "grad", "m", "v"), before, results, spec, False)
        return outs


def _described(
    op: AnyOp, ins: Sequence[Any], outs: Sequence[Any]
) -> tuple[Sequence[str], Sequence[Any], Spec | None]:
    """Names and tensors of the results of an op that ran, and its reference."""
    if op.name == "copy":
        return ("y",), outs, copied_into(outs[0])
    if ins and type(ins[0]) in (list, tuple):  # the norm of several gradients
        return ("norm",), outs, norm_of
    results = list(outs)
    if op.writes:  # the inputs that it writes count as results
        results += [x if n in op.writes else None for n, x in zip(op.inputs, ins, strict=False)]
    if is_elementwise(op):
        spec: Spec | None = of_elementwise(op, ins, outs[0])
    else:
        spec = of_op(op, [_copied(t) for t in results], len(outs), ins)
    return [*op.outputs, *op.inputs], results, spec


def _copied(x: Any) -> Array | None:
    """An operand or result as an array of its own."""
    if isinstance(x, Stream):
        return None  # the reference has it
    if isinstance(x, list | tuple):
        return np.concatenate([own(t).reshape(-1) for t in x])
    return None if x is None else own(x) if isinstance(x, Tensor) else np.array(x)
