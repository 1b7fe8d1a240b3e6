"""Elementwise abs, sign, copysign, nextafter, real, imag and conj."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, unary
from tinytensor.dispatch.elementwise import (
    NUMERIC,
    REAL,
    Elementwise,
    Operand,
)
from tinytensor.errors import DTypeError
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import flat, multiply
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["abs", "conj", "copysign", "imag", "nextafter", "real", "sign"]


@register
class Abs(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.abs
    formula = "absolute({0})"
    accepts = NUMERIC
    result = "real"
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * sign(x)."""
        return (multiply(grads[0], sign(saved.x)),)


@register
class Sign(Elementwise):
    inputs = ("x",)
    ufunc = np.sign
    accepts = NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 0."""
        return (flat(grads[0]),)


@register
class Copysign(Elementwise):
    inputs = ("a", "b")
    saves = ("a?a", "b?a")
    ufunc = np.copysign
    accepts = REAL
    result = "float"
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * sign(a) * sign(y), db = 0."""
        (grad,) = grads
        da = None
        if needs[0]:  # 1 where a and y have the same sign, -1 where they differ, 0 at a = 0
            s = sign(saved.a)
            da = multiply(grad, multiply(s, copysign(s, saved.b)))
        return da, flat(grad)


@register
class Nextafter(Elementwise):
    inputs = ("a", "b")
    ufunc = np.nextafter
    accepts = REAL
    result = "float"
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad, db = 0."""
        return grads[0], flat(grads[0])


def _real(x: Array, out: Any = None, order: Any = "K") -> Any:
    return np.positive(x.real, out=out, order=order)


def _imag(x: Array, out: Any = None, order: Any = "K") -> Any:
    return np.positive(x.imag, out=out, order=order)


@register
class Real(Elementwise):
    inputs = ("x",)
    ufunc = staticmethod(_real)
    result = "real"
    flops = 0.0


@register
class Imag(Elementwise):
    inputs = ("x",)
    ufunc = staticmethod(_imag)
    accepts = ("complex",)
    result = "real"
    flops = 0.0


@register
class Conj(Elementwise):
    inputs = ("x",)
    ufunc = np.conjugate
    flops = 0.0


def abs(x: Tensor) -> Tensor:
    """Elementwise absolute value; `abs(x)`.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x; for complex x the dtype of its parts. The derivative at 0 is 0.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.abs(tt.tensor([1.0, -2.0])).tolist()
        [1.0, 2.0]
    """
    return unary(Abs, x)


def sign(x: Tensor) -> Tensor:
    """Elementwise sign: -1, 0 or 1 for negative, zero or positive elements.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x; x / |x| for complex x; NaN for NaN. Its gradient is 0.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.sign(tt.tensor([3.0, 0.0, -2.0])).tolist()
        [1.0, 0.0, -1.0]
    """
    return unary(Sign, x)


def copysign(a: Operand, b: Operand) -> Tensor:
    """Elementwise magnitude of a with the sign of b, including that of -0.0.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, a floating dtype. Differentiable in a; the slope at a = 0 is 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.copysign(tt.tensor([1.0, 2.0]), tt.tensor([-0.0, 3.0])).tolist()
        [-1.0, 2.0]
    """
    return apply(Copysign, a, b)


def nextafter(a: Operand, b: Operand) -> Tensor:
    """Elementwise next floating-point number after a in the direction of b.

    Args:
        a, b: tensors or numbers that broadcast together; float32 or float64.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand has a 16-bit dtype, is complex, or neither a tensor nor a number.

    Example:
        >>> (tt.nextafter(tt.tensor(1.0), 2.0) - 1.0).item() == tt.finfo(tt.float32).eps
        True
    """
    for x in (a, b):
        if is_tensor(x) and x.dtype.narrow:
            raise DTypeError(
                f"nextafter: an operand of dtype {x.dtype}",
                why="16-bit floats are computed in float32, whose next number rounds back to a",
                fix="cast first: x.astype(tt.float32)",
            )
    return apply(Nextafter, a, b)


def real(x: Tensor) -> Tensor:
    """Elementwise real part.

    Args:
        x: any shape and dtype.

    Returns:
        A copy, shape of x, float32 for complex64 and float64 for complex128; x itself if it is not complex.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.real(tt.tensor([1 + 2j])).tolist()
        [1.0]
    """
    return x if is_tensor(x) and x.dtype.kind != "complex" else apply(Real, x)


def imag(x: Tensor) -> Tensor:
    """Elementwise imaginary part.

    Args:
        x: any shape, complex.

    Returns:
        A copy, shape of x, float32 for complex64 and float64 for complex128.

    Raises:
        DTypeError: x is not complex.

    Example:
        >>> tt.imag(tt.tensor([1 + 2j])).tolist()
        [2.0]
    """
    return unary(Imag, x)


def conj(x: Tensor) -> Tensor:
    """Elementwise complex conjugate.

    Args:
        x: any shape and dtype.

    Returns:
        A copy, shape and dtype of x; x itself if it is not complex.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.conj(tt.tensor([1 + 2j])).tolist()
        [(1-2j)]
    """
    return x if is_tensor(x) and x.dtype.kind != "complex" else apply(Conj, x)
