"""matrix_norm, vector_norm and matrix_rank with the signatures of the array API."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from tinytensor.errors import ShapeError
from tinytensor.op import Spec, Tensor
from tinytensor.ops.elementwise.comparison import greater
from tinytensor.ops.elementwise.sign_and_complex import abs
from tinytensor.ops.linalg.checks import matrices
from tinytensor.ops.linalg.solving import tolerances
from tinytensor.ops.linalg.spectral import svdvals
from tinytensor.ops.reductions import statistics
from tinytensor.ops.reductions.min_max import count_nonzero, max, min, nonempty_input
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.views.manipulation import moveaxis, unsqueeze
from tinytensor.shapes import normalize_axes

__all__ = ["matrix_norm", "matrix_rank", "norm", "vector_norm"]


def _lengths(what: str, x: Tensor) -> Tensor:
    """x, or the absolute values of complex numbers, which have the same norms."""
    return abs(x) if x.storage.dtype.kind == "complex" else x


def vector_norm(
    x: Tensor, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """Vector norm over axes: (Σ |x|**ord)**(1/ord); `tt.vector_norm`, and complex numbers.

    Returns:
        shape of x without the reduced axes, real. The gradient of a vector of zeros is 0.

    >>> tt.linalg.vector_norm(tt.tensor([[3.0, -4.0], [0.0, 2.0]]), axis=1).tolist()
    [5.0, 2.0]
    """
    return statistics.vector_norm(_lengths("vector_norm", x), axis, keepdims, ord)


def matrix_norm(x: Tensor, *, keepdims: bool = False, ord: float | Literal["fro", "nuc"] = "fro") -> Tensor:
    """Matrix norm over the last two axes.

    Args:
        ord: "fro" is the root of the sum of squares, "nuc" the sum of singular values; 2 and -2 the largest
            and smallest of them, 1 and -1 the largest and smallest sum of absolute values of a column, inf
            and -inf of a row.

    >>> tt.linalg.matrix_norm(tt.tensor([[0.0, -2.0], [3.0, 0.0]]), ord="nuc").item()
    5.0
    """
    if ord not in (2, -2, "nuc"):
        return statistics.matrix_norm(_lengths("matrix_norm", x), keepdims, ord)
    matrices("matrix_norm", Spec(x.layout.shape, x.storage.dtype))
    s = svdvals(x)  # (..., K)
    if ord == "nuc":
        y = sum(s, -1)
    else:
        nonempty_input("matrix_norm", s.layout.shape, (len(s.layout.shape) - 1,))
        y = max(s, axis=-1) if ord == 2 else min(s, axis=-1)
    return unsqueeze(unsqueeze(y, -1), -1) if keepdims else y


def _with_axes(y: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        y = unsqueeze(y, axis)
    return y


def norm(
    x: Tensor,
    ord: float | Literal["fro", "nuc"] | None = None,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
) -> Tensor:
    """Norm of vectors or matrices, as `numpy.linalg.norm` and `torch.linalg.norm` call it.

    Args:
        ord: see `vector_norm` and `matrix_norm`; None is the root of the sum of squares, over any axes.
        axis: the axis of vectors, or the two of matrices; None is all axes: with ord at most two.

    Raises:
        ShapeError: there is ord, and the axes are neither one nor two.

    >>> x = tt.tensor([[3.0, 0.0], [4.0, 0.0]])
    >>> tt.linalg.norm(x).item(), tt.linalg.norm(x, axis=0).tolist(), tt.linalg.norm(x, "nuc").item()
    (5.0, [5.0, 0.0], 5.0)
    """
    rank = len(x.layout.shape)
    axes = normalize_axes(axis, rank, "norm")
    if ord is None or len(axes) == 1:
        order = 2 if ord is None else ord
        return vector_norm(x, axis=None if axis is None else axes, keepdims=keepdims, ord=order)  # type: ignore[arg-type]
    if len(axes) != 2:
        raise ShapeError(
            f"norm: ord {ord!r} over {len(axes)} axes of shape {x.layout.shape}",
            why="vectors have one axis and matrices two",
            fix="axis=-1, or axis=(-2, -1)",
        )
    y = matrix_norm(moveaxis(x, axes, (-2, -1)), ord=ord)
    return _with_axes(y, sorted(axes)) if keepdims else y


def matrix_rank(x: Tensor, *, rtol: float | Tensor | None = None) -> Tensor:
    """Ranks of matrices: how many singular values exceed rtol times the largest.

    Args:
        rtol: a number, or a tensor that broadcasts with shape (...). None is max(M, N) times the eps of the
            dtype.

    Returns:
        shape (...), int64.

    >>> tt.linalg.matrix_rank(tt.tensor([[1.0, 2.0], [2.0, 4.0]])).item()
    1
    """
    matrices("matrix_rank", Spec(x.layout.shape, x.storage.dtype))
    s = svdvals(x)  # (..., K)
    if not math.prod(s.layout.shape):
        return count_nonzero(s, -1)
    least = max(s, axis=-1, keepdims=True) * unsqueeze(tolerances("matrix_rank", x, rtol), -1)
    return count_nonzero(greater(s, least), -1)
