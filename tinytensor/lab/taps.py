"""Every op of a program as host arrays: what it was given, what it gave, and what its NumPy code gives.

The NumPy code of an op is its specification, so each op is asked again, apart from all before it, whether its
results are those of its own inputs. Roads of the engine that compute (any op, elementwise ops, copies, sums
of gradients, steps of AdamW) are tapped by taking the place of their functions while a `watching` block runs.
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

from .. import elementwise, host_work, launching
from ..arrays import values, wrap
from ..autograd import Algebra
from ..dtypes import DType
from ..elementwise import Elementwise
from ..launching import View
from ..op import Op, registry, snake_case
from ..ops import matmul, reduction
from ..ops.gelu import gate_array
from ..runtime.host import NUMPY, Array, dtype_of, narrow, silent, widen
from .context import Context, Place
from .watching import Replacement, replaced

__all__ = ["Arrays", "Seen", "watching"]

Arrays = list[Array | None]
Spec = Callable[[Arrays], Sequence[Array | None]]


@dataclass(slots=True)
class Seen:
    """One run of an op.

    Attributes:
        op: its name.
        device: where it ran.
        place: where in the program.
        names: of the results.
        ins, outs: arrays of their own; 16-bit floats widened to float32.
        dtypes: of the results, as they are stored.
        params: of the op.
        spec: its NumPy code, from inputs to results before their last rounding; None where that ran.
        elementwise: whether each element of a result comes from one element of each input.
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
    """Call `see` behind each op of this thread while the block runs."""
    taps = _Taps(see)
    with replaced(taps.replacements()), taps.context.listening(opener):
        yield


