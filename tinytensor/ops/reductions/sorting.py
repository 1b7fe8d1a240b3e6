"""sort, argsort, topk, searchsorted and unique_*. nan sorts as larger than any number."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tinytensor.device import Device
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import composed, vmap_batched
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dispatch.transfer import constant, values
from tinytensor.dtypes import DType, float32, int64, promote
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.kernels.sorting import launch_sort
from tinytensor.op import Grads, Needs, Op, Saved, Spec, Specs, Tensor, register
from tinytensor.ops.elementwise.arithmetic import minimum
from tinytensor.ops.elementwise.comparison import (
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    where,
)
from tinytensor.ops.indexing.gather_along import gather_transpose
from tinytensor.ops.indexing.gathering import gather
from tinytensor.ops.indexing.index_keys import as_index
from tinytensor.ops.indexing.selection import pick
from tinytensor.ops.views.manipulation import cast, detach, reshape
from tinytensor.runtime.cpu.arrays import Array, copy_into
from tinytensor.shapes import Shape, as_int, normalize_axis

__all__ = [
    "argsort",
    "searchsorted",
    "sort",
    "topk",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]

Kind = Literal["stable", "quicksort"]


def _order(x: Array, axis: int, descending: bool, kind: Kind = "stable") -> Array:
    """Indices that sort x, stably in both directions for kind "stable"."""
    if not descending:
        return np.argsort(x, axis, kind)
    back = np.argsort(np.flip(x, axis), axis, kind)
    order: Array = x.shape[axis] - 1 - np.flip(back, axis)
    return order


def _put_back(grad: Tensor, indices: Tensor, axis: int, shape: Shape) -> Tensor:
    """Zeros of x's shape with the gradients of the selected elements at their indices."""
    return gather_transpose(grad, indices, axis, shape, "sort")


def _check_order(what: str, dtype: DType, shape: Shape) -> None:
    if dtype.kind == "complex":
        raise DTypeError(
            f"{what}: the input of shape {shape} has dtype {dtype}",
            why="complex numbers have no order",
            fix="sort by their absolute values: tt.argsort(tt.abs(x))",
        )


# ---- ops ---------------------------------------------------------------------------------------------------


@register
class Sort(Op):
    axis: int
    descending: bool
    kind: Kind
    shape: Shape

    inputs = ("x",)
    vmap = vmap_batched
    outputs = ("y", "order")
    saves = ("order",)
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        _check_order("sort", x.dtype, x.shape)
        return Spec(x.shape, x.dtype), Spec(x.shape, int64)

    def cpu(self, y: Array, order: Array | None, x: Array) -> None:
        if order is not None:
            order[...] = _order(x, self.axis, self.descending, self.kind)
            y[...] = np.take_along_axis(x, order, self.axis)
            return
        copy_into(y, x)  # without indices stability does not matter: use the fastest sort
        y.sort(self.axis)
        if self.descending:
            y[...] = np.flip(y, self.axis)

    def cuda(self, launch: Launch, y: View, order: View | None, x: View) -> None:
        launch_sort(launch, y, order, x, self.axis, self.shape[self.axis], self.descending)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[order[i]] = grad[i]."""
        return (_put_back(grads[0], saved.order, self.axis, self.shape),)


@register
class Argsort(Op):
    axis: int
    descending: bool
    kind: Kind
    inputs = ("x",)
    vmap = vmap_batched
    outputs = ("order",)
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        _check_order("argsort", x.dtype, x.shape)
        return (Spec(x.shape, int64),)

    def cpu(self, order: Array, x: Array) -> None:
        order[...] = _order(x, self.axis, self.descending, self.kind)

    def cuda(self, launch: Launch, order: View, x: View) -> None:
        launch_sort(launch, None, order, x, self.axis, x.shape[self.axis], self.descending)


@register
class Topk(Op):
    """The k largest or smallest elements: a partition finds them in linear time, then they are sorted."""

    k: int
    axis: int
    largest: bool
    shape: Shape

    inputs = ("x",)
    vmap = vmap_batched
    outputs = ("values", "indices")
    visible = 2
    saves = ("indices",)
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        _check_order("topk", x.dtype, x.shape)
        n = x.shape[self.axis]
        if not 0 <= self.k <= n:
            raise ShapeError(
                f"topk: k = {self.k} for axis {self.axis} of shape {x.shape}",
                why=f"the axis has {n} elements",
                fix=f"pass a k from 0 to {n}, for example min(k, x.shape[{self.axis}])",
            )
        chosen = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return Spec(chosen, x.dtype), Spec(chosen, int64)

    def cpu(self, values: Array, indices: Array, x: Array) -> None:
        n = x.shape[self.axis]
        if values.size == 0:
            return
        x, found = np.moveaxis(x, self.axis, -1), np.moveaxis(indices, self.axis, -1)  # (..., n), (..., k)
        if self.k < n:
            parted = np.argpartition(x, n - self.k if self.largest else self.k - 1, -1)
            found[...] = parted[..., n - self.k :] if self.largest else parted[..., : self.k]
            found.sort(-1)  # so that equal values are in the order of their indices
        else:
            found[...] = np.arange(n)
        order = _order(np.take_along_axis(x, found, -1), -1, self.largest)
        found[...] = np.take_along_axis(found, order, -1)
        np.moveaxis(values, self.axis, -1)[...] = np.take_along_axis(x, found, -1)

    def cuda(self, launch: Launch, values: View, indices: View, x: View) -> None:
        launch_sort(launch, values, indices, x, self.axis, self.k, self.largest)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[indices[i]] = grad[i], 0 elsewhere."""
        return (_put_back(grads[0], saved.indices, self.axis, self.shape),)


