"""Op execution: `apply` checks the inputs, infers shapes, allocates outputs, runs the kernel and records.

Independent of concrete ops; `op.py` defines the `Op` interface. Elementwise ops have their own paths
(`elementwise.py`), as do views (`views.py`) and in-place writes (`ops/inplace`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.autograd.modes import casting, grad_enabled, retaining
from tinytensor.config import config
from tinytensor.device import Device, cpu
from tinytensor.dispatch import cpu as host_work
from tinytensor.dispatch import launch
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.record import edge_of, record
from tinytensor.dispatch.reuse import reusable
from tinytensor.dispatch.transfer import widened
from tinytensor.dtypes import float32
from tinytensor.errors import DTypeError
from tinytensor.layout import contiguous
from tinytensor.op import Op, Spec
from tinytensor.runtime.cpu.graph import capturing, graphs
from tinytensor.runtime.cpu.memory import without_memory
from tinytensor.tensor import Tensor, arr, empty, same_memory, small


def run_op(op: type[Op], *ins: Tensor | None, **params: Any) -> Any:
    """Run an op: check → infer → allocate → run → record. Returns its visible output(s)."""
    cast = casting()
    if op.quick and cast is None and not graphs and not config.debug:
        result = _run_small(op, ins, params)
        if result is not _NOT_SMALL:
            return result
    if cast is not None:
        ins = tuple(cast(op.autocast, ins))
    looking = not op.writes and grad_enabled()
    edges, specs_in, arrays, recording, device = _inputs(op, ins, looking)
    if not ins:
        device = params.pop("device", cpu)
    specs = op.infer(*specs_in, **params)
    if recording and op.visible == 1 and (first := specs[0]) is not None and not first.dtype.is_inexact:
        recording = False  # no gradient passes through integers
    outs: list[Any] = []
    for k, spec in enumerate(specs):
        if spec is None or (k >= op.visible and not recording):
            outs.append(None)
            continue
        t = _reused(op, k, ins, spec) if op.may_reuse and not retaining() else None
        outs.append(empty(*spec, device) if t is None else t)
    if device is not cpu:
        launch.run(op, device, outs, ins, params)
    elif graphs and (graph := capturing()) is not None:
        host_work.note(graph, op, outs, ins, params)
    else:
        try:
            host_work.run(op, outs, ins, arrays, params)
        except (MemoryError, ValueError) as error:
            largest = max([t.layout.size for t in (*ins, *outs) if t is not None])
            if (missing := without_memory(op.name, error, largest)) is None:
                raise
            raise missing from None
    if recording:
        record(op, ins, tuple(edges), outs, params)
    if op.writes:
        for name, x in zip(op.inputs, ins, strict=False):
            if x is not None and name in op.writes:
                x.storage.bump(op.name)
    return outs[0] if op.visible == 1 else tuple(outs[: op.visible])


# (op, ids of layouts, parameters) → output specs, and the layouts: kept alive so that their ids stay unique.
_small_results: dict[Any, Any] = {}
_MOST_SMALL = 4096
_NOT_SMALL = object()


def _run_small(op: type[Op], ins: Sequence[Any], params: dict[str, Any]) -> Any:
    """`run_op` for small float32 tensors that own their memory, with cached output shapes."""
    key: list[Any] = [op, *params.items()]
    arrays: list[Any] = []
    edges: list[Any] = []
    recording = False
    looking = grad_enabled()
    for x in ins:
        edge = None
        if x is None:
            key.append(None)
            arrays.append(None)
        elif (
            type(x) is Tensor
            and x._base is None
            and x.storage.dtype is float32
            and (layout := x.layout).small
        ):
            key.append(id(layout))
            array = x._array
            arrays.append(arr(x) if array is None else array)
            if looking and x._requires:
                edge = x._edge or x
                recording = True
        else:
            return _NOT_SMALL
        edges.append(edge)
    fixed = tuple(key)
    known = _small_results.get(fixed)
    if known is None:
        known = _small_results_of(op, fixed, ins, params)
    results = known[0]
    if results is _NOT_SMALL:
        return results
    outs: list[Any] = []
    places: list[Any] = []
    visible = op.visible
    for result in results:
        if result is None or (not recording and len(outs) >= visible):
            outs.append(None)
            places.append(None)
        else:
            t = small(*result)
            outs.append(t)
            places.append(t._array)
    host_work.run_plain(op, places, arrays, params)
    if recording:
        record(op, ins, tuple(edges), outs, params)
    return outs[0] if visible == 1 else tuple(outs[:visible])


def _small_results_of(op: type[Op], key: Any, ins: Sequence[Any], params: dict[str, Any]) -> Any:
    """Infer the output specs of the op and cache them."""
    specs = op.infer(*[None if x is None else Spec(x.layout.shape, float32) for x in ins], **params)
    if len(_small_results) >= _MOST_SMALL:
        _small_results.clear()
    results = [None if s is None else (contiguous(s.shape), s.dtype) for s in specs]
    layouts = [None if x is None else x.layout for x in ins]
    fits = all([r is None or r[0].small for r in results])
    known = _small_results[key] = results if fits else _NOT_SMALL, layouts
    return known


def _inputs(
    op: type[Op], ins: Sequence[Any], looking: bool
) -> tuple[list[Any], list[Any], list[Any], bool, Device]:
    """(edges, specs, arrays, recording, device) of the inputs: arrays on the CPU only; recording is True if
    an input has autograd history and `looking` is set.
    """
    device = cpu
    edges: list[Any] = []
    specs: list[Any] = []
    arrays: list[Any] = []
    recording = False
    raw = op.raw or op.host_bf16 is not None
    for x in ins:
        if x is None:
            edges.append(None)
            specs.append(None)
            arrays.append(None)
            continue
        if not isinstance(x, Tensor):
            raise DTypeError(
                f"{op.name}: an input of type {type(x).__name__}",
                why="ops take tensors",
                fix="make it a tensor first: tt.asarray(x)",
            )
        if looking:
            edge = edge_of(x)
            edges.append(edge)
            if edge is not None:
                recording = True
        dtype = x.storage.dtype
        specs.append(_as_spec(Spec, (x.layout.shape, dtype, None)))
        array = x._array
        if array is None:
            if x.storage.device is not cpu:
                device = x.storage.device
                continue
            array = arr(x)
        arrays.append(widened(op.name, array, dtype) if dtype.narrow and not raw else array)
    if device is not cpu:
        common_device(op.name, ins)
    return edges, specs, arrays, recording, device


_as_spec = tuple.__new__  # half the time of Spec(…): no Python code runs


apply: Callable[..., Tensor] = run_op  # for ops with one visible output
apply_all: Callable[..., tuple[Tensor, ...]] = run_op  # for ops with several


def _reused(op: type[Op], k: int, ins: Sequence[Any], spec: Spec) -> Tensor | None:
    """Tensor over the memory of the input that output k may reuse, if nothing else references that memory."""
    name = op.may_reuse.get(op.outputs[k])
    if name is None:
        return None
    x = ins[op.inputs.index(name)]
    if x is None or not reusable(x, spec.shape, spec.dtype):
        return None
    x.storage.bump(op.name)
    return same_memory(x)
