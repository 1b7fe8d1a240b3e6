"""In-place elementwise ops and `copy_`, with autograd through views.

An in-place op computes the functional op, writes the value into the target's memory and increments its
version. A tensor that owns its memory then takes over the value's node. For a view, the *base* gets the node
`Assign(base, value)`, and every other view of it rebuilds its edge from the base the next time the edge is
read (`dispatch.record.edge_of`).
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
from tinytensor.dispatch import copies, launch
from tinytensor.dispatch.apply import apply, plan_of
from tinytensor.dispatch.batching import write
from tinytensor.dispatch.checks import common_device, complex_history
from tinytensor.dispatch.cpu import do
from tinytensor.dispatch.elementwise import (
    Elementwise,
    Scalar,
    checked_operands,
    convert,
    number,
    on_device,
    op_of,
    result_dtype,
)
from tinytensor.dispatch.launch import View, view_of
from tinytensor.dispatch.record import edge_of, edges_of, requires
from tinytensor.dispatch.transfer import values
from tinytensor.dispatch.view_gradients import assign_node
from tinytensor.dispatch.watch import watched
from tinytensor.dtypes import DType, float32, float64, promote
from tinytensor.errors import DTypeError, GradError, ShapeError, TinyTensorError, shown
from tinytensor.events import observers
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.ops.views.manipulation import cast, copied, copied_by
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import (
    NUMPY,
    check_writeable,
    copy_into,
    fill,
    narrow,
    quiet,
    silent,
    widen,
)
from tinytensor.runtime.cpu.fused import Formula, formula_of
from tinytensor.runtime.cpu.graph import graphs
from tinytensor.shapes import broadcast_shapes
from tinytensor.tensor import Tensor, arr


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


def inplace(op: Elementwise, x: Tensor, *others: Any) -> Tensor:
    """x = op(x, *others), in the memory of x; differentiable."""
    xs = (x, *others)
    try:
        plan = plan_of(op, xs)
        if plan.direct is not None and plan.meta is x._meta and x._base is None and not observers:
            history = x._requires
            arrays: list[Any] = []
            for y in others:
                if type(y) is Tensor:
                    history = history or y._requires or y._base is not None
                    y = y._array
                arrays.append(y)
            array = arr(x)
            if array.flags.writeable and not (history and grad_enabled() and edges_of(xs)):
                quiet.run(op.ufunc, array, *arrays, out=array)
                x.storage.bump(op.name + "_")
                return x
    except (TinyTensorError, ValueError, OverflowError, TypeError, RuntimeError):
        pass  # raised again below, with the name of the in-place method
    return _inplace(op, x, *others)


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In-place method of a declared function of one or two operands: writes the result into the first."""
    op = op_of(function)
    if len(op.inputs) == 1:

        def method(x: Tensor) -> Tensor:
            return inplace(op, x)

    else:

        def method(x: Tensor, y: Any) -> Tensor:  # type: ignore[misc]  # the signature that the op needs
            return inplace(op, x, y)

    method.__name__ = op.name + "_"
    method.__doc__ = (
        f"x = {op.name}({'x' if len(op.inputs) == 1 else 'x, y'}), in the memory of x; returns x."
    )
    return method


def _inplace(op: Elementwise, x: Tensor, *others: Any) -> Tensor:
    what = op.name + "_"
    if innermost((x, *others)) is not None:
        return write(partial(_inplace, op), what, x, *others)
    needs = grad_enabled() and (
        has_history(x) or any([isinstance(o, Tensor) and requires(o) for o in others])
    )
    check_target(x, needs, what)
    items, dtypes, kinds, shape = checked_operands(op, (x, *others))
    have = x.storage.dtype
    if shape != x.layout.shape:
        raise ShapeError(
            f"{what}: the result of shape {shape} does not fit into the target of shape {x.layout.shape}",
            why="a target that is written in place cannot grow",
            fix="use the out-of-place operator: x = x + y",
        )
    got = result_dtype(op, dtypes, kinds)
    _check_kind(what, have, got)
    device = common_device(what, (x, *others))
    if not needs and have.rank == got.rank == 1 and got is not have:  # 200 // 300 in uint8 is not 200 // 44
        store(x, apply(op, x, *others))
        x.storage.bump(what)
        return x
    if not needs:

        def run() -> Sequence[Any]:
            if device is not cpu:
                apart = [item if item is x else apart_from(x, item, what) for item in items]
                on_device(op, apart, view_of(x), have, op.untyped)
            else:
                formula = _formula(op, x, items) if graphs else None
                do(partial(_compute, op, have), x, *items, writes=(x,), formula=formula)
            return (x,)

        if observers:
            watched(op, device, items, run)
        else:
            run()
        x.storage.bump(what)
        return x
    ins = [x, *others]
    for at, _ in op.sources:  # copy saved inputs whose memory is overwritten below
        if at >= 0 and isinstance(t := ins[at], Tensor) and t.storage is x.storage:
            ins[at] = _copied(what, t, "backward needs the values before the in-place write")
    value = apply(op, *ins)
    if value.storage.dtype is not have:
        value = cast(value, have)
    store(x, value)
    rebase(x, value, what)
    return x