def _by_bisection(x1: Tensor, x2: Tensor, *, side: Literal["left", "right"]) -> Tensor:
    """searchsorted by other ops: the places grow by powers of two."""
    (n,), flat = x1.layout.shape, reshape(x2, (-1,))
    places = constant(np.zeros(flat.layout.shape, np.int64), int64, flat.storage.device)
    for step in [1 << i for i in reversed(range(n.bit_length()))]:
        further = places + step
        last = gather(x1, 0, minimum(further, n) - 1)
        precedes = less(last, flat) if side == "left" else less_equal(last, flat)
        unlike = logical_and(isnan(flat), logical_not(isnan(last))) if side == "left" else isnan(flat)
        precedes = logical_or(precedes, unlike)  # nan is the largest number
        places = where(logical_and(less_equal(further, n), precedes), further, places)
    return reshape(places, x2.layout.shape)


@register
class Searchsorted(Op):
    side: Literal["left", "right"]

    inputs = ("x1", "x2")
    vmap = composed(_by_bisection)
    outputs = ("places",)
    dense = ("x1", "x2")
    flops = 0.0

    def infer(self, x1: Spec, x2: Spec) -> Specs:
        _check_order("searchsorted", x1.dtype, x1.shape)
        return (Spec(x2.shape, int64),)

    def cpu(self, places: Array, x1: Array, x2: Array) -> None:
        places[...] = np.searchsorted(x1, x2, self.side)

    def cuda(self, launch: Launch, places: View, x1: View, x2: View) -> None:
        args = (places, x1, x2, x1.size, x2.size, self.side == "right")
        launch("searchsorted", x1.dtype, grid=blocks_for(x2.size, 256), args=args)


# ---- functions ---------------------------------------------------------------------------------------------


