"""Indexing: x[key] and x[key] = value for every kind of key.

Basic indexing (integers, slices, Ellipsis, None) returns a view. Advanced indexing (integer tensors, boolean
masks) copies; the gradient of an element is the sum over its selections. A mixed key is split: slices and
None first make a view, whose axes are either kept or indexed by the tensors. For writes, and for the
accumulation of gradients, the index tensors are merged into one tensor of *places*: flat (row-major) indices
on the indexed axes. A mask of all elements stays a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.autograd.levels import innermost
from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import Samples, lifted, write_each
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.launch import (
    BLOCK,
    Launch,
    View,
    blocks_for,
    dense,
    index_type,
    launch_for,
    view_of,
    write,
)
from tinytensor.dispatch.record import requires
from tinytensor.dispatch.watch import watched
from tinytensor.dtypes import DType, bool_, int32, int64
from tinytensor.events import observers
from tinytensor.kernels.walk import walk
from tinytensor.op import Op, Spec, Specs, register
from tinytensor.ops.elementwise.comparison import where, write_where
from tinytensor.ops.indexing.index_keys import as_index, is_advanced, take_apart
from tinytensor.ops.indexing.mask_select import compress, true_places
from tinytensor.ops.indexing.selection import (
    pick,
    picked_at,
    picked_first,
    picks_in_front,
    place_steps,
    places_of_samples,
    places_on,
    rest_steps,
    select,
    selected_axes,
    selection,
    with_samples,
)
from tinytensor.ops.inplace import (
    apart_from,
    check_target,
    check_value_dtype,
    copy_,
    has_history,
    rebase,
    store,
)
from tinytensor.ops.views.manipulation import broadcast_to, cast, reshape
from tinytensor.ops.views.slicing import basic_index, plain_question
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.shapes import Shape
from tinytensor.tensor import Tensor, empty, is_tensor

Axes = tuple[int, ...]


# ---- put: the last write wins -----------------------------------------------------------------------------


def _put_each(call: Samples) -> Any:
    """The samples are one more indexed axis."""
    call.infer()
    x, value, places = call.given
    axes, k = call.op.axes, len(places.layout.shape)
    shape, at = selection(x.layout.shape, axes, places.layout.shape)
    value = picks_in_front(broadcast_to(value, shape), at, k)
    places = places_of_samples(call, 2, prod([x.layout.shape[a] for a in axes]))
    return call.run(lifted(x, call.level), lifted(value, call.level), places, axes=with_samples(axes))


@register
class Put(Op):
    """A copy of x with value written at flat indices; of repeated indices the last write wins."""

    axes: Axes

    inputs = ("x", "value", "places")
    vmap = _put_each
    saves = ("places",)
    raw = True
    dense = ("places",)
    flops = 0.0

    def infer(self, x: Spec, value: Spec, places: Spec) -> Specs:
        return (Spec(x.shape, x.dtype),)

    def cpu(self, y: Array, x: Array, value: Array, places: Array) -> None:
        _note_put(y)
        np.copyto(y, x)
        shape, at = selection(x.shape, self.axes, places.shape)
        indices = np.unravel_index(places, [x.shape[a] for a in self.axes])
        target = y.transpose(*self.axes, *[i for i in range(y.ndim) if i not in self.axes])
        target[indices] = picked_first(np.broadcast_to(value, shape), at, places.ndim)

    def cuda(self, launch: Launch, y: View, x: View, value: View, places: View) -> None:
        _note_put(y)
        write(launch.runtime, y, x)
        _write_at(launch, y, value, places, self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, and 0 at the written elements; dvalue = grad at its flat index, or 0
        where a later write replaced it.
        """
        g, places = grads[0], saved.places
        dx = apply(self, g, _zero(g), places) if needs[0] else None
        if not needs[1]:
            return dx, None, None
        kept = apply(Kept(size=prod([g.layout.shape[a] for a in self.axes])), places)
        behind = len(g.layout.shape) - len(self.axes) - picked_at(self.axes)
        kept = reshape(kept, (*places.layout.shape, *(1,) * behind))
        return dx, where(kept, select(g, places, self.axes), 0.0), None


