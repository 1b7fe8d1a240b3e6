"""The AdamW step: a writing op, without gradient; and the global norm of gradients.

The numbers of a step travel in one small float32 tensor, `hyper`, which lives where the parameters do: so a
scale that comes from the gradients' norm is never read back by the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..autograd import Grads, Needs, Saved
from ..dispatch import (
    Op,
    Spec,
    Specs,
    apply,
    apply_all,
    arr,
    floating,
    from_array,
    is_tensor,
    register,
    values,
)
from ..dtypes import accumulator, float32
from ..errors import ArgumentError, DTypeError, ShapeError
from ..runtime.host import Array, scratch
from .arithmetic import add, multiply
from .blocks import flat_blocks, need_tensors
from .manipulation import cast
from .power import sqrt

if TYPE_CHECKING:
    from ..tensor import Tensor

HYPER = 10  # numbers of a step, in the order that adamw_hyper documents


@register
class Adamw(Op):
    """One parameter. m and v are the running means of the gradient and of its square."""

    inputs = ("param", "grad", "m", "v", "hyper")
    outputs = ()
    visible = 0
    writes = ("param", "m", "v")

    @staticmethod
    def infer(param: Spec, grad: Spec, m: Spec, v: Spec, hyper: Spec) -> Specs:
        floating("adamw_step", param)
        if not param.shape == grad.shape == m.shape == v.shape or hyper.shape != (HYPER,):
            raise ShapeError(
                f"adamw_step: param {param.shape}, grad {grad.shape}, m {m.shape}, v {v.shape} and hyper "
                f"{hyper.shape} do not fit",
                why=f"each element has one of each, and hyper has {HYPER} numbers",
                fix="make m and v with tt.zeros_like(param), and hyper with adamw_hyper(...)",
            )
        wide = accumulator(param.dtype)
        if grad.dtype is not param.dtype or m.dtype is not wide or v.dtype is not wide:
            raise DTypeError(
                f"adamw_step: param {param.dtype}, grad {grad.dtype}, m {m.dtype}, v {v.dtype}",
                why=f"the gradient has the dtype of the parameter, and the means are kept in {wide}",
                fix=f"make m and v with tt.zeros_like(param, dtype=tt.{wide})",
            )
        return ()

    @staticmethod
    def cpu(param: Array, grad: Array, m: Array, v: Array, hyper: Array) -> None:
        lr, beta1, rest1, beta2, rest2, correction1, correction2, eps, decay, scale = hyper.tolist()
        root = correction2**0.5  # lr * m / c1 / (sqrt(v / c2) + eps) = rate * m / (sqrt(v) + eps * root)
        rate, eps, shrink = lr * root / correction1, eps * root, 1.0 - lr * decay
        flat = [a.reshape(-1) for a in (param, grad, m, v)]
        for r in flat_blocks(param.size):
            P, G, M, V = [a[r] for a in flat]
            t = np.multiply(G, scale * rest1, out=scratch("adamw", P.shape, P.dtype))
            M *= beta1
            M += t
            t *= rest2**0.5 / rest1
            t *= t
            V *= beta2
            V += t
            np.sqrt(V, out=t)
            t += eps
            np.divide(M, t, out=t)
            t *= rate
            if shrink != 1.0:
                P *= shrink
            P -= t


def adamw_hyper(
    *,
    lr: float,
    step: int,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    scale: float | Tensor = 1.0,
) -> Tensor:
    """The numbers of one AdamW step as a small tensor, for `adamw_step`.

    Args:
        lr: learning rate.
        step: number of this step; the first is 1.
        betas: how much of the running means of gradient and squared gradient is kept, each in [0, 1).
        eps: added to the root of the second mean.
        weight_decay: share of the parameter that is taken off, times lr.
        scale: factor of all gradients, for example from clipping; a number or a 0-d tensor.

    Returns:
        shape (10,), float32: lr, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta1**step, 1 - beta2**step, eps,
        weight_decay, scale.

    Raises:
        ArgumentError: step is below 1, or a beta outside [0, 1).

    Example:
        >>> tt.adamw_hyper(lr=0.1, step=1, betas=(0.5, 0.5), weight_decay=0.0).tolist()
        [0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 1.0]
    """
    beta1, beta2 = betas
    if step < 1 or not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0):
        raise ArgumentError(
            f"adamw_hyper: step is {step}, betas are {betas}",
            why="steps count from 1, and a beta of 1 would never take in a gradient",
            fix="for example adamw_hyper(lr=3e-4, step=1, betas=(0.9, 0.95))",
        )
    number = 1.0 if is_tensor(scale) else scale
    corrections = (1.0 - beta1**step, 1.0 - beta2**step)
    row = [lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2, *corrections, eps, weight_decay, number]
    hyper = from_array(np.array(row, np.float32), float32)
    if is_tensor(scale):
        arr(hyper)[-1] = values(scale)
    return hyper


def adamw_step(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    ms: Sequence[Tensor],
    vs: Sequence[Tensor],
    hyper: Tensor,
) -> None:
    """Move many parameters by one step of AdamW, in their memory.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g, with g = scale * gradient
    p = p - lr * weight_decay * p - lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

    Args:
        params: contiguous floating tensors of any shapes; written to.
        grads: one per parameter, of its shape and dtype.
        ms, vs: running means of gradient and squared gradient, of the parameters' shapes, at least float32;
            written to. Zeros before the first step.
        hyper: shape (10,), from adamw_hyper.

    Returns:
        None; params, ms and vs hold the new values, and their versions moved on.

    Raises:
        ShapeError: the lists differ in length, shapes do not fit, or a tensor to be written to is not
            contiguous.
        DTypeError: a dtype does not fit.

    Memory: nothing but a block of scratch; parameters need no float32 copy.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Loshchilov, Hutter 2019, arXiv:1711.05101; Kingma, Ba 2015, arXiv:1412.6980.

    Example:
        >>> p, g = tt.ones(2), tt.tensor([1.0, -1.0])
        >>> m, v = tt.zeros(2), tt.zeros(2)
        >>> tt.adamw_step([p], [g], [m], [v], tt.adamw_hyper(lr=0.1, step=1, weight_decay=0.0))
        >>> p.tolist()
        [0.9, 1.1]
    """
    if not len(params) == len(grads) == len(ms) == len(vs):
        raise ShapeError(
            f"adamw_step: {len(params)} params, {len(grads)} grads, {len(ms)} ms and {len(vs)} vs",
            why="each parameter has one of each",
            fix="leave out parameters without a gradient, with their m and v",
        )
    need_tensors("adamw_step", *params, *grads, *ms, *vs, hyper)
    for p, g, m, v in zip(params, grads, ms, vs, strict=True):
        for name, x in (("param", p), ("m", m), ("v", v)):
            if not x.layout.is_contiguous:
                raise ShapeError(
                    f"adamw_step: {name} of shape {x.layout.shape} is not contiguous",
                    why="the step walks over memory as one block",
                    fix=f"keep {name} as a contiguous tensor: {name}.contiguous()",
                )
        apply_all(Adamw, p, g, m, v, hyper)


@register
class SumOfSquares(Op):
    """All elements squared and added, in float32 or wider."""

    inputs = ("x",)
    saves = ("x",)

    @staticmethod
    def infer(x: Spec) -> Specs:
        floating("grad_norm", x)
        return (Spec((), accumulator(x.dtype)),)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        flat, total = x.reshape(-1), 0.0
        for r in flat_blocks(flat.size):  # BLAS adds one block in float32, Python the blocks in float64
            total += float(np.dot(flat[r], flat[r]))
        y[...] = total

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        x = saved.x
        return (multiply(x, multiply(cast(grads[0], x.storage.dtype), 2.0)),)


def grad_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all elements of several tensors together, as for clipping.

    norm = sqrt(sum over all tensors and elements of x * x)

    Args:
        tensors: at least one floating tensor; any shapes.

    Returns:
        shape (), at least float32. It stays on its device: no number is read back.

    Raises:
        ArgumentError: there is no tensor.
        DTypeError: a tensor is not floating.

    Accuracy: blocks of 65,536 squares are added in the dtype, the blocks in float64.

    Example:
        >>> tt.grad_norm([tt.tensor([3.0]), tt.tensor([[4.0]])]).item()
        5.0
    """
    if not tensors:
        raise ArgumentError("grad_norm: no tensor", why="a norm is of something", fix="pass the gradients")
    need_tensors("grad_norm", *tensors)
    total = apply(SumOfSquares, tensors[0])
    for x in tensors[1:]:
        total = add(total, apply(SumOfSquares, x))
    return sqrt(total)
