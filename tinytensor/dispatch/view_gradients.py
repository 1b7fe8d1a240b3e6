"""View gradients: linear maps between the memory of a base tensor and its views, and their transposes.

Four ops propagate the gradients of views and of in-place writes: `Scatter` (the transpose of a view),
`Reframe` (read a base's value through another layout), its transpose `ReframeTranspose`, and `Mask` (zero the
elements of a view). All take layouts with absolute offsets in the storage, all are linear, and the gradient
of each is one of the others, so derivatives of every order work.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd.graph import Node
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import ViewOfSamples, VmapCall
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import (
    BLOCK,
    RANKS,
    Launch,
    View,
    blocks_for,
    elementwise,
    index_type,
    merge,
    write,
)
from tinytensor.dispatch.record import new_node
from tinytensor.dispatch.views import ViewOp, make_view
from tinytensor.errors import ShapeError
from tinytensor.layout import Layout, contiguous
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, per_input, register

_ZERO = bytes(8)  # the scalar 0 as a kernel argument

# Adding a strided slice costs a microsecond and 1 ns per element, np.bincount 10 ns per element.
MANY_STEPS, LONG_SLICE = 16, 256


def strided(buffer: Array, layout: Layout, shift: int = 0) -> Array:
    """View of a flat array through a layout; the array begins at flat index `shift` of the storage."""
    item = buffer.itemsize
    if layout.size == 0:
        return np.empty(layout.shape, buffer.dtype)
    strides = tuple([s * item for s in layout.strides])
    return np.ndarray(layout.shape, buffer.dtype, buffer, (layout.offset - shift) * item, strides)


def positions(layout: Layout, shift: int = 0) -> Array:
    """Flat index of every element of a view, in the view's shape."""
    found: Array = np.full((), layout.offset - shift)
    for size, stride in zip(layout.shape, layout.strides, strict=True):
        found = found[..., None] + np.arange(size) * stride
    return found


def _overlapping_axes(layout: Layout) -> list[int]:
    """Axes to iterate one index at a time so that the remaining axes do not overlap: the small ones."""
    kept: list[tuple[int, int]] = []  # (stride, size) of axes without overlap
    walked = []
    for axis in sorted(range(layout.ndim), key=lambda i: -layout.shape[i]):
        stride, size = abs(layout.strides[axis]), layout.shape[axis]
        reach, nests = 0, True
        for s, n in sorted([*kept, (stride, size)]):
            nests = nests and (s > reach or n == 1)
            reach += s * (n - 1)
        if nests:
            kept.append((stride, size))
        else:
            walked.append(axis)
    return walked


def _add_through(buffer: Array, layout: Layout, values: Array, shift: int = 0) -> None:
    """Scatter-add of values into zeros through a layout; elements with the same flat index add up.

    Windows overlap, but all elements at one offset inside their windows are distinct. So there are as many
    adds of strided slices as a window has elements; where that would be many small ones, `np.bincount` sums.
    """
    values = np.broadcast_to(values, layout.shape)
    walked = _overlapping_axes(layout)
    if not walked:
        np.copyto(strided(buffer, layout, shift), values)
        return
    steps = prod([layout.shape[i] for i in walked])
    if buffer.dtype.kind == "f" and steps > MANY_STEPS and layout.size < steps * LONG_SLICE:
        where = positions(layout, shift).reshape(-1)
        total = np.bincount(where, values.reshape(-1), buffer.size)  # in float64
        buffer.reshape(-1)[...] = total[: buffer.size]
        return
    target = np.moveaxis(strided(buffer, layout, shift), walked, range(len(walked)))
    values = np.moveaxis(values, walked, range(len(walked)))
    for at in np.ndindex(*target.shape[: len(walked)]):
        target[at] += values[at]


# ---- device versions ---------------------------------------------------------------------------------------


def _through(memory: View, layout: Layout, shift: int = 0) -> View:
    """`strided` for Views: memory begins at flat index `shift` of the storage that the layout refers to."""
    start = memory.layout.offset + layout.offset - shift
    return memory.read_through(Layout(layout.shape, layout.strides, start))


def _write_through(launch: Launch, memory: View, layout: Layout, x: View, shift: int = 0) -> None:
    """Write x through a layout; of elements with the same flat index the last one wins."""
    walked = _overlapping_axes(layout)
    sizes = [layout.shape[a] for a in walked]
    for at in np.ndindex(*sizes):
        part, source = layout, x.layout
        for axis, i in sorted(zip(walked, at), reverse=True):
            key = (*(slice(None),) * axis, i)
            part, source = part.index(key), source.index(key)
        write(launch.runtime, _through(memory, part, shift), x.read_through(source))


