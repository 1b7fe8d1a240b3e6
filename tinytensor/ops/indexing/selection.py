"""Advanced indexing: index tensors, their flat indices (`places`), selection, and its adjoint.

`places` are flat, row-major indices on the indexed axes, so that one tensor of places replaces any number of
index tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, aligned, broadcasting, moved, shifted, unwrapped, wrapped
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import DType, float32, int64, uint32
from tinytensor.errors import IndexRangeError
from tinytensor.events import observers
from tinytensor.kernels.rows import reshaped
from tinytensor.kernels.sorting import launch_sort
from tinytensor.kernels.walk import axes as axes_struct
from tinytensor.kernels.walk import walk
from tinytensor.layout import Layout, contiguous_strides
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, per_input, register
from tinytensor.ops.views.manipulation import permute, reshape
from tinytensor.shapes import Shape, broadcast_shapes

Axes = tuple[int, ...]


# ---- places: index tensors as flat indices -----------------------------------------------------------------


def out_of_range(index: int, axis: int, shape: Shape, what: str) -> IndexRangeError:
    """IndexRangeError for an index out of the range of its axis."""
    return IndexRangeError(
        f"{what}: index {index} is out of range for axis {axis} of shape {shape}",
        why=f"the axis has {shape[axis]} elements, so indices run from {-shape[axis]} to {shape[axis] - 1}",
        fix="correct the index tensor",
    )


def checked_indices(index: Array, size: int, axis: int, shape: Shape, what: str) -> Array:
    """Indices as int64 from 0 to size - 1; negative ones count from the end, others raise."""
    if not index.size:
        return index.astype(np.int64, copy=False)
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        raise out_of_range(high if high >= size else low, axis, shape, what)
    if index.dtype != np.int64:  # index + size may overflow int8, and uint64 + int64 is float64
        if observers:
            copies.note("", "dtype", index.size * 8, f"indices of dtype {index.dtype} become int64")
        index = index.astype(np.int64)
    return np.where(index < 0, index + size, index) if low < 0 else index


@register
class Places(Op):
    """Flat, row-major indices from broadcast index tensors, on the axes that these index."""

    axes: Axes
    shape: Shape
    what: str

    inputs = ("index",)  # one per axis
    vmap = broadcasting
    outputs = ("places",)
    flops = 0.0

    def infer(self, *indices: Spec) -> Specs:
        return (Spec(broadcast_shapes(*[i.shape for i in indices], what=self.what), int64),)

    def cpu(self, places: Array, *indices: Array) -> None:
        _fill_places(places, indices, self.axes, self.shape, self.what)

    def cuda(self, launch: Launch, places: View, *indices: View) -> None:
        _launch_places(launch, places, _same_kind(launch, indices), self.axes, self.shape, self.what)


_TOGETHER = 4  # index tensors per kernel launch


def _fill_places(places: Array, indices: Sequence[Array], axes: Axes, shape: Shape, what: str) -> None:
    places[...] = 0
    for index, axis in zip(indices, axes, strict=True):
        places *= shape[axis]
        places += checked_indices(index, shape[axis], axis, shape, what)


def _launch_places(
    launch: Launch, places: View, indices: Sequence[View], axes: Axes, shape: Shape, what: str
) -> None:
    n, before = places.size, None
    for start in range(0, len(indices), _TOGETHER):
        group, at = indices[start : start + _TOGETHER], axes[start : start + _TOGETHER]
        index = index_type(places, *group)
        strides = [i.layout.expand(places.shape).strides for i in group]
        rank, through = walk(what, places.shape, *strides, index=index)
        args = (places, before, _packed(launch, group, at, shape, what), through, n)
        kind = indices[0].dtype
        launch("places_forward", kind, len(group), rank, index, grid=blocks_for(n, BLOCK), args=args)
        before = places


def _same_kind(launch: Launch, indices: Sequence[View]) -> Sequence[View]:
    """Index tensors of one dtype: cast to int64 if their dtypes differ."""
    if all([i.dtype is indices[0].dtype for i in indices]):
        return indices
    return [launch.dense(i, int64) for i in indices]


def _packed(launch: Launch, indices: Sequence[View], axes: Axes, shape: Shape, what: str) -> bytes:
    """The `Indices` struct of selection.cu, packed."""
    k, sizes = len(indices), [shape[a] for a in axes]
    bounds = [launch.bounds(-m, m, out_of_range, a, shape, what) for m, a in zip(sizes, axes)]
    return struct.pack(f"@{k}P{k}q", *[i.ptr for i in indices], *sizes) + b"".join(bounds)


# ---- select, and its adjoint --------------------------------------------------------------------------


def selection(shape: Shape, axes: Axes, picked: Shape) -> tuple[Shape, int]:
    """Shape of a selection, and the position of the picked axes in it.

    They replace the indexed axes if these are adjacent, else come first (NumPy's rule).
    """
    at = picked_at(axes)
    rest = tuple([n for i, n in enumerate(shape) if i not in axes])
    return rest[:at] + picked + rest[at:], at


def picked_at(axes: Axes) -> int:
    """Position of the picked axes in a selection."""
    return axes[0] if axes == tuple(range(axes[0], axes[0] + len(axes))) else 0


def rest_steps(x: View, axes: Axes, n: int) -> Shape:
    """Strides of x for the axes of a selection, 0 for its n picked axes, which step by places."""
    rest = tuple([s for i, s in enumerate(x.strides) if i not in axes])
    at = picked_at(axes)
    return (*rest[:at], *(0,) * n, *rest[at:])


def place_steps(ndim: int, axes: Axes, places: View) -> Shape:
    """Strides of contiguous places for the axes of a selection from ndim axes."""
    at = picked_at(axes)
    return (*(0,) * at, *contiguous_strides(places.shape), *(0,) * (ndim - len(axes) - at))


def selected_axes(x: View, axes: Axes, index: str) -> tuple[int, bytes]:
    """The indexed axes of x as an `Axes` struct (walk.cuh)."""
    return axes_struct(
        "select", tuple([x.shape[a] for a in axes]), tuple([x.strides[a] for a in axes]), index
    )


def _rows(x: Array, axes: Axes) -> Array:
    """x with the indexed axes merged in front, (places, ...rest): a view if the strides allow it."""
    rest = [i for i in range(x.ndim) if i not in axes]
    merged = prod([x.shape[a] for a in axes])
    return reshaped(x.transpose(*axes, *rest), merged, *[x.shape[i] for i in rest])


def note_picked(y: Array | View) -> None:
    """Report to the copy log that an op copies elements selected by index tensors or a mask."""
    if observers:
        copies.note("", "index", y.nbytes, "selected elements are not evenly strided, so they are copied")


def index_axes_first(y: Array, at: int, n: int) -> Array:
    """A selection with its n picked axes moved to the front: a view."""
    return y if at == 0 else np.moveaxis(y, range(at, at + n), range(n))


def places_of_samples(call: VmapCall, at: int, n: int) -> Tensor:
    """Input `at` of a call, flat indices below n in each sample, as flat indices of all samples."""
    places = unwrapped(call.given[at], call.level)
    starts = constant(np.arange(call.level.size) * n, int64, places.storage.device)
    return places + reshape(starts, (-1, *(1,) * (len(places.layout.shape) - 1)))


def with_samples(axes: Axes) -> Axes:
    """The axes of a sample and, in front, that of the samples."""
    return (0, *[a + 1 for a in axes])


def index_axes_to_front(x: Tensor, at: int, n: int, *, back: bool = False) -> Tensor:
    """`index_axes_first` of a tensor; or `back`: its inverse."""
    order = list(range(len(x.layout.shape)))
    order = [*order[at : at + n], *order[:at], *order[at + n :]]
    if back:
        order = [order.index(a) for a in range(len(order))]
    return permute(x, tuple(order))


def _own_places(call: VmapCall) -> Any:
    """The rule of a selection, or its adjoint, if each sample has places: the samples are an indexed axis."""
    x, axes, shape = call.given[0], call.op.axes, call.op.shape_in
    k, at = len(call.given[1].layout.shape), picked_at(axes)
    places = places_of_samples(call, 1, prod([shape[a] for a in axes]))
    given = {"axes": with_samples(axes), "shape_in": (call.level.size, *shape)}
    if isinstance(call.op, SelectTranspose):
        return call.run(unwrapped(index_axes_to_front(x, at, k), call.level), places, **given)
    found = wrapped(call.run(unwrapped(x, call.level), places, **given), call.level)
    return unwrapped(index_axes_to_front(found, at, k, back=True), call.level)


def _select_each(call: VmapCall) -> Any:
    """The rule of a selection, or its adjoint."""
    call.infer()
    if call.batched[1]:
        return _own_places(call)
    (x, places), axes = call.xs, call.op.axes
    k = len(places.layout.shape)
    apart = axes != tuple(range(axes[0], axes[0] + len(axes)))  # then the picked axes come first
    if apart and isinstance(call.op, SelectTranspose):
        x = moved(x, 0, k)
    found = call.run(x, places, **shifted(call))
    return moved(found, k, 0) if apart and isinstance(call.op, Select) else found


@register
class Select(Op):
    """The elements of x at flat indices of the given axes."""

    axes: Axes
    shape_in: Shape

    inputs = ("x", "places")
    vmap = _select_each
    jvp = jvp_linear
    saves = ("places",)
    raw = True
    dense = ("places",)
    flops = 0.0

    def infer(self, x: Spec, places: Spec) -> Specs:
        return (Spec(selection(x.shape, self.axes, places.shape)[0], x.dtype),)

    def cpu(self, y: Array, x: Array, places: Array) -> None:
        note_picked(y)
        _read_places(y, x, places, self.axes)

    def cuda(self, launch: Launch, y: View, x: View, places: View) -> None:
        note_picked(y)
        _launch_read(launch, y, x, places, self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[k] = the sum of grad[i] over all i with places[i] = k."""
        return select_transpose(grads[0], saved.places, self.axes, self.shape_in), None


def _read_places(y: Array, x: Array, places: Array, axes: Axes) -> None:
    if not y.size:
        return
    out = index_axes_first(y, selection(x.shape, axes, places.shape)[1], places.ndim)  # (...picked, ...rest)
    if out.flags.c_contiguous:
        np.take(_rows(x, axes), places, axis=0, out=out, mode="clip")  # places are in range
    else:
        out[...] = _rows(x, axes)[places]


def _launch_read(launch: Launch, y: View, x: View, places: View, axes: Axes) -> None:
    index, n = index_type(y, x, places), y.size
    steps = rest_steps(x, axes, places.ndim)
    rank, through = walk("select", y.shape, steps, place_steps(x.ndim, axes, places), index=index)
    selected, at = selected_axes(x, axes, index)
    args = (y.as_bits(), x.as_bits(), places, through, at, n)
    grid = blocks_for(n * y.itemsize, BLOCK * 16)
    launch("select_forward", y.as_bits().dtype, rank, selected, index, grid=grid, args=args)


def _pick_each(call: VmapCall) -> Any:
    axes, (x, *indices) = call.op.axes, call.values()
    k = max([len(i.layout.shape) for i in indices]) - 1  # picked axes of one sample
    size, what = call.level.size, call.op.what
    samples = constant(np.arange(size).reshape(-1, *(1,) * k), int64, x.storage.device)
    found = pick(x, [samples, *[aligned(i, k) for i in indices]], (0, *[a + 1 for a in axes]), what)
    for _ in range(
        k if (at := picked_at(axes)) else 0
    ):  # (samples, picked, rest) → (samples, rest, picked, rest)
        found = moved(found, 1, k + at)
    return found


@register
class Pick(Op):
    """The elements of x at index tensors, one for each of the given axes."""

    axes: Axes
    shape_in: Shape
    what: str

    inputs = ("x", "index")  # one index per axis
    vmap = _pick_each
    outputs = ("y", "places")
    saves = ("places",)
    raw = True
    flops = 0.0

    def infer(self, x: Spec, *indices: Spec) -> Specs:
        picked = broadcast_shapes(*[i.shape for i in indices], what=self.what)
        return Spec(selection(x.shape, self.axes, picked)[0], x.dtype), Spec(picked, int64)

    def cpu(self, y: Array, places: Array | None, x: Array, *indices: Array) -> None:
        note_picked(y)
        if places is None:
            places = np.empty(np.broadcast_shapes(*[i.shape for i in indices]), np.int64)
        _fill_places(places, indices, self.axes, self.shape_in, self.what)
        _read_places(y, x, places, self.axes)

    def cuda(self, launch: Launch, y: View, places: View | None, x: View, *indices: View) -> None:
        note_picked(y)
        indices = tuple(_same_kind(launch, indices))
        picked, k = broadcast_shapes(*[i.shape for i in indices], what=self.what), len(self.axes)
        if k > _TOGETHER:
            places = places or launch.scratch(picked, int64)
            _launch_places(launch, places, indices, self.axes, self.shape_in, self.what)
            _launch_read(launch, y, x, places, self.axes)
            return
        if places is not None and k < x.ndim:  # many elements share one flat index
            _launch_places(launch, places, indices, self.axes, self.shape_in, self.what)
            places = None
        at, index = picked_at(self.axes), index_type(y, x, *indices)
        beside = (0,) * at, (0,) * (x.ndim - k - at)
        steps = [(*beside[0], *i.layout.expand(picked).strides, *beside[1]) for i in indices]
        rank, through = walk(self.what, y.shape, *steps, rest_steps(x, self.axes, len(picked)), index=index)
        along = struct.pack(f"@{k}q", *[x.strides[a] for a in self.axes])
        named = _packed(launch, indices, self.axes, self.shape_in, self.what)
        args = (y.as_bits(), places, x.as_bits(), named, along, through, y.size)
        instance = (y.as_bits().dtype, indices[0].dtype, k, rank, index)
        launch("pick_forward", *instance, grid=blocks_for(y.nbytes, BLOCK * 16), args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[k] = the sum of grad[i] over all i with index[i] = k."""
        dx = select_transpose(grads[0], saved.places, self.axes, self.shape_in) if needs[0] else None
        return dx, *[None] * len(self.axes)


@register
class SelectTranspose(Op):
    """Deterministic scatter-add into zeros of x's shape, the adjoint of `Select`: adds in a fixed order."""

    axes: Axes
    shape_in: Shape

    inputs = ("grad", "places")
    vmap = _select_each
    jvp = jvp_linear
    saves = ("places",)
    dense = ("grad", "places")
    flops = per_input(1.0)

    def infer(self, grad: Spec, places: Spec) -> Specs:
        return (Spec(self.shape_in, grad.dtype),)

    def cpu(self, y: Array, grad: Array, places: Array) -> None:
        add_at(y, grad, places, self.axes)

    def cuda(self, launch: Launch, y: View, grad: View, places: View) -> None:
        launch_add_at(launch, y, grad, places, self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad[i] = element places[i] of the gradient."""
        return select(grads[0], saved.places, self.axes), None


_CHUNK = 64  # sorted flat indices that one thread accumulates


def add_at(y: Array, grad: Array, places: Array, axes: Axes) -> None:
    """y = zeros with grad added at flat indices of the given axes."""
    y[...] = 0
    if not grad.size:
        return
    picked = index_axes_first(grad, selection(y.shape, axes, places.shape)[1], places.ndim)
    rows = reshaped(picked, places.size, -1)  # (picked, rest)
    if axes == tuple(range(len(axes))):  # the indexed axes are in front: add into y directly
        _add_rows(y.reshape(-1, rows.shape[1]), places.reshape(-1), rows)
        return
    sums = np.zeros((prod([y.shape[a] for a in axes]), rows.shape[1]), y.dtype)
    _add_rows(sums, places.reshape(-1), rows)
    target = y.transpose(*axes, *[i for i in range(y.ndim) if i not in axes])
    target[...] = sums.reshape(target.shape)


def launch_add_at(launch: Launch, y: View, grad: View, places: View, axes: Axes) -> None:
    """`add_at` by kernels of selection.cu; y, grad and places are contiguous."""
    launch.zero(y)
    picks = places.size
    if grad.size == 0 or y.size == 0:
        return
    size = prod([y.shape[a] for a in axes])
    keys, order = _sorted(launch, places, size)
    steps, at = grad.strides, picked_at(axes)
    rest = tuple([n for i, n in enumerate(y.shape) if i not in axes])
    own = tuple([s for i, s in enumerate(y.strides) if i not in axes])
    others = (*steps[:at], *steps[at + places.ndim :])
    index = index_type(y, grad, places)
    rank, through = walk("select_transpose", rest, own, others, index=index)
    selected, on_axes = selected_axes(y, axes, index)
    step = prod(grad.shape[at + places.ndim :])  # distance between selected slices in grad
    width, chunks = grad.size // picks, -(-picks // _CHUNK)
    parts = launch.scratch((2 * chunks, width), sum_dtype(grad.dtype)) if chunks > 1 else None
    instance = (grad.dtype, keys.dtype, rank, selected, index)
    args = (y, parts, grad, keys, order, through, on_axes, size, step, picks, width, _CHUNK)
    launch("select_transpose_chunks", *instance, grid=blocks_for(chunks * width, BLOCK), args=args)
    if chunks > 1:
        joined = (y, parts, keys, through, on_axes, size, picks, width, _CHUNK)
        grid = blocks_for((chunks - 1) * width, BLOCK)
        launch("select_transpose_joined", *instance, grid=grid, args=joined)


def _sorted(launch: Launch, places: View, size: int) -> tuple[View, View]:
    """Stable sort of flat indices below size: the sorted indices, and their positions before."""
    flat = places.read_through(Layout((places.size,), (1,), places.layout.offset))
    found = launch.dense(flat, uint32) if size < 1 << 32 else flat
    keys, order = launch.scratch(found.shape, found.dtype), launch.scratch(found.shape, int64)
    launch_sort(Launch(launch.runtime, "sorting"), keys, order, found, 0, places.size, False)
    return keys, order


def sum_dtype(dtype: DType) -> DType:
    """Accumulation dtype of the kernels: `sum_t` of common.cuh."""
    if not dtype.is_floating:
        return int64
    return float32 if dtype.narrow else dtype


def _add_rows(out: Array, places: Array, rows: Array) -> None:
    """out[places[i]] += rows[i]; out is zero. Several times as fast as np.add.at: sorts, then sums runs."""
    if rows.shape[1] == 1 and out.dtype.kind == "f":
        out[:, 0] = np.bincount(places, rows[:, 0], len(out))  # summed in float64
        return
    order = np.argsort(places, kind="stable")
    where = places[order]
    first = np.flatnonzero(np.concatenate(([True], where[1:] != where[:-1])))
    if len(first) == len(where):
        out[places] = rows
    else:
        out[where[first]] = np.add.reduceat(rows[order], first, axis=0)


def places_on(indices: Sequence[Tensor], axes: Axes, shape: Shape, what: str) -> Tensor:
    """Flat indices of index tensors, one for each of the given axes of a tensor of this shape."""
    return apply(Places(axes=axes, shape=shape, what=what), *indices)


def pick(x: Tensor, indices: Sequence[Tensor], axes: Axes, what: str) -> Tensor:
    """The elements of x at index tensors, one per axis; differentiable."""
    return apply(Pick(axes=axes, shape_in=x.layout.shape, what=what), x, *indices)


def select(x: Tensor, places: Tensor, axes: Axes) -> Tensor:
    """The elements of x at flat indices on `axes`; differentiable."""
    return apply(Select(axes=axes, shape_in=x.layout.shape), x, places)


def select_transpose(values: Tensor, places: Tensor, axes: Axes, shape: Shape) -> Tensor:
    """Scatter-add of values into zeros of this shape at flat indices: the adjoint of `select`."""
    return apply(SelectTranspose(axes=axes, shape_in=shape), values, places)
