"""Writes: `write` runs an op with its result in the memory of a tensor that is there already.

    x += y            →  write(Add, "add_", x, x, y)
    x.copy_(y)        →  write(Copy, "copy_", x, y)
    x.fill_(1.0)      →  write(Full(…), "copy_", x, 1.0)
    x[mask] = y       →  write(Where, "setitem", x, mask, y, x)
    x[indices] = y    →  write(Put(…), "setitem", x, x, y, places)

This is the third way in which ops run, beside `apply` and views: by the same plans, and differentiable. A
tensor that owns its memory takes the node of the op. For a view, the *base* gets the node `Assign(base,
value)`, and every other view of it rebuilds its edge from the base when it is next read (`edge_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.backward import follow
from tinytensor.autograd.levels import Batched, innermost
from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch import cpu as cpu_dispatch
from tinytensor.dispatch.apply import apply, planned
from tinytensor.dispatch.batching import write_values
from tinytensor.dispatch.checks import complex_history
from tinytensor.dispatch.elementwise import Elementwise, Scalar, on_device, op_of
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.plan import Plan
from tinytensor.dispatch.record import edge_of, edges_of, record, requires
from tinytensor.dispatch.view_gradients import assign_node
from tinytensor.dispatch.watch import watched
from tinytensor.dtypes import DType, promote
from tinytensor.errors import DTypeError, GradError, ShapeError, shown
from tinytensor.events import observers
from tinytensor.op import Op
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.ops.views.manipulation import casting, copied, expanded, filling
from tinytensor.runtime.cpu.arrays import check_writeable, quiet
from tinytensor.runtime.cpu.graph import capturing
from tinytensor.tensor import Tensor, arr, meta_of

# ---- the target --------------------------------------------------------------------------------------------


def has_history(x: Tensor) -> bool:
    """Whether x or its base requires grad (even if x was made under no_grad)."""
    base = x._base
    return x._requires or (base is not None and base._requires)


def check_target(x: Tensor, needs: bool, what: str) -> None:
    """Raise if x cannot be written in place: it overlaps itself, is read-only, or autograd forbids it."""
    if isinstance(x, Batched):
        x = x.value
    if x.layout.overlaps():
        raise GradError(
            f"{what}: the target of shape {x.layout.shape} and strides {x.layout.strides} overlaps itself",
            why="several of its elements share one memory location",
            fix="write to a copy: x.clone()",
        )
    if x.storage.device is cpu:
        check_writeable(arr(x), what)
    if not needs:
        return
    if x.storage.dtype.kind == "complex":
        raise complex_history(what, "the target is complex")
    base = x._base
    if base is not None:
        if x._origin:
            raise GradError(
                f"{what}: this view cannot be written to in grad mode",
                why=f"it was made {x._origin}",
                fix="clone it first, or write under tt.no_grad()",
            )
        if base._edge is None and base._requires:
            raise _leaf(what, "a view of a leaf tensor that requires grad")
        if base.layout.overlaps():
            raise GradError(
                f"{what}: the base of this view, of shape {base.layout.shape}, overlaps itself",
                why="the write would change several elements of the base, each with its own autograd history",
                fix="clone it first, or write under tt.no_grad()",
            )
    if x._requires and x._edge is None:
        raise _leaf(what, "a leaf tensor that requires grad")


def _leaf(what: str, target: str) -> GradError:
    return GradError(
        f"{what}: the target is {target}",
        why="after the write it would no longer be a leaf, and its gradient would be lost",
        fix="write under tt.no_grad(), or to a clone",
    )


# ---- write -------------------------------------------------------------------------------------------------


def write(op: Op, what: str, x: Tensor, *xs: Any) -> Tensor:
    """x = op(*xs), in the memory of x, which may be among the operands; differentiable. Returns x.

    The operands are on the device of x. The op may write its result over an operand that is x itself, and, if
    it is elementwise, over one of the same memory and strides. Messages call the write `what`.
    """
    plan: Any = op.observed if observers else op.plans
    arrays: list[Any] = []
    history = x._requires or (x._base is not None and x._base._requires)
    try:
        for y in xs:
            if type(y) is Tensor:
                plan = plan[y._meta or meta_of(y)]
                arrays.append(y._array)
                if y._requires or (y._base is not None and y._base._requires):
                    history = True
            else:
                plan = plan[type(y)]
                arrays.append(y)
    except KeyError:
        plan = None
    if plan is None or type(x) is not Tensor:
        if innermost((x, *xs)) is not None:
            return write_values(partial(write, op, what), what, x, *xs)
        xs, plan = planned(op, xs)
        arrays = [y._array if isinstance(y, Tensor) else y for y in xs]
        history = any([isinstance(y, Tensor) and has_history(y) for y in (x, *xs)])
    layout, array = x.layout, x._array
    small = plan.into is not None and not plan.observed
    if small and plan.meta is not x._meta:
        small = plan.layout.shape == layout.shape and plan.dtype is x.storage.dtype and not layout.overlaps()
    if small and not (history and grad_enabled()):
        array = arr(x) if array is None else array
        if array.flags.writeable:
            try:  # a third of the time
                quiet.run(plan.into, *arrays, out=array)
            except (ValueError, OverflowError, TypeError, RuntimeError):
                pass  # `_write` raises an error that names the op
            else:
                x.storage.bump(what)
                return x
    return _write(op, what, x, xs, plan)


def _write(op: Op, what: str, x: Tensor, xs: Sequence[Any], plan: Plan) -> Tensor:
    """`write` of any sizes, dtypes and layouts, also while a tool or a capture observes it."""
    needs = grad_enabled() and _recorded(x, xs)
    check_target(x, needs, what)
    result = plan.results[0]
    assert result is not None
    _check_result(what, x, result.spec.shape, plan.compute or result.spec.dtype)
    kept = {at for at, _ in op.sources} if needs else set()
    ins = [_apart(op, what, x, y, i in kept) for i, y in enumerate(xs)]
    refuses = isinstance(op, Elementwise) and op.refuses and plan.device is cpu
    if refuses or result.spec.dtype is not x.storage.dtype:
        return copy_(x, apply(op, *ins))  # 200 // 300 in uint8 is not 200 // 44; an error leaves x as it is
    edges = edges_of(ins) if needs else None
    base = x if x._base is None else x._base
    parent = edge_of(base) if needs else None
    if plan.observed:
        watched(op, plan.device, ins, partial(_run, op, plan, x, ins))
    else:
        _run(op, plan, x, ins)
    x.storage.bump(what)
    if needs:
        before, old = base._edge, x._edge
        node = None if edges is None else record(op, ins, edges, (x,), plan.specs)
        if base is not x or not any([y is x for y in xs]):
            base._edge = assign_node(parent, node, base.layout, x.layout)
            base._requires = True
            follow(base, before)
        if base is not x:
            x._seen = -1 if node is None else x.storage.version
        follow(x, old)
    return x


def _recorded(x: Tensor, xs: Sequence[Any]) -> bool:
    """Whether a write of an op on xs into x belongs in the history of x, in grad mode."""
    return has_history(x) or any([isinstance(y, Tensor) and requires(y) for y in xs])


def _run(op: Op, plan: Plan, x: Tensor, ins: Sequence[Any]) -> Sequence[Any]:
    """Compute into the memory of x, or record that as a step of the graph that this thread captures."""
    arrays = [arr(y) if isinstance(y, Tensor) and plan.device is cpu else y for y in ins]
    if plan.observed and plan.device is cpu and (graph := capturing()) is not None:
        direct = plan.direct if plan.compute is None else None
        cpu_dispatch.note(graph, op, (x,), ins, plan.compute, direct, x)
    elif isinstance(op, Elementwise) and plan.device is not cpu:  # `plan.run` keeps the grid of its results
        assert plan.compute is not None
        on_device(op, ins, view_of(x), plan.compute, op.untyped)
    else:
        plan.run(op, plan, (x,), ins, arrays)
    return (x,)


def _apart(op: Op, what: str, x: Tensor, y: Any, kept: bool) -> Any:
    """The operand; a copy, if backward needs it as it is before the write, or the write would change it while
    it is read.
    """
    if not isinstance(y, Tensor):
        return y
    shared = y.storage is x.storage
    if kept and shared:
        why = "backward needs the values before the in-place write"
    elif y is x or (shared and y.layout == x.layout and isinstance(op, Elementwise)):
        return y
    elif shared if y.storage.device is not cpu else np.may_share_memory(arr(x), arr(y)):
        why = "an operand shares memory with the target"
    else:
        return y
    if observers:
        copies.note(what, "memory", y.layout.size * y.storage.dtype.itemsize, why)
    return copied(y)


def _check_result(what: str, x: Tensor, shape: tuple[int, ...], got: DType) -> None:
    """Raise if a result does not fit into x: of another shape, or of a higher kind, as float into integer."""
    have = x.storage.dtype
    if shape != x.layout.shape:
        raise ShapeError(
            f"{what}: the result of shape {shape} does not fit into the target of shape {x.layout.shape}",
            why="a target that is written in place cannot grow",
            fix="use the out-of-place operator: x = x + y",
        )
    if got.rank > have.rank:
        raise DTypeError(
            f"{what}: a result of dtype {got} cannot be written into a tensor of dtype {have}",
            why="the cast to a lower kind would lose information",
            fix=f"cast the target first: x = x.astype(tt.{got})",
        )


# ---- functions ---------------------------------------------------------------------------------------------


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In-place method of a declared function of one or two operands: writes the result into the first."""
    op = op_of(function)
    what = op.name + "_"
    if len(op.inputs) == 1:

        def method(x: Tensor) -> Tensor:
            return write(op, what, x, x)

    else:

        def method(x: Tensor, y: Any) -> Tensor:  # type: ignore[misc]  # the signature that the op needs
            return write(op, what, x, x, y)

    method.__name__ = what
    method.__doc__ = (
        f"x = {op.name}({'x' if len(op.inputs) == 1 else 'x, y'}), in the memory of x; returns x."
    )
    return method