@lru_cache(maxsize=4096)
def _region(layout: Layout, values: Layout, code: str) -> tuple[int, bytes, int, int]:
    """A `Region` argument of view_gradients.cu: (rank, bytes, lowest flat index, number of iterations)."""
    low, walked = layout.extent[0], _overlapping_axes(layout)
    axes = sorted(range(layout.ndim), key=lambda i: -abs(layout.strides[i]))
    apart = [a for a in axes if a not in walked]
    memory = [abs(s) for s in layout.strides]
    beside = [v if s >= 0 else -v for s, v in zip(layout.strides, values.strides, strict=True)]
    sizes, (far, near) = merge(
        [layout.shape[a] for a in apart], [[memory[a] for a in apart], [beside[a] for a in apart]]
    )
    ranks = [r for r in RANKS if r >= max(len(sizes), len(walked))]
    if not ranks:
        raise ShapeError(
            f"gradient of a view of shape {layout.shape} and strides {layout.strides}",
            why=f"kernels support at most {RANKS[-1]} axes that do not merge",
            fix="reshape the tensor before the view to one with fewer axes",
        )
    missing, none = ranks[0] - len(sizes), ranks[0] - len(walked)
    numbers = [*sizes, *[1] * missing, *far, *[1] * missing, *near, *[0] * missing]
    for row, fill in (([layout.shape[a] for a in walked], 1), ([memory[a] for a in walked], 0)):
        numbers += [*[fill] * none, *row]
    numbers += [*[0] * none, *[beside[a] for a in walked]]
    steps = prod([layout.shape[a] for a in walked])
    return ranks[0], struct.pack(f"{len(numbers)}{code}", *numbers), low, steps


def _sum_through(launch: Launch, sums: View, layout: Layout, values: View | None, shift: int = 0) -> None:
    """sums (contiguous) = scatter-add of values into zeros through a layout; of ones if values is None."""
    if layout.size == 0:
        launch.zero(sums)
        return
    seen = layout if values is None else values.layout.expand(layout.shape)
    index = index_type(sums) if values is None else index_type(sums, values)
    rank, region, low, steps = _region(layout, seen, "i" if index == "int" else "q")
    first = 0  # values are iterated from their lowest address
    for size, stride, step in zip(layout.shape, layout.strides, seen.strides, strict=True):
        first += (size - 1) * step if stride < 0 else 0
    start = None if values is None else values.ptr + first * values.itemsize
    args = (sums, start, region, low - shift, steps, sums.size)
    launch("region_add", sums.dtype, rank, index, grid=blocks_for(sums.size, BLOCK), args=args)


def _scatter_each(call: VmapCall) -> Tensor:
    one: ViewOp = call.op.view_op
    each = ViewOfSamples(one=one, shape_in=(call.level.size, *one.shape_in))
    found: Tensor = call.run(*call.values(), view_op=each)
    return found


def _in_frames(call: VmapCall) -> Tensor:
    """The rule of ops between two layouts: sample after sample, each in a frame of its own."""
    src, dst = call.op.src, call.op.dst
    low, high = _frame(src, dst)
    size, step = call.level.size, high - low
    frames = [Layout((size, *one.shape), (step, *one.strides), one.offset) for one in (src, dst)]
    found: Tensor = call.run(*call.values(), src=frames[0], dst=frames[1])
    return found


