"""cholesky and qr: products of a triangular matrix and another one."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.errors import ArgumentError, GradError
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, of_matrices, register
from tinytensor.ops.elementwise.sign_and_complex import conj
from tinytensor.ops.indexing.masking import tril
from tinytensor.ops.joining.joining import concat
from tinytensor.ops.linalg.checks import lapack, matrices
from tinytensor.ops.linalg.solving import inv, solve
from tinytensor.ops.matmul.matmul import product
from tinytensor.ops.views.manipulation import matrix_transpose

__all__ = ["cholesky", "qr"]


def _from_lower(x: Tensor) -> Tensor:
    """The symmetric matrix with the lower triangle of x."""
    return tril(x) + matrix_transpose(tril(x, -1))


@register
class Cholesky(Op):
    """The lower triangular y for which y @ y.mT = x; reads the lower triangle of x."""

    inputs = ("x",)
    library = True
    vmap = vmap_batched
    saves = ("y",)
    flops = of_matrices(lambda m, n: n**3 / 3)

    @staticmethod
    def infer(x: Spec) -> Specs:
        matrices("cholesky", x, square=True)
        return (x,)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        y[...] = lapack(
            "cholesky",
            np.linalg.cholesky,
            x,
            "is not positive definite",
            why="only a symmetric matrix whose eigenvalues are positive has a factor",
            fix="add a small multiple of tt.eye(n), or take tt.linalg.eigh",
        )

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = y**-T s y**-1 / 2, where s is symmetric with the lower triangle of y.T @ grad (Murray 2016,
        "Differentiation of the Cholesky decomposition").
        """
        s = _from_lower(product(saved.y, grads[0], True))
        inverse = inv(saved.y)
        return (product(product(inverse, s, True), inverse) * 0.5,)


def cholesky(x: Tensor, *, upper: bool = False) -> Tensor:
    """Triangular factors of positive definite matrices: y @ y.mT = x, or y.mT @ y = x.

    Args:
        x: shape (..., N, N), symmetric (Hermitian if complex); the lower triangle is read.

    Returns:
        shape and dtype of x, zeros in the other triangle. The gradient is symmetric.

    Raises:
        ArgumentError: a matrix is not positive definite.

    Accuracy: computed in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Murray 2016, arXiv:1602.07527.

    >>> tt.linalg.cholesky(tt.tensor([[4.0, 2.0], [2.0, 10.0]])).tolist()
    [[2.0, 0.0], [1.0, 3.0]]
    """
    y = apply(Cholesky, x)
    return conj(matrix_transpose(y)) if upper else y


class QrResult(NamedTuple):
    """Q with orthonormal columns, and the upper triangular R: x = Q @ R."""

    Q: Tensor
    R: Tensor


@register
class Qr(Op):
    """x = q @ r, with q square (`complete`) or of the shape of x, which has no more columns than rows."""

    complete: bool

    inputs = ("x",)
    library = True
    vmap = vmap_batched
    outputs = ("q", "r")
    visible = 2
    saves = ("q", "r")
    flops = of_matrices(lambda m, n: 4.0 * m * n**2 - 4 / 3 * n**3)

    def infer(self, x: Spec) -> Specs:
        matrices("qr", x)
        m, n = x.shape[-2:]
        k = m if self.complete else min(m, n)
        return Spec((*x.shape[:-1], k), x.dtype), Spec((*x.shape[:-2], k, n), x.dtype)

    def cpu(self, q: Array, r: Array, x: Array) -> None:
        q[...], r[...] = np.linalg.qr(x, "complete" if self.complete else "reduced")

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = (dq + q @ s) @ r**-T, where s is symmetric with the lower triangle of r @ dr.T - dq.T @ q
        (Walter, Lehmann, Lamour 2012, "On evaluating higher-order derivatives of the QR decomposition").
        """
        q, r, (dq, dr) = saved.q, saved.r, grads
        if q.layout.shape[-1] != r.layout.shape[-1]:
            raise GradError(
                f"qr: mode='complete' for matrices of shape {q.layout.shape[-2]} x {r.layout.shape[-1]}",
                why="the last columns of Q are any that complete the others, so they have no derivative",
                fix="mode='reduced'",
            )
        m = None if dr is None else product(r, dr, False, True)
        if dq is not None:
            turned = product(dq, q, True)
            m = turned * -1.0 if m is None else m - turned
        if m is None:
            return (None,)
        total = product(q, _from_lower(m))
        total = total if dq is None else total + dq
        return (matrix_transpose(solve(r, matrix_transpose(total))),)


def qr(x: Tensor, *, mode: Literal["reduced", "complete"] = "reduced") -> QrResult:
    """Factors x = Q @ R: Q has orthonormal columns, R is upper triangular.

    Args:
        x: shape (..., M, N); K = min(M, N).
        mode: "reduced" or "complete": Q has K columns, or M.

    Returns:
        Q: shape (..., M, K) or (..., M, M), dtype of x.
        R: shape (..., K, N) or (..., M, N). The signs on its diagonal are those of LAPACK.

    Raises:
        ArgumentError: another mode; in backward, the first K columns are linearly dependent.
        GradError: in backward, mode is "complete" and M > N: the last columns of Q have no derivative.

    Accuracy: computed in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Walter, Lehmann, Lamour 2012, "On evaluating higher-order derivatives of
        the QR decomposition"; Seeger et al. 2017, arXiv:1710.08717, have it for LQ.

    >>> Q, R = tt.linalg.qr(tt.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> (Q @ R).tolist()
    [[3.0, 1.0], [4.0, 2.0]]
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"qr: mode {mode!r}", why="it is 'reduced' or 'complete'", fix="mode='reduced'")
    matrices("qr", Spec(x.layout.shape, x.storage.dtype))
    m, n = x.layout.shape[-2:]
    if m >= n:
        return QrResult(*apply_all(Qr(complete=mode == "complete"), x))
    q, r = apply_all(Qr(complete=False), x[..., :m])  # the other columns are those of R by Q
    return QrResult(q, concat([r, product(conj(q), x[..., m:], True)], -1))