def copy_(x: Tensor, value: Any) -> Tensor:
    """Write value into x in place: x[...] = value.

    Args:
        value: a tensor or number that broadcasts to the shape of x; cast to its dtype.

    Returns:
        x; differentiable in value.

    Raises:
        GradError: x is a leaf that requires grad, overlaps itself, or is a view that may not be written to.

    >>> x = tt.zeros(2, 3)
    >>> x.copy_(tt.arange(3)).tolist()
    [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """
    have, shape = x.storage.dtype, x.layout.shape
    if (type(x) is not Tensor or isinstance(value, Batched)) and innermost((x, value)) is not None:
        return write_values(copy_, "copy_", x, value)
    if not isinstance(value, Tensor):
        if _RANKS.get(type(value), 4) > have.rank:
            value = _checked_number(have, value)
        return write(filling(x), "copy_", x, value)
    source = value.storage.dtype
    check_value_dtype(have, source, "copy_")
    if value.storage.device is not x.storage.device:
        value = transfer(value, x.storage.device)
    if value.layout.shape != shape:
        if len(value.layout.shape) > len(shape):
            raise ShapeError(
                f"copy_: a value of shape {value.layout.shape} does not fit into a target of shape {shape}",
                why="the value may be broadcast, but the target cannot grow",
                fix=f"index or sum the value so that it broadcasts to {shape}",
            )
        value = expanded(value, shape, "copy_")
    return write(casting(source, have), "copy_", x, value)


