"""Indexing along an axis: take, gather, take_along_axis, scatter_add; nonzero and one_hot."""

from __future__ import annotations

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dtypes import DType, as_dtype, bool_, int64
from tinytensor.errors import DTypeError, IndexRangeError, ShapeError
from tinytensor.op import Array, Op, Spec, Specs, register
from tinytensor.ops.indexing import gather_along
from tinytensor.ops.indexing.index_keys import as_integers
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.indexing.mask_select import true_indices
from tinytensor.ops.indexing.selection import pick
from tinytensor.ops.views.manipulation import broadcast_to, cast, reshape
from tinytensor.shapes import as_int, broadcast_shapes, check_shape, normalize_axis
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["gather", "one_hot", "scatter_add", "take", "take_along_axis"]


@register
class OneHot(Op):
    """A 1 at each index, 0 elsewhere."""

    num_classes: int

    inputs = ("index",)
    vmap = vmap_batched
    dense = ("index",)
    flops = 0.0

    def infer(self, index: Spec) -> Specs:
        return (Spec((*index.shape, self.num_classes), int64),)

    def cpu(self, y: Array, index: Array) -> None:
        if index.size and not 0 <= index.min() <= index.max() < self.num_classes:
            raise _no_class(int(index.min() if index.min() < 0 else index.max()), self.num_classes)
        y[...] = 0
        np.put_along_axis(y, index[..., None].astype(np.int64), 1, -1)  # (..., 1)

    def cuda(self, launch: Launch, y: View, index: View) -> None:
        bounds = launch.bounds(0, self.num_classes, _no_class, self.num_classes)
        kind = index_type(y)
        args = (y, index, self.num_classes, bounds, y.size)
        launch("one_hot_forward", index.dtype, kind, grid=blocks_for(y.size, BLOCK), args=args)


def _no_class(index: int, num_classes: int) -> IndexRangeError:
    return IndexRangeError(
        f"one_hot: index {index} for {num_classes} classes",
        why=f"class indices run from 0 to {num_classes - 1}",
        fix="correct the indices" if index < 0 else f"num_classes={index + 1}, or correct the indices",
    )


def take(x: Tensor, indices: Tensor, axis: int | None = None) -> Tensor:
    """Select slices of x by their indices on an axis.

    Args:
        indices: integer tensor of any shape.
        axis: the axis; None flattens x first.

    Returns:
        shape of x with the axis replaced by the shape of the indices. Differentiable in x.

    >>> tt.take(tt.tensor([10, 20, 30]), tt.tensor([2, 0])).tolist()
    [30, 10]
    """
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    at = normalize_axis(axis, len(x.layout.shape), "take")
    return pick(x, [as_integers(indices, "take", x.storage.device)], (at,), "take")


def gather(x: Tensor, axis: int, index: Tensor) -> Tensor:
    """Select elements along an axis: y[i, j] = x[index[i, j], j] for axis 0, and so on.

    Args:
        index: integer tensor with as many axes; at most x's size on the other axes.

    Returns:
        shape of the index, dtype of x. Differentiable in x.

    >>> tt.gather(tt.tensor([[1, 2], [3, 4]]), 1, tt.tensor([[1], [0]])).tolist()
    [[2], [3]]
    """
    at = normalize_axis(axis, len(x.layout.shape), "gather")
    return gather_along.gather(x, as_integers(index, "gather", x.storage.device), at, "gather")


