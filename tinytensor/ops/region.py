"""Regions of memory: the linear maps between what a base tensor holds and what a view of it sees.

Four maps carry the gradients of views and of in-place writes: `Scatter` (the transpose of a view), `Reframe`
(read a base's value through another layout), its transpose `ReframeTranspose`, and `Mask` (zero a region).
All take layouts on absolute positions, all are linear, and each one's gradient is one of the others, so every
order works.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Grads, Needs, Saved
from ..dispatch import Op, Spec, Specs, apply, register
from ..layout import Layout, contiguous
from ..runtime.host import Array
from ..viewing import ViewOp, view

if TYPE_CHECKING:
    from ..tensor import Tensor


# An add of a strided slice costs a microsecond and 1 ns per element, counting out 10 ns per element.
MANY_STEPS, LONG_SLICE = 16, 256


def strided(buffer: Array, layout: Layout, shift: int = 0) -> Array:
    """A flat array read through a layout; the array begins at position `shift` of the storage."""
    item = buffer.itemsize
    if layout.size == 0:
        return np.empty(layout.shape, buffer.dtype)
    strides = tuple([s * item for s in layout.strides])
    return np.ndarray(layout.shape, buffer.dtype, buffer, (layout.offset - shift) * item, strides)


def positions(layout: Layout, shift: int = 0) -> Array:
    """The position of every element of a view, in the view's shape."""
    found: Array = np.full((), layout.offset - shift)
    for size, stride in zip(layout.shape, layout.strides, strict=True):
        found = found[..., None] + np.arange(size) * stride
    return found


def _overlapping_axes(layout: Layout) -> list[int]:
    """Axes to walk one index at a time, so that no element of the rest meets another one: the small ones."""
    kept: list[tuple[int, int]] = []  # (stride, size) of axes that nest: each steps over all faster ones
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
    """Add values into zeros through a layout; elements that share a place add up.

    Windows overlap, but all elements at one offset inside their windows lie apart. So there are as many adds
    of strided slices as a window has elements; where that would be many small ones, every place is counted
    out.
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


@register
class Scatter(Op):
    """The transpose of a view: zeros of the base's shape, and the gradient added through the strides."""

    inputs = ("grad",)

    @staticmethod
    def infer(grad: Spec, *, view_op: type[ViewOp], params: dict[str, Any]) -> Specs:
        return (Spec(params["shape_in"], grad.dtype),)

    @staticmethod
    def cpu(y: Array, grad: Array, *, view_op: type[ViewOp], params: dict[str, Any]) -> None:
        y[...] = 0
        _add_through(y, view_op.layout(contiguous(params["shape_in"]), **params), grad)

    @staticmethod
    def backward(
        grads: Grads, saved: Saved, needs: Needs, *, view_op: type[ViewOp], params: dict[str, Any]
    ) -> Grads:
        return (None if grads[0] is None else view(view_op, grads[0], **params),)


def scatter(view_op: type[ViewOp], grad: Tensor | None, params: dict[str, Any]) -> Tensor | None:
    """The gradient of a view of `params["shape_in"]`."""
    return None if grad is None else apply(Scatter, grad, view_op=view_op, params=params)


def _frame(src: Layout, dst: Layout) -> tuple[int, int]:
    """The range of positions [low, high) that two layouts reach."""
    (a, b), (c, d) = src.extent, dst.extent
    return min(a, c), max(b, d, a - 1, c - 1) + 1


def _whole(x: Array, src: Layout, low: int, high: int) -> bool:
    """Whether x is, byte for byte, the memory from low to high."""
    return bool(src.is_contiguous and x.flags.c_contiguous and low == src.offset and high - low == src.size)


@register
class Reframe(Op):
    """x, laid out in memory like src, read like dst: how a view sees the new value of its base."""

    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, src: Layout, dst: Layout) -> Specs:
        return (Spec(dst.shape, x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, *, src: Layout, dst: Layout) -> None:
        low, high = _frame(src, dst)
        if _whole(x, src, low, high):
            np.copyto(y, strided(x, dst, low))
            return
        buffer = np.zeros(high - low, x.dtype)
        np.copyto(strided(buffer, src, low), x)
        np.copyto(y, strided(buffer, dst, low))

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, src: Layout, dst: Layout) -> Grads:
        return (None if grads[0] is None else apply(ReframeTranspose, grads[0], src=src, dst=dst),)


@register
class ReframeTranspose(Op):
    """grad, shaped like dst, added into memory and read back like src."""

    inputs = ("grad",)

    @staticmethod
    def infer(grad: Spec, *, src: Layout, dst: Layout) -> Specs:
        return (Spec(src.shape, grad.dtype),)

    @staticmethod
    def cpu(y: Array, grad: Array, *, src: Layout, dst: Layout) -> None:
        low, high = _frame(src, dst)
        buffer = np.zeros(high - low, grad.dtype)
        _add_through(buffer, dst, grad, low)
        if src.overlaps():  # an element that src reads n times hands each reader an equal share
            readers = np.bincount(positions(src, low).reshape(-1), minlength=high - low)
            buffer /= np.maximum(readers, 1)
        np.copyto(y, strided(buffer, src, low))

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, src: Layout, dst: Layout) -> Grads:
        return (None if grads[0] is None else apply(Reframe, grads[0], src=src, dst=dst),)


@register
class Mask(Op):
    """x, laid out like src, with the region of dst set to zero."""

    inputs = ("x",)

    @staticmethod
    def infer(x: Spec, *, src: Layout, dst: Layout) -> Specs:
        return (Spec(x.shape, x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, *, src: Layout, dst: Layout) -> None:
        low, high = _frame(src, dst)
        if src.is_contiguous and low == src.offset and high - low == src.size:
            np.copyto(y, x)
            strided(y, dst, low)[...] = 0
            return
        buffer = np.empty(high - low, x.dtype)
        seen = strided(buffer, src, low)
        np.copyto(seen, x)
        strided(buffer, dst, low)[...] = 0
        np.copyto(y, seen)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, src: Layout, dst: Layout) -> Grads:
        return (None if grads[0] is None else apply(Mask, grads[0], src=src, dst=dst),)


@register
class Assign(Op):
    """The history of a base after one of its views was written. Never run: the write already happened."""

    inputs = ("base", "value")

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, src: Layout, dst: Layout) -> Grads:
        g = grads[0]
        if g is None:
            return None, None
        base = apply(Mask, g, src=src, dst=dst) if needs[0] else None
        return base, apply(Reframe, g, src=src, dst=dst) if needs[1] else None