def _note_put(y: Array | View) -> None:
    if observers:
        copies.note("", "memory", y.nbytes, "backward may need x as it was before the write")


def _kept_each(call: Samples) -> Any:
    """Each sample has flat indices of its own."""
    n = call.op.size
    return call.run(places_of_samples(call, 0, n), size=call.level.size * n)


@register
class Kept(Op):
    """Whether each write is the last one to its flat index."""

    size: int

    inputs = ("places",)
    vmap = _kept_each
    dense = ("places",)
    flops = 0.0

    def infer(self, places: Spec) -> Specs:
        return (Spec(places.shape, bool_),)

    def cpu(self, y: Array, places: Array) -> None:
        flat, order = places.reshape(-1), np.arange(places.size)
        last = np.empty(self.size, np.int64)
        last[flat] = order
        y[...] = (last[flat] == order).reshape(y.shape)

    def cuda(self, launch: Launch, y: View, places: View) -> None:
        if y.size == 0:
            return
        index = "int" if max(self.size, y.size) < 1 << 31 else "long long"
        last = _last(launch, places, self.size, index)
        launch("put_kept", index, grid=blocks_for(y.size, BLOCK), args=(y, last, places, y.size))


def _zero(like: Tensor) -> Tensor:
    zero = empty((), like.storage.dtype, device=like.storage.device)
    store(zero, 0.0)
    return zero


def _last(launch: Launch, places: View, size: int, index: str) -> View:
    """For each flat index the number of the last write to it, -1 for none."""
    last = launch.scratch((size,), int32 if index == "int" else int64)
    launch.runtime.memset(last.ptr, 0xFF, last.nbytes)
    launch("put_last", index, grid=blocks_for(places.size, BLOCK), args=(last, places, places.size))
    return last


def _write_at(
    launch: Launch, y: View, value: View, places: View, axes: Axes, *, distinct: bool = False
) -> None:
    """Write value, of y's dtype, into y at contiguous flat indices; the last write wins."""
    shape, at = selection(y.shape, axes, places.shape)
    n = prod(shape)
    if n == 0 or y.size == 0:
        return
    index = index_type(y, value, places)
    last = None if distinct else _last(launch, places, prod([y.shape[a] for a in axes]), index)
    steps = (
        rest_steps(y, axes, places.ndim),
        value.layout.expand(shape).strides,
        place_steps(y.ndim, axes, places),
    )
    rank, through = walk("setitem", shape, *steps, index=index)
    selected, on_axes = selected_axes(y, axes, index)
    args = (y.as_bits(), value.as_bits(), places, last, through, on_axes, n)
    grid = blocks_for(n * y.itemsize, BLOCK * 16)
    launch("put_forward", y.as_bits().dtype, rank, selected, index, grid=grid, args=args)


# ---- keys --------------------------------------------------------------------------------------------------


