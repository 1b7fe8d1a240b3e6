"""cross, matrix_power, diagonal and trace with the signatures of the array API."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dtypes import bool_
from tinytensor.errors import ShapeError
from tinytensor.op import Spec
from tinytensor.ops.elementwise.comparison import where
from tinytensor.ops.joining.joining import roll
from tinytensor.ops.linalg.checks import matrices
from tinytensor.ops.linalg.solving import inv
from tinytensor.ops.matmul.matmul import matmul, numeric
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.views import slicing
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.shapes import as_int
from tinytensor.tensor import Tensor, from_array

__all__ = ["cross", "diagonal", "matrix_power", "trace"]


def cross(x1: Tensor, x2: Tensor, *, axis: int = -1) -> Tensor:
    """Cross products of vectors with three elements.

    y[i] = x1[i + 1] * x2[i + 2] - x1[i + 2] * x2[i + 1], with indices modulo 3

    Args:
        axis: the axis of the vectors; a negative one, if the numbers of axes differ.

    >>> tt.linalg.cross(tt.tensor([1.0, 0.0, 0.0]), tt.tensor([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    a, b = numeric("cross", x1, x2)
    at = as_int(axis, "cross", "the axis")
    for x in (a, b):
        shape = x.layout.shape
        if not -len(shape) <= at < len(shape) or shape[at] != 3:
            raise ShapeError(
                f"cross: shapes {a.layout.shape} and {b.layout.shape} along axis {at}",
                why="the vectors have three elements",
                fix="name the axis of size 3; in two dimensions, a[0] * b[1] - a[1] * b[0]",
            )
    ahead, behind = roll(a, -1, at) * roll(b, -2, at), roll(a, -2, at) * roll(b, -1, at)
    return ahead - behind


def matrix_power(x: Tensor, n: int) -> Tensor:
    """Products of a matrix with itself; of its inverse for negative n.

    Args:
        n: the exponent; 0 gives the identity.

    Accuracy: by repeated squares, each rounded.

    >>> tt.linalg.matrix_power(tt.tensor([[1.0, 1.0], [0.0, 1.0]]), 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    left = as_int(n, "matrix_power", "the exponent")
    matrices("matrix_power", Spec(x.layout.shape, x.storage.dtype), square=True)
    if left < 0:
        return matrix_power(inv(x), -left)
    y, square = None, x
    while left:
        if left % 2:
            y = square if y is None else matmul(y, square)
        left //= 2
        square = matmul(square, square) if left else square
    if y is None:  # n is 0
        ones = np.eye(x.layout.shape[-1], dtype=x.storage.dtype.name)
        one = transfer(from_array(ones, x.storage.dtype), x.storage.device)
        always = transfer(from_array(np.ones((), np.bool_), bool_), x.storage.device)
        return where(always, one, x)  # of which x gets a gradient of 0
    return y


def diagonal(x: Tensor, *, offset: int = 0) -> Tensor:
    """Diagonals of matrices: a view.

    Args:
        offset: column minus row; positive is above the main diagonal.

    Returns:
        shape (..., K); shares memory with x.

    Differs from: tt.diagonal, which takes the first two axes by default.

    >>> tt.linalg.diagonal(tt.arange(8).reshape(2, 2, 2)).tolist()
    [[0, 3], [4, 7]]
    """
    return slicing.diagonal(x, offset, -2, -1)


def trace(x: Tensor, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Sums of the diagonals of matrices.

    Args:
        offset: column minus row; positive is above the main diagonal.

    Returns:
        shape (...).

    Differs from: tt.trace, which takes the first two axes by default.

    >>> tt.linalg.trace(tt.arange(8).reshape(2, 2, 2)).tolist()
    [3, 11]
    """
    return sum(diagonal(x, offset=offset), -1, dtype=dtype)
