"""CPU execution of ops: immediately, or during graph capture at each replay.

The counterpart of `launch.py`, which runs ops on devices. Independent of autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinytensor.config import config
from tinytensor.dispatch import copies
from tinytensor.dispatch.elementwise import Elementwise, arrays_of
from tinytensor.dispatch.transfer import widened
from tinytensor.dtypes import DType, float16, float32
from tinytensor.events import observers
from tinytensor.layout import SMALL
from tinytensor.op import Direct, HostCall, Op
from tinytensor.random_streams import Stream, moving
from tinytensor.runtime.cpu.arrays import (
    LARGE,
    Array,
    check_writeable,
    copy_into,
    dtype_of,
    fill,
    narrow,
    silent,
)
from tinytensor.runtime.cpu.chain import Step
from tinytensor.runtime.cpu.fused import Formula, Lifetime, formula_of
from tinytensor.runtime.cpu.graph import HostGraph, capturing, graphs
from tinytensor.storage import alloc, over
from tinytensor.tensor import Tensor, arr, wrap


def run(op: Op, outs: Sequence[Any], ins: Sequence[Any], arrays: list[Any], dtype: DType | None) -> None:
    """Compute the outputs with the op's C++ kernel or its NumPy code; 16-bit floats are computed in float32.

    `arrays` are the inputs as they are stored; `dtype` is that in which an elementwise op computes.
    """
    scratch: list[Any] = []  # storages of float32 copies: from the pool, whose pages are in memory
    if dtype is not None and isinstance(op, Elementwise):
        arrays = arrays_of(op, ins, dtype)
    elif any([t.storage.dtype.narrow for t in (*outs, *ins) if isinstance(t, Tensor)]):
        if _ran_as_stored(op, outs, ins, arrays):
            return
        arrays = [_wide(op, x, scratch) for x in ins]
    if op.writes:
        _check_writes(op, ins)
    places: list[Any] = []
    narrowed = False
    for t in outs:
        if t is None:
            places.append(None)
        elif t.storage.dtype.narrow and not op.raw:
            narrowed = True
            places.append(_scratch(t.layout.shape, scratch))
        else:
            places.append(arr(t) if t._array is None else t._array)
    if config.debug:
        _poison(op, places, arrays)
    _run_any(op, places, arrays)
    if narrowed:
        for t, place in zip(outs, places):
            if t is not None and t.storage.dtype.narrow:
                if observers:
                    copies.note(op.name, "dtype", t.nbytes, f"the result is rounded to {t.storage.dtype}")
                narrow(place, t.storage.dtype, arr(t))
    if op.writes:
        _narrow_writes(op, ins, arrays)


def _run_any(op: Op, places: Sequence[Any], arrays: Sequence[Any]) -> None:
    if isinstance(op, Elementwise):
        fill(op.ufunc, *places, *arrays, host=op.host)
    else:
        run_plain(op, places, arrays)


def run_plain(op: Op, places: Sequence[Any], arrays: Sequence[Any]) -> None:
    """Compute into arrays with the op's C++ kernel, or else with its NumPy code; not for elementwise ops."""
    if observers or config.strict_layout:
        copies.run_as(op.name, _run_plain, op, places, arrays)
    else:
        _run_plain(op, places, arrays)


def _run_plain(op: Op, places: Sequence[Any], arrays: Sequence[Any]) -> None:
    host = op.host
    if host is not None and config.host_kernels != "off":
        if (call := host(*places, *arrays)) is not None and call():
            return
    else:
        host = None
    if (op.contiguous or op.rows) and (kept := _copied(op, arrays)):
        arrays = [kept[i][0] if i in kept else a for i, a in enumerate(arrays)]
        if host is not None and (call := host(*places, *arrays)) is not None and call():
            return
    silent().run(op.cpu, *places, *arrays)


