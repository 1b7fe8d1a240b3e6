"""PyTorch's names of products of matrices, diagonals and distances."""

from __future__ import annotations

from functools import cache
from typing import Any

from tinytensor.errors import ShapeError
from tinytensor.interop.pytorch.indexing import triu_indices
from tinytensor.ops.elementwise.arithmetic import add, multiply
from tinytensor.ops.linalg.determinant import det, slogdet
from tinytensor.ops.linalg.products import cross as _cross
from tinytensor.ops.linalg.products import matrix_power
from tinytensor.ops.linalg.solving import inv, pinv
from tinytensor.ops.matmul.matmul import matmul, outer
from tinytensor.ops.reductions.statistics import vector_norm
from tinytensor.ops.views.manipulation import reshape
from tinytensor.ops.views.slicing import diagonal
from tinytensor.shapes import normalize_axis
from tinytensor.tensor import Tensor

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "cdist",
    "chain_matmul",
    "cross",
    "det",
    "diag",
    "diag_embed",
    "diagflat",
    "dot",
    "ger",
    "inner",
    "inverse",
    "kron",
    "logdet",
    "matrix_power",
    "mm",
    "mv",
    "pdist",
    "pinverse",
    "slogdet",
    "vdot",
]

dot = mm = bmm = mv = matmul
ger = outer
inverse = inv
pinverse = pinv


def _times(factor: Any, x: Tensor) -> Tensor:
    return x if factor == 1 else multiply(factor, x)


def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: complex = 1, alpha: complex = 1) -> Tensor:
    """beta * x + alpha * mat1 @ mat2; without x if beta is 0.

    Args:
        x: broadcasts to the shape of the product.
        mat1: shape (M, K), or (B, M, K) (also called `baddbmm`).
        mat2: shape (K, N), (B, K, N), or (K,) (also called `addmv`).
        beta, alpha: numbers; fractions make integers floating.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> tt.addmm(tt.ones(2), tt.eye(2), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[2.0, 3.0], [4.0, 5.0]]
    """
    product = _times(alpha, matmul(mat1, mat2))
    return product if beta == 0 else add(_times(beta, x), product)


addmv = baddbmm = addmm


