"""concat, stack, repeat, tile, roll, broadcast_arrays, meshgrid, split, chunk and unbind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd.graph import Output
from tinytensor.autograd.levels import Batched, Level
from tinytensor.autograd.modes import grad_enabled
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, vmap_batched, wrapped
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import Launch, View, write
from tinytensor.dispatch.record import edge_of, new_node
from tinytensor.dispatch.transfer import constant, values
from tinytensor.dispatch.views import make_view
from tinytensor.dtypes import DType, int64, promote
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.events import observers
from tinytensor.layout import Layout, contiguous_strides
from tinytensor.op import Direct, Grads, HostCall, Needs, Op, Saved, Spec, Specs, register
from tinytensor.ops.indexing.gathering import take
from tinytensor.ops.views.manipulation import broadcast_to, cast, expand, reshape, sum_to
from tinytensor.runtime.cpu.arrays import Array, copy_into
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.runtime.cpu.memory import allocating
from tinytensor.shapes import Shape, as_int, broadcast_shapes, check_shape, is_several, normalize_axis
from tinytensor.tensor import Tensor, is_tensor, without_axes

__all__ = [
    "broadcast_arrays",
    "cat",
    "chunk",
    "concat",
    "meshgrid",
    "repeat",
    "roll",
    "split",
    "stack",
    "tile",
    "unbind",
]

kernels = HostKernels("joining")


def note_joined(y: Array | View, op: str = "") -> None:
    """Report to the copy log that an op, the innermost running one, joins parts in one tensor."""
    if observers:
        copies.note(op, "join", y.nbytes, "separate parts are written into one contiguous result")


def _dense(part: Array, y: Array) -> bool:
    """Whether the C++ kernels copy bytes of the part into y."""
    return part.dtype == y.dtype and part.flags.c_contiguous and y.flags.c_contiguous


# ---- ops ---------------------------------------------------------------------------------------------------


def _part(array: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape) if array is None else array.reshape(shape)


def _join_each(call: VmapCall) -> Tensor:
    shapes = tuple([(call.level.size, *shape) for shape in call.op.shapes])
    found: Tensor = call.run(*call.values(), axis=call.op.axis + 1, shapes=shapes)
    return found


@register
class Join(Op):
    """Parts concatenated along an axis.

    `shapes` are the shapes of the parts; a part that is None is read as zeros (the gradient of `split`). With
    `drop` the parts lack the axis, on which each has size 1.
    """

    axis: int
    shapes: Sequence[Shape]
    dtype: DType
    drop: bool

    inputs = ("part",)
    vmap = _join_each
    jvp = jvp_linear
    raw = True
    flops = 0.0

    def infer(self, *parts: Spec | None) -> Specs:
        size = sum([s[self.axis] for s in self.shapes])
        return (Spec((*self.shapes[0][: self.axis], size, *self.shapes[0][self.axis + 1 :]), self.dtype),)

    def direct(self, *parts: Spec | None) -> Direct | None:
        if self.drop or any([p is None for p in parts]):
            return None

        def join(*arrays: Array) -> Array:
            y = np.concatenate(arrays, self.axis)
            note_joined(y, "join")
            return y

        return join

    def cpu(self, y: Array, *parts: Array | None) -> None:
        note_joined(y)
        whole = [
            p if p is not None and p.shape == s else _part(p, s, y.dtype)
            for p, s in zip(parts, self.shapes, strict=True)
        ]
        if all([part.flags.c_contiguous for part in whole]):
            np.concatenate(whole, self.axis, out=y)
            return
        start = 0
        for part in whole:
            end = start + part.shape[self.axis]
            copy_into(y[(slice(None),) * self.axis + (slice(start, end),)], part)
            start = end

    def host(self, y: Array, *parts: Array | None) -> HostCall:
        if not y.size or not all([p is not None and _dense(p, y) for p in parts]) or not kernels.usable():
            return None
        note_joined(y)
        return partial(kernels.join, y, list(parts), prod(self.shapes[0][: self.axis]))

    def cuda(self, launch: Launch, y: View, *parts: View | None) -> None:
        note_joined(y)
        start, zero = 0, bytes(8)
        before: tuple[Any, ...] = (slice(None),) * self.axis
        for part, shape in zip(parts, self.shapes, strict=True):
            n = shape[self.axis]
            key = (*before, start if self.drop else slice(start, start + n))
            write(launch.runtime, y.read_through(y.layout.index(key)), zero if part is None else part)
            start += n

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dpart = the slice of grad at the position of the part."""
        parts = split(grads[0], [s[self.axis] for s in self.shapes], self.axis)
        if self.drop:
            parts = tuple(
                [reshape(p, (*s[: self.axis], *s[self.axis + 1 :])) for p, s in zip(parts, self.shapes)]
            )
        return parts


