"""gather along an axis with one index per element, and its adjoint, a scatter-add."""

from __future__ import annotations

from math import prod

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dtypes import int64
from tinytensor.errors import ShapeError
from tinytensor.kernels.reduction import power_of_two
from tinytensor.kernels.walk import walk
from tinytensor.layout import contiguous_strides
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shape, Spec, Specs, Tensor, per_input, register
from tinytensor.ops.indexing.selection import (
    add_at,
    checked_indices,
    launch_add_at,
    note_picked,
    out_of_range,
    sum_dtype,
)

_LONGEST = 2048  # most indices and elements of a row that one block processes
_TOGETHER = 512  # fewest indices and elements of a block: it processes several short rows


def _check(index: Spec, axis: int, shape: Shape, what: str) -> None:
    fits = index.ndim == len(shape) and all(
        [i == axis or n <= m for i, (n, m) in enumerate(zip(index.shape, shape, strict=False))]
    )
    if not fits:
        raise ShapeError(
            f"{what}: an index of shape {index.shape} for a tensor of shape {shape}",
            why=f"it needs as many axes, and on every axis but {axis} at most the size of the tensor",
            fix="expand or slice the index",
        )


def _without(steps: Shape, axis: int) -> Shape:
    return (*steps[:axis], *steps[axis + 1 :])


@register
class Gather(Op):
    """y[i, j] = x[index[i, j], j] for axis 0, and so on."""

    axis: int
    shape: Shape
    what: str

    inputs = ("x", "index")
    vmap = vmap_batched
    jvp = jvp_linear
    saves = ("index",)
    raw = True
    flops = 0.0

    def infer(self, x: Spec, index: Spec) -> Specs:
        _check(index, self.axis, self.shape, self.what)
        return (Spec(index.shape, x.dtype),)

    def cpu(self, y: Array, x: Array, index: Array) -> None:
        note_picked(y)
        beside = tuple([slice(None if i == self.axis else n) for i, n in enumerate(index.shape)])
        index = checked_indices(index, self.shape[self.axis], self.axis, self.shape, self.what)
        y[...] = np.take_along_axis(x[beside], index, self.axis)

    def cuda(self, launch: Launch, y: View, x: View, index: View) -> None:
        note_picked(y)
        position = index_type(y, x, index)
        own = (*x.strides[: self.axis], 0, *x.strides[self.axis + 1 :])
        rank, through = walk(self.what, index.shape, index.strides, own, index=position)
        bounds = launch.bounds(
            -self.shape[self.axis], self.shape[self.axis], out_of_range, self.axis, self.shape, self.what
        )
        y, x = y.as_bits(), x.as_bits()
        args = (y, x, index, through, self.shape[self.axis], x.strides[self.axis], bounds, y.size)
        grid = blocks_for(y.nbytes, BLOCK * 16)
        launch("gather_forward", y.dtype, index.dtype, rank, position, grid=grid, args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[k] = the sum of grad[i] over all i with index[i] = k, along the axis."""
        return gather_transpose(grads[0], saved.index, self.axis, self.shape, self.what), None


@register
class GatherTranspose(Op):
    """Deterministic scatter-add into zeros, the adjoint of `gather`: adds in a fixed order."""

    axis: int
    shape: Shape
    what: str

    inputs = ("grad", "index")
    vmap = vmap_batched
    jvp = jvp_linear
    saves = ("index",)
    flops = per_input(1.0)

    def infer(self, grad: Spec, index: Spec) -> Specs:
        _check(index, self.axis, self.shape, self.what)
        return (Spec(self.shape, grad.dtype),)

    def cpu(self, y: Array, grad: Array, index: Array) -> None:
        places = np.zeros(index.shape, np.int64)
        for i, n in enumerate(self.shape):
            places *= n
            if i == self.axis:
                places += checked_indices(index, n, self.axis, self.shape, self.what)
            else:
                places += np.arange(index.shape[i]).reshape(
                    [-1 if j == i else 1 for j in range(len(self.shape))]
                )
        add_at(y, grad, places, tuple(range(len(self.shape))))

    def cuda(self, launch: Launch, y: View, grad: View, index: View) -> None:
        size, picks = self.shape[self.axis], index.shape[self.axis]
        if index.size == 0 or max(size, picks) > _LONGEST:
            places = _places(launch, index, self.axis, self.shape, self.what)
            selecting, axes = Launch(launch.runtime, "selection"), tuple(range(len(self.shape)))
            launch_add_at(selecting, y, launch.dense(grad), places, axes)
            return
        rows = _without(index.shape, self.axis)
        if rows != _without(self.shape, self.axis):
            launch.zero(y)  # some elements get no gradient
        operands = (y, grad, index)
        position = index_type(*operands)
        steps = [v.strides[self.axis] for v in operands]
        rank, through = walk(
            self.what, rows, *[_without(v.strides, self.axis) for v in operands], index=position
        )
        across = steps[0] != 1
        tile, most = power_of_two(picks, 2, _LONGEST), _LONGEST if across else _TOGETHER
        rows_per_block = max(1, most // max(tile, size))
        bounds = launch.bounds(-size, size, out_of_range, self.axis, self.shape, self.what)
        sums = sum_dtype(grad.dtype).itemsize
        launch(
            *("gather_transpose_rows", grad.dtype, index.dtype, rank, position),
            grid=-(-prod(rows) // rows_per_block),
            args=(*operands, through, prod(rows), size, picks, *steps, bounds, rows_per_block, tile, across),
            shared=rows_per_block * (tile * (8 + grad.itemsize) + size * sums),
        )

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad[i] = element index[i] of the gradient, along the axis."""
        return gather(grads[0], saved.index, self.axis, self.what), None


def _places(launch: Launch, index: View, axis: int, shape: Shape, what: str) -> View:
    """Flat indices, in a contiguous tensor of this shape, of the elements that `gather` reads."""
    places, steps = launch.scratch(index.shape, int64), contiguous_strides(shape)
    own = (*steps[:axis], 0, *steps[axis + 1 :])  # contribution of the other axes
    position = index_type(places, index) if max(steps[0], 1) * shape[0] < 1 << 31 else "long long"
    rank, through = walk(what, index.shape, index.strides, own, index=position)
    bounds = launch.bounds(-shape[axis], shape[axis], out_of_range, axis, shape, what)
    args = (places, index, through, shape[axis], steps[axis], bounds, places.size)
    grid = blocks_for(places.size, BLOCK)
    launch("places_along", index.dtype, rank, position, grid=grid, args=args)
    return places


def gather(x: Tensor, index: Tensor, axis: int, what: str) -> Tensor:
    """y[i, j] = x[index[i, j], j] for axis 0, and so on; error messages name `what`."""
    return apply(Gather(axis=axis, shape=x.layout.shape, what=what), x, index)


def gather_transpose(values: Tensor, index: Tensor, axis: int, shape: Shape, what: str) -> Tensor:
    """Scatter-add of values into zeros of this shape, the adjoint of `gather`."""
    return apply(GatherTranspose(axis=axis, shape=shape, what=what), values, index)
