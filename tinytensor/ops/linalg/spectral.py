"""eigh, eigvalsh, svd and svdvals: eigenvalues of symmetric matrices, and singular values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinytensor.autograd.modes import grad_enabled
from tinytensor.dispatch.apply import apply_all
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import parts_of
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shapes, Spec, Specs, Tensor, of_matrices, register
from tinytensor.ops.linalg.checks import NO_CONVERGENCE, lapack, matrices
from tinytensor.ops.matmul.matmul import product
from tinytensor.ops.reductions.statistics import divide_or_zero
from tinytensor.ops.views.manipulation import matrix_transpose, unsqueeze

__all__ = ["eigh", "eigvalsh", "svd", "svdvals"]


def _gaps(x: Tensor) -> Tensor:
    """x[j] - x[i] for each pair: 0 on the diagonal."""
    return unsqueeze(x, -2) - unsqueeze(x, -1)  # (..., N, N)


def _recorded(x: Tensor) -> bool:
    """Whether an op on x is recorded: then eigenvectors are needed for backward."""
    return grad_enabled() and requires(x)


# ---- eigenvalues -------------------------------------------------------------------------------------------


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and orthonormal eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@register
class Eigh(Op):
    """Eigenvalues w and, with `vectors`, eigenvectors v; reads the lower triangle of x."""

    vectors: bool

    inputs = ("x",)
    library = True
    vmap = vmap_batched
    outputs = ("w", "v")
    visible = 2
    saves = ("w", "v")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return of_matrices(lambda m, n: (9.0 if self.vectors else 4 / 3) * n**3)(self, outs, ins)

    def infer(self, x: Spec) -> Specs:
        matrices("eigh", x, square=True)
        return Spec(x.shape[:-1], parts_of(x.dtype)), Spec(x.shape, x.dtype) if self.vectors else None

    def cpu(self, w: Array, v: Array | None, x: Array) -> None:
        if v is None:
            w[...] = lapack("eigvalsh", np.linalg.eigvalsh, x, **NO_CONVERGENCE)
        else:
            w[...], v[...] = lapack("eigh", np.linalg.eigh, x, **NO_CONVERGENCE)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = v @ (diag(dw) + s) @ v.T, where s is the symmetric part of (v.T @ dv)[i, j] / (w[j] - w[i]),
        and 0 where eigenvalues are equal (Giles 2008).
        """
        v, (dw, dv) = saved.v, grads
        scaled = None if dw is None else v * unsqueeze(dw, -2)
        if dv is not None:
            turned = divide_or_zero(product(v, dv, True), _gaps(saved.w))
            mixed = product(v, (turned + matrix_transpose(turned)) * 0.5)
            scaled = mixed if scaled is None else scaled + mixed
        return (None if scaled is None else product(scaled, v, False, True),)