def _formula(op: Elementwise, x: Tensor, items: Sequence[Any]) -> Formula | None:
    """x = op(*items) as a formula, if no operand is cast."""
    have = x.storage.dtype
    if have.narrow or any(
        [isinstance(i, Tensor) and i.storage.dtype is not have for i in items[op.untyped :]]
    ):
        return None
    arrays = [convert(op.name + "_", item, have) for item in items]
    return formula_of(op.formula, op.ufunc, arr(x), arrays, None, op.name)


def _compute(op: Elementwise, have: DType, x: Tensor, *items: Any) -> None:
    target, arrays = arr(x), [convert(op.name + "_", item, have) for item in items]
    if observers:
        for item, a in zip(items, arrays, strict=True):
            if isinstance(item, Tensor) and item.storage is x.storage and item.layout != x.layout:
                copies.note(op.name + "_", "memory", a.nbytes, "an operand shares memory with the target")
    if have.narrow:
        narrow(np.asarray(silent().run(op.ufunc, *arrays, out=...)), have, target)
    elif op.refuses or any([_shifted(a, target) for a in arrays]):  # one call: if it raises, x is unchanged
        silent().run(op.ufunc, *arrays, out=target)  # ufuncs buffer overlapping operands
    else:
        fill(op.ufunc, target, *arrays)


def _shifted(a: Any, target: Any) -> bool:
    """Whether an operand may share memory with the target without being the same view."""
    if not np.ndim(a) or a is target:
        return False
    same = a.ctypes.data == target.ctypes.data and (a.shape, a.strides) == (target.shape, target.strides)
    return not same and np.may_share_memory(a, target)


def apart_from(x: Tensor, item: Any, what: str) -> Any:
    """The operand, or a copy of it if it shares memory with x: a kernel reads and writes concurrently."""
    if not isinstance(item, Tensor) or item.storage is not x.storage:
        return item
    return _copied(what, item, "an operand shares memory with the target")


def _copied(what: str, x: Tensor, why: str) -> Tensor:
    if observers:
        copies.note(what, "memory", x.layout.size * x.storage.dtype.itemsize, why)
    return copied(x)


def store(x: Tensor, value: Any) -> None:
    """Write a tensor or number into x, broadcast and cast; does not record or bump the version."""
    if observers:
        copied_by(lambda: (_stored(x, value),), x.storage.device, value)
    else:
        _stored(x, value)


def _stored(x: Tensor, value: Any) -> Tensor:
    """x, after `store`."""
    have, device = x.storage.dtype, x.storage.device
    if device is cpu:
        do(partial(_store, have), x, value, writes=(x,))
        return x
    if isinstance(value, Tensor):
        if value.storage.device is not device:
            value = transfer(value, device)
        source: View | bytes = view_of(apart_from(x, value, "copy_"))
    else:
        source = number("copy_", value if not have.narrow else _rounded(value, have), have)
    launch.write(runtime_of(device), view_of(x), source)
    return x


def _values_of(value: Any, have: DType) -> Any:
    if isinstance(value, Tensor):
        return values(value)
    return convert("copy_", value, float64 if have.narrow else have)  # float64, so that it is rounded once


def _rounded(value: Scalar, dtype: DType) -> float:
    """A number rounded to a 16-bit float dtype."""
    stored = np.empty((), NUMPY[dtype])
    narrow(np.asarray(convert("copy_", value, float64)), dtype, stored)
    return float(widen(stored, dtype))


def _check_kind(what: str, have: DType, got: DType) -> None:
    """Raise DTypeError if the result's kind is higher than the target's, such as float into integer."""
    if got.rank > have.rank:
        raise DTypeError(
            f"{what}: a result of dtype {got} cannot be written into a tensor of dtype {have}",
            why="the cast to a lower kind would lose information",
            fix=f"cast the target first: x = x.astype(tt.{got})",
        )