def small_kernel(op: Op, shape: tuple[int, ...], kind: np.dtype[Any]) -> Direct:
    """A function of small arrays that computes the only output of an op in a new one."""

    def run(*arrays: Any) -> Array:
        out = np.empty(shape, kind)
        given = list(arrays)
        if config.debug:
            _poison(op, [out], given)
        run_plain(op, [out], given)
        return out

    return run


def do(
    function: Callable[..., object],
    *operands: Any,
    writes: Sequence[Tensor] = (),
    host: partial[HostCall] | None = None,
    formula: Formula | None = None,
) -> None:
    """Call a function of tensors and arrays that writes to tensors, or record the call during capture;
    `host` and `formula` are those of the step.
    """
    graph = capturing() if graphs else None
    if graph is None:
        function(*operands)
    else:
        call = partial(function, *[held(x) for x in operands])
        graph.add(Step(call, host, None, formula), *[t.storage for t in writes])


def held(x: Any) -> Any:
    """A tensor over the same memory without its storage, for steps: the storage returns its memory to the
    graph when no later step of the function can read it. Anything else as it is.
    """
    if not isinstance(x, Tensor):
        return x
    array = arr(x)
    return wrap(array, x.layout, over(array, x.storage.dtype))


def note(
    graph: HostGraph,
    op: Op,
    outs: Sequence[Any],
    ins: Sequence[Any],
    dtype: DType | None,
    direct: Direct | None,
    target: Tensor | None = None,
) -> None:
    """Record in the graph the work that `run`, or the function `direct`, would do now; `target` is the output
    if it was there before.
    """
    _check_writes(op, ins)
    written = [x.storage for name, x in zip(op.inputs, ins, strict=False) if name in op.writes]
    if target is not None:
        written.append(target.storage)
    life = graph.life_of(outs[0].storage) if len(outs) == 1 and op.formula and not written else None
    step = _step(op, [held(t) for t in outs], [held(x) for x in ins], dtype, direct, life)
    for t in outs:
        if t is not None and t is not target:
            graph.note_result(t.storage)
    graph.add(step, *written)


def _step(
    op: Op,
    outs: Sequence[Any],
    ins: Sequence[Any],
    dtype: DType | None,
    direct: Direct | None,
    life: Lifetime | None,
) -> Step:
    """The step of a captured op; its tensors are `held`."""
    tensors = [t for t in (*outs, *ins) if isinstance(t, Tensor)]
    places: list[Any] = [None if t is None else arr(t) for t in outs]
    stored = [arr(x) if isinstance(x, Tensor) else x for x in ins]
    if direct is not None and not (op.raw and op.host is not None):  # moves have equal bits either way
        return Step(lambda: np.copyto(places[0], direct(*stored)))
    arrays, call, formula = stored, None, None
    if dtype is not None and isinstance(op, Elementwise):
        arrays = arrays_of(op, ins, dtype)
        if places[0].size < LARGE:
            call = partial(op.ufunc, *arrays, out=places[0])
        formula = formula_of(op.formula, op.ufunc, places[0], arrays, life, op.name)
    at = next((i for i, x in enumerate(ins) if isinstance(x, Stream)), None)
    moved = None if at is None else moving(ins[at])

    def now(xs: Sequence[Any]) -> list[Any]:
        """The operands of this replay: samples begin at another place."""
        return [moved() if i == at and moved is not None else x for i, x in enumerate(xs)]

    cast = any([isinstance(x, Tensor) and a is not b for x, a, b in zip(ins, arrays, stored, strict=True)])
    if cast or any([t.storage.dtype.narrow and not op.raw for t in tensors]):
        # operands are cast at each replay, unless a kernel takes them as they are stored
        native = None if arrays is not stored or moved else _host_as_stored(op, tensors)
        return Step(
            lambda: run(op, outs, now(ins), now(stored), dtype),
            None if native is None else partial(native, *places, *stored),
        )
    if moved is not None:
        return Step(lambda: _run_any(op, places, now(arrays)))
    native = None if op.host is None else partial(op.host, *places, *arrays)
    return Step(lambda: _run_any(op, places, arrays), native, call, formula)


