"""Op execution: `apply` is the function through which every op runs.

    x + y  →  add(x, y)  →  apply(Add(), x, y)  →  np.add, Add's C++ kernel, or its CUDA kernel

Each call has a plan: what depends only on the op, its parameters, and the metadata of the operands (shapes,
strides, dtypes and device, or the types of Python numbers). A plan is made at the first such call and kept;
later calls look it up, compute and record. Views (`views.py`) and writes (`ops/inplace.py`) are the two other
ways in which ops run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

from tinytensor.autograd.levels import innermost
from tinytensor.autograd.modes import casting, grad_enabled, retaining
from tinytensor.autograd.reuse import reusable
from tinytensor.config import config
from tinytensor.device import Device, cpu
from tinytensor.dispatch import cpu as cpu_dispatch
from tinytensor.dispatch import launch
from tinytensor.dispatch.checks import complex_history
from tinytensor.dispatch.elementwise import Elementwise, on_device
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.plan import Plan, Result, new_plan
from tinytensor.dispatch.record import edges_of, record
from tinytensor.dispatch.watch import watched
from tinytensor.errors import AllocationError
from tinytensor.events import fire, observers
from tinytensor.layout import SMALL
from tinytensor.op import Op
from tinytensor.runtime.cpu.arrays import NUMPY, quiet
from tinytensor.runtime.cpu.graph import capturing, graphs
from tinytensor.runtime.cpu.memory import out_of_memory, without_memory
from tinytensor.storage import Storage
from tinytensor.tensor import Size, Tensor, arr, empty, meta_of, new, same_memory, small


def run_op(op: Op, *xs: Any) -> Any:
    """Run an op: look up the plan → compute → record. Returns its visible output(s)."""
    if (cast := casting()) is not None:
        xs = tuple(cast(op.autocast, xs))
    plan: Any = op.observed if observers else op.plans  # a tree of dictionaries, by each operand
    arrays: list[Any] = []
    history = False
    try:
        for x in xs:
            if type(x) is Tensor:
                plan = plan[x._meta or meta_of(x)]
                arrays.append(x._array)
                if x._requires or x._base is not None:
                    history = True
            else:
                plan = plan[type(x)]
                arrays.append(x)
    except KeyError:
        plan = None  # made outside of this block, so that its errors do not name this one as their context
    if plan is None:
        if (level := innermost(xs)) is not None:
            return level.call(op, xs)
        xs, plan = new_plan(op, xs, bool(observers), _choose)
        arrays = [x._array if isinstance(x, Tensor) else x for x in xs]
        history = any([isinstance(x, Tensor) and (x._requires or x._base is not None) for x in xs])
    edges = edges_of(xs) if history and plan.recorded and grad_enabled() else None
    if plan.fast:
        try:
            t = _direct_result(plan, quiet.run(plan.direct, *arrays))
        except (AttributeError, ValueError, OverflowError, TypeError, RuntimeError):
            pass  # an array that was not read yet; or an error: `_execute` raises one that names the op
        else:
            if edges is not None:
                record(op, xs, edges, (t,), plan.specs)
            return t
    if plan.observed:
        outs = watched(op, plan.device, xs, partial(_execute, op, plan, xs, arrays, edges))
    else:
        outs = _execute(op, plan, xs, arrays, edges)
    return outs[0] if op.visible == 1 else tuple(outs[: op.visible])


apply: Callable[..., Tensor] = run_op  # for ops with one visible output
apply_all: Callable[..., tuple[Tensor, ...]] = run_op  # for ops with several


def planned(op: Op, xs: Sequence[Any]) -> tuple[tuple[Any, ...], Plan]:
    """(checked operands, plan) of a call."""
    return new_plan(op, xs, bool(observers), _choose)


def unary(op: Elementwise, x: Tensor) -> Tensor:
    """`apply(op, x)`, written out for a small operand: half the time."""
    try:
        plan = (op.observed if observers else op.plans)[x._meta or meta_of(x)]
        array = quiet.run(op.ufunc, x._array, out=..., order="C") if plan.fast else None
    except (AttributeError, KeyError, ValueError, OverflowError, TypeError, RuntimeError):
        array = None
    if array is None:
        return apply(op, x)  # makes the plan, or raises an error that names the op
    t = _direct_result(plan, array)
    if (x._requires or x._base is not None) and plan.recorded and grad_enabled():
        _record_if_needed(op, (x,), t, plan)
    return t


def binary(op: Elementwise, a: Any, b: Any) -> Tensor:
    """`apply(op, a, b)`, written out for small operands: half the time. A ufunc that is a Python function
    gets numbers as they are: such ops of numbers use `apply`.
    """
    ta, tb = type(a) is Tensor, type(b) is Tensor
    if not (ta and tb):
        a, b = int(a) if type(a) is Size else a, int(b) if type(b) is Size else b
    try:
        first = (a._meta or meta_of(a)) if ta else type(a)
        plan = (op.observed if observers else op.plans)[first][(b._meta or meta_of(b)) if tb else type(b)]
        array = None
        if plan.fast:
            array = quiet.run(op.ufunc, a._array if ta else a, b._array if tb else b, out=..., order="C")
    except (KeyError, ValueError, OverflowError, TypeError, RuntimeError):
        array = None
    if array is None:
        return apply(op, a, b)  # makes the plan, or raises an error that names the op
    t = _direct_result(plan, array)
    history = (ta and (a._requires or a._base is not None)) or (tb and (b._requires or b._base is not None))
    if history and plan.recorded and grad_enabled():
        _record_if_needed(op, (a, b), t, plan)
    return t


def _record_if_needed(op: Op, xs: tuple[Any, ...], t: Tensor, plan: Plan) -> None:
    edges = edges_of(xs)
    if edges is not None:
        record(op, xs, edges, (t,), plan.specs)


def _direct_result(plan: Plan, array: Any) -> Tensor:
    """The tensor of an array that `Plan.direct` returned."""
    t = new(Tensor)
    s = new(Storage)
    s.buffer = t._array = array
    s.dtype = plan.dtype
    s.device = cpu
    s.version = 0
    t.storage = s
    t.layout = plan.layout
    t._meta = plan.meta
    t._requires = False
    t._grad = t._edge = t._base = t._hooks = None
    return t


def _execute(op: Op, plan: Plan, xs: Sequence[Any], arrays: list[Any], edges: Any) -> Sequence[Any]:
    """Allocate the outputs, compute and record. Returns all outputs, None for those that are not computed."""
    if plan.device is cpu:
        for i, x in enumerate(xs):
            if arrays[i] is None and x is not None:
                arrays[i] = arr(x)
    if plan.direct is not None and not (plan.observed and capturing() is not None):
        try:
            t = _direct_result(plan, quiet.run(plan.direct, *arrays))
        except (ValueError, OverflowError, TypeError, RuntimeError):
            pass  # an error that names the op is raised below
        else:
            if plan.observed:
                fire("storage", t.storage)
            if edges is not None:
                record(op, xs, edges, (t,), plan.specs)
            return (t,)
    outs: list[Any] = []
    for k, result in enumerate(plan.results):
        if result is None or (edges is None and k >= op.visible):
            outs.append(None)
        else:
            outs.append(_output(op, k, xs, result, plan.device))
    plan.run(op, plan, outs, xs, arrays)
    if edges is not None:
        if plan.complex:
            raise complex_history(op.name)
        record(op, xs, edges, outs, plan.specs)
    if op.writes:
        for name, x in zip(op.inputs, xs, strict=False):
            if x is not None and name in op.writes:
                x.storage.bump(op.name)
    return outs


def _output(op: Op, k: int, xs: Sequence[Any], result: Result, device: Device) -> Tensor:
    """Uninitialized tensor for output k, or one over the memory of an input that nothing else references."""
    spec, layout, meta = result
    if device is cpu and spec.order is None and layout.size <= SMALL:
        t = small(layout, spec.dtype)
    else:
        reused = _reused(op, k, xs, result) if op.may_reuse and not retaining() else None
        try:
            t = empty(spec.shape, spec.dtype, device, layout) if reused is None else reused
        except AllocationError:
            if device is not cpu:
                raise
            raise out_of_memory(op.name, prod(spec.shape) * spec.dtype.itemsize) from None
    if device is cpu:
        arr(t)  # before the metadata: see `meta_of`
    t._meta = meta
    return t


def _choose(op: Op, plan: Plan) -> Callable[..., None]:
    """The function that computes the outputs of a call: `Plan.run`."""
    if plan.device is not cpu:
        return _compute_elementwise if plan.compute is not None else _compute_on_device
    if plan.observed:
        return _compute_or_capture
    if plan.small and plan.single and plan.direct is None:  # not `fast`: it takes None for what is absent
        plan.direct = cpu_dispatch.small_kernel(op, plan.layout.shape, NUMPY[plan.dtype])
    return _compute_small if plan.small else _compute


def _compute_elementwise(op: Any, plan: Plan, outs: Sequence[Any], xs: Sequence[Any], _: Any) -> None:
    """Launch the functor of the op on a device."""
    assert plan.compute is not None
    plan.launched = on_device(op, xs, view_of(outs[0]), plan.compute, op.untyped, plan.launched)


def _compute_on_device(op: Op, plan: Plan, outs: Sequence[Any], xs: Sequence[Any], _: Any) -> None:
    """Launch the kernels of the op, or call a library."""
    launch.run(op, plan.device, outs, xs)


def _compute_or_capture(
    op: Op, plan: Plan, outs: Sequence[Any], xs: Sequence[Any], arrays: list[Any]
) -> None:
    """Compute on the CPU, at once or as a step of the graph that this thread captures."""
    if (graph := capturing()) is not None:
        direct = plan.direct if plan.compute is None else None
        cpu_dispatch.note(graph, op, outs, xs, plan.compute, direct)
    elif plan.small:
        _compute_small(op, plan, outs, xs, arrays)
    else:
        _compute(op, plan, outs, xs, arrays)


def _compute_small(op: Op, plan: Plan, outs: Sequence[Any], xs: Sequence[Any], arrays: list[Any]) -> None:
    """Compute on the CPU operands that the op's code takes as they are stored."""
    if config.debug:
        _compute(op, plan, outs, xs, arrays)
    else:
        cpu_dispatch.run_plain(op, [None if t is None else arr(t) for t in outs], arrays)


def _compute(op: Op, plan: Plan, outs: Sequence[Any], xs: Sequence[Any], arrays: list[Any]) -> None:
    """Compute on the CPU operands of any sizes, dtypes and layouts."""
    try:
        cpu_dispatch.run(op, outs, xs, arrays, plan.compute)
    except (MemoryError, ValueError) as error:
        largest = max([t.layout.size for t in (*xs, *outs) if isinstance(t, Tensor)])
        if (missing := without_memory(op.name, error, largest)) is None:
            raise
        raise missing from None


def _reused(op: Op, k: int, xs: Sequence[Any], result: Result) -> Tensor | None:
    """Tensor over the memory of the input that output k may reuse, if nothing else references that memory."""
    name = op.may_reuse.get(op.outputs[k])
    if name is None:
        return None
    x = xs[op.inputs.index(name)]
    if x is None or not reusable(x, result.layout, result.spec.dtype):
        return None
    if graphs and (graph := capturing()) is not None:
        graph.note_write(x.storage)  # by the step of this op
    x.storage.bump(op.name)
    return same_memory(x)