def _parse(x: Tensor, key: Any, what: str) -> tuple[Tensor, Sequence[Tensor], Tensor | None, Axes]:
    """Parse a key into a view of x and its indices, mask and indexed axes; see `take_apart`."""
    parts = key if type(key) is tuple else (key,)
    asked = plain_question(parts)
    if asked is not None or not any([is_advanced(p) for p in parts]):
        return basic_index(x, parts, asked, what), (), None, ()
    parts = tuple([as_index(p, what, x.storage.device) if is_advanced(p) else p for p in parts])
    return take_apart(x, parts, what)


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key], with NumPy semantics.

    Integers, slices (also with negative steps), Ellipsis and None return a view. Integer tensors (or lists)
    and boolean masks return a copy; index tensors broadcast together, and their axes replace the indexed axes
    if these are adjacent, else come first.

    Returns:
        The selected elements; shares memory with x unless the key has tensors. The gradient of an element
        is the sum over its selections.

    Differs from: NumPy only for an Ellipsis that spans no axis between two index tensors: it does not
        separate them (as in PyTorch).

    >>> x = tt.arange(6).reshape(2, 3)
    >>> x[:, ::-1].tolist(), x[x > 3].tolist()
    ([[2, 1, 0], [5, 4, 3]], [4, 5])
    """
    v, indices, mask, axes = _parse(x, key, "index")
    if not axes:
        return v
    if mask is None:
        return pick(v, indices, axes, "index")
    whole = mask.layout.shape == v.layout.shape
    return compress(v, mask) if whole else select(v, true_places(mask), axes)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, in place; differentiable.

    Args:
        key: any key of `getitem`; for repeated elements the last write wins.

    Raises:
        GradError: x cannot be written in place (a leaf that requires grad, a view that overlaps itself).

    >>> x = tt.zeros(2, 3)
    >>> x[0, 1:] = 5.0
    >>> x.tolist()
    [[0.0, 5.0, 5.0], [0.0, 0.0, 0.0]]
    """
    if x.storage.device is not cpu and _write_masked(x, key, value):
        return
    v, indices, mask, axes = _parse(x, key, "index")
    if not axes:
        copy_(v, value)
        return
    if innermost((v, value, mask, *indices)) is not None:
        write_each(setitem, "setitem", x, key, value)
        return
    places = places_on(indices, axes, v.layout.shape, "index") if mask is None else true_places(mask)
    dtype = x.storage.dtype
    shape = selection(v.layout.shape, axes, places.layout.shape)[0]
    value = _as_value(value, dtype, shape, x.storage.device)
    needs = grad_enabled() and (has_history(v) or requires(value))
    check_target(v, needs, "setitem")
    if v.storage.device is not cpu and not needs:
        _write_in_place(v, value, places, axes)
    else:
        result = apply(Put(axes=axes), v, value, places)
        store(v, result)
        if needs:
            rebase(v, result, "setitem")
            return
    v.storage.bump("setitem")


def _as_value(value: Any, dtype: DType, shape: Shape, device: Device) -> Tensor:
    if not is_tensor(value):
        value = copy_(empty((), dtype, device=device), value)  # raises if the number does not fit the dtype
    check_value_dtype(dtype, value.storage.dtype, "setitem")
    return broadcast_to(cast(value, dtype), shape)


def _write_in_place(v: Tensor, value: Tensor, places: Tensor, axes: Axes) -> None:
    """Write value into v at flat indices, on a device, without a copy of v; not recorded."""
    device = common_device("setitem", (v, value, places))
    value = apart_from(v, value, "setitem")

    def run() -> Sequence[Any]:
        _write_at(launch_for(Put, device), view_of(v), view_of(value), dense(places), axes)
        return (v,)

    watched(Put(axes=axes), device, (v, value, places), run)


def _write_masked(x: Tensor, key: Any, value: Any) -> bool:
    """x[mask] = value on a device, without a synchronization to count the selected elements.

    Returns False if it does not apply: the shape of value may depend on their number.
    """
    if not is_tensor(key) or key.storage.dtype is not bool_ or not key.layout.shape:
        return False
    if innermost((x, key, value)) is not None:
        return False
    shape, rest = x.layout.shape, len(x.layout.shape) - len(key.layout.shape)
    if key.layout.shape != shape[: len(key.layout.shape)]:
        return False
    if is_tensor(value) and len(value.layout.shape) > rest:
        return False
    value = _as_value(value, x.storage.dtype, shape, x.storage.device)
    common_device("setitem", (x, key, value))
    needs = grad_enabled() and (has_history(x) or requires(value))
    check_target(x, needs, "setitem")
    mask = reshape(key, (*key.layout.shape, *(1,) * rest))
    if needs:
        result = where(mask, value, x)
        store(x, result)
        rebase(x, result, "setitem")
        return True
    apart = [apart_from(x, t, "setitem") for t in (mask, value)]
    write_where(x, *apart)
    x.storage.bump("setitem")
    return True