def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: complex = 1, alpha: complex = 1) -> Tensor:
    """beta * x + alpha * the outer product of two vectors; without x if beta is 0.

    Args:
        x: broadcasts to shape (N, M).
        vec1, vec2: shapes (N,) and (M,).
        beta, alpha: numbers.

    Example:
        >>> tt.addr(tt.zeros(2), tt.tensor([1.0, 2.0]), tt.tensor([3.0, 4.0])).tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    return addmm(x, vec1.unsqueeze(1), vec2.unsqueeze(0), beta=beta, alpha=alpha)


def addbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: complex = 1, alpha: complex = 1) -> Tensor:
    """beta * x + alpha * the sum over a batch of products of matrices; without x if beta is 0.

    Args:
        x: broadcasts to shape (N, M).
        batch1, batch2: shapes (B, N, K) and (B, K, M).
        beta, alpha: numbers.

    Example:
        >>> tt.addbmm(tt.zeros(1), tt.ones(2, 1, 3), tt.ones(2, 3, 1)).tolist()
        [[6.0]]
    """
    product = _times(alpha, matmul(batch1, batch2).sum(0))
    return product if beta == 0 else add(_times(beta, x), product)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, in the order that takes the fewest operations.

    Args:
        matrices: at least one, shapes (a, b), (b, c), ...

    Source: Cormen, Leiserson, Rivest, Stein, "Introduction to algorithms", section 15.2.

    Example:
        >>> tt.chain_matmul(tt.ones(2, 3), tt.ones(3, 4), tt.ones(4, 1)).tolist()
        [[12.0], [12.0]]
    """
    if not matrices or any([x.ndim != 2 for x in matrices]):
        shapes = [x.shape for x in matrices]
        raise ShapeError(f"chain_matmul: shapes {shapes}", why="it takes matrices", fix="x.unsqueeze(0)")
    sizes = [matrices[0].shape[0], *[x.shape[1] for x in matrices]]

    @cache
    def best(i: int, j: int) -> tuple[int, int]:
        """The fewest multiplications for matrices i to j, and the last one of the left factor."""
        ways = [
            (best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
            for k in range(i, j)
        ]
        return min(ways, default=(0, i))

    def product(i: int, j: int) -> Tensor:
        k = best(i, j)[1]
        return matrices[i] if i == j else matmul(product(i, k), product(k + 1, j))

    return product(0, len(matrices) - 1)


def inner(x: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last axes: (..., K) and (..., K) → all other axes of both.

    Args:
        x, other: the same size of the last axis; a number multiplies.

    Example:
        >>> tt.inner(tt.ones(2, 3), tt.ones(4, 3)).shape
        (2, 4)
    """
    if not x.ndim or not other.ndim:
        return x * other
    y = matmul(reshape(x, (-1, x.shape[-1])), reshape(other, (-1, other.shape[-1])).T)
    return reshape(y, (*x.shape[:-1], *other.shape[:-1]))


def vdot(x: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, of which the first is conjugated.

    Args:
        x, other: shape (n,).

    Example:
        >>> tt.vdot(tt.tensor([1j]), tt.tensor([1j])).item()
        (1+0j)
    """
    return matmul(x.conj() if x.dtype.kind == "complex" else x, other)


def kron(x: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of x times other, in blocks.

    Args:
        x, other: any shapes; the sizes of their axes are multiplied.

    Example:
        >>> tt.kron(tt.tensor([1, 10]), tt.tensor([1, 2])).tolist()
        [1, 2, 10, 20]
    """
    rank = max(x.ndim, other.ndim)
    a, b = ((*[1] * (rank - y.ndim), *y.shape) for y in (x, other))
    product = reshape(x, [n for m in a for n in (m, 1)]) * reshape(other, [n for m in b for n in (1, m)])
    return reshape(product, [m * n for m, n in zip(a, b)])


def cross(x: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three elements along an axis.

    Args:
        x, other: tensors that broadcast together.
        dim: the axis; None is the first of size 3.

    Example:
        >>> tt.cross(tt.tensor([1, 0, 0]), tt.tensor([0, 1, 0])).tolist()
        [0, 0, 1]
    """
    first = x.shape.index(3) if 3 in x.shape else -1
    return _cross(x, other, axis=first if dim is None else normalize_axis(dim, x.ndim, "cross"))


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


def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """p-norms of the differences of all pairs of rows: (N, D) → (N * (N - 1) / 2,).

    Args:
        x: shape (N, D), floating.
        p: order of the norm.

    Example:
        >>> tt.pdist(tt.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [5.0]
    """
    i, j = triu_indices(len(x), len(x), 1).to(x.device)
    return vector_norm(x[i] - x[j], -1, ord=p)


def logdet(x: Tensor) -> Tensor:
    """The logarithm of the determinant of square matrices; nan if it is negative.

    Args:
        x: shape (..., N, N).

    Example:
        >>> tt.logdet(tt.tensor([[2.0, 0.0], [0.0, 3.0]])).item()
        1.7918
    """
    sign, size = slogdet(x)
    return size + sign.log().detach()


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
    return diag_embed(x, diagonal) if x.ndim == 1 else x.diagonal(diagonal)


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """The matrix with the elements of x on a diagonal.

    Args:
        x: any shape.
        offset: which diagonal.

    Example:
        >>> tt.diagflat(tt.tensor([[1], [2]])).tolist()
        [[1, 0], [0, 2]]
    """
    return diag_embed(reshape(x, (-1,)), offset)


def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last axis of x on a diagonal, 0 elsewhere.

    Args:
        x: at least one axis.
        offset: which diagonal.
        dim1, dim2: the axes of the matrices in the result.

    Example:
        >>> tt.diag_embed(tt.tensor([[1, 2]]), 1).tolist()
        [[[0, 1, 0], [0, 0, 2], [0, 0, 0]]]
    """
    n = x.shape[-1] + abs(offset)
    y = x.new_zeros(*x.shape[:-1], n, n)
    diagonal(y, offset, -2, -1).copy_(x)
    return y.movedim((-2, -1), (dim1, dim2))
