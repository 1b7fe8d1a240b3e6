"""embedding: lookup of table rows by index, and its deterministic scatter-add backward."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, unwrapped
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import int64
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.kernels.rows import as_rows, require_tensors, reshaped
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Spec, Specs, Tensor, per_input, register
from tinytensor.ops.elementwise.comparison import less, where
from tinytensor.ops.indexing.selection import pick
from tinytensor.ops.nn.class_targets import as_int64, check_integers, flat_indices, on_device
from tinytensor.ops.views.manipulation import reshape
from tinytensor.runtime.cpu.kernels import HostKernels

__all__ = ["embedding"]

kernels = HostKernels("embedding")
MOST_OWNED = 4096  # most table rows per block of the backward kernel, see embedding.cu


def _embedding_each(call: VmapCall) -> Any:
    weight, indices = call.xs
    if not call.batched[0]:
        return call.run(weight, indices)
    samples, V, _ = weight.layout.shape
    indices = unwrapped(call.given[1], call.level)
    behind = (1,) * (len(indices.layout.shape) - 1)
    tables = constant(np.arange(samples).reshape(-1, *behind), int64, indices.storage.device)
    # in a pick negative numbers count from the end: V is out of range, too
    return pick(weight, [tables, where(less(indices, 0), V, indices)], (0, 1), "embedding")


def _embedding_backward_each(call: VmapCall) -> Any:
    (grad, indices), rows, size = call.values(), call.op.count, call.level.size
    behind = (1,) * (len(indices.layout.shape) - 1)
    starts = constant(np.arange(0, size * rows, rows).reshape(-1, *behind), int64, grad.storage.device)
    found = call.run(grad, starts + indices, count=size * rows)
    return reshape(found, (size, rows, found.layout.shape[-1]))


@register
class Embedding(Op):
    """Linear in the weight; EmbeddingBackward is its transpose."""

    count: int

    inputs = ("weight", "indices")
    vmap = _embedding_each
    jvp = jvp_linear
    saves = ("indices",)
    dense = ("weight",)
    contiguous = ("weight",)
    raw = True  # rows are moved: a table of 16-bit floats is not widened for a few of them
    flops = 0.0

    def infer(self, weight: Spec, indices: Spec) -> Specs:
        if indices.dtype.is_floating and weight.dtype.kind in ("int", "uint"):
            raise DTypeError(
                f"embedding: the table has dtype {weight.dtype}, and the indices {indices.dtype}",
                why="the two are the other way round: indices are integers",
                fix="indices first: tt.embedding(indices, table)",
            )
        floating("embedding", weight)
        check_integers("embedding", "indices", indices)
        if weight.ndim != 2:
            raise ShapeError(
                f"embedding: weight has shape {weight.shape}",
                why="it is a table (V, C): one row of C elements for each index",
                fix="reshape it to two axes; the indices are the second argument",
            )
        return (Spec((*indices.shape, weight.shape[1]), weight.dtype),)

    def cpu(self, y: Array, weight: Array, indices: Array) -> None:
        flat = flat_indices("embedding", "indices", indices, self.count)
        np.take(weight, flat, 0, out=y.reshape(len(flat), weight.shape[1]), mode="clip")

    def host(self, y: Array, weight: Array, indices: Array) -> HostCall:
        return partial(kernels.embedding_forward, y, weight, as_int64(indices))

    def cuda(self, launch: Launch, y: View, weight: View, indices: View) -> None:
        ids, bounds = on_device(launch, "embedding", "indices", indices, self.count)
        count, width = ids.size, weight.shape[1]
        threads = 4
        while threads < 32 and threads * 16 < width * weight.itemsize:
            threads *= 2
        block = (threads, 256 // threads)
        args = (y, weight, ids, count, width, bounds)
        bits = weight.as_bits().dtype
        launch("embedding_forward", bits, grid=blocks_for(count, block[1]), block=block, args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        return apply(EmbeddingBackward(count=self.count), grads[0], saved.indices), None


@register
class EmbeddingBackward(Op):
    """dweight[r] = sum of grad over the positions with index r, sorted by index and added in order."""

    count: int

    inputs = ("grad", "indices")
    vmap = _embedding_backward_each
    jvp = jvp_linear
    outputs = ("dweight",)
    saves = ("indices",)
    dense = ("grad",)
    contiguous = ("grad",)
    flops = per_input(1.0)

    def infer(self, grad: Spec, indices: Spec) -> Specs:
        return (Spec((self.count, grad.shape[-1]), grad.dtype),)

    def cpu(self, dweight: Array, grad: Array, indices: Array) -> None:
        dweight[...] = 0
        if not grad.size:
            return
        flat = reshaped(indices, -1).astype(np.intp, copy=False)
        order = np.argsort(flat, kind="stable")
        ordered = flat[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))  # where a run of equal indices begins
        dweight[ordered[first]] = np.add.reduceat(as_rows(grad)[order], first, 0)

    def host(self, dweight: Array, grad: Array, indices: Array) -> HostCall:
        return partial(kernels.embedding_backward, dweight, grad, as_int64(indices))

    def cuda(self, launch: Launch, dweight: View, grad: View, indices: View) -> None:
        width = dweight.shape[1]
        if not dweight.size:
            return
        strips = blocks_for(width, 32 * (16 // grad.itemsize))  # of columns, 32 vectors each
        at_once = 4 * launch.runtime.multiprocessors  # blocks, each of which reads all indices
        owned = min(-(-self.count // at_once), MOST_OWNED)
        across = -(-self.count // owned)
        grid = (across, max(1, min(strips, at_once // across)))
        args = (dweight, grad, launch.dense(indices, int64), indices.size, self.count, width, owned)
        launch("embedding_backward", grad.dtype, grid=grid, block=(32, 8), args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad[i] = row indices[i] of the gradient."""
        return apply(Embedding(count=self.count), grads[0], saved.indices), None


def embedding(weight: Tensor, indices: Tensor) -> Tensor:
    """Look up rows of a table: y[..., :] = weight[indices[...], :].

    Args:
        weight: shape (V, C); floating.
        indices: shape (...), any integer dtype; 0 to V - 1.

    Returns:
        shape (..., C), dtype of weight.

    Raises:
        IndexRangeError: an index is negative or above V - 1. On a GPU it is raised at the next read-back, and
            the row is nan.

    Memory: keeps the indices. The gradient has the size of the whole table.
    Accuracy: the gradients of a row are added in a fixed order: deterministic.
    """
    require_tensors("embedding", weight, indices)
    return apply(Embedding(count=weight.layout.shape[0] if weight.layout.shape else 0), weight, indices)
