"""solve, inv and pinv: linear equations, and the matrices that solve them."""

from __future__ import annotations

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, aligned, vmap_batched
from tinytensor.dispatch.checks import same_dtype
from tinytensor.dtypes import parts_of
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shapes, Spec, Specs, of_matrices, register, size
from tinytensor.ops.linalg.checks import NO_CONVERGENCE, lapack, matrices
from tinytensor.ops.matmul.matmul import numeric, product
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.ops.views.manipulation import cast, detach, expand, matrix_transpose, squeeze, unsqueeze
from tinytensor.shapes import broadcast_shapes
from tinytensor.tensor import Tensor, from_array, is_tensor

__all__ = ["inv", "pinv", "solve"]

SINGULAR = {
    "problem": "is singular",
    "why": "its rows are linearly dependent, so the equations have no unique solution",
    "fix": "tt.linalg.pinv(x) @ y is the shortest solution of least squares",
}


@register
class Solve(Op):
    """The y for which a @ y = b; both have the same leading axes."""

    inputs = ("a", "b")
    library = True
    vmap = vmap_batched
    saves = ("a", "y?a")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        n = (ins[0] or (0,))[-1]
        return 2 / 3 * n * size(ins[0]) + 2.0 * n * size(outs[0])

    @staticmethod
    def infer(a: Spec, b: Spec) -> Specs:
        matrices("solve", a, square=True)
        same_dtype("solve", a, b)
        if b.shape[-2] != a.shape[-1]:
            raise ShapeError(
                f"solve: matrices of shape {a.shape[-2:]} and right-hand sides of shape {b.shape[-2:]}",
                why="each equation has one number, or row of numbers, on its right",
                fix=f"pass {a.shape[-1]} of them as the first axis of a vector, or the second last",
            )
        return (b,)

    @staticmethod
    def cpu(y: Array, a: Array, b: Array) -> None:
        try:
            y[...] = np.linalg.solve(a, b)
        except np.linalg.LinAlgError:
            lapack("solve", np.linalg.inv, a, **SINGULAR)
            raise

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """db = a**-T grad, da = -db @ y.T (Giles 2008)."""
        db = apply(Solve, matrix_transpose(saved.a), grads[0])
        return -product(db, saved.y, False, True) if needs[0] else None, db


def solve(x1: Tensor, x2: Tensor) -> Tensor:
    """Solve linear equations: the y for which x1 @ y = x2.

    Args:
        x1: shape (..., N, N), the coefficients.
        x2: shape (N,), or (..., N, K) whose leading axes broadcast with those of x1.

    Returns:
        shape (N,) with the leading axes of x1, or (..., N, K); the promoted dtype.

    Raises:
        ArgumentError: a matrix is singular.

    Accuracy: by LU with partial pivoting, in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> tt.linalg.solve(tt.tensor([[2.0, 0.0], [1.0, 4.0]]), tt.tensor([2.0, 9.0])).tolist()
    [1.0, 2.0]
    """
    a, b = numeric("solve", x1, x2)
    matrices("solve", Spec(a.layout.shape, a.storage.dtype), square=True)
    vector = len(b.layout.shape) == 1
    if not b.layout.shape:
        raise ShapeError("solve: x2 has no axes", why="it is a vector or matrices", fix="x2.reshape(1)")
    if vector:
        b = unsqueeze(b, 1)  # (N, 1)
    m, k = a.layout.shape[-2:], b.layout.shape[-2:]
    batch = broadcast_shapes(a.layout.shape[:-2], b.layout.shape[:-2], what="solve")
    y = apply(Solve, expand(a, (*batch, *m)), expand(b, (*batch, *k)))
    return squeeze(y, -1) if vector else y


