"""Captures every op of a program: inputs, outputs and NumPy reference, as host arrays.

The NumPy implementation of an op is its specification, so each op is verified in isolation, on its own
inputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from tinytensor.device import Device
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.watch import Run, watching
from tinytensor.dtypes import DType
from tinytensor.lab.context import Context, Place
from tinytensor.lab.divergence.reference import Arrays, Spec, copied_into, norm_of, of_elementwise, of_op, own
from tinytensor.op import registry
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor


@dataclass(slots=True)
class Seen:
    """One execution of an op.

    Attributes:
        op: its name.
        device: its device.
        place: call context in the program.
        names: names of the results.
        ins, outs: owned arrays; 16-bit floats widened to float32.
        dtypes: stored dtypes of the results.
        params: keyword arguments of the op.
        spec: NumPy reference, from inputs to results before the final rounding; None if there is none.
        elementwise: whether each element of a result depends on one element of each input.
    """

    op: str
    device: str
    place: Place
    names: tuple[str, ...]
    ins: Arrays
    outs: Arrays
    dtypes: list[DType | None]
    params: dict[str, Any]
    spec: Spec | None
    elementwise: bool


See = Callable[[Seen], None]


@contextmanager
def seeing(see: See, opener: FrameType | None) -> Iterator[None]:
    """Call `see` after each op of this thread while the block runs."""
    capture = _Capture(see)
    with watching(capture.watch), capture.context.listening(opener):
        yield


class _Capture:
    """A watcher that copies the operands of each op before it runs, and the results after."""

    def __init__(self, see: See) -> None:
        self.context = Context()
        self._see = see
        self._thread = threading.get_ident()
        self._inside = False  # an op: those that it calls belong to it

    def watch(
        self, op: str, device: Device, ins: Sequence[Any], params: Mapping[str, Any] | None, run: Run
    ) -> Sequence[Any]:
        """Run the op and report it."""
        if self._inside or threading.get_ident() != self._thread:
            return run()
        self._inside = True
        try:
            if params is None:
                return run()
            if op == "adamw":
                return self._adamw(device, ins, params, run)
            given = [_copied(x) for x in ins]
            outs = run()
            kind = registry.get(op)
            spec: Spec | None = None
            names: Sequence[str] = [f"output {i}" for i in range(len(outs))]
            results = list(outs)
            elementwise = op == "copy" or (kind is not None and issubclass(kind, Elementwise))
            if op == "copy":
                names, spec = ("y",), copied_into(outs[0])
            elif ins and isinstance(ins[0], list | tuple):  # the norm of several gradients
                names, spec = ("norm",), norm_of
            elif kind is not None:
                names = [*kind.outputs, *kind.inputs]
                if kind.writes:  # the inputs that it writes count as results
                    results += [
                        x if n in kind.writes else None for n, x in zip(kind.inputs, ins, strict=False)
                    ]
                if issubclass(kind, Elementwise):
                    spec = of_elementwise(kind, ins, outs[0])
                else:
                    spec = of_op(kind, [_copied(t) for t in results], len(outs), dict(params))
            self._tell(op, device, names, given, results, spec, params, elementwise=elementwise)
            return outs
        finally:
            self._inside = False

    def _tell(
        self,
        op: str,
        device: Device,
        names: Sequence[str],
        ins: Arrays,
        results: Sequence[Any],
        spec: Spec | None,
        params: Mapping[str, Any],
        *,
        elementwise: bool = False,
    ) -> None:
        outs, dtypes = [_copied(t) for t in results], [None if t is None else t.dtype for t in results]
        names = tuple(names)[: len(outs)]
        place = self.context.place()
        self._see(Seen(op, str(device), place, names, ins, outs, dtypes, dict(params), spec, elementwise))

    def _adamw(
        self, device: Device, ins: Sequence[Any], params: Mapping[str, Any], run: Run
    ) -> Sequence[Any]:
        """A step of several parameters, reported for each."""
        *lists, hyper = ins
        columns, numbers = list(zip(*lists, strict=True)), own(hyper).reshape(-1, hyper.shape[-1])
        given = [
            [*[own(x) for x in column], numbers[row]]
            for column, row in zip(columns, params["rows"], strict=True)
        ]
        outs = run()
        known = {"coupled": params["coupled"]}
        for before, (p, _, m, v) in zip(given, columns, strict=True):
            results = [p, None, m, v]
            spec = of_op(registry["adamw"], [_copied(t) for t in results], 0, known)
            self._tell("adamw", device, ("param", "grad", "m", "v"), list(before), results, spec, known)
        return outs


def _copied(x: Any) -> Array | None:
    """An operand or result as an array of its own."""
    if isinstance(x, list | tuple):
        return np.concatenate([own(t).reshape(-1) for t in x])
    return None if x is None else own(x) if isinstance(x, Tensor) else np.array(x)
