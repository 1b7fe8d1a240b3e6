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

from tinytensor.autograd.levels import innermost
from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, unwrapped, write_each
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dispatch.launch import write as write_view
from tinytensor.dtypes import DType, bool_, int32, int64
from tinytensor.kernels.walk import walk
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shape, Spec, Specs, register
from tinytensor.ops.elementwise.comparison import WHERE, where
from tinytensor.ops.indexing.index_keys import as_index, is_advanced, split_index
from tinytensor.ops.indexing.mask_select import compress, true_places
from tinytensor.ops.indexing.selection import (
    index_axes_first,
    index_axes_to_front,
    pick,
    picked_at,
    place_steps,
    places_of_samples,
    places_on,
    rest_steps,
    select,
    selected_axes,
    selection,
    with_samples,
)
from tinytensor.ops.inplace import check_value_dtype, copy_, write
from tinytensor.ops.views.manipulation import broadcast_to, cast, reshape
from tinytensor.ops.views.slicing import basic_index, index_cache_key
from tinytensor.tensor import Tensor, empty, is_tensor

Axes = tuple[int, ...]


# ---- put: the last write wins -----------------------------------------------------------------------------


def _put_each(call: VmapCall) -> Any:
    """The samples are one more indexed axis."""
    call.infer()
    x, value, places = call.given
    axes, k = call.op.axes, len(places.layout.shape)
    shape, at = selection(x.layout.shape, axes, places.layout.shape)
    value = index_axes_to_front(broadcast_to(value, shape), at, k)
    places = places_of_samples(call, 2, prod([x.layout.shape[a] for a in axes]))
    return call.run(unwrapped(x, call.level), unwrapped(value, call.level), places, axes=with_samples(axes))


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
        if y is not x:  # else it is written in place
            np.copyto(y, x)
        shape, at = selection(x.shape, self.axes, places.shape)
        indices = np.unravel_index(places, [x.shape[a] for a in self.axes])
        target = y.transpose(*self.axes, *[i for i in range(y.ndim) if i not in self.axes])
        target[indices] = index_axes_first(np.broadcast_to(value, shape), at, places.ndim)

    def cuda(self, launch: Launch, y: View, x: View, value: View, places: View) -> None:
        if y.ptr != x.ptr:
            write_view(launch.runtime, y, x)
        _write_at(launch, y, value, places, self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, and 0 at the written elements; dvalue = grad at its flat index, or 0
        where a later write replaced it.
        """
        g, places = grads[0], saved.places
        dx = apply(self, g, _zero(g), places) if needs[0] else None
        if not needs[1]:
            return dx, None, None
        kept = apply(IsLastWrite(size=prod([g.layout.shape[a] for a in self.axes])), places)
        behind = len(g.layout.shape) - len(self.axes) - picked_at(self.axes)
        kept = reshape(kept, (*places.layout.shape, *(1,) * behind))
        return dx, where(kept, select(g, places, self.axes), 0.0), None


def _kept_each(call: VmapCall) -> Any:
    """Each sample has flat indices of its own."""
    n = call.op.size
    return call.run(places_of_samples(call, 0, n), size=call.level.size * n)


@register
class IsLastWrite(Op):
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
    return copy_(empty((), like.storage.dtype, device=like.storage.device), 0.0)


def _last(launch: Launch, places: View, size: int, index: str) -> View:
    """For each flat index the number of the last write to it, -1 for none."""
    last = launch.scratch((size,), int32 if index == "int" else int64)
    launch.runtime.memset(last.ptr, 0xFF, last.nbytes)
    launch("put_last", index, grid=blocks_for(places.size, BLOCK), args=(last, places, places.size))
    return last


def _write_at(launch: Launch, y: View, value: View, places: View, axes: Axes) -> None:
    """Write value, of y's dtype, into y at contiguous flat indices; the last write wins."""
    shape, at = selection(y.shape, axes, places.shape)
    n = prod(shape)
    if n == 0 or y.size == 0:
        return
    index = index_type(y, value, places)
    last = _last(launch, places, prod([y.shape[a] for a in axes]), index)
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
    """Parse a key into a view of x and its indices, mask and indexed axes; see `split_index`."""
    parts = key if type(key) is tuple else (key,)
    args = index_cache_key(parts)
    if args is not None or not any([is_advanced(p) for p in parts]):
        return basic_index(x, parts, args, what), (), None, ()
    parts = tuple([as_index(p, what, x.storage.device) if is_advanced(p) else p for p in parts])
    return split_index(x, parts, what)


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
    v, indices, mask, axes = _parse(x, key, "index")
    if axes:
        _set_picked(x, key, value, v, indices, mask, axes)
    elif type(value) is Tensor and value.layout is v.layout and _is_written(v, value):
        v.storage.version += 1  # nothing is written, but it counts, as in PyTorch
    else:
        copy_(v, value)


def _is_written(v: Tensor, value: Tensor) -> bool:
    """Whether v holds the value with its history: x[key] += y ends with x[key] = the result."""
    return value.storage is v.storage and (
        not grad_enabled() or (value._base is v._base and not (value._origin or v._origin))
    )


def _set_picked(
    x: Tensor, key: Any, value: Any, v: Tensor, indices: Sequence[Tensor], mask: Tensor | None, axes: Axes
) -> None:
    """x[key] = value for a key with tensors, parsed."""
    shape, dtype, device = v.layout.shape, x.storage.dtype, x.storage.device
    behind = len(shape) - axes[-1] - 1
    alike = not is_tensor(value) or len(value.layout.shape) <= behind  # for each selected element
    if alike and mask is not None and mask.layout.shape == shape[axes[0] : axes[-1] + 1]:
        mask = reshape(mask, (*mask.layout.shape, *(1,) * behind)) if behind else mask  # it need not be read
        write(WHERE, "setitem", v, mask, _as_value(value, dtype, shape, device), v)
        return
    if innermost((v, value, mask, *indices)) is not None:
        write_each(setitem, "setitem", x, key, value)
        return
    places = places_on(indices, axes, shape, "index") if mask is None else true_places(mask)
    picked = selection(shape, axes, places.layout.shape)[0]
    write(Put(axes=axes), "setitem", v, v, _as_value(value, dtype, picked, device), places)


def _as_value(value: Any, dtype: DType, shape: Shape, device: Device) -> Tensor:
    if not is_tensor(value):
        value = copy_(empty((), dtype, device=device), value)  # raises if the number does not fit the dtype
    check_value_dtype(dtype, value.storage.dtype, "setitem")
    return broadcast_to(cast(value, dtype), shape)
