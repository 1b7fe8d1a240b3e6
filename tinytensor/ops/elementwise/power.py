"""Powers and roots: pow, square, reciprocal, sqrt, rsqrt, hypot."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
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
    steps,
)
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for
from tinytensor.dtypes import DType
from tinytensor.errors import ArgumentError
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import divide, flat, multiply, negative, subtract
from tinytensor.ops.elementwise.comparison import equal, greater_equal, logical_and, where
from tinytensor.ops.elementwise.exponential import log
from tinytensor.runtime.cpu.arrays import Array, strict
from tinytensor.tensor import Tensor

__all__ = ["hypot", "pow", "reciprocal", "rsqrt", "sqrt", "square"]


def _root(x: Array, out: Any = None, order: Any = "K") -> Any:
    """x to the power 0.5: np.sqrt, but inf at -inf and 0.0 at -0.0, as pow in C."""
    if x.dtype.kind == "c":
        return np.sqrt(x, out=out, order=order)
    if isinstance(out, np.ndarray) and np.may_share_memory(x, out):
        x = x.copy()
    try:
        root = strict().run(np.sqrt, x, out=out, order=order)
    except FloatingPointError:  # invalid: negative elements, possibly -inf
        root = np.asarray(np.sqrt(x, out=out, order=order))
        np.copyto(root, np.inf, where=np.equal(x, -np.inf))
    root += 0.0  # -0.0 + 0.0 is 0.0
    return root


# Exponents for which another ufunc is up to fifty times as fast as np.power.
_SHORT: dict[float, Any] = {-1.0: np.reciprocal, 0.5: _root, 1.0: np.positive, 2.0: np.square}


def _power(a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
    """np.power, faster for common exponents; raises ArgumentError for negative integer exponents."""
    if isinstance(a, np.ndarray) and (not isinstance(b, np.ndarray) or b.ndim == 0):
        exponent = b if isinstance(b, (int, float)) else b.item()
        short = _SHORT.get(exponent)
        if short is not None and (exponent != -1 or a.dtype.kind == "f"):
            return short(a, out=out, order=order)
        if exponent == 3:
            return np.multiply(np.square(a), a, out=out, order=order)
    if getattr(b, "dtype", _FLOAT).kind == "i" and np.size(a) and np.size(b) and (lowest := np.min(b)) < 0:
        raise _fraction(int(lowest))  # np.power would raise after writing a part of `out`
    return np.power(a, b, out=out, order=order)


_FLOAT = np.dtype(np.float32)


def _fraction(exponent: int) -> ArgumentError:
    return ArgumentError(
        f"pow: an integer is raised to a negative integer, {exponent}",
        why="the result is a fraction, which integer dtypes cannot represent",
        fix="cast to a float first: x.astype(tt.float32) ** -1",
    )


@register
class Pow(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b", "y?b")
    ufunc = staticmethod(_power)
    refuses = True
    accepts = NUMERIC
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def check(launch: Launch, operands: Sequence[View | bytes], dtype: DType) -> None:
        exponents = operands[1]
        if dtype.kind != "int":
            return
        if not isinstance(exponents, View):
            number = int.from_bytes(exponents[: dtype.itemsize], sys.byteorder, signed=True)
            if number < 0:
                raise _fraction(number)
        elif exponents.size:
            exponents = launch.dense(exponents, op="pow")
            bounds = launch.bounds(0, 0, _fraction)
            grid = blocks_for(exponents.size, BLOCK)
            launch("check_exponents", dtype, grid=grid, args=(exponents, bounds, exponents.size))

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * b * a**(b - 1), db = grad * y * log(a); where a = 0, da = 0 if b = 0, and db = 0 if b
        >= 0.
        """
        (grad,) = grads
        a, b = saved.a, saved.b
        da = db = None
        if needs[0]:
            if not isinstance(b, (int, float)):
                # the derivative of x**0 is 0 also at x = 0, where b * a**(b - 1) would be 0 * inf
                still = logical_and(equal(a, 0.0), equal(b, 0.0))
                slope = multiply(b, pow(a, where(still, 0.0, subtract(b, 1.0))))
                da = multiply(grad, slope)
            elif b == 0:
                da = flat(grad)
            else:
                da = multiply(grad, multiply(a if b == 2 else pow(a, b - 1), b))
        if needs[1]:
            db = multiply(grad, multiply(saved.y, _log_of_base(a, b)))
        return da, db