class _Taps:
    """The functions that take the places of those of the engine."""

    def __init__(self, see: See) -> None:
        self.context = Context()
        self._see = see
        self._thread = threading.get_ident()
        self._inside = False  # of a road: what it calls belongs to it

    def replacements(self) -> Iterator[Replacement]:
        """Who gets which attribute."""
        yield launching, "run", self._any_on_device(launching.run)
        yield launching, "elementwise", self._elementwise_on_device(launching.elementwise)
        yield launching, "write", self._write(launching.write)
        yield host_work, "run", self._any_on_host(host_work.run)
        yield host_work, "run_plain", self._plain(host_work.run_plain)
        yield elementwise, "_compute_narrow", self._narrow(elementwise._compute_narrow)
        yield matmul, "_small", self._product(matmul._small)
        yield reduction, "_quick", self._quick(reduction._quick)
        yield Algebra, "add_into", staticmethod(self._sum(Algebra.add_into))
        yield tt, "adamw_step", self._adamw(tt.adamw_step)
        for op in registry.values():
            if issubclass(op, Elementwise):
                yield op, "ufunc", staticmethod(self._ufunc(op, op.ufunc))
                if op.host is not None:
                    yield op, "host", staticmethod(self._kernel(op, op.host))

    def _road(self, code: Callable[..., Any], look: Callable[..., Any]) -> Callable[..., Any]:
        """`look(*args)` says before the call what to do with its result."""

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

    # ---- any op

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
        """An op on tensors; what it writes counts as its results."""
        given: Arrays = [None if x is None else _own(x) for x in ins]

        def behind(_: Any) -> None:
            results = list(outs)
            if op.writes:
                results += [x if name in op.writes else None for name, x in zip(op.inputs, ins, strict=False)]
            made: Arrays = [None if t is None else _own(t) for t in results]
            dtypes = [None if t is None else t.dtype for t in results]
            names = [*op.outputs, *op.inputs][: len(results)]
            spec = _specification(op, made, len(outs), params)
            self._tell(op.name, device, names, given, made, dtypes, spec, params)

        return behind

    def _plain(self, code: Callable[..., None]) -> Callable[..., None]:
        """The short road of small float32 tensors on the CPU."""

        def look(op: type[Op], places: Any, arrays: Any, params: Any) -> Callable[[Any], None]:
            given: Arrays = [None if x is None else x.copy() for x in arrays]

            def behind(_: Any) -> None:
                made: Arrays = [None if t is None else t.copy() for t in places]
                spec = _specification(op, made, len(places), params)
                self._tell(op.name, "cpu", op.outputs, given, made, _dtypes(made), spec, params)

            return behind

        return self._road(code, look)

    # ---- elementwise ops

    def _elementwise_on_device(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(
            runtime: Any, stem: str, functor: str, out: View, operands: Any, dtype: DType, first: DType
        ) -> Callable[[Any], None]:
            given: Arrays = [
                _own_view(x) if isinstance(x, View) else _number(x, first if i == 0 else dtype)
                for i, x in enumerate(operands)
            ]
            op = registry.get(snake_case(functor))
            ufunc = getattr(op, "ufunc", None)

            def spec(ins: Arrays) -> Sequence[Array | None]:
                if ufunc is None:  # Cast
                    return (_like(ins[0], out),)
                return (_like(silent().run(ufunc, *ins), out),)

            def behind(_: Any) -> None:
                known = spec if ufunc is not None or functor == "Cast" else None
                device = str(runtime.device)
                name = snake_case(functor)
                self._tell(
                    name,
                    device,
                    ("y",),
                    given,
                    [_own_view(out)],
                    [out.storage.dtype],
                    known,
                    elementwise=True,
                )

            return behind

        return self._road(code, look)

    def _ufunc(self, op: type[Elementwise], code: Callable[..., Any]) -> Callable[..., Any]:
        """On the CPU the ufunc is the specification: there is nothing to compare it with."""

        def look(*ins: Any, out: Any = None, order: str = "K") -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in ins]

            def behind(result: Any) -> None:
                made: Arrays = [np.array(result)]
                self._tell(op.name, "cpu", ("y",), given, made, _dtypes(made), None, elementwise=True)

            return behind

        return self._road(code, look)

    def _kernel(self, op: type[Elementwise], code: Callable[..., bool]) -> Callable[..., bool]:
        """A kernel of the host, which may leave the case to the ufunc."""

        def look(out: Array, *ins: Any) -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in ins]

            def behind(ran: bool) -> None:
                if ran:
                    made: Arrays = [out.copy()]
                    self._tell(
                        op.name, "cpu", ("y",), given, made, _dtypes(made), _ufunc_of(op), elementwise=True
                    )

            return behind

        return self._road(code, look)

    def _narrow(self, code: Callable[..., None]) -> Callable[..., None]:
        """16-bit floats on the CPU: computed in float32, and rounded."""

        def look(op: type[Elementwise], arrays: Any, dtype: DType, place: Array) -> Callable[[Any], None]:
            given: Arrays = [np.array(x) for x in arrays]

            def behind(_: Any) -> None:
                made: Arrays = [widen(place, dtype)]
                self._tell(op.name, "cpu", ("y",), given, made, [dtype], _ufunc_of(op), elementwise=True)

            return behind

        return self._road(code, look)

    # ---- copies, short roads, sums of gradients, AdamW

    def _write(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(runtime: Any, target: View, source: Any) -> Callable[[Any], None]:
            given: Arrays = [_own_view(source) if isinstance(source, View) else _number(source, target.dtype)]

            def behind(_: Any) -> None:
                device, made = str(runtime.device), [_own_view(target)]
                spec = _copy_into(target)
                self._tell(
                    "copy", device, ("y",), given, list(made), [target.storage.dtype], spec, elementwise=True
                )

            return behind

        return self._road(code, look)

    def _product(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def look(a: Any, b: Any, x: Array, y: Array, ta: bool, tb: bool) -> Callable[[Any], None]:
            given: Arrays = [x.copy(), y.copy()]

            def behind(result: Any) -> None:
                made: Arrays = [_own(result)]
                spec = _specification(registry["matmul"], made, 1, {"ta": ta, "tb": tb})
                self._tell("matmul", "cpu", ("y",), given, made, _dtypes(made), spec, {"ta": ta, "tb": tb})

            return behind

        return self._road(code, look)

    def _quick(self, code: Callable[..., Any]) -> Callable[..., Any]:
        def look(op: type[Op], x: Any, axis: Any) -> Callable[[Any], None]:
            given: Arrays = [_own(x)]
            function = np.sum if op.name == "sum" else np.mean

            def behind(result: Any) -> None:
                made: Arrays = [_own(result)]
                self._tell(
                    *(op.name, "cpu", ("y",), given, made, _dtypes(made)),
                    lambda ins: (np.asarray(function(np.asarray(ins[0]), axis=axis)),),
                )

            return behind

        return self._road(code, look)

    def _sum(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(total: Any, grad: Any) -> Callable[[Any], None]:
            given: Arrays = [_own(total), _own(grad)]

            def behind(_: Any) -> None:
                made: Arrays = [_own(total)]
                spec = _ufunc_of(registry["add"])
                device = str(total.device)
                self._tell("add", device, ("y",), given, made, [total.dtype], spec, elementwise=True)

            return behind

        return self._road(code, look)

    def _adamw(self, code: Callable[..., None]) -> Callable[..., None]:
        def look(
            params: Any, grads: Any, ms: Any, vs: Any, hyper: Any, *, rows: Any = None, coupled: bool = False
        ) -> Callable[[Any], None]:
            columns = list(zip(params, grads, ms, vs, strict=True))
            numbers = _own(hyper).reshape(-1, hyper.shape[-1])
            which = [0] * len(columns) if rows is None else rows
            given = [[*[_own(x) for x in row], numbers[i]] for row, i in zip(columns, which, strict=True)]

            def behind(_: Any) -> None:
                for before, (p, _g, m, v) in zip(given, columns, strict=True):
                    results = [p, None, m, v]
                    made: Arrays = [None if t is None else _own(t) for t in results]
                    dtypes = [None if t is None else t.dtype for t in results]
                    spec = _specification(registry["adamw"], made, 0, {"coupled": coupled})
                    names, device = ("param", "grad", "m", "v"), str(p.device)
                    self._tell("adamw", device, names, list(before), made, dtypes, spec, {"coupled": coupled})

            return behind

        return self._road(code, look)


# ---- arrays ------------------------------------------------------------------------------------------------


def _own(t: Any) -> Array:
    """The elements of a tensor as an array of its own; 16-bit floats in float32."""
    return np.array(values(t), order="C")


def _own_view(view: View) -> Array:
    return _own(wrap(None, view.layout, view.storage))


def _number(bits: bytes, dtype: DType) -> Array:
    """A Python number as kernels take it."""
    kind = np.dtype(np.float32) if dtype.narrow else NUMPY[dtype]
    return np.frombuffer(bits, kind, 1).reshape(()).copy()


def _like(result: Any, out: View) -> Array:
    """A result in the dtype and shape of a View, 16-bit floats in float32."""
    dtype = out.storage.dtype
    kind = np.dtype(np.float32) if dtype.narrow else NUMPY[dtype]
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(result).astype(kind), out.shape)


def _dtypes(arrays: Arrays) -> list[DType | None]:
    return [None if a is None else dtype_of(a) for a in arrays]


def _copy_into(target: View) -> Spec:
    return lambda ins: (_like(ins[0], target),)


def _ufunc_of(op: Any) -> Spec:
    return lambda ins: (np.asarray(silent().run(op.ufunc, *ins)),)


def _gated_backward(dx: Array, grad: Array, x: Array, slope: Array | None, *, gate: str) -> None:
    """A device keeps no slope, and the CPU wants one."""
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
    """A device keeps what the gate got, the CPU its slope."""
    registry["linear_gelu"].cpu(y, None, slope, x, weight, bias, **how)
    if before is not None:
        registry["linear"].cpu(before, x, weight, bias, transposed=how["transposed"])


def _cast(y: Array, x: Array, **_: Any) -> None:
    """The NumPy code takes bits of 16-bit floats, and here they are floats."""
    np.copyto(y, x, casting="unsafe")


# Where devices are asked for other caches than the CPU, or where arrays would be bits.
_OTHERWISE: dict[str, Callable[..., None]] = {
    "cast": _cast,
    "gated_backward": _gated_backward,
    "linear_gelu": _linear_gelu,
}


def _specification(op: type[Op], made: Arrays, outputs: int, params: dict[str, Any]) -> Spec | None:
    """The NumPy code of an op on inputs that it may overwrite: results, then inputs that it writes."""
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
    """A result as it would be stored, widened again."""
    if not dtype.narrow or array.dtype != np.float32:
        return array
    stored: Array = np.empty(array.shape, NUMPY[dtype])
    narrow(array, dtype, stored)
    return widen(stored, dtype)
