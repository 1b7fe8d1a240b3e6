"""Elementwise arithmetic: the operators, and what is built like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Algebra, Grads, Needs, Saved
from ..dispatch import arr, register, registry
from ..elementwise import NUMERIC, REAL_NUMERIC, Elementwise, binary, elementwise, unary
from ..inplace import inplace
from ..runtime.host import narrow, widen
from .manipulation import cast, clone, sum_to

if TYPE_CHECKING:
    from ..dtypes import DType
    from ..layout import Shape
    from ..tensor import Tensor

Operand = Any  # Tensor or Python number


@register
class Add(Elementwise):
    inputs = ("a", "b")
    ufunc = np.add

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        return grads[0], grads[0]


@register
class Subtract(Elementwise):
    inputs = ("a", "b")
    ufunc = np.subtract
    accepts = NUMERIC

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        (grad,) = grads
        return grad, negative(grad) if needs[1] else None


@register
class Multiply(Elementwise):
    inputs = ("a", "b")
    saves = ("a?b", "b?a")
    ufunc = np.multiply

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        (grad,) = grads
        return (multiply(grad, saved.b) if needs[0] else None, multiply(grad, saved.a) if needs[1] else None)


@register
class Divide(Elementwise):
    inputs = ("a", "b")
    saves = ("b", "a?b")
    ufunc = np.true_divide
    result = "float"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        da = divide(grads[0], saved.b)
        return da, negative(divide(multiply(da, saved.a), saved.b)) if needs[1] else None


@register
class Negative(Elementwise):
    inputs = ("x",)
    ufunc = np.negative
    accepts = NUMERIC

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        return (negative(grads[0]),)


def _power(a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
    """np.power, but squares and cubes as products: np.power takes fifty times as long for them."""
    if not isinstance(b, np.ndarray) or b.ndim == 0:
        if b == 2:
            return np.multiply(a, a, out=out, order=order)
        if b == 3:
            return np.multiply(np.multiply(a, a), a, out=out, order=order)
    return np.power(a, b, out=out, order=order)


@register
class Pow(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b", "y?b")
    ufunc = staticmethod(_power)
    accepts = NUMERIC

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        (grad,) = grads
        a, b = saved.a, saved.b
        da = db = None
        if needs[0]:
            if isinstance(b, (int, float)):
                da = multiply(grad, multiply(pow(a, b - 1), b)) if b else multiply(a, 0.0)
            else:  # x**0 has slope 0 also at x = 0, where b * a**(b-1) would be 0 * inf
                slope = multiply(b, pow(a, subtract(b, 1.0)))
                da = where(elementwise(registry["equal"], b, 0.0), 0.0, multiply(grad, slope))  # type: ignore[arg-type]
        if needs[1]:
            if isinstance(a, (int, float)):
                db = multiply(multiply(grad, saved.y), float(np.log(a)) if a else 0.0)
            else:  # 0**b is flat for b > 0
                log = elementwise(registry["log"], where(elementwise(registry["equal"], a, 0.0), 1.0, a))  # type: ignore[arg-type]
                db = multiply(grad, multiply(saved.y, log))
        return da, db


def _where(condition: Any, a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
    """np.where with `out=`: choose by copying, several times as fast."""
    if not isinstance(out, np.ndarray):
        dtype = a.dtype if isinstance(a, np.ndarray) else b.dtype
        out = np.empty(np.broadcast_shapes(np.shape(condition), np.shape(a), np.shape(b)), dtype)
    np.copyto(out, b)
    np.copyto(out, a, where=condition)
    return out


@register
class Where(Elementwise):
    inputs = ("condition", "a", "b")
    saves = ("condition",)
    ufunc = staticmethod(_where)
    untyped = 1

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        (grad,) = grads
        condition = saved.condition
        return (
            None,
            where(condition, grad, 0.0) if needs[1] else None,
            where(condition, 0.0, grad) if needs[2] else None,
        )


def add(a: Operand, b: Operand) -> Tensor:
    """Sum of two tensors, element by element; `a + b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.add(tt.tensor([1.0, 2.0]), 1).tolist()
        [2.0, 3.0]
    """
    return binary(Add, a, b)


def subtract(a: Operand, b: Operand) -> Tensor:
    """Difference, element by element; `a - b`.

    Args:
        a, b: tensors or numbers that broadcast together; not bool.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: both operands are bool.

    Example:
        >>> tt.subtract(tt.tensor([1.0, 2.0]), 1).tolist()
        [0.0, 1.0]
    """
    return binary(Subtract, a, b)


def multiply(a: Operand, b: Operand) -> Tensor:
    """Product, element by element; `a * b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.

    Memory: keeps each operand for backward only if the other one needs a gradient.

    Example:
        >>> tt.multiply(tt.tensor([1.0, 2.0]), 3).tolist()
        [3.0, 6.0]
    """
    return binary(Multiply, a, b)


def divide(a: Operand, b: Operand) -> Tensor:
    """Quotient, element by element; `a / b`. Integers become float32 first.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, a floating dtype. Division by zero gives inf or nan.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> tt.divide(tt.tensor([1, 2]), 2).tolist()
        [0.5, 1.0]
    """
    return binary(Divide, a, b)


def negative(x: Tensor) -> Tensor:
    """The opposite number of each element; `-x`.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.negative(tt.tensor([1.0, -2.0])).tolist()
        [-1.0, 2.0]
    """
    return unary(Negative, x)


def pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b, element by element; `a ** b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        ArgumentError: an integer tensor is raised to a negative integer.

    Differs from: nothing at base 0: the gradient in the exponent is 0 there.

    Example:
        >>> tt.pow(tt.tensor([1.0, 2.0]), 3).tolist()
        [1.0, 8.0]
    """
    return elementwise(Pow, a, b)