@register
class Repeat(Op):
    """x repeated along new axes, which are then merged with their neighbors.

    `apart` is the shape of the result before merging; its axes in `new` are the repeats, the others those
    of x.
    """

    shape: Shape
    apart: Shape
    new: Shape

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    raw = True
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(self.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        note_joined(y)
        np.copyto(y.reshape(self.apart), np.expand_dims(x, self.new))

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        note_joined(y)
        once, steps = list(x.shape), list(x.strides)
        for axis in self.new:
            once.insert(axis, 1)
            steps.insert(axis, 0)
        write(
            launch.runtime,
            y.read_through(Layout(self.apart, contiguous_strides(self.apart), y.layout.offset)),
            x.read_through(Layout(tuple(once), tuple(steps), x.layout.offset)),
        )

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = the sum of grad over all copies of each element."""
        once = tuple([1 if i in self.new else n for i, n in enumerate(self.apart)])
        total = sum_to(reshape(grads[0], self.apart), once)
        return (reshape(total, tuple([n for i, n in enumerate(self.apart) if i not in self.new])),)


@register
class Roll(Op):
    """Elements shifted cyclically along axes."""

    shifts: Shape
    axes: Shape

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    raw = True
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        return (Spec(x.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        note_joined(y)
        for to, at in _moves(x.shape, self.shifts, self.axes):
            y[to] = x[at]

    def host(self, y: Array, x: Array) -> HostCall:
        if len(self.axes) != 1 or not x.size or not _dense(x, y) or not kernels.usable():
            return None
        note_joined(y)
        axis, n = self.axes[0], x.shape[self.axes[0]]
        return partial(kernels.roll, y, x, prod(x.shape[axis + 1 :]), n, self.shifts[0] % n)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        note_joined(y)
        for to, at in _moves(x.shape, self.shifts, self.axes):
            moved = x.read_through(x.layout.index(at))
            write(launch.runtime, y.read_through(y.layout.index(to)), moved)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad, rolled back."""
        return (apply(self.replace(shifts=tuple([-s for s in self.shifts])), grads[0]),)


def _moves(shape: Shape, shifts: Shape, axes: Shape) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Pairs (target, source) of slices for the blocks that `roll` moves."""
    cuts = [[(slice(0, n), slice(0, n))] for n in shape]  # per axis
    for shift, axis in zip(shifts, axes):
        n = shape[axis]
        k = shift % n if n else 0
        cuts[axis] = [(slice(k, n), slice(0, n - k)), (slice(0, k), slice(n - k, n))][: 2 if k else 1]
    for blocks in product(*cuts):
        yield tuple([to for to, _ in blocks]), tuple([at for _, at in blocks])


# ---- concat and stack --------------------------------------------------------------------------------------


def _same_kind(arrays: Any, what: str) -> list[Tensor]:
    """The tensors of a sequence, cast to their common dtype."""
    if is_tensor(arrays) or not isinstance(arrays, Sequence):
        raise DTypeError(
            f"{what}: a {type(arrays).__name__} instead of a sequence of tensors",
            why="the tensors to join are passed as one list or tuple",
            fix=f"tt.{what}([a, b])",
        )
    for i, x in enumerate(arrays):
        if not is_tensor(x):
            raise DTypeError(
                f"{what}: item {i} is a {type(x).__name__}",
                why="only tensors can be joined",
                fix="make it a tensor first: tt.asarray(x)",
            )
    if not arrays:
        raise ShapeError(
            f"{what}: no tensors",
            why="the shape and dtype of the result come from the tensors",
            fix="give at least one tensor",
        )
    dtypes = [x.storage.dtype for x in arrays]
    dtype = promote(*dtypes, what=what)
    return [x if d is dtype else cast(x, dtype) for x, d in zip(arrays, dtypes)]


def concat(arrays: Sequence[Tensor], axis: int | None = 0) -> Tensor:
    """Concatenate tensors along an existing axis.

    Args:
        axis: the axis to join; None joins the flattened tensors.

    Returns:
        The shape of the parts, with the sum of their sizes on the axis; the promoted dtype. Differentiable in
        every part.

    >>> tt.concat([tt.ones(2), tt.zeros(1)]).tolist()
    [1.0, 1.0, 0.0]
    """
    xs = _same_kind(arrays, "concat")
    if axis is None:
        xs, axis = [reshape(x, -1) for x in xs], 0
    shapes = tuple([x.layout.shape for x in xs])
    at = normalize_axis(axis, len(shapes[0]), "concat")
    rest = (*shapes[0][:at], *shapes[0][at + 1 :])
    for i, s in enumerate(shapes):
        if s != shapes[0] and (len(s) != len(shapes[0]) or (*s[:at], *s[at + 1 :]) != rest):
            raise ShapeError(
                f"concat: shapes {shapes[0]} and {s} (item {i}) do not fit along axis {at}",
                why="apart from the joined axis all sizes must be equal",
                fix="slice, pad or expand the parts; or tt.stack for a new axis",
            )
    return apply(Join(axis=at, shapes=shapes, dtype=xs[0].storage.dtype, drop=False), *xs)


def stack(arrays: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Stack tensors of equal shape along a new axis.

    Returns:
        The shape of a part with one more axis, whose size is the number of parts; the promoted dtype.
        Differentiable in every part.

    >>> tt.stack([tt.ones(2), tt.zeros(2)], axis=1).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    xs = _same_kind(arrays, "stack")
    shape = xs[0].layout.shape
    at = normalize_axis(axis, len(shape) + 1, "stack")
    for i, x in enumerate(xs):
        if x.layout.shape != shape:
            raise ShapeError(
                f"stack: shapes {shape} and {x.layout.shape} (item {i}) differ",
                why="along a new axis all parts must have the same shape",
                fix="expand the parts to one shape, or tt.concat along an existing axis",
            )
    shapes = ((*shape[:at], 1, *shape[at:]),) * len(xs)
    return apply(Join(axis=at, shapes=shapes, dtype=xs[0].storage.dtype, drop=True), *xs)


Level.stack = staticmethod(stack)


# ---- repeat, tile, roll ------------------------------------------------------------------------------------


def repeat(x: Tensor, repeats: int | Tensor, *more: int, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis.

    Args:
        repeats: the number of repeats, 0 or more; or an integer tensor of shape (n,), one count for each of
            the n elements of the axis.
        more: none, an error: `x.tile((2, 3))` is PyTorch's x.repeat(2, 3).

    Raises:
        ArgumentError: several numbers, as in PyTorch.

    Differs from: torch.Tensor.repeat, which is `tile` here; this is torch.repeat_interleave.

    >>> tt.repeat(tt.tensor([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    >>> tt.repeat(tt.tensor([1, 2]), tt.tensor([0, 3])).tolist()
    [2, 2, 2]
    """
    if more:
        sizes = ", ".join(map(str, (repeats, *more)))
        raise ArgumentError(
            f"repeat: the numbers {sizes}",
            why="repeat has one number, for each element, as in NumPy; PyTorch's repeats the whole tensor",
            fix=f"x.tile(({sizes})), or x.repeat({repeats}, axis={more[0]})",
        )
    if axis is None:
        x, axis = reshape(x, -1), 0
    shape = x.layout.shape
    at = normalize_axis(axis, len(shape), "repeat")
    if is_tensor(repeats):
        return _repeat_each(x, repeats, at)
    n = as_int(repeats, "repeat", "a number of repeats")
    _check_counts(n, "repeat")
    apart = check_shape((*shape[: at + 1], n, *shape[at + 1 :]), "repeat")
    merged = (*shape[:at], shape[at] * n, *shape[at + 1 :])
    return apply(Repeat(shape=merged, apart=apart, new=(at + 1,)), x)


def _repeat_each(x: Tensor, repeats: Tensor, axis: int) -> Tensor:
    counts, shape = values(repeats), x.layout.shape
    n = shape[axis]
    if repeats.storage.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"repeat: repeats of dtype {repeats.storage.dtype}",
            why="repeat counts are integers",
            fix="cast them with .astype(tt.int64)",
        )
    if counts.ndim > 1 or counts.size not in (1, n):
        raise ShapeError(
            f"repeat: repeats of shape {counts.shape} for axis {axis} of shape {shape}",
            why=f"repeats is one count for all elements, or one for each of the {n} elements of the axis",
            fix=f"give a tensor of shape ({n},)",
        )
    _check_counts(int(counts.min()) if counts.size else 0, "repeat")
    total = _exact_sum(counts) * (n if counts.size == 1 else 1)
    check_shape((*shape[:axis], total, *shape[axis + 1 :]), "repeat")
    with allocating("repeat", total * 8):
        index = np.repeat(np.arange(n), counts.astype(np.int64))
    return take(x, constant(index, int64, x.storage.device), axis)


