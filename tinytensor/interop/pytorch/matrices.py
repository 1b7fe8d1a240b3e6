"""PyTorch's names of products of matrices, diagonals and distances."""

from __future__ import annotations

from typing import Any

from tinytensor.errors import ShapeError
from tinytensor.ops.elementwise.arithmetic import add, multiply
from tinytensor.ops.matmul.matmul import matmul
from tinytensor.ops.reductions.statistics import vector_norm
from tinytensor.tensor import Tensor

__all__ = [
    "addmm",
    "baddbmm",
    "bmm",
    "cdist",
    "diag",
    "dot",
    "mm",
    "mv",
]

dot = mm = bmm = mv = matmul


def _times(factor: Any, x: Tensor) -> Tensor:
    return x if factor == 1 else multiply(factor, x)


def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: complex = 1, alpha: complex = 1) -> Tensor:
    """beta * x + alpha * mat1 @ mat2; without x if beta is 0.

    Args:
        x: broadcasts to the shape of the product.
        mat1: shape (M, K), or (B, M, K) (also called `baddbmm`).
        mat2: shape (K, N), (B, K, N), or (K,).
        beta, alpha: numbers; fractions make integers floating.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> tt.addmm(tt.ones(2), tt.eye(2), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[2.0, 3.0], [4.0, 5.0]]
    """
    product = _times(alpha, matmul(mat1, mat2))
    return product if beta == 0 else add(_times(beta, x), product)


baddbmm = addmm


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """p-norms of the differences of all rows of x1 and x2: (..., N, D), (..., M, D) → (..., N, M).

    Args:
        x1, x2: floating, with the same last size.
        p: order of the norm.

    Memory: the differences, (..., N, M, D).

    Example:
        >>> tt.cdist(tt.tensor([[0.0, 0.0]]), tt.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), -1, ord=p)


# ---- diagonals ---------------------------------------------------------------------------------------------


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, as a view; or the matrix with a vector on its diagonal.

    Args:
        x: one or two axes.
        diagonal: which one; positive numbers are above the main diagonal.

    Example:
        >>> tt.diag(tt.tensor([1, 2])).tolist(), tt.diag(tt.tensor([[1, 2], [3, 4]])).tolist()
        ([[1, 0], [0, 2]], [1, 4])
    """
    if not 0 < x.ndim < 3:
        raise ShapeError(f"diag: shape {x.shape}", why="it is a vector or a matrix", fix="tt.diagonal(x)")
    if x.ndim == 2:
        return x.diagonal(diagonal)
    n = len(x) + abs(diagonal)
    y = x.new_zeros(n, n)
    y.diagonal(diagonal).copy_(x)
    return y