def check_value_dtype(have: DType, got: DType, what: str) -> None:
    """Raise DTypeError if a value's kind is higher than the target's; integers may be written into bool."""
    if got.rank > have.rank and not (got.rank == 1 and have.rank == 0):
        raise DTypeError(
            f"{what}: {got} values cannot be written into a tensor of dtype {have}",
            why="the imaginary part would be lost" if got.rank == 3 else "the fractions would be lost",
            fix=f"convert it: value.{'real' if got.rank == 3 else f'astype(tt.{have})'}, or cast the target",
        )


_RANKS = {bool: 0, int: 1, float: 2, complex: 3}


def _checked_number(dtype: DType, value: Any) -> Scalar:
    """The value as one of Python's numbers that the dtype has; integers may be written into bool."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, complex)):
        raise DTypeError(
            f"copy_: a value of type {type(value).__name__}",
            why="only tensors and Python numbers can be written into a tensor",
            fix="make it a tensor first: tt.asarray(value)",
        )
    kind, rank = next((kind, rank) for kind, rank in _RANKS.items() if isinstance(value, kind))
    number: Scalar = kind(value)  # also of a subclass, such as a member of an IntEnum
    if rank > dtype.rank and not (rank == 1 and dtype.rank == 0):
        raise DTypeError(
            f"copy_: the number {shown(number)} cannot be written into a tensor of dtype {dtype}",
            why="its kind is higher than the tensor's, so the cast would lose information",
            fix=f"round it first, or cast the tensor: x.astype(tt.{promote(dtype, scalars=(kind,))})",
        )
    return number