def _exact_sum(counts: Array) -> int:
    """Sum of non-negative integers, checked for overflow: np.repeat wraps around and writes out of bounds."""
    wide = counts.astype(np.uint64)
    high, low = wide >> np.uint64(32), wide & np.uint64(0xFFFFFFFF)
    return (int(high.sum()) << 32) + int(low.sum())


def _check_counts(lowest: int, what: str) -> None:
    if lowest < 0:
        raise ShapeError(
            f"{what}: {lowest} repeats", why="counts cannot be negative", fix="give numbers of 0 or more"
        )


def tile(x: Tensor, repetitions: int | Sequence[int]) -> Tensor:
    """Repeat x as a whole along each axis.

    Args:
        repetitions: the count for each axis, aligned at the last one; further counts prepend axes.

    >>> tt.tile(tt.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    given = list(repetitions) if is_several(repetitions) else [repetitions]
    times = [as_int(r, "tile", "a number of repetitions") for r in given]
    _check_counts(min(times, default=0), "tile")
    shape = x.layout.shape
    ndim = max(len(shape), len(times))
    shape = (1,) * (ndim - len(shape)) + shape
    times = [1] * (ndim - len(times)) + times
    apart = check_shape([n for pair in zip(times, shape) for n in pair], "tile")
    merged = tuple([r * n for r, n in zip(times, shape)])
    return apply(Repeat(shape=merged, apart=apart, new=tuple(range(0, 2 * ndim, 2))), reshape(x, shape))


def roll(x: Tensor, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """Shift elements cyclically along axes.

    Args:
        shift: the distance, towards larger indices; one for all axes, or one per axis.
        axis: axis or axes; an axis may be repeated. None rolls the flattened tensor.

    >>> tt.roll(tt.arange(4), 1).tolist()
    [3, 0, 1, 2]
    """
    shape = x.layout.shape
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), shape)
    named = list(axis) if is_several(axis) else [axis]
    axes = [normalize_axis(a, len(shape), "roll") for a in named]
    shifts = list(shift) if is_several(shift) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(
            f"roll: {len(shifts)} shifts for {len(axes)} axes",
            why="give one shift per axis, or one for all axes",
            fix="give as many shifts as axes",
        )
    total = dict.fromkeys(axes, 0)
    for s, a in zip(shifts, axes):
        total[a] += as_int(s, "roll", "a shift")
    return apply(Roll(shifts=tuple(total.values()), axes=tuple(total)), x)


# ---- broadcasting several tensors --------------------------------------------------------------------------


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """Expand tensors to their common shape: views.

    >>> a, b = tt.broadcast_arrays(tt.zeros(2, 1), tt.zeros(3))
    >>> a.shape, b.shape
    ((2, 3), (2, 3))
    """
    shape = broadcast_shapes(*[x.layout.shape for x in arrays], what="broadcast_arrays")
    return tuple([broadcast_to(x, shape) for x in arrays])


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate grids from the coordinates along each axis: views.

    Args:
        arrays: tensors of shape (n_i,).
        indexing: "xy": the first coordinate varies along axis 1, the second along axis 0; "ij": coordinate i
            along axis i.

    Differs from: numpy.meshgrid, which copies; call .contiguous() before writing to a result.

    >>> x, y = tt.meshgrid(tt.arange(3), tt.arange(2))
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]])
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(
            f"meshgrid: indexing {indexing!r}",
            why='indexing is "xy" or "ij"',
            fix='tt.meshgrid(x, y, indexing="ij")',
        )
    sizes = []
    for i, x in enumerate(arrays):
        if len(x.layout.shape) != 1:
            raise ShapeError(
                f"meshgrid: tensor {i} has shape {x.layout.shape}",
                why="the coordinates along an axis are a tensor with exactly one axis",
                fix="flatten it with x.reshape(-1)",
            )
        sizes.append(x.layout.shape[0])
    order = list(range(len(sizes)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    grid = tuple([sizes[i] for i in order])
    found = []
    for i, x in enumerate(arrays):
        column = [1] * len(sizes)
        column[order.index(i)] = sizes[i]
        found.append(expand(reshape(x, tuple(column)), grid))
    return tuple(found)


cat = concat


@register
class Split(Op):
    """Autograd node of the views that `split` returns; never executed."""

    axis: int
    shapes: tuple[Shape, ...]
    dtype: DType
    drop: bool

    inputs = ("x",)
    flops = 0.0

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = the concatenated gradients of the parts; 0 for a part without a gradient."""
        return (apply(Join(axis=self.axis, shapes=self.shapes, dtype=self.dtype, drop=self.drop), *grads),)