def eigh(x: Tensor) -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices: x @ v = v * w.

    Args:
        x: shape (..., N, N), symmetric (Hermitian if complex); the lower triangle is read.

    Returns:
        eigenvalues: shape (..., N), real, ascending.
        eigenvectors: shape (..., N, N), dtype of x; column i belongs to eigenvalue i. Their signs are those
            of LAPACK; only results that do not depend on them have a meaningful gradient. It is symmetric;
            eigenvectors of equal eigenvalues contribute 0 for each other.

    Accuracy: computed in float64; on a GPU in the dtype of x. The gradient of eigenvectors loses
        digits where eigenvalues are near.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> tt.linalg.eigh(tt.tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues.tolist()
    [1.0, 3.0]
    """
    return EighResult(*apply_all(Eigh(vectors=True), x))


def eigvalsh(x: Tensor) -> Tensor:
    """Eigenvalues of symmetric matrices, ascending.

    Args:
        x: shape (..., N, N), symmetric (Hermitian if complex); the lower triangle is read.

    Returns:
        shape (..., N), real.

    Memory: where a gradient is needed, computes the eigenvectors and saves them.
    Accuracy: computed in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> tt.linalg.eigvalsh(tt.tensor([[2.0, 1.0], [1.0, 2.0]])).tolist()
    [1.0, 3.0]
    """
    return apply_all(Eigh(vectors=_recorded(x)), x)[0]


# ---- singular values ---------------------------------------------------------------------------------------


class SvdResult(NamedTuple):
    """x = U * S @ Vh: orthonormal columns and rows, and singular values in descending order."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@register
class Svd(Op):
    """Singular values s, and with `vectors` u and vh, which are square if `full`."""

    full: bool
    vectors: bool

    inputs = ("x",)
    library = True
    vmap = vmap_batched
    outputs = ("u", "s", "vh")
    visible = 3
    saves = ("u", "s", "vh")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return of_matrices(lambda m, n: (22.0 if self.vectors else 4.0) * m * n * min(m, n))(self, outs, ins)

    def infer(self, x: Spec) -> Specs:
        matrices("svd", x)
        *batch, m, n = x.shape
        k = min(m, n)
        s = Spec((*batch, k), parts_of(x.dtype))
        if not self.vectors:
            return None, s, None
        return (
            Spec((*batch, m, m if self.full else k), x.dtype),
            s,
            Spec((*batch, n if self.full else k, n), x.dtype),
        )

    def cpu(self, u: Array | None, s: Array, vh: Array | None, x: Array) -> None:
        if u is None or vh is None:
            s[...] = lapack("svdvals", lambda a: np.linalg.svd(a, compute_uv=False), x, **NO_CONVERGENCE)
        else:
            u[...], s[...], vh[...] = lapack(
                "svd", lambda a: np.linalg.svd(a, self.full), x, **NO_CONVERGENCE
            )

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = u @ (diag(ds) + p * s + s * q) @ vh, where p and q are z - z.T of z = u.T @ du and vh @ dvh.T,
        divided by s[j]**2 - s[i]**2, and 0 where that is 0; and, of what lies outside of the columns of u and
        the rows of vh, du / s @ vh and u @ dvh / s (Townsend 2016).
        """
        s, k = saved.s, saved.s.layout.shape[-1]
        u, vh = saved.u[..., :k], saved.vh[..., :k, :]  # without what `full` adds
        du = None if grads[0] is None else grads[0][..., :k]
        dvh = None if grads[2] is None else grads[2][..., :k, :]
        columns, rows = unsqueeze(s, -2), unsqueeze(s, -1)
        gaps = _gaps(s * s)
        parts = [] if grads[1] is None else [product(u * unsqueeze(grads[1], -2), vh)]
        if du is not None:
            inner = _skew(product(u, du, True), gaps) * columns
            parts.append(product(product(u, inner), vh))
            if u.layout.shape[-2] > k:
                outer = (du - product(u, product(u, du, True))) / columns
                parts.append(product(outer, vh))
        if dvh is not None:
            inner = _skew(product(vh, dvh, False, True), gaps) * rows
            parts.append(product(product(u, inner), vh))
            if vh.layout.shape[-1] > k:
                outer = (dvh - product(product(dvh, vh, False, True), vh)) / rows
                parts.append(product(u, outer))
        return (_total(parts),)


def _skew(x: Tensor, gaps: Tensor) -> Tensor:
    """(x - x.T) / gaps, and 0 where a gap is 0."""
    return divide_or_zero(x - matrix_transpose(x), gaps)


def _total(parts: list[Tensor]) -> Tensor | None:
    """The sum of the parts; None of none."""
    if not parts:
        return None
    total, *others = parts
    for part in others:
        total = total + part
    return total


def svd(x: Tensor, *, full_matrices: bool = True) -> SvdResult:
    """Singular value decomposition: x = U * S @ Vh.

    Args:
        x: shape (..., M, N); K = min(M, N).
        full_matrices: True completes U and Vh to square matrices.

    Returns:
        U: shape (..., M, M), or (..., M, K), dtype of x; orthonormal columns.
        S: shape (..., K), real, descending.
        Vh: shape (..., N, N), or (..., K, N); orthonormal rows. The signs of a column of U and the row of Vh
            are those of LAPACK; only results that do not depend on them have a meaningful gradient. Vectors
            of equal singular values contribute 0 for each other, and what completes U and Vh contributes
            nothing, as in PyTorch.

    Accuracy: computed in float64; on a GPU in the dtype of x. The gradient of the vectors loses
        digits where singular values are near each other, or near 0 in a matrix that is not square.
    Source: the gradient is that of Townsend 2016, "Differentiating the singular value decomposition".

    >>> tt.linalg.svd(tt.tensor([[0.0, 2.0], [3.0, 0.0]])).S.tolist()
    [3.0, 2.0]
    """
    return SvdResult(*apply_all(Svd(full=bool(full_matrices), vectors=True), x))


def svdvals(x: Tensor) -> Tensor:
    """Singular values, descending.

    Returns:
        shape (..., min(M, N)), real.

    Memory: where a gradient is needed, computes the singular vectors and saves them.
    Accuracy: computed in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Townsend 2016, "Differentiating the singular value decomposition".

    >>> tt.linalg.svdvals(tt.tensor([[0.0, 2.0], [3.0, 0.0]])).tolist()
    [3.0, 2.0]
    """
    return apply_all(Svd(full=False, vectors=_recorded(x)), x)[1]