def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """Elements of a where the condition holds, else of b.

    Args:
        condition: bool tensor.
        a, b: tensors or numbers; all three broadcast together.

    Returns:
        The broadcast shape, the promoted dtype of a and b.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the condition is not bool, or a and b are both plain numbers of no tensor dtype.

    Example:
        >>> x = tt.tensor([-1.0, 2.0])
        >>> tt.where(x > 0, x, 0.0).tolist()
        [0.0, 2.0]
    """
    return elementwise(Where, condition, a, b)


# ---- what a backward pass does with gradients --------------------------------------------------------------


def _add_into(total: Tensor, grad: Tensor) -> None:
    """total += grad, without history; grad may be strided, total never overlaps itself."""
    target, dtype = arr(total), total.storage.dtype
    if dtype.narrow:
        narrow(widen(target, dtype) + widen(arr(grad), dtype), dtype, target)
    else:
        np.add(target, arr(grad), out=target)
    total.storage.bump("gradient accumulation")


def _fit(grad: Tensor, shape: Shape, dtype: DType) -> Tensor:
    return cast(sum_to(grad, shape), dtype)


Algebra.add = staticmethod(add)
Algebra.add_into = staticmethod(_add_into)
Algebra.fit = staticmethod(_fit)
Algebra.clone = staticmethod(clone)


def iadd(x: Tensor, y: Operand) -> Tensor:
    """x += y in x's memory."""
    return inplace(Add, x, y)


def isubtract(x: Tensor, y: Operand) -> Tensor:
    """x -= y in x's memory."""
    return inplace(Subtract, x, y)


def imultiply(x: Tensor, y: Operand) -> Tensor:
    """x *= y in x's memory."""
    return inplace(Multiply, x, y)


def idivide(x: Tensor, y: Operand) -> Tensor:
    """x /= y in x's memory."""
    return inplace(Divide, x, y)


def ipow(x: Tensor, y: Operand) -> Tensor:
    """x **= y in x's memory."""
    return inplace(Pow, x, y)


class ArithmeticMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    __add__ = add
    __sub__ = subtract
    __mul__ = multiply
    __truediv__ = divide
    __pow__ = pow
    __neg__ = negative
    __iadd__ = iadd
    __isub__ = isubtract
    __imul__ = imultiply
    __itruediv__ = idivide
    __ipow__ = ipow


__all__ = ["REAL_NUMERIC", "ArithmeticMethods"]