def _log_of_base(a: Operand, b: Tensor) -> Operand:
    """log(a), but 0 where a = 0 and b >= 0: the derivative of a**b in b is 0 there, not 0 * -inf."""
    if isinstance(a, (int, float)):
        if a > 0:
            return math.log(a)
        return math.nan if a else where(greater_equal(b, 0.0), flat(b), -math.inf)
    return log(where(logical_and(equal(a, 0.0), greater_equal(b, 0.0)), 1.0, a))


@register
class Square(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.square
    formula = "{0} * {0}"
    accepts = NUMERIC
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 2 * grad * x."""
        return (multiply(grads[0], multiply(saved.x, 2.0)),)


@register
class Reciprocal(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.reciprocal
    formula = "1 / {0}"
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad * y**2."""
        return (negative(multiply(grads[0], square(saved.y))),)


@register
class Sqrt(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.sqrt
    formula = "root({0})"
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (2 * y)."""
        return (divide(grads[0], multiply(saved.y, 2.0)),)


def _rsqrt(x: Array, out: Array) -> None:
    np.sqrt(x, out=out)
    np.reciprocal(out, out=out)


@register
class Rsqrt(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = steps(_rsqrt)
    accepts = REAL
    result = "float"
    flops = 2.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad * y**3 / 2."""
        return (multiply(grads[0], multiply(pow(saved.y, 3), -0.5)),)


@register
class Hypot(Elementwise):
    inputs = ("a", "b")
    saves = ("a?a", "b?b", "y")
    ufunc = np.hypot
    accepts = REAL
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * a / y, db = grad * b / y; both are 0 at a = b = 0."""
        (grad,) = grads
        length = where(equal(saved.y, 0.0), 1.0, saved.y)  # the gradient at the origin is 0, not 0 / 0
        return (
            multiply(grad, divide(saved.a, length)) if needs[0] else None,
            multiply(grad, divide(saved.b, length)) if needs[1] else None,
        )


def pow(a: Operand, b: Operand) -> Tensor:
    """Elementwise power; `a ** b`.

    Args:
        a, b: tensors or numbers that broadcast together; not bool.

    Returns:
        The broadcast shape and the promoted dtype. NaN for a fractional power of a negative number. At a = 0
            the derivative in b is 0 for b >= 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: both operands are bool, or one is neither a tensor nor a number.
        ArgumentError: an integer is raised to a negative integer.

    Memory: saves both operands for backward, and the result if b requires a gradient.
    Accuracy: the exponents 2, 3, 0.5 and -1 use products, roots and reciprocals, which are exact or rounded
        once or twice.

    Example:
        >>> tt.pow(tt.tensor([1.0, 2.0]), 3).tolist()
        [1.0, 8.0]
    """
    return apply(Pow, a, b)


def square(x: Tensor) -> Tensor:
    """Elementwise square.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.square(tt.tensor([1.0, -3.0])).tolist()
        [1.0, 9.0]
    """
    return unary(Square, x)


def reciprocal(x: Tensor) -> Tensor:
    """Elementwise reciprocal, 1 / x.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; inf at 0.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.reciprocal(tt.tensor([2.0, 4.0])).tolist()
        [0.5, 0.25]
    """
    return unary(Reciprocal, x)


def sqrt(x: Tensor) -> Tensor:
    """Elementwise square root.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; NaN below 0. The derivative at 0 is inf.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.sqrt(tt.tensor([4.0, 9.0])).tolist()
        [2.0, 3.0]
    """
    return unary(Sqrt, x)


def rsqrt(x: Tensor) -> Tensor:
    """Elementwise reciprocal square root, 1 / sqrt(x).

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype; inf at 0, NaN below.

    Raises:
        DTypeError: x is complex.

    Example:
        >>> tt.rsqrt(tt.tensor([4.0, 16.0])).tolist()
        [0.5, 0.25]
    """
    return unary(Rsqrt, x)


def hypot(a: Operand, b: Operand) -> Tensor:
    """Elementwise sqrt(a² + b²), without intermediate overflow.

    Args:
        a, b: tensors or numbers that broadcast together; not complex. Integers become float32.

    Returns:
        The broadcast shape, a floating dtype. The derivatives at a = b = 0 are 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.hypot(tt.tensor([3.0]), 4.0).tolist()
        [5.0]
    """
    return apply(Hypot, a, b)
