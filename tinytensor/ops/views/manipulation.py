"""Views of all elements (reshape, permute, expand, flip, ...), and the copies: clone, astype, contiguous.

A view op is a function from Layout to Layout (`layout.py`), in O(1). The views here read every element of the
input, so the gradient is again a view (permute, reshape, flip) or a sum over repeats (expand). Views that
select elements are in `slicing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytensor.autograd.graph import Node
from tinytensor.autograd.levels import Batched
from tinytensor.config import config
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, on_value, vmap_batched
from tinytensor.dispatch.elementwise import Scalar, convert, number
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import Launch, View, write
from tinytensor.dispatch.record import edges_of, record
from tinytensor.dispatch.views import ViewOp, all_ints, known_view, make_view, view, viewed
from tinytensor.dispatch.watch import Run, watched
from tinytensor.dtypes import DType, as_dtype, bfloat16, float32, float64
from tinytensor.errors import ShapeError, TinyTensorError
from tinytensor.events import observers
from tinytensor.kernels.reduction import launch_reduction
from tinytensor.layout import Layout
from tinytensor.op import Grads, HostCall, Needs, Op, Saved, Spec, Specs, per_input, register
from tinytensor.ops.reductions.summing import add_up
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.runtime.cpu.arrays import (
    NUMPY,
    Array,
    copy_into,
    copying,
    fill,
    narrow,
    narrowing,
    widen,
    widening,
)
from tinytensor.shapes import Shape, as_int, is_several, normalize_axes, normalize_axis, resolve_shape
from tinytensor.tensor import Tensor, same_memory

__all__ = [
    "astype",
    "broadcast_to",
    "clone",
    "contiguous",
    "detach",
    "expand",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "permute",
    "permute_dims",
    "reshape",
    "squeeze",
    "transpose",
    "unsqueeze",
]


@register
class Flip(ViewOp):
    axes: Shape

    def layout(self, x: Layout) -> Layout:
        return x.flip(self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, flipped along the same axes."""
        return (view(Flip, grads[0], axes=self.axes),)


@register
class Permute(ViewOp):
    axes: Shape

    def layout(self, x: Layout) -> Layout:
        return x.permute(self.axes)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, with its axes in the order of x."""
        back = [0] * len(self.axes)
        for i, a in enumerate(self.axes):
            back[a] = i
        return (view(Permute, grads[0], axes=tuple(back)),)


@register
class Reshape(ViewOp):
    shape: Shape

    def layout(self, x: Layout) -> Layout:
        found = x.reshape(self.shape)
        assert found is not None, "reshape() checks first"
        return found

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, in the shape of x."""
        return (reshape(grads[0], self.shape_in),)


@register
class Expand(ViewOp):
    shape: Shape

    def layout(self, x: Layout) -> Layout:
        return x.expand(self.shape)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = the sum of grad over the axes along which x was repeated."""
        return (sum_to(grads[0], self.shape_in),)


def _sum_each(call: VmapCall) -> Tensor:
    (x,), shape = call.values(), call.op.shape
    whole = x.layout.shape
    kept = (whole[0], *(1,) * (len(whole) - 1 - len(shape)), *shape)
    return reshape(sum_to(x, kept), (whole[0], *shape))


@register
class SumTo(Op):
    """Sum over the axes that `expand` repeated: the adjoint of Expand."""

    shape: Shape
    shape_in: Shape

    inputs = ("x",)
    vmap = _sum_each
    jvp = jvp_linear
    flops = per_input(1.0)

    def infer(self, x: Spec) -> Specs:
        return (Spec(self.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        axes = _repeated(x.shape, self.shape)
        padded = y.reshape((1,) * (x.ndim - len(self.shape)) + self.shape)
        add_up(padded, x, axes)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        launch_reduction(launch, "Sum", y, x, _repeated(x.shape, self.shape), file="reduction")

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, repeated along the axes that were summed."""
        return (view(Expand, grads[0], shape=self.shape_in),)


