"""Indices of the True elements of a mask, and selection of elements by a mask.

The size of the result depends on the data, so a device is synchronized once. The mask is kept as `Marks`: on
a device one bit per element, and the counts. So neither selection nor gradient needs a list of flat indices,
8 bytes per element.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, dense, index_type, view_of
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.transfer import values
from tinytensor.dispatch.views import make_view
from tinytensor.dtypes import bool_, int64, uint8
from tinytensor.kernels.rows import reshaped
from tinytensor.kernels.walk import walk
from tinytensor.layout import Layout
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shape, Spec, Specs, per_input, register
from tinytensor.ops.indexing.selection import note_picked, select, select_transpose
from tinytensor.ops.views.manipulation import reshape
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.graph import refuse
from tinytensor.tensor import Tensor, arr, empty, from_array

_STRETCH = 4096  # elements per block, as in kernels/indexing/mask_select.cu
_BY_DATA = "a result whose size depends on data"


class Marks(NamedTuple):
    """A mask of n elements, packed, with its counts.

    Attributes:
        bits: on a device uint8, 512 for each chunk of 4,096 elements: bit j of byte i is element 8 i + j in
            row-major order. On the CPU bool, (n,): packing would cost more time than it saves.
        starts: int64, (ceil(n / 4096) + 1,): the number of True elements before each chunk, and in total;
            None on the CPU, which does not need it.
        total: the number of True elements.
    """

    bits: Tensor
    starts: Tensor | None
    total: int


def marks_of(mask: Tensor, *, kept: bool = False) -> Marks:
    """`Marks` of a mask; on the CPU its bits share the memory of the mask, unless `kept` for backward."""
    device, n = mask.storage.device, mask.layout.size
    if device is cpu:
        refuse(_BY_DATA)
        bits = arr(mask)
        if kept:
            why = "the mask may change before the gradient is computed"
            copies.note("index", "memory", mask.layout.size, why)
            bits = bits.flatten()
        else:
            bits = reshaped(bits, -1)
        return Marks(from_array(bits, bool_), None, int(np.count_nonzero(bits)))
    stretches = -(-n // _STRETCH)
    starts = empty((stretches + 1,), int64, device=device)
    packed = empty((stretches * _STRETCH // 8,), uint8, device=device)
    launch = Launch(runtime_of(device), "mask_select")
    source = dense(mask)
    args = (view_of(starts), view_of(packed), source, n)
    launch("nonzero_count", index_type(source), grid=stretches, block=BLOCK, args=args)
    launch("nonzero_add_up", grid=1, block=BLOCK, args=(view_of(starts), stretches))
    total = int(values(make_view(starts, Layout((), (), stretches), None)))  # synchronizes the device
    return Marks(packed, starts, total)


def true_places(mask: Tensor) -> Tensor:
    """Flat indices of the True elements of a mask: int64, shape (n,), ascending."""
    device, n = mask.storage.device, mask.layout.size
    if device is cpu:
        refuse(_BY_DATA)
        return from_array(np.flatnonzero(arr(mask)).astype(np.int64, copy=False), int64)
    return _marked_places(*marks_of(mask), n)


def _marked_places(bits: Tensor, starts: Tensor | None, count: int, n: int) -> Tensor:
    """Flat indices of the marked ones of n elements."""
    if starts is None:
        return from_array(np.flatnonzero(arr(bits)).astype(np.int64, copy=False), int64)
    places = empty((count,), int64, device=bits.storage.device)
    if count:
        launch = Launch(runtime_of(bits.storage.device), "mask_select")
        args = (view_of(places), view_of(starts), view_of(bits), n)
        kind = "int" if n < 1 << 31 else "long long"
        launch("nonzero_write", kind, grid=-(-n // _STRETCH), block=BLOCK, args=args)
    return places


def true_indices(mask: Tensor) -> list[Tensor]:
    """Indices of the True elements of a mask, as one index tensor per axis."""
    shape, device = mask.layout.shape, mask.storage.device
    if device is cpu:
        refuse(_BY_DATA)
        return [from_array(np.ascontiguousarray(i), int64) for i in np.nonzero(arr(mask))]
    places = true_places(mask)
    launch, n = Launch(runtime_of(device), "mask_select"), places.layout.size
    found, inner = [], 1
    for size in reversed(shape):
        index = empty((n,), int64, device=device)
        args = (view_of(index), view_of(places), size, inner, n)
        launch("nonzero_along", grid=blocks_for(n, BLOCK), block=BLOCK, args=args)
        found.append(index)
        inner *= size
    return found[::-1]


# ---- elements ----------------------------------------------------------------------------------------------


def _marked(bits: Array) -> Array:
    """Flat indices of the marked elements; tools also run the NumPy code on bits that a device has packed."""
    return np.flatnonzero(bits if bits.dtype == bool else np.unpackbits(bits, bitorder="little"))


def _compress_each(call: VmapCall) -> Any:
    """Select by flat indices, which all samples share: the mask of one sample cannot be read."""
    x, bits, starts = call.xs
    size, shape, count = call.level.size, call.op.shape, call.op.count
    places = _marked_places(bits, starts, count, prod(shape))
    if isinstance(call.op, Compress):
        return select(reshape(x, (size, prod(shape))), places, (1,))
    return reshape(select_transpose(x, places, (1,), (size, prod(shape))), (size, *shape))


@register
class Compress(Op):
    """The elements of x that are marked, in row-major order."""

    count: int
    shape: Shape

    inputs = ("x", "bits", "starts")
    vmap = _compress_each
    jvp = jvp_linear
    saves = ("bits", "starts")
    raw = True
    flops = 0.0

    def infer(self, x: Spec, bits: Spec, starts: Spec | None) -> Specs:
        return (Spec((self.count,), x.dtype),)

    def cpu(self, y: Array, x: Array, bits: Array, starts: None) -> None:
        note_picked(y)
        np.take(reshaped(x, -1), _marked(bits), out=y, mode="clip")  # faster than x[bits]

    def cuda(self, launch: Launch, y: View, x: View, bits: View, starts: View) -> None:
        note_picked(y)
        index = index_type(x)
        rank, through = walk("index", x.shape, x.strides, index=index)
        args = (y.as_bits(), x.as_bits(), starts, bits, through, x.size)
        instance = (y.as_bits().dtype, rank, index)
        launch("compress_forward", *instance, grid=-(-x.size // _STRETCH), block=BLOCK, args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad at the marked elements, 0 at the others."""
        marks = saved.bits, saved.starts
        return apply(CompressTranspose(count=self.count, shape=self.shape), grads[0], *marks), None, None


