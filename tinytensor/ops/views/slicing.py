"""Views of some elements: basic indexing, diagonal, unfold, windows, as_strided.

A view may skip elements or read them several times, so its gradient is accumulated into zeros through the
strides of the view (`dispatch/view_gradients.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import grad_enabled
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import on_value
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.view_gradients import Scatter, reframe_node
from tinytensor.dispatch.views import ViewOp, known_view, make_view, view, viewed
from tinytensor.layout import Layout
from tinytensor.op import Grads, Needs, Saved, Tensor, register
from tinytensor.shapes import Key, Shape, as_int, check_shape, normalize_axis, normalize_key

__all__ = ["as_strided", "diagonal"]


class SelectingView(ViewOp):
    """View of some elements: its gradient is accumulated into zeros through the view's strides."""

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = zeros in the shape of x, with grad added at the elements that the view reads."""
        return (apply(Scatter(view_op=self), grads[0]),)


@register
class Index(SelectingView):
    key: tuple[int | tuple[int | None, ...] | None, ...]  # integers, None, and slices as (start, stop, step)

    def layout(self, x: Layout) -> Layout:
        return x.index(tuple([slice(*part) if isinstance(part, tuple) else part for part in self.key]))


@register
class Diagonal(SelectingView):
    offset: int
    axis1: int
    axis2: int

    def layout(self, x: Layout) -> Layout:
        return x.diagonal(self.offset, self.axis1, self.axis2)


@register
class Unfold(SelectingView):
    axis: int
    size: int
    step: int

    def layout(self, x: Layout) -> Layout:
        return x.unfold(self.axis, self.size, self.step)


@register
class Windows(SelectingView):
    """Sliding windows over the last axes, `step` apart, with elements `dilation` apart.

    Axes (H, W) with strides (sH, sW) become four:

    axes     Ho         Wo         kh             kw
    strides  sH * step  sW * step  sH * dilation  sW * dilation

    so element (u, v) of window (i, j) is element (i * step + u * dilation, j * step + v * dilation) of x.
    """

    sizes: Shape
    steps: Shape
    dilations: Shape

    def layout(self, x: Layout) -> Layout:
        lead = x.ndim - len(self.sizes)
        counts = [
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(x.shape[lead:], self.sizes, self.steps, self.dilations, strict=True)
        ]
        between = [stride * step for stride, step in zip(x.strides[lead:], self.steps, strict=True)]
        within = [
            stride * dilation for stride, dilation in zip(x.strides[lead:], self.dilations, strict=True)
        ]
        shape = (*x.shape[:lead], *counts, *self.sizes)
        return Layout(shape, (*x.strides[:lead], *between, *within), x.offset)


def index_view(x: Tensor, key: Key) -> Tensor:
    """x[key] for a normalized key of integers, slices and None."""
    return viewed(x, _index(x, key), "index", None)


def _index(x: Tensor, key: Key) -> Index:
    parts = [(part.start, part.stop, part.step) if isinstance(part, slice) else part for part in key]
    return Index(key=tuple(parts), shape_in=x.layout.shape)


_BOUNDS = frozenset({int, type(None)})


def index_cache_key(parts: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Hashable cache key for an index of integers, slices of integers, None and Ellipsis; else None."""
    args: list[Any] = []
    for part in parts:
        if type(part) is slice:
            bounds = part.start, part.stop, part.step
            if not _BOUNDS.issuperset(map(type, bounds)):
                return None
            args.append(bounds)
        elif type(part) is int or part is None or part is Ellipsis:
            args.append(part)
        else:
            return None
    return tuple(args)


def basic_index(x: Tensor, parts: tuple[Any, ...], args: tuple[Any, ...] | None, what: str) -> Tensor:
    """x[parts] for a key without tensors, checked; `args` is its cache key, from `index_cache_key`."""
    if args is not None and (t := known_view(x, "index", args)) is not None:
        return t
    return viewed(x, _index(x, normalize_key(parts, x.layout.shape, what)), "index", args)


def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements whose indices on two axes differ by offset: a view.

    Args:
        offset: index on axis2 minus index on axis1; positive is above the main diagonal.

    Returns:
        x without the two axes, with the diagonal as the last axis; shares memory with x.

    Differs from: the array API's linalg.diagonal, which takes the last two axes; NumPy and PyTorch agree with
        this.

    >>> tt.arange(9).reshape(3, 3).diagonal().tolist()
    [0, 4, 8]
    """
    ndim = len(x.layout.shape)
    a, b = normalize_axis(axis1, ndim, "diagonal"), normalize_axis(axis2, ndim, "diagonal")
    return view(Diagonal, x, offset=as_int(offset, "diagonal", "the offset"), axis1=a, axis2=b)


def unfold(x: Tensor, axis: int, size: int, step: int = 1) -> Tensor:
    """Sliding windows along an axis: a view, in which windows may overlap in memory.

    Returns:
        shape of x with the axis's size replaced by the number of windows, and a last axis of the window's
        size. The gradient of an element is the sum over all windows that contain it.

    >>> tt.arange(5).unfold(0, 3).tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "unfold")
    return view(Unfold, x, axis=at, size=as_int(size, "unfold"), step=as_int(step, "unfold", "the step"))


def windows(x: Tensor, sizes: Shape, steps: Shape, dilations: Shape) -> Tensor:
    """Sliding windows over the last axes of x: `unfold` on several axes, with dilation, unchecked."""
    return view(Windows, x, sizes=sizes, steps=steps, dilations=dilations)


def _as_strided_each(value: Tensor, layout: Layout) -> Tensor:
    """`as_strided` of each sample, whose layout is that of sample 0."""
    batch = value.layout
    return as_strided(
        value, (batch.shape[0], *layout.shape), (batch.strides[0], *layout.strides), layout.offset
    )


def as_strided(
    x: Tensor, shape: int | Sequence[int], strides: Sequence[int], offset: int | None = None
) -> Tensor:
    """View of the storage of x with the given shape, strides and offset (all in elements).

    Args:
        offset: position of the first element in the storage; None keeps that of x.

    Returns:
        A view. Its gradient flows to the tensor that owns the memory, summed where the view repeats elements.

    >>> tt.arange(6).as_strided((2, 2), (3, 1), 1).tolist()
    [[1, 2], [4, 5]]
    """
    start = x.layout.offset if offset is None else as_int(offset, "as_strided", "the offset")
    layout = Layout.as_strided(
        check_shape(shape, "as_strided"), tuple([as_int(s, "as_strided", "a stride") for s in strides]), start
    )
    if isinstance(x, Batched):
        return on_value(_as_strided_each, x, layout)
    layout.validate(x.storage.size, "as_strided")
    t = make_view(x, layout, None)
    root = x if x._base is None else x._base  # the view may reach outside x, but not outside its base
    edge = edge_of(root) if grad_enabled() else None
    if edge is not None and x.storage.dtype.is_inexact:
        t._edge = reframe_node(edge, root.layout, t.layout)
        t._requires = True
    return t