def _repeated(big: Shape, small: Shape) -> Shape:
    """The axes that `expand` adds or repeats from small to big."""
    lead = len(big) - len(small)
    return tuple([i for i, n in enumerate(big) if i < lead or (small[i - lead] == 1 and n != 1)])


@register
class Alias(ViewOp):
    """View with the same layout: another node for the same value in the graph."""

    def layout(self, x: Layout) -> Layout:
        return x

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad."""
        return grads


def _cast(x: Array, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


def _put_number(value: Scalar, out: Array) -> None:
    out[...] = value


@register
class Full(Op):
    """A number in every element. It is an operand: other numbers need no other plan."""

    shape: Shape
    dtype: DType
    device: Device

    inputs = ("value",)
    numbers = True
    raw = True
    into = _put_number
    flops = 0.0

    def infer(self, value: type) -> Specs:
        return (Spec(self.shape, self.dtype),)

    def cpu(self, y: Array, value: Scalar) -> None:
        if self.dtype.narrow:  # from float64, so that it is rounded once
            narrow(np.broadcast_to(convert("copy_", value, float64), y.shape), self.dtype, y)
        else:
            y[...] = convert("copy_", value, self.dtype)

    def cuda(self, launch: Launch, y: View, value: Scalar) -> None:
        if self.dtype.narrow:
            stored = np.empty((), NUMPY[self.dtype])
            narrow(np.asarray(convert("copy_", value, float64)), self.dtype, stored)
            value = float(widen(stored, self.dtype))
        write(launch.runtime, y, number("copy_", value, self.dtype))


@register
class Copy(Op):
    """Copy into new, C-contiguous memory."""

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    raw = True
    into = _cast
    flops = 0.0

    @staticmethod
    def infer(x: Spec) -> Specs:
        return (Spec(x.shape, x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        copy_into(y, x)

    host = staticmethod(copying)

    @staticmethod
    def cuda(launch: Launch, y: View, x: View) -> None:
        write(launch.runtime, y, x)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad."""
        return grads