def sort(x: Tensor, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Sort the elements along an axis.

    Args:
        stable: equal elements, and so their gradients, keep their order; False may be faster.

    Returns:
        shape and dtype of x; nan counts as the largest number. Differentiable: each gradient goes to the
        original position of its element.

    Memory: saves the order (int64, shape of x) for backward.
    Differs from: torch.sort, which also returns indices; see `argsort`.

    >>> tt.sort(tt.tensor([3, 1, 2]), descending=True).tolist()
    [3, 2, 1]
    """
    at = normalize_axis(axis, len(x.layout.shape), "sort")
    kind: Kind = "stable" if stable else "quicksort"
    return apply(Sort(axis=at, descending=descending, kind=kind, shape=x.layout.shape), x)


def argsort(x: Tensor, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Indices that sort an axis.

    Args:
        stable: equal elements keep their order, in both directions; False may be faster.

    Returns:
        int64, shape of x; nan counts as the largest number. Not differentiable.

    >>> tt.argsort(tt.tensor([3, 1, 3]), descending=True).tolist()
    [0, 2, 1]
    """
    at = normalize_axis(axis, len(x.layout.shape), "argsort")
    kind: Kind = "stable" if stable else "quicksort"
    return apply(Argsort(axis=at, descending=descending, kind=kind), detach(x))


class ValuesIndices(NamedTuple):
    """Elements of a tensor, and their positions on an axis."""

    values: Tensor
    indices: Tensor


def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> ValuesIndices:
    """The k largest (or smallest) elements of an axis, sorted, and their indices.

    Returns:
        values: shape of x with size k on the axis, dtype of x, best first; nan counts as the largest number.
            Differentiable.
        indices: int64, the same shape. Equal values are in the order of their indices; which of the values
            equal to the k-th are returned is not specified.

    >>> values, indices = tt.topk(tt.tensor([5, 9, 7]), 2)
    >>> values.tolist(), indices.tolist()
    ([9, 7], [1, 2])
    """
    shape = x.layout.shape
    at, n = normalize_axis(axis, len(shape), "topk"), as_int(k, "topk", "k")
    found, indices = apply_all(Topk(k=n, axis=at, largest=largest, shape=shape), x)
    return ValuesIndices(found, indices)


def searchsorted(x1: Tensor, x2: Tensor, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Indices at which to insert elements into a sorted tensor to keep it sorted.

    Args:
        x1: shape (n,), in ascending order (or sorted by sorter); not complex.
        side: "left": before equal elements, x1[i-1] < v <= x1[i]; "right": after them.
        sorter: shape (n,), indices that sort x1.

    Returns:
        int64, shape of x2, values from 0 to n.

    >>> tt.searchsorted(tt.tensor([1, 3, 5]), tt.tensor([3, 4])).tolist()
    [1, 2]
    """
    if side not in ("left", "right"):
        raise ArgumentError(
            f"searchsorted: side {side!r}",
            why='an insertion index is "left" or "right" of equal elements',
            fix='side="left"',
        )
    shape = x1.layout.shape
    if len(shape) != 1 or (sorter is not None and sorter.layout.shape != shape):
        raise ShapeError(
            f"searchsorted: x1 of shape {shape}"
            + ("" if sorter is None else f", sorter of shape {sorter.layout.shape}"),
            why="x1 is one sorted axis, and sorter has one index for each of its elements",
            fix="search the rows one by one: [tt.searchsorted(row, x2) for row in x1]",
        )
    dtype = promote(x1.storage.dtype, x2.storage.dtype, what="searchsorted")
    x1, x2 = cast(detach(x1), dtype), cast(detach(x2), dtype)
    if sorter is not None:
        x1 = pick(x1, [as_index(sorter, "searchsorted")], (0,), "searchsorted")
    return apply(Searchsorted(side="left" if side == "left" else "right"), x1, x2)


# ---- unique elements: the size of the result depends on the data, so these are not ops ---------------------


class UniqueAll(NamedTuple):
    """Result of `unique_all`."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Result of `unique_counts`."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Result of `unique_inverse`."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor) -> UniqueAll:
    """Unique elements of a tensor, with their first indices, inverse indices and counts.

    Returns:
        values: shape (n,), ascending, dtype of x; every nan is unique. Not differentiable.
        indices: shape (n,), int64: the first index of each value in the flattened x.
        inverse_indices: shape of x, int64: values[inverse_indices] is x.
        counts: shape (n,), int64.

    >>> u = tt.unique_all(tt.tensor([7, 3, 7]))
    >>> u.values.tolist(), u.indices.tolist(), u.inverse_indices.tolist(), u.counts.tolist()
    ([3, 7], [1, 0], [1, 0, 1], [1, 2])
    """
    dtype, device = x.storage.dtype, x.storage.device
    found, first, inverse, counts = np.unique(
        values(x), return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return UniqueAll(
        _elements(found, dtype, device),
        constant(first.astype(np.int64), int64, device),
        constant(inverse.astype(np.int64).reshape(x.layout.shape), int64, device),
        constant(counts.astype(np.int64), int64, device),
    )


def _elements(found: Array, dtype: DType, device: Device) -> Tensor:
    """A tensor of a dtype from elements that `values` read."""
    return cast(constant(found, float32 if dtype.narrow else dtype, device), dtype)


def unique_counts(x: Tensor) -> UniqueCounts:
    """Unique elements of a tensor, and their counts.

    Returns:
        values: shape (n,), ascending, dtype of x; every nan is unique. Not differentiable.
        counts: shape (n,), int64.

    >>> u = tt.unique_counts(tt.tensor([7, 3, 7]))
    >>> u.values.tolist(), u.counts.tolist()
    ([3, 7], [1, 2])
    """
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor) -> UniqueInverse:
    """Unique elements of a tensor, and the inverse indices.

    Returns:
        values: shape (n,), ascending, dtype of x; every nan is unique. Not differentiable.
        inverse_indices: shape of x, int64: values[inverse_indices] is x.

    >>> u = tt.unique_inverse(tt.tensor([7, 3, 7]))
    >>> u.values[u.inverse_indices].tolist()
    [7, 3, 7]
    """
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor) -> Tensor:
    """Unique elements of a tensor.

    Returns:
        shape (n,), ascending, dtype of x; every nan is unique. Not differentiable.

    >>> tt.unique_values(tt.tensor([7, 3, 7])).tolist()
    [3, 7]
    """
    return _elements(np.unique(values(x), equal_nan=False), x.storage.dtype, x.storage.device)