def take_along_axis(x: Tensor, indices: Tensor, axis: int = -1) -> Tensor:
    """The array API's `gather`, whose indices broadcast against x on the other axes.

    Args:
        indices: integer tensor with as many axes as x.

    Returns:
        The broadcast shape with the indices' size on the axis. Differentiable in x.

    >>> x = tt.tensor([[3, 1], [5, 9]])
    >>> tt.take_along_axis(x, tt.tensor([[1]]), axis=1).tolist()
    [[1], [9]]
    """
    indices = as_integers(indices, "take_along_axis", x.storage.device)
    shape, have = x.layout.shape, indices.layout.shape
    at = normalize_axis(axis, len(shape), "take_along_axis")
    if len(have) != len(shape):
        raise ShapeError(
            f"take_along_axis: indices of shape {have} for a tensor of shape {shape}",
            why="both need the same number of axes",
            fix="add axes of size 1 with unsqueeze",
        )
    common = broadcast_shapes(
        (*shape[:at], 1, *shape[at + 1 :]), (*have[:at], 1, *have[at + 1 :]), what="take_along_axis"
    )
    full_x = (*common[:at], shape[at], *common[at + 1 :])
    full_i = (*common[:at], have[at], *common[at + 1 :])
    return gather_along.gather(broadcast_to(x, full_x), broadcast_to(indices, full_i), at, "take_along_axis")


def scatter_add(x: Tensor, axis: int, index: Tensor, src: Tensor) -> Tensor:
    """Add src to a copy of x along an axis: y[index[i, j], j] += src[i, j] for axis 0, and so on.

    Args:
        index: integer tensor with as many axes; at most x's size on the other axes.
        src: at least the shape of the index, of which its first elements are taken; dtype of x.

    Returns:
        shape and dtype of x; x is not changed. Differentiable in x and src. Deterministic.

    >>> tt.scatter_add(tt.zeros(3), 0, tt.tensor([0, 2, 0]), tt.ones(3)).tolist()
    [2.0, 0.0, 1.0]
    """
    shape = x.layout.shape
    at = normalize_axis(axis, len(shape), "scatter_add")
    index = as_integers(index, "scatter_add", x.storage.device)
    if not is_tensor(src) or src.storage.dtype is not x.storage.dtype:
        raise DTypeError(
            f"scatter_add: src of type {src.dtype if is_tensor(src) else type(src).__name__} "
            f"for a tensor of dtype {x.storage.dtype}",
            why="the values are added to the tensor, without an implicit cast",
            fix=f"tt.asarray(src, dtype=tt.{x.storage.dtype})",
        )
    have, wanted = src.layout.shape, index.layout.shape
    if len(have) != len(wanted) or any([n < m for n, m in zip(have, wanted, strict=True)]):
        raise ShapeError(
            f"scatter_add: src of shape {have}, index of shape {wanted}",
            why="there is one value per index",
            fix="expand one of them to the shape of the other",
        )
    if have != wanted:
        src = getitem(src, tuple([slice(n) for n in wanted]))
    return x + gather_along.gather_transpose(src, index, at, shape, "scatter_add")


def nonzero(x: Tensor) -> tuple[Tensor, ...]:
    """Indices of the elements that are not zero, in row-major order.

    Returns:
        One int64 tensor of shape (n,) per axis. n depends on the data, so a device is synchronized.

    >>> [i.tolist() for i in tt.nonzero(tt.tensor([[0, 7], [8, 0]]))]
    [[0, 1], [1, 0]]
    """
    if not x.layout.shape:
        raise ShapeError(
            "nonzero: the tensor has no axes",
            why="a tensor without axes has no indices",
            fix="x.reshape(1).nonzero()",
        )
    return tuple(true_indices(cast(x, bool_)))


def one_hot(indices: Tensor, num_classes: int = -1, *, dtype: DType | None = None) -> Tensor:
    """One-hot encoding of indices.

    Args:
        indices: integer tensor of any shape, values from 0 to num_classes - 1.
        num_classes: length of a row; -1: as long as is needed.
        dtype: default int64.

    Returns:
        shape (*indices.shape, num_classes).

    >>> tt.one_hot(tt.tensor([2, 0]), 3).tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    index = as_integers(indices, "one_hot")
    if num_classes == -1:
        num_classes = int(index.max()) + 1
    (n,) = check_shape((as_int(num_classes, "one_hot", "num_classes"),), "one_hot")
    if n == 0 and index.layout.size:
        raise _no_class(0, 0)
    t = apply(OneHot(num_classes=n), index)
    return t if dtype is None else cast(t, as_dtype(dtype, "one_hot"))