@register
class Cast(Op):
    """Cast to another dtype, rounded once, to nearest."""

    dtype: DType
    source: DType

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    raw = True
    into = _cast
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(x.shape, self.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        if self.source.narrow and self.dtype is float32:
            widen(x, self.source, y)
            return
        wide = widen(x, self.source) if self.source.narrow else x
        if self.source.kind == "complex" and self.dtype.kind not in ("complex", "bool"):
            wide = wide.real
        if self.dtype.narrow:
            narrow(wide, self.dtype, y)
        else:
            fill(_cast, y, wide)

    def host(self, y: Array, x: Array) -> HostCall:
        if self.source is bfloat16 and self.dtype is float32:
            return widening(y, x)
        return narrowing(y, x) if self.source is float32 and self.dtype is bfloat16 else None

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        write(launch.runtime, y, x)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, in the dtype of x."""
        return (cast(grads[0], self.source),)

    @staticmethod
    def fn(x: Tensor, dtype: DType) -> Tensor:
        """Cast for lower layers: differentiable if both dtypes are floating or complex."""
        return cast(x, dtype)


def filling(x: Tensor) -> Op:
    """The op that makes a tensor like x of a number."""
    make: Any = Full.__new__  # in half the time of Full(…)
    op: Op = make(Full, shape=x.layout.shape, dtype=x.storage.dtype, device=x.storage.device)
    return op


def casting(source: DType, dtype: DType) -> Op:
    """The op that copies a tensor of one dtype into one of another."""
    return Copy if source is dtype else Cast(dtype=dtype, source=source)  # type: ignore[return-value]


def cast(x: Tensor, dtype: DType) -> Tensor:
    """x in another dtype; x itself if it has that dtype."""
    source = x.storage.dtype
    if source is dtype:
        return x
    if not (source.is_inexact and dtype.is_inexact) and x._requires:
        x = detach(x)  # no gradient passes through integers
    if observers:
        copies.note("cast", "dtype", x.layout.size * dtype.itemsize, f"{source} becomes {dtype}")
    return apply(Cast(dtype=dtype, source=source), x)


def cast_by(run: Run, device: Device, tensors: Sequence[Tensor], dtype: DType, source: DType) -> None:
    """Run what casts several tensors, as observers see it: by the op."""
    watched(Cast(dtype=dtype, source=source), device, tensors, run)


def record_cast(x: Tensor, y: Tensor) -> None:
    """Record that y, which other code has computed, is x in another dtype."""
    edges = edges_of((x,))
    if edges is not None:
        record(Cast(dtype=y.storage.dtype, source=x.storage.dtype), (x,), edges, (y,))


def cast_from(edge: Any) -> DType | None:
    """The dtype that the tensor with this edge was cast from; None if it is no result of a cast."""
    return edge.op.source if isinstance(edge, Node) and isinstance(edge.op, Cast) else None


def astype(x: Tensor, dtype: Any, *, copy: bool = True, device: Any = None) -> Tensor:
    """Cast to another dtype, and move to `device` if given.

    Floats are truncated to integers; nonzero values become True; values outside the range of an integer dtype
    are undefined, as in NumPy. A cast from complex drops the imaginary part, except to bool, where a nonzero
    imaginary part also gives True. Floats are rounded once, to nearest, ties to even.

    Args:
        dtype: a DType, its name, or a NumPy or Python type.
        copy: False returns x itself if it already has the dtype and is on the device.

    Returns:
        shape of x, the new dtype. Differentiable where both dtypes are floating.

    >>> tt.tensor([1.7, -1.7]).astype(tt.int32).tolist()
    [1, -1]
    """
    wanted = as_dtype(dtype, "astype")
    if device is not None and (place := as_device(device, "astype")) is not x.storage.device:
        return cast(transfer(x, place), wanted) if place is cpu else transfer(cast(x, wanted), place)
    if wanted is x.storage.dtype:
        return clone(x) if copy else x
    return cast(x, wanted)


def copied(x: Tensor) -> Tensor:
    """`clone` without an entry in the copy log: for callers that report the copy themselves."""
    return apply(Copy, x)


def clone(x: Tensor) -> Tensor:
    """A copy in new, contiguous memory.

    >>> x = tt.tensor([1.0, 2.0])
    >>> y = x.clone()
    >>> y[0] = 5.0
    >>> x.tolist()
    [1.0, 2.0]
    """
    if observers:
        copies.note("clone", "asked", x.layout.size * x.storage.dtype.itemsize, "the program calls clone()")
    return copied(x)


def contiguous(x: Tensor) -> Tensor:
    """x itself if it is C-contiguous, else a C-contiguous copy.

    >>> x = tt.arange(6).reshape(2, 3).T
    >>> x.is_contiguous(), x.contiguous().is_contiguous()
    (False, True)
    """
    if x.layout.is_contiguous:
        return x
    _note_layout("contiguous", "asked", x, "C order is asked for")
    return copied(x)


def _note_layout(op: str, kind: str, x: Tensor, why: str) -> None:
    if observers:
        layout, nbytes = x.layout, x.layout.size * x.storage.dtype.itemsize
        copies.note(op, kind, nbytes, f"{why}: x is {copies.describe(layout.shape, layout.strides)}")


def detach(x: Tensor) -> Tensor:
    """A view of x that is detached from the autograd graph: the result does not require grad.

    Returns:
        A tensor that shares storage (and its version) with x.

    >>> x = tt.ones(2, requires_grad=True)
    >>> x.detach().requires_grad
    False
    """
    if type(x) is not Tensor and isinstance(x, Batched):
        return on_value(detach, x)
    return same_memory(x)


def alias(x: Tensor) -> Tensor:
    """A view of x with its own edge in the autograd graph."""
    return view(Alias, x)


def reshape(x: Tensor, shape: Any, *, copy: bool | None = None) -> Tensor:
    """Reshape without changing the order of elements: a view if the strides allow it, else a copy.

    Args:
        shape: sizes of the axes; one may be -1 and is inferred.
        copy: True always copies, False never does (ShapeError instead), None copies if necessary.

    >>> x = tt.arange(6)
    >>> x.reshape(2, -1).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    plain = type(shape) is tuple and not copy and all_ints(shape)
    if plain and (t := known_view(x, "reshape", shape)) is not None:
        return t
    wanted = resolve_shape(shape, x.layout.size, "reshape")
    if copy:
        x = clone(x)
    found = x.layout.reshape(wanted)
    if found is None:
        if copy is False or config.strict_layout:
            raise _no_view("reshape", x, wanted)
        _note_layout("reshape", "layout", x, f"no view has the shape {wanted}")
        return reshape(copied(x), wanted)
    op = Reshape(shape=wanted, shape_in=x.layout.shape)
    return viewed(x, op, "reshape", shape if plain else None)


def view_as_shape(x: Tensor, *shape: Any) -> Tensor:
    """Reshape without a copy, or raise an error that names the axes whose strides do not allow it.

    >>> tt.arange(6).view(3, 2).shape
    (3, 2)
    """
    try:
        return reshape(x, _sizes(shape), copy=False)
    except TinyTensorError as error:
        what = error.what.replace("reshape:", "view:", 1)
        raise type(error)(what, why=error.why, fix=error.fix) from None


def _no_view(what: str, x: Tensor, shape: Shape) -> ShapeError:
    pairs = x.layout.blocking_axes()
    named = " and ".join(f"{a} and {b}" for a, b in pairs) or "of the tensor"
    return ShapeError(
        f"{what}: shape {x.layout.shape}, strides {x.layout.strides}, cannot be viewed as {shape}",
        why=f"axes {named} have incompatible strides: merging or splitting them needs a copy",
        fix=f"copy first: x.contiguous().reshape({shape})",
    )


def _sizes(args: tuple[Any, ...]) -> Any:
    """Sizes passed as f(2, 3) or as f((2, 3))."""
    return args[0] if len(args) == 1 and not isinstance(args[0], int) else args


def permute(x: Tensor, *axes: Any) -> Tensor:
    """Reorder the axes: a view.

    Args:
        axes: every axis once, as numbers or as one tuple.

    >>> tt.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    args = _sizes(axes)
    plain = type(args) is tuple and all_ints(args)
    if plain and (t := known_view(x, "permute", args)) is not None:
        return t
    ndim = len(x.layout.shape)
    order = normalize_axes(args, ndim, "permute")
    if len(order) != ndim:
        raise ShapeError(
            f"permute: axes {order} for a tensor of shape {x.layout.shape}",
            why=f"each of its {ndim} axes must occur once",
            fix=f"for example x.permute({tuple(reversed(range(ndim)))})",
        )
    op = Permute(axes=order, shape_in=x.layout.shape)
    return viewed(x, op, "permute", args if plain else None)


def transpose(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Swap two axes: a view.

    >>> tt.zeros(2, 3, 4).transpose(0, -1).shape
    (4, 3, 2)
    """
    args = (axis1, axis2)
    plain = all_ints(args)
    if plain and (t := known_view(x, "transpose", args)) is not None:
        return t
    ndim = len(x.layout.shape)
    a, b = normalize_axis(axis1, ndim, "transpose"), normalize_axis(axis2, ndim, "transpose")
    axes = list(range(ndim))
    axes[a], axes[b] = b, a
    op = Permute(axes=tuple(axes), shape_in=x.layout.shape)
    return viewed(x, op, "transpose", args if plain else None)


def expand(x: Tensor, *shape: Any) -> Tensor:
    """Repeat axes of size 1 without copying: a view with stride 0.

    Args:
        shape: the new sizes; -1 keeps a size; new axes are added in front.

    >>> tt.tensor([[1], [2]]).expand(2, 3).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    return expanded(x, _as_tuple(_sizes(shape), "expand"), "expand")


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """The array API's name for `expand`.

    >>> tt.broadcast_to(tt.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return expanded(x, _as_tuple(shape, "broadcast_to"), "broadcast_to")


def expanded(x: Tensor, shape: Shape, what: str) -> Tensor:
    """`broadcast_to` for the function `what`."""
    return view(Expand, x, shape=x.layout.expand(shape, what).shape)


def _as_tuple(shape: Any, what: str) -> Shape:
    if isinstance(shape, tuple) or is_several(shape):
        return tuple([as_int(n, what) for n in shape])
    return (as_int(shape, what, "a shape"),)


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Sum x over the axes along which `shape` was broadcast to the shape of x."""
    have = x.layout.shape
    return x if have == shape else apply(SumTo(shape=shape, shape_in=have), x)


def flip(x: Tensor, axis: Any = None) -> Tensor:
    """Reverse axes: a view with negative strides.

    Args:
        axis: axis or axes to reverse; None reverses all.

    >>> tt.arange(4).flip().tolist()
    [3, 2, 1, 0]
    """
    return view(Flip, x, axes=normalize_axes(axis, len(x.layout.shape), "flip"))


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """Drop axes of size 1: a view.

    Args:
        axis: axis or axes to drop; None drops every axis of size 1.

    >>> tt.zeros(1, 3, 1).squeeze().shape
    (3,)
    """
    shape = x.layout.shape
    axes = (
        tuple([i for i, n in enumerate(shape) if n == 1])
        if axis is None
        else normalize_axes(axis, len(shape), "squeeze")
    )
    return make_view(x, found := x.layout.squeeze(axes), Reshape(shape=found.shape, shape_in=shape))


def unsqueeze(x: Tensor, axis: int) -> Tensor:
    """Insert an axis of size 1: a view. The array API calls it `expand_dims`.

    >>> tt.zeros(3).unsqueeze(0).shape
    (1, 3)
    """
    return with_axis(x, axis, "unsqueeze")


def with_axis(x: Tensor, axis: int, what: str) -> Tensor:
    """`unsqueeze` whose error messages begin with another function name."""
    shape = x.layout.shape
    at = normalize_axis(axis, len(shape) + 1, what)
    return make_view(x, found := x.layout.unsqueeze(at), Reshape(shape=found.shape, shape_in=shape))


def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move axes to new positions; the others keep their order: a view.

    >>> tt.zeros(2, 3, 4).moveaxis(0, -1).shape
    (3, 4, 2)
    """
    ndim = len(x.layout.shape)
    src = normalize_axes(source, ndim, "moveaxis")
    dst = normalize_axes(destination, ndim, "moveaxis")
    if len(src) != len(dst):
        raise ShapeError(
            f"moveaxis: {len(src)} source axes and {len(dst)} destinations",
            why="each moved axis needs one new position",
            fix="pass as many destinations as sources",
        )
    order = [a for a in range(ndim) if a not in src]
    for to, a in sorted(zip(dst, src, strict=True)):
        order.insert(to, a)
    return permute(x, tuple(order))


def matrix_transpose(x: Tensor) -> Tensor:
    """Swap the last two axes: a view, `x.mT`.

    Args:
        x: shape (..., M, N).

    Returns:
        shape (..., N, M), sharing memory with x.

    >>> tt.zeros(5, 2, 3).mT.shape
    (5, 3, 2)
    """
    if len(x.layout.shape) < 2:
        raise ShapeError(
            f"matrix_transpose: shape {x.layout.shape} has no last two axes",
            why="the rows and columns of a matrix are its last two axes",
            fix="give it a second axis with x.unsqueeze(0)",
        )
    return transpose(x, -1, -2)


def permute_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The array API's name for `permute`.

    >>> tt.permute_dims(tt.zeros(2, 3, 4), axes=(2, 0, 1)).shape
    (4, 2, 3)
    """
    return permute(x, tuple(axes))


def expand_dims(x: Tensor, axis: int = 0) -> Tensor:
    """The array API's name for `unsqueeze`.

    >>> tt.expand_dims(tt.zeros(3), axis=1).shape
    (3, 1)
    """
    return with_axis(x, axis, "expand_dims")
