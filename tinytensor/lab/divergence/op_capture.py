"""Captures every op of a program: inputs, outputs and NumPy reference, as host arrays.

The NumPy implementation of an op is its specification, so each op is verified in isolation, on its own
inputs. Execution paths of the engine (general ops, elementwise ops, copies, gradient accumulation, AdamW
steps) are intercepted by monkeypatching their functions while a `watching` block runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor import api
from tinytensor.dispatch import cpu, elementwise, launch
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.launch import View
from tinytensor.dtypes import DType
from tinytensor.lab.context import Context, Place
from tinytensor.lab.divergence.reference import (
    Arrays,
    Spec,
    copied_into,
    dtypes_of,
    like,
    number,
    of_op,
    of_ufunc,
    own,
    own_view,
)
from tinytensor.lab.patching import Replacement, replaced
from tinytensor.op import Op, registry, snake_case
from tinytensor.ops.elementwise.arithmetic import ALGEBRA
from tinytensor.ops.matmul import matmul
from tinytensor.ops.reductions import reduction
from tinytensor.runtime.cpu.arrays import Array, silent, widen

__all__ = ["Seen", "watching"]


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
        spec: NumPy reference, from inputs to results before the final rounding; None if the reference itself
            ran.
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
def watching(see: See, opener: FrameType | None) -> Iterator[None]:
    """Call `see` after each op of this thread while the block runs."""
    taps = _Taps(see)
    with replaced(taps.replacements()), taps.context.listening(opener):
        yield


class _Taps:
    """Replacements for the engine's execution functions."""

    def __init__(self, see: See) -> None:
        self.context = Context()
        self._see = see
        self._thread = threading.get_ident()
        self._inside = False  # a wrapped path: nested calls belong to it

    def replacements(self) -> Iterator[Replacement]:
        """Attributes to patch, with their replacements."""
        yield launch, "run", self._any_on_device(launch.run)
        yield launch, "elementwise", self._elementwise_on_device(launch.elementwise)
        yield launch, "write", self._write(launch.write)
        yield cpu, "run", self._any_on_host(cpu.run)
        yield cpu, "run_plain", self._plain(cpu.run_plain)
        yield elementwise, "_compute_narrow", self._narrow(elementwise._compute_narrow)
        yield matmul, "_small", self._product(matmul._small)
        yield reduction, "_quick", self._quick(reduction._quick)
        yield ALGEBRA, "add_into", self._sum(ALGEBRA.add_into)
        for module in (tt, api):  # users call tt, optimizers call api
            yield module, "adamw_step", self._adamw(module.adamw_step)
        for op in registry.values():
            if issubclass(op, Elementwise):
                yield op, "ufunc", staticmethod(self._ufunc(op, op.ufunc))
                if op.host is not None:
                    yield op, "host", staticmethod(self._kernel(op, op.host))

    def _road(self, code: Callable[..., Any], look: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap an execution path: `look(*args)`, called first, returns the handler of its result."""

        def tapped(*args: Any, **params: Any) -> Any:
            if self._inside or threading.get_ident() != self._thread:
                return code(*args, **params)
            self._inside = True
            try:
                behind = look(*args, **params)
                result = code(*args, **params)
                if behind is not None:
                    behind(result)
            finally:
                self._inside = False
            return result

        return tapped

    def _tell(
        self,
        op: str,
        device: str,
        names: Sequence[str],
        ins: Arrays,
        outs: Arrays,
        dtypes: Sequence[DType | None],
        spec: Spec | None,
        params: dict[str, Any] | None = None,
        *,
        elementwise: bool = False,
    ) -> None:
        place, known = self.context.place(), params or {}
        self._see(Seen(op, device, place, tuple(names), ins, outs, list(dtypes), known, spec, elementwise))

    # ---- general ops

    def _any_on_device(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(op: type[Op], device: Any, outs: Any, ins: Any, params: Any) -> Callable[[Any], None]:
            return self._whole(op, str(device), outs, ins, params)

        return self._road(code, look)

    def _any_on_host(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(op: type[Op], outs: Any, ins: Any, arrays: Any, params: Any) -> Callable[[Any], None]:
            return self._whole(op, "cpu", outs, ins, params)

        return self._road(code, look)

    def _whole(
        self, op: type[Op], device: str, outs: Sequence[Any], ins: Sequence[Any], params: dict[str, Any]
    ) -> Callable[[Any], None]:
        """An op on tensors; the inputs that it writes count as results."""
        given: Arrays = [None if x is None else own(x) for x in ins]

        def behind(_: Any) -> None:
            results = list(outs)
            if op.writes:
                results += [x if name in op.writes else None for name, x in zip(op.inputs, ins, strict=False)]
            made: Arrays = [None if t is None else own(t) for t in results]
            dtypes = [None if t is None else t.dtype for t in results]
            names = [*op.outputs, *op.inputs][: len(results)]
            spec = of_op(op, made, len(outs), params)
            self._tell(op.name, device, names, given, made, dtypes, spec, params)

        return behind

    def _plain(self, code: Callable[..., None]) -> Callable[..., None]:
        """The fast path of small float32 tensors on the CPU."""

        def look(op: type[Op], places: Any, arrays: Any, params: Any) -> Callable[[Any], None]:
            given: Arrays = [None if x is None else x.copy() for x in arrays]

            def behind(_: Any) -> None:
                made: Arrays = [None if t is None else t.copy() for t in places]
                spec = of_op(op, made, len(places), params)
                self._tell(op.name, "cpu", op.outputs, given, made, dtypes_of(made), spec, params)

            return behind

        return self._road(code, look)

    # ---- elementwise ops

    def _elementwise_on_device(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(
            runtime: Any, stem: str, functor: str, out: View, operands: Any, dtype: DType, first: DType
        ) -> Callable[[Any], None]:
            given: Arrays = [
                own_view(x) if isinstance(x, View) else number(x, first if i == 0 else dtype)
                for i, x in enumerate(operands)
            ]
            op = registry.get(snake_case(functor))
            ufunc = getattr(op, "ufunc", None)

            def spec(ins: Arrays) -> Sequence[Array | None]:
                if ufunc is None:  # Cast
                    return (like(ins[0], out),)
                return (like(silent().run(ufunc, *ins), out),)

            def behind(_: Any) -> None:
                known = spec if ufunc is not None or functor == "Cast" else None
                device = str(runtime.device)
                name = snake_case(functor)
                self._tell(
                    name,
                    device,
                    ("y",),
                    given,
                    [own_view(out)],
                    [out.storage.dtype],
                    known,
                    elementwise=True,
                )

            return behind

        return self._road(code, look)

    def _ufunc(self, op: type[Elementwise], code: Callable[..., Any]) -> Callable[..., Any]:
        """A ufunc on the CPU: it is the specification itself, so there is no reference."""

        def look(*ins: Any, out: Any = None, order: str = "K") -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in ins]

            def behind(result: Any) -> None:
                made: Arrays = [np.array(result)]
                self._tell(op.name, "cpu", ("y",), given, made, dtypes_of(made), None, elementwise=True)

            return behind

        return self._road(code, look)

    def _kernel(self, op: type[Elementwise], code: Callable[..., bool]) -> Callable[..., bool]:
        """A C++ kernel, which may fall back to the ufunc."""

        def look(out: Array, *ins: Any) -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in ins]

            def behind(ran: bool) -> None:
                if ran:
                    made: Arrays = [out.copy()]
                    self._tell(
                        op.name, "cpu", ("y",), given, made, dtypes_of(made), of_ufunc(op), elementwise=True
                    )

            return behind

        return self._road(code, look)

    def _narrow(self, code: Callable[..., None]) -> Callable[..., None]:
        """16-bit floats on the CPU: computed in float32, then rounded."""

        def look(op: type[Elementwise], arrays: Any, dtype: DType, place: Array) -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in arrays]

            def behind(_: Any) -> None:
                made: Arrays = [widen(place, dtype)]
                self._tell(op.name, "cpu", ("y",), given, made, [dtype], of_ufunc(op), elementwise=True)

            return behind

        return self._road(code, look)

    # ---- copies, fast paths, gradient accumulation, AdamW

    def _write(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(runtime: Any, target: View, source: Any) -> Callable[[Any], None]:
            given: Arrays = [own_view(source) if isinstance(source, View) else number(source, target.dtype)]

            def behind(_: Any) -> None:
                device, made = str(runtime.device), [own_view(target)]
                spec = copied_into(target)
                self._tell(
                    "copy", device, ("y",), given, list(made), [target.storage.dtype], spec, elementwise=True
                )

            return behind

        return self._road(code, look)

    def _product(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def look(a: Any, b: Any, x: Array, y: Array, ta: bool, tb: bool) -> Callable[[Any], None]:
            given: Arrays = [x.copy(), y.copy()]

            def behind(result: Any) -> None:
                made: Arrays = [own(result)]
                spec = of_op(registry["matmul"], made, 1, {"ta": ta, "tb": tb})
                self._tell("matmul", "cpu", ("y",), given, made, dtypes_of(made), spec, {"ta": ta, "tb": tb})

            return behind

        return self._road(code, look)

    def _quick(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def look(op: type[Op], x: Any, axis: Any) -> Callable[[Any], None]:
            given: Arrays = [own(x)]
            function = np.sum if op.name == "sum" else np.mean

            def behind(result: Any) -> None:
                made: Arrays = [own(result)]
                self._tell(
                    *(op.name, "cpu", ("y",), given, made, dtypes_of(made)),
                    lambda ins: (np.asarray(function(np.asarray(ins[0]), axis=axis)),),
                )

            return behind

        return self._road(code, look)

    def _sum(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(total: Any, grad: Any) -> Callable[[Any], None]:
            given: Arrays = [own(total), own(grad)]

            def behind(_: Any) -> None:
                made: Arrays = [own(total)]
                spec = of_ufunc(registry["add"])
                device = str(total.device)
                self._tell("add", device, ("y",), given, made, [total.dtype], spec, elementwise=True)

            return behind

        return self._road(code, look)

    def _adamw(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(
            params: Any, grads: Any, ms: Any, vs: Any, hyper: Any, *, rows: Any = None, coupled: bool = False
        ) -> Callable[[Any], None]:
            columns = list(zip(params, grads, ms, vs, strict=True))
            numbers = own(hyper).reshape(-1, hyper.shape[-1])
            which = [0] * len(columns) if rows is None else rows
            given = [[*[own(x) for x in row], numbers[i]] for row, i in zip(columns, which, strict=True)]

            def behind(_: Any) -> None:
                for before, (p, _g, m, v) in zip(given, columns, strict=True):
                    results = [p, None, m, v]
                    made: Arrays = [None if t is None else own(t) for t in results]
                    dtypes = [None if t is None else t.dtype for t in results]
                    spec = of_op(registry["adamw"], made, 0, {"coupled": coupled})
                    names, device = ("param", "grad", "m", "v"), str(p.device)
                    self._tell("adamw", device, names, list(before), made, dtypes, spec, {"coupled": coupled})

            return behind

        return self._road(code, look)