@register
class CompressTranspose(Op):
    """Zeros with the elements of grad at the marked positions: the adjoint of `Compress`."""

    count: int
    shape: Shape

    inputs = ("grad", "bits", "starts")
    vmap = _compress_each
    jvp = jvp_linear
    saves = ("bits", "starts")
    dense = ("grad",)
    raw = True
    flops = per_input(1.0)

    def infer(self, grad: Spec, bits: Spec, starts: Spec | None) -> Specs:
        return (Spec(self.shape, grad.dtype),)

    def cpu(self, y: Array, grad: Array, bits: Array, starts: None) -> None:
        y[...] = 0
        y.reshape(-1)[_marked(bits)] = grad

    def cuda(self, launch: Launch, y: View, grad: View, bits: View, starts: View) -> None:
        instance = (y.as_bits().dtype, index_type(y))
        args = (y.as_bits(), grad.as_bits(), starts, bits, y.size)
        launch("compress_transpose", *instance, grid=-(-y.size // _STRETCH), block=BLOCK, args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = the marked elements of the gradient."""
        marks = saved.bits, saved.starts
        return apply(Compress(count=self.count, shape=self.shape), grads[0], *marks), None, None


def compress(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where a mask of its shape is True, in row-major order."""
    bits, starts, count = marks_of(mask, kept=grad_enabled() and edge_of(x) is not None)
    return apply(Compress(count=count, shape=x.layout.shape), x, bits, starts)
