"""det and slogdet: determinants, and their logarithms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dtypes import parts_of
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, of_matrices, register
from tinytensor.ops.double_backward import partial_vjp
from tinytensor.ops.elementwise.comparison import equal
from tinytensor.ops.linalg.checks import matrices
from tinytensor.ops.linalg.solving import inv
from tinytensor.ops.linalg.spectral import svd
from tinytensor.ops.reductions.min_max import any
from tinytensor.ops.reductions.reduction import prod
from tinytensor.ops.views.manipulation import detach, matrix_transpose, unsqueeze

__all__ = ["det", "slogdet"]

_flops = of_matrices(lambda m, n: 2 / 3 * n**3)


def _for_matrices(x: Tensor) -> Tensor:
    """A number for each matrix, as matrices of one element."""
    return unsqueeze(unsqueeze(x, -1), -1)  # (..., 1, 1)


@register
class Det(Op):
    inputs = ("x",)
    library = True
    vmap = vmap_batched
    saves = ("x", "y")
    flops = _flops

    @staticmethod
    def infer(x: Spec) -> Specs:
        matrices("det", x, square=True)
        return (Spec(x.shape[:-2], x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        y[...] = np.linalg.det(x)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * y * inv(x).T (Giles 2008); from singular values where a matrix is singular."""
        if any(equal(saved.y, 0.0)).item():
            return partial_vjp(_det_by_singular_values, (saved.x,), grads, needs)
        cofactors = _for_matrices(saved.y) * matrix_transpose(inv(saved.x))
        return (_for_matrices(grads[0]) * cofactors,)


def _det_by_singular_values(x: Tensor) -> tuple[Tensor]:
    """det(x) = det(U) * det(Vh) * the product of singular values, whose gradient divides by none of them."""
    u, s, vh = svd(x)
    sign = det(detach(u)) * det(detach(vh))  # 1 or -1
    return (sign * prod(s, -1),)


def det(x: Tensor) -> Tensor:
    """Determinants of matrices. `slogdet` has no overflow.

    Args:
        x: shape (..., N, N).

    Returns:
        shape (...), dtype of x; 1 for N = 0.

    Accuracy: by LU with partial pivoting, in float64; on a GPU in the dtype of x. A gradient at
        singular matrices is exact, too.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> tt.linalg.det(tt.tensor([[2.0, 1.0], [0.0, 4.0]])).item()
    8.0
    """
    return apply(Det, x)


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value: the determinant is sign * exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


@register
class Slogdet(Op):
    inputs = ("x",)
    library = True
    vmap = vmap_batched
    outputs = ("sign", "logabsdet")
    visible = 2
    saves = ("x",)
    flops = _flops

    @staticmethod
    def infer(x: Spec) -> Specs:
        matrices("slogdet", x, square=True)
        return Spec(x.shape[:-2], x.dtype), Spec(x.shape[:-2], parts_of(x.dtype))

    @staticmethod
    def cpu(sign: Array, logabsdet: Array, x: Array) -> None:
        sign[...], logabsdet[...] = np.linalg.slogdet(x)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = the gradient of logabsdet * inv(x).T (Giles 2008); the sign is constant."""
        if grads[1] is None:
            return (None,)
        return (_for_matrices(grads[1]) * matrix_transpose(inv(saved.x)),)


def slogdet(x: Tensor) -> SlogdetResult:
    """Sign and logarithm of determinants.

    Args:
        x: shape (..., N, N).

    Returns:
        sign: shape (...), dtype of x: 1, -1 or 0, or a complex number of length 1.
        logabsdet: shape (...), real; -inf where the matrix is singular. The gradient is that of logabsdet.

    Raises:
        ArgumentError: in backward, a matrix is singular.

    Accuracy: by LU with partial pivoting, in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> sign, logabsdet = tt.linalg.slogdet(-1e30 * tt.eye(3))
    >>> sign.item(), logabsdet.item()
    (-1.0, 207.233)
    """
    return SlogdetResult(*apply_all(Slogdet, x))