def rebase(x: Tensor, value: Tensor, what: str) -> None:
    """Give x, and its base, the autograd history of value, which its memory now contains."""
    x.storage.bump(what)
    edge, old = edge_of(value), x._edge
    base = x._base
    x._edge = edge
    x._requires = edge is not None
    if base is not None:
        before = base._edge
        base._edge = assign_node(edge_of(base), edge, base.layout, x.layout)
        base._requires = True
        x._seen = x.storage.version if edge is not None else -1
        follow(base, before)
    follow(x, old)


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
    kind = type(value)
    if (kind is float or kind is int) and _filled(x, value):
        return x
    tensor = isinstance(value, Tensor)
    if (kind is not Tensor or type(x) is not Tensor) and innermost((x, value)) is not None:
        return write(copy_, "copy_", x, value)
    needs = x.storage.dtype.is_inexact and grad_enabled()
    needs = needs and (has_history(x) or (tensor and requires(value)))
    check_target(x, needs, "copy_")
    have = x.storage.dtype
    if tensor:
        _check_copy(x, value)
        if _is_same_view(x, value):  # what x[key] += 1 ends with: a write that changes nothing
            x.storage.bump("copy_")
            return x
        if needs and value.storage.device is not x.storage.device:
            value = transfer(value, x.storage.device)
        edge = edge_of(value) if needs else None
    else:
        edge = None
        value = _checked_number(x, value)
    previous = edge_of(x) if needs else None
    store(x, value)
    x.storage.bump("copy_")
    if needs:
        base = x if x._base is None else x._base
        parent = previous if base is x else edge_of(base)
        node = assign_node(parent, edge, base.layout, x.layout)
        if tensor and (value.layout.shape != x.layout.shape or value.storage.dtype is not have):
            node.specs = (None, (value.layout.shape, value.storage.dtype))
        before, base._edge = base._edge, node
        base._requires = True
        follow(base, before)
        if base is not x:
            x._seen = -1
    return x


def _filled(x: Tensor, value: float) -> bool:
    """Write a number into float32 memory on the CPU, unrecorded: half the time; False for any other case."""
    if x.storage.dtype is not float32 or not -1e38 < value < 1e38 or x.layout.overlaps():
        return False
    if x.storage.device is not cpu or observers or (grad_enabled() and has_history(x)):
        return False
    if type(x) is not Tensor or not (target := arr(x)).flags.writeable:
        return False
    target[...] = value
    x.storage.bump("copy_")
    return True


def _check_copy(x: Tensor, value: Tensor) -> None:
    shape, target = value.layout.shape, x.layout.shape
    if shape != target and broadcast_shapes(shape, target, what="copy_") != target:
        raise ShapeError(
            f"copy_: a value of shape {shape} does not fit into a target of shape {target}",
            why="the value may be broadcast, but the target cannot grow",
            fix=f"index or sum the value so that it broadcasts to {target}",
        )
    check_value_dtype(x.storage.dtype, value.storage.dtype, "copy_")


def check_value_dtype(have: DType, got: DType, what: str) -> None:
    """Raise DTypeError if a value's kind is higher than the target's; integers may be written into bool."""
    if got.rank > have.rank and not (got.rank == 1 and have.rank == 0):
        raise DTypeError(
            f"{what}: {got} values cannot be written into a tensor of dtype {have}",
            why="the imaginary part would be lost" if got.rank == 3 else "the fractions would be lost",
            fix=f"convert it: value.{'real' if got.rank == 3 else f'astype(tt.{have})'}, or cast the target",
        )


def _is_same_view(x: Tensor, y: Tensor) -> bool:
    """Whether both read the same elements of the same base, and gradients of both pass to it."""
    same = x._base is not None and x._base is y._base and x.layout == y.layout
    return same and not (x._origin or y._origin)


def _checked_number(x: Tensor, value: Any) -> Scalar:
    dtype = x.storage.dtype
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, complex)):
        raise DTypeError(
            f"copy_: a value of type {type(value).__name__}",
            why="only tensors and Python numbers can be written into a tensor",
            fix="make it a tensor first: tt.asarray(value)",
        )
    rank, kind = next((i, k) for i, k in enumerate((bool, int, float, complex)) if isinstance(value, k))
    number: Scalar = kind(value)  # also of a subclass, such as a member of an IntEnum
    if rank > dtype.rank and not (rank == 1 and dtype.rank == 0):
        raise DTypeError(
            f"copy_: the number {shown(number)} cannot be written into a tensor of dtype {dtype}",
            why="its kind is higher than the tensor's, so the cast would lose information",
            fix=f"round it first, or cast the tensor: x.astype(tt.{promote(dtype, scalars=(kind,))})",
        )
    return number


def _store(dtype: DType, x: Tensor, value: Any) -> None:
    """Convert values to the stored dtype and write them; overlapping source and target use a temporary."""
    target, source = arr(x), _values_of(value, dtype)
    if np.shape(source) and np.may_share_memory(target, source):
        if observers:
            copies.note("copy_", "memory", source.nbytes, "source and target share memory")
        source = np.array(source)
    if dtype.narrow:
        narrow(np.broadcast_to(source, target.shape), dtype, target)
    else:
        stored = silent().run(_as_stored, source, dtype)
        if stored.shape == target.shape:
            copy_into(target, stored)
        else:
            np.copyto(target, stored)


def _as_stored(source: Any, dtype: DType) -> Any:
    """The values cast to the storage dtype."""
    given, kind = np.asarray(source), NUMPY[dtype]
    if given.dtype == kind:
        return given
    if observers and given.ndim:
        copies.note("copy_", "dtype", given.size * kind.itemsize, f"{given.dtype} becomes {dtype}")
    return given.astype(kind)