@register
class Inv(Op):
    inputs = ("x",)
    library = True
    vmap = vmap_batched
    saves = ("y",)
    flops = of_matrices(lambda m, n: 2.0 * n**3)

    @staticmethod
    def infer(x: Spec) -> Specs:
        matrices("inv", x, square=True)
        return (x,)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        y[...] = lapack("inv", np.linalg.inv, x, **SINGULAR)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -y.T @ grad @ y.T (Giles 2008)."""
        return (-product(product(saved.y, grads[0], True), saved.y, False, True),)


def inv(x: Tensor) -> Tensor:
    """Invert matrices: the y for which x @ y is the identity. `solve` is faster and rounds less.

    Raises:
        ArgumentError: a matrix is singular.

    Accuracy: computed in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Giles 2008, "An extended collection of matrix derivative results".

    >>> tt.linalg.inv(tt.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return apply(Inv, x)


def _pinv_each(call: VmapCall) -> Tensor:
    x, rtol = call.values()
    found: Tensor = call.run(x, aligned(rtol, len(x.layout.shape) - 3))
    return found


@register
class Pinv(Op):
    inputs = ("x", "rtol")
    library = True
    vmap = _pinv_each
    saves = ("x", "y")
    flops = of_matrices(lambda m, n: 22.0 * m * n * min(m, n))

    @staticmethod
    def infer(x: Spec, rtol: Spec) -> Specs:
        matrices("pinv", x)
        if broadcast_shapes(x.shape[:-2], rtol.shape, what="pinv: x and rtol") != x.shape[:-2]:
            raise ShapeError(
                f"pinv: rtol of shape {rtol.shape} for matrices of shape {x.shape}",
                why="there is one for each matrix, or one for all",
                fix=f"pass a number, or a tensor of shape {x.shape[:-2]}",
            )
        return (Spec((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, rtol: Array) -> None:
        try:
            y[...] = np.linalg.pinv(x, rtol)
        except np.linalg.LinAlgError:
            lapack("pinv", np.linalg.pinv, x, **NO_CONVERGENCE)
            raise

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -y.T @ grad @ y.T + (1 - x @ y) @ grad.T @ y @ y.T + y.T @ y @ grad.T @ (1 - y @ x)
        (Golub, Pereyra 1973, "The differentiation of pseudo-inverses").
        """
        x, y, g = saved.x, saved.y, grads[0]
        left = product(product(g, y, True), y, False, True)  # grad.T @ y @ y.T
        right = product(y, product(y, g, False, True), True)  # y.T @ y @ grad.T
        dx = left - product(x, product(y, left))
        dx = dx + (right - product(product(right, y), x))
        return dx - product(product(y, g, True), y, False, True), None


def pinv(x: Tensor, *, rtol: float | Tensor | None = None) -> Tensor:
    """Pseudo-inverses of Moore and Penrose: y @ b is the shortest z for which x @ z is nearest to b.

    Args:
        rtol: singular values up to rtol times the largest count as 0: a number, or a tensor that broadcasts
            to shape (...). None is max(M, N) times the eps of the dtype.

    Returns:
        shape (..., N, M), dtype of x. The gradient holds where the rank does not change.

    Accuracy: by singular values, in float64; on a GPU in the dtype of x.
    Source: the gradient is that of Golub, Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear
        least squares problems whose variables separate".

    >>> tt.linalg.pinv(tt.tensor([[2.0], [0.0]])).tolist()
    [[0.5, 0.0]]
    """
    matrices("pinv", Spec(x.layout.shape, x.storage.dtype))
    return apply(Pinv, x, tolerances("pinv", x, rtol))


def tolerances(what: str, x: Tensor, rtol: float | Tensor | None) -> Tensor:
    """rtol as a tensor; None is max(M, N) times the eps of the dtype of x."""
    parts = parts_of(x.storage.dtype)
    if is_tensor(rtol):
        if not rtol.storage.dtype.is_floating:
            raise DTypeError(
                f"{what}: rtol has dtype {rtol.storage.dtype}",
                why="it is a real fraction of the largest singular value",
                fix="rtol.astype(tt.float32)",
            )
        return cast(detach(rtol), parts)
    if rtol is None:
        rtol = max(x.layout.shape[-2:]) * float(np.finfo(parts.name).eps)
    return transfer(from_array(np.asarray(rtol, parts.name), parts), x.storage.device)