def _host_as_stored(op: Op, tensors: Sequence[Any]) -> Callable[..., HostCall] | None:
    """`op.host_bf16`; None if there is none, or one of the tensors has numbers of another format."""
    narrow = config.host_kernels != "off" and not any([t.storage.dtype is float16 for t in tensors])
    return op.host_bf16 if narrow else None


def _ran_as_stored(op: Op, outs: Sequence[Any], ins: Sequence[Any], arrays: list[Any]) -> bool:
    """Run the C++ kernel for stored bfloat16; False if it does not handle the case."""
    host = _host_as_stored(op, [t for t in (*outs, *ins) if isinstance(t, Tensor)])
    if host is None:
        return False
    places = [None if t is None else arr(t) for t in outs]
    if config.debug:
        arrays = list(arrays)
        _poison(op, places, arrays)
    call = copies.run_as(op.name, host, *places, *arrays)
    return call is not None and call()


def _wide(op: Op, x: Any, scratch: list[Any]) -> Any:
    """The array of an operand, or a copy of 16-bit floats in float32."""
    if not isinstance(x, Tensor):
        return x
    if op.raw or not x.storage.dtype.narrow:
        return arr(x)
    return widened(op.name, arr(x), x.storage.dtype, _scratch(x.layout.shape, scratch))


def _scratch(shape: tuple[int, ...], kept: list[Any]) -> Array:
    """Uninitialized float32 array, as long as its storage is kept."""
    if prod(shape) <= SMALL:
        return np.empty(shape, np.float32)
    array, storage = alloc(shape, float32)
    kept.append(storage)
    return array


def _copied(op: Op, arrays: Sequence[Any]) -> dict[int, Any]:
    """C-contiguous copies of the inputs that the op requires contiguous, with their storages."""
    found: dict[int, Any] = {}
    for i, name in enumerate(op.inputs):
        a = arrays[i]
        if not isinstance(a, np.ndarray) or a.flags.c_contiguous:
            continue
        if name in op.contiguous or op.contiguous == ("*",):
            need = "the op reads it as one block"
        elif name in op.rows and a.shape[-1] > 1 and a.strides[-1] != a.itemsize:
            need = "the op reads rows whose numbers lie side by side"
        else:
            continue
        copies.hidden(
            op.name, f"the input {name!r}", a.shape, [s // a.itemsize for s in a.strides], a.nbytes, need
        )
        found[i] = alloc(a.shape, dtype_of(a))
        copy_into(found[i][0], a)
    return found


def _check_writes(op: Op, ins: Sequence[Any]) -> None:
    for name, x in zip(op.inputs, ins, strict=False):
        if name in op.writes:
            check_writeable(arr(x), op.name)


def _narrow_writes(op: Op, ins: Sequence[Any], arrays: Sequence[Any]) -> None:
    for name, x, array in zip(op.inputs, ins, arrays, strict=False):
        if name in op.writes and x.storage.dtype.narrow and not op.raw:
            narrow(array, x.storage.dtype, arr(x))


def _poison(op: Op, places: Sequence[Any], arrays: list[Any]) -> None:
    """Debug mode: fill outputs with NaN (or a large integer), so that unwritten elements show, and make
    inputs read-only.
    """
    reused = {a.ctypes.data for a in arrays if isinstance(a, np.ndarray)}
    for place in places:
        if place is not None and place.ctypes.data not in reused:
            if place.dtype.kind in "fc":
                place.fill(np.nan)
            elif place.dtype.kind in "iu":
                place.fill(np.iinfo(place.dtype).max)
    for i, a in enumerate(arrays):
        if (
            isinstance(a, np.ndarray)
            and op.inputs[min(i, len(op.inputs) - 1)] not in op.writes
            and not op.may_reuse
        ):
            arrays[i] = a = a.view()
            a.flags.writeable = False