def split(x: Tensor, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Split an axis into consecutive parts: views.

    Args:
        size: of each part, the last one possibly smaller; or the sizes of all parts.

    Differs from: numpy.split, where an integer is the number of parts; see `chunk`.

    >>> [p.tolist() for p in tt.arange(5).split([2, 3])], [p.tolist() for p in tt.arange(5).split(2)]
    ([[0, 1], [2, 3, 4]], [[0, 1], [2, 3], [4]])
    """
    at = normalize_axis(axis, len(x.layout.shape), "split")
    n = x.layout.shape[at]
    if not is_several(size):
        step = as_int(size, "split", "the size of a part")
        if step < 1:
            raise ShapeError(
                f"split: parts of size {step}",
                why="a part has at least one element",
                fix="a positive size, or x.chunk(count) for a number of parts",
            )
        sizes = (step,) * (n // step) + ((n % step,) if n % step else ()) or (0,)
    else:
        sizes = tuple([as_int(n, "split") for n in size])
        if any([s < 0 for s in sizes]) or sum(sizes) != n:
            raise ShapeError(
                f"split: sizes {sizes} for axis {at} of size {n} in shape {x.layout.shape}",
                why=f"they add up to {sum(sizes)} and must cover the axis",
                fix=f"give sizes that add up to {n}",
            )
    return _parts(x, sizes, at, drop=False)


def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Split an axis into at most `chunks` parts of equal size, the last one possibly smaller: views.

    >>> [p.tolist() for p in tt.arange(5).chunk(2)]
    [[0, 1, 2], [3, 4]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "chunk")
    n, count = x.layout.shape[at], as_int(chunks, "chunk", "the number of chunks")
    if count < 1:
        raise ShapeError(
            f"chunk: {count} chunks", why="there must be at least one", fix="pass a positive number"
        )
    return split(x, -(-n // count) or 1, at)


def unbind(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """Remove an axis and return the slices along it: views. The array API calls it `unstack`.

    >>> [p.tolist() for p in tt.arange(4).reshape(2, 2).unbind()]
    [[0, 1], [2, 3]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "unbind")
    return _parts(x, (1,) * x.layout.shape[at], at, drop=True)


def _parts(x: Tensor, sizes: Shape, axis: int, *, drop: bool) -> tuple[Tensor, ...]:
    """Consecutive slices of an axis as views that share one autograd node."""
    if isinstance(x, Batched):
        return tuple([wrapped(part, x.level) for part in _parts(x.value, sizes, axis + 1, drop=drop)])
    edge = edge_of(x) if grad_enabled() and x.storage.dtype.is_inexact else None
    outs: list[Tensor] = []
    start = 0
    before: tuple[Any, ...] = (slice(None),) * axis
    for n in sizes:
        key = (*before, start if drop else slice(start, start + n))
        outs.append(make_view(x, x.layout.index(key), None, "by an operation that returns several views"))
        start += n
    if edge is not None:
        shape = x.layout.shape
        shapes = tuple([(*shape[:axis], n, *shape[axis + 1 :]) for n in sizes])
        op = Split(axis=axis, shapes=tuple(shapes), dtype=x.storage.dtype, drop=drop)
        node = new_node(op, (edge,), None)
        node.outs = tuple([(o.layout.shape, o.storage.dtype) for o in outs])
        for i, o in enumerate(outs):
            o._edge = Output(node, i)
            o._requires = True
    return tuple(outs)


def iterate(x: Tensor) -> Iterator[Tensor]:
    """`Tensor.__iter__`: views along the first axis."""
    if not x.layout.shape:
        raise without_axes("iter")
    return iter(x.unbind(0))  # the method, which raises our error messages