@register
class Scatter(Op):
    """The transpose of a view: scatter-add of the gradient into zeros of the base's shape."""

    view_op: ViewOp

    inputs = ("grad",)
    vmap = _scatter_each
    jvp = jvp_linear
    flops = 0.0

    def infer(self, grad: Spec) -> Specs:
        return (Spec(self.view_op.shape_in, grad.dtype),)

    def cpu(self, y: Array, grad: Array) -> None:
        y[...] = 0
        _add_through(y, self.view_op.layout(contiguous(self.view_op.shape_in)), grad)

    def cuda(self, launch: Launch, y: View, grad: View) -> None:
        _sum_through(launch, y, self.view_op.layout(contiguous(self.view_op.shape_in)), grad)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = the elements that the view reads."""
        return (make_view(grads[0], self.view_op.layout(grads[0].layout), self.view_op),)


def _frame(src: Layout, dst: Layout) -> tuple[int, int]:
    """Range [low, high) of flat indices that two layouts reach."""
    (a, b), (c, d) = src.extent, dst.extent
    return min(a, c), max(b, d, a - 1, c - 1) + 1


def _whole(src: Layout, low: int, high: int) -> bool:
    """Whether src is contiguous and covers exactly the flat indices from low to high."""
    return src.is_contiguous and low == src.offset and high - low == src.size


@register
class Reframe(Op):
    """x, placed in memory by layout src, read through layout dst: a view's value of its modified base."""

    src: Layout
    dst: Layout

    inputs = ("x",)
    vmap = _in_frames
    jvp = jvp_linear
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(self.dst.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        low, high = _frame(self.src, self.dst)
        if _whole(self.src, low, high) and x.flags.c_contiguous:
            np.copyto(y, strided(x, self.dst, low))
            return
        buffer = np.zeros(high - low, x.dtype)
        np.copyto(strided(buffer, self.src, low), x)
        np.copyto(y, strided(buffer, self.dst, low))

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        low, high = _frame(self.src, self.dst)
        memory = x
        if not (_whole(self.src, low, high) and x.is_contiguous):
            memory = launch.scratch((high - low,), x.dtype)
            launch.zero(memory)
            _write_through(launch, memory, self.src, x, low)
        write(launch.runtime, y, _through(memory, self.dst, low))

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, added at the elements that were read."""
        return (apply(ReframeTranspose(src=self.src, dst=self.dst), grads[0]),)


Node.reframe = Reframe


@register
class ReframeTranspose(Op):
    """grad, added into memory through layout dst and read back through layout src."""

    src: Layout
    dst: Layout

    inputs = ("grad",)
    vmap = _in_frames
    jvp = jvp_linear
    flops = per_input(1.0)

    def infer(self, grad: Spec) -> Specs:
        return (Spec(self.src.shape, grad.dtype),)

    def cpu(self, y: Array, grad: Array) -> None:
        low, high = _frame(self.src, self.dst)
        buffer = np.zeros(high - low, grad.dtype)
        _add_through(buffer, self.dst, grad, low)
        if self.src.overlaps():  # an element that src reads n times splits its gradient equally between them
            readers = np.bincount(positions(self.src, low).reshape(-1), minlength=high - low)
            buffer /= np.maximum(readers, 1)
        np.copyto(y, strided(buffer, self.src, low))

    def cuda(self, launch: Launch, y: View, grad: View) -> None:
        low, high = _frame(self.src, self.dst)
        if _whole(self.src, low, high):
            _sum_through(launch, y, self.dst, grad, low)
            return
        memory = launch.scratch((high - low,), grad.dtype)
        _sum_through(launch, memory, self.dst, grad, low)
        if self.src.overlaps():
            readers = launch.scratch((high - low,), grad.dtype)
            _sum_through(launch, readers, self.src, None, low)
            divided = (memory, readers)
            elementwise(launch.runtime, "arithmetic", "Divide", memory, divided, grad.dtype, grad.dtype)
        write(launch.runtime, y, _through(memory, self.src, low))

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = the gradient, read at the elements that were added to."""
        return (apply(Reframe(src=self.src, dst=self.dst), grads[0]),)


@register
class Mask(Op):
    """x, placed in memory by layout src, with the elements of layout dst set to zero."""

    src: Layout
    dst: Layout

    inputs = ("x",)
    vmap = _in_frames
    jvp = jvp_linear
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(x.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        low, high = _frame(self.src, self.dst)
        if _whole(self.src, low, high):
            np.copyto(y, x)
            strided(y, self.dst, low)[...] = 0
            return
        buffer = np.empty(high - low, x.dtype)
        seen = strided(buffer, self.src, low)
        np.copyto(seen, x)
        strided(buffer, self.dst, low)[...] = 0
        np.copyto(y, seen)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        low, high = _frame(self.src, self.dst)
        if _whole(self.src, low, high):
            write(launch.runtime, y, x)
            write(launch.runtime, _through(y, self.dst, low), _ZERO)
            return
        memory = launch.scratch((high - low,), x.dtype)
        _write_through(launch, memory, self.src, x, low)
        write(launch.runtime, _through(memory, self.dst, low), _ZERO)
        write(launch.runtime, y, _through(memory, self.src, low))

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, and 0 at the elements of dst."""
        return (apply(self, grads[0]),)


@register
class Assign(Op):
    """Records an in-place write to a view in the history of its base; backward only, never executed."""

    src: Layout
    dst: Layout

    inputs = ("base", "value")
    flops = 0.0

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dbase = grad, and 0 at the elements of the view; dvalue = grad at the elements of the view."""
        g = grads[0]
        base = apply(Mask(src=self.src, dst=self.dst), g) if needs[0] else None
        return base, apply(Reframe(src=self.src, dst=self.dst), g) if needs[1] else None


# ---- nodes of views and in-place writes --------------------------------------------------------------------


def reframe_node(base: Any, src: Layout, dst: Layout) -> Node:
    """Node that reads the value of the edge `base`, of layout `src`, through layout `dst`."""
    return new_node(Reframe(src=src, dst=dst), (base,), dst)


def assign_node(base: Any, value: Any, src: Layout, dst: Layout) -> Node:
    """Node that writes the value of edge `value` into that of edge `base`, through layout `dst`."""
    return new_node(Assign(src=src, dst=dst), (base, value), src)
