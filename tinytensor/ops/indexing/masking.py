"""tril, triu and masked_fill."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dtypes import bool_, promote
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.kernels.walk import walk
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, register
from tinytensor.ops.elementwise.comparison import where
from tinytensor.shapes import as_int, broadcast_shapes
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["masked_fill", "tril", "triu"]


@register
class Triangle(Op):
    """Matrices with zeros above (lower) or below (upper) the k-th diagonal."""

    k: int
    upper: bool

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    raw = True
    flops = 0.0

    def infer(self, x: Spec) -> Specs:
        if x.ndim < 2:
            what = "triu" if self.upper else "tril"
            raise ShapeError(
                f"{what}: shape {x.shape} has no last two axes",
                why="triangles are defined for matrices",
                fix=f"tt.{what}(x.unsqueeze(0))",
            )
        return (Spec(x.shape, x.dtype),)

    def cpu(self, y: Array, x: Array) -> None:
        rows, columns = x.shape[-2:]
        k = _near(self.k, rows, columns)
        lower = np.tri(rows, columns, k - self.upper, np.bool_)  # (rows, columns)
        y[...] = 0
        np.copyto(y, x, where=~lower if self.upper else lower)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        rows, columns = x.shape[-2:]
        k = _near(self.k, rows, columns)
        index = index_type(y, x)
        rank, through = walk("triu" if self.upper else "tril", x.shape, x.strides, index=index)
        args = (y.as_bits(), x.as_bits(), through, rows, columns, k, self.upper, y.size)
        launch("triangle_forward", y.as_bits().dtype, rank, index, grid=blocks_for(y.size, BLOCK), args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad in the same triangle, 0 elsewhere."""
        return (apply(self, grads[0]),)


def _near(k: int, rows: int, columns: int) -> int:
    """k clamped to the diagonals of the matrix and one beyond, on either side."""
    return max(-rows - 1, min(k, columns + 1))


def tril(x: Tensor, k: int = 0) -> Tensor:
    """Lower triangles of matrices: zeros above the k-th diagonal.

    Args:
        k: the last diagonal that is kept; positive is above the main diagonal.

    >>> tt.tril(tt.ones(2, 3, dtype=tt.int64)).tolist()
    [[1, 0, 0], [1, 1, 0]]
    """
    return apply(Triangle(k=as_int(k, "tril", "a diagonal"), upper=False), x)


def triu(x: Tensor, k: int = 0) -> Tensor:
    """Upper triangles of matrices: zeros below the k-th diagonal.

    Args:
        k: the first diagonal that is kept; positive is above the main diagonal.

    >>> tt.triu(tt.ones(2, 3, dtype=tt.int64), 1).tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    return apply(Triangle(k=as_int(k, "triu", "a diagonal"), upper=True), x)


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy of x with a value where the mask is True.

    Args:
        value: a number, or a tensor that broadcasts to the shape of x; its kind is not higher than that of x.

    Returns:
        shape and dtype of x. Differentiable in x where the mask is False, and in a tensor value elsewhere.

    >>> x = tt.ones(2, 2)
    >>> tt.masked_fill(x, tt.triu(x, 1) != 0, float("-inf")).tolist()
    [[1.0, -inf], [1.0, 1.0]]
    """
    if isinstance(value, np.generic):
        value = value.item()
    shape, dtype = x.layout.shape, x.storage.dtype
    if not is_tensor(mask) or mask.storage.dtype is not bool_:
        have = mask.storage.dtype if is_tensor(mask) else type(mask).__name__
        raise DTypeError(
            f"masked_fill: a mask of dtype {have}",
            why="the elements of a mask are True or False",
            fix="compare to get one, for example x > 0, or mask.astype(tt.bool)",
        )
    shapes = [mask.layout.shape] + ([value.layout.shape] if is_tensor(value) else [])
    if broadcast_shapes(shape, *shapes, what="masked_fill") != shape:
        raise ShapeError(
            f"masked_fill: mask and value of shapes {shapes} for a tensor of shape {shape}",
            why="they broadcast to the shape of the tensor, which cannot grow",
            fix="expand the tensor first: x.expand(…)",
        )
    meets = (
        promote(dtype, value.storage.dtype)
        if is_tensor(value)
        else promote(dtype, scalars=(type(value),), what="masked_fill")
    )
    if meets is not dtype:
        raise DTypeError(
            f"masked_fill: the value {value!r} in a tensor of dtype {dtype}",
            why=f"the result has the dtype of x, but both promote to {meets}",
            fix=f"cast x with .astype(tt.{meets}), or pass another value",
        )
    return where(mask, value, x)
