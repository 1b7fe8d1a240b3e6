"""Trigonometric and hyperbolic functions and their inverses, in radians; tanh is in exponential.py."""

from __future__ import annotations

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, unary
from tinytensor.dispatch.elementwise import (
    REAL,
    Elementwise,
    Operand,
)
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import add, divide, multiply, negative, subtract
from tinytensor.ops.elementwise.comparison import equal, where
from tinytensor.ops.elementwise.power import hypot, sqrt
from tinytensor.tensor import Tensor

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "sin", "sinh", "tan"]


@register
class Sin(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.sin
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * cos(x)."""
        return (multiply(grads[0], cos(saved.x)),)


@register
class Cos(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.cos
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad * sin(x)."""
        return (negative(multiply(grads[0], sin(saved.x))),)


@register
class Tan(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.tan
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * (y**2 + 1)."""
        return (multiply(grads[0], add(multiply(saved.y, saved.y), 1.0)),)


def _other_leg(x: Tensor) -> Tensor:
    """sqrt(1 - x²), as a product that avoids cancellation for x near 1."""
    return sqrt(multiply(subtract(1.0, x), add(x, 1.0)))


@register
class Asin(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arcsin
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / sqrt(1 - x**2)."""
        return (divide(grads[0], _other_leg(saved.x)),)


@register
class Acos(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arccos
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad / sqrt(1 - x**2)."""
        return (negative(divide(grads[0], _other_leg(saved.x))),)


@register
class Atan(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arctan
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (x**2 + 1)."""
        return (divide(grads[0], add(multiply(saved.x, saved.x), 1.0)),)


@register
class Sinh(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.sinh
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * cosh(x)."""
        return (multiply(grads[0], cosh(saved.x)),)


@register
class Cosh(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.cosh
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * sinh(x)."""
        return (multiply(grads[0], sinh(saved.x)),)


@register
class Asinh(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arcsinh
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / sqrt(x**2 + 1)."""
        return (divide(grads[0], hypot(saved.x, 1.0)),)


@register
class Acosh(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arccosh
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (sqrt(x - 1) * sqrt(x + 1))."""
        return (divide(grads[0], multiply(sqrt(subtract(saved.x, 1.0)), sqrt(add(saved.x, 1.0)))),)


@register
class Atanh(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.arctanh
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (1 - x**2)."""
        return (divide(grads[0], multiply(subtract(1.0, saved.x), add(saved.x, 1.0))),)


@register
class Atan2(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b")
    ufunc = np.arctan2
    accepts = REAL
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * b / (a**2 + b**2), db = -grad * a / (a**2 + b**2); both are 0 at a = b = 0."""
        (grad,) = grads
        length = hypot(saved.a, saved.b)
        length = where(equal(length, 0.0), 1.0, length)  # the gradient at the origin is 0, not 0 / 0
        turn = divide(grad, length)  # two divisions: the square of the length may overflow
        return (
            multiply(turn, divide(saved.b, length)) if needs[0] else None,
            negative(multiply(turn, divide(saved.a, length))) if needs[1] else None,
        )


def sin(x: Tensor) -> Tensor:
    """Elementwise sine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype, in [-1, 1]; NaN for infinities.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.sin(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.84147...]
    """
    return unary(Sin, x)


def cos(x: Tensor) -> Tensor:
    """Elementwise cosine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype, in [-1, 1]; NaN for infinities.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.cos(tt.tensor([0.0, 1.0])).tolist()
        [1.0, 0.54030...]
    """
    return unary(Cos, x)


def tan(x: Tensor) -> Tensor:
    """Elementwise tangent.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; NaN for infinities.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.tan(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 1.55740...]
    """
    return unary(Tan, x)


def asin(x: Tensor) -> Tensor:
    """Elementwise inverse sine, in [-pi/2, pi/2].

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; NaN outside [-1, 1]. The derivative at the ends is infinite.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.asin(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 1.57079...]
    """
    return unary(Asin, x)


def acos(x: Tensor) -> Tensor:
    """Elementwise inverse cosine, in [0, pi].

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; NaN outside [-1, 1]. The derivative at the ends is infinite.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.acos(tt.tensor([0.0, 1.0])).tolist()
        [1.57079..., 0.0]
    """
    return unary(Acos, x)


def atan(x: Tensor) -> Tensor:
    """Elementwise inverse tangent, in [-pi/2, pi/2].

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.atan(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.78539...]
    """
    return unary(Atan, x)


def atan2(a: Operand, b: Operand) -> Tensor:
    """Elementwise angle of the point (b, a) from the positive first axis, with the sign of a.

    Args:
        a, b: tensors or numbers that broadcast together; not complex. Integers become float32.

    Returns:
        The broadcast shape, a floating dtype, in [-pi, pi]. The derivatives at a = b = 0 are 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.atan2(tt.tensor([1.0, -1.0]), tt.tensor([1.0, -1.0])).tolist()
        [0.78539..., -2.35619...]
    """
    return apply(Atan2, a, b)


def sinh(x: Tensor) -> Tensor:
    """Elementwise hyperbolic sine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.sinh(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 1.17520...]
    """
    return unary(Sinh, x)


def cosh(x: Tensor) -> Tensor:
    """Elementwise hyperbolic cosine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype, at least 1.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.cosh(tt.tensor([0.0, 1.0])).tolist()
        [1.0, 1.54308...]
    """
    return unary(Cosh, x)


def asinh(x: Tensor) -> Tensor:
    """Elementwise inverse hyperbolic sine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.asinh(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.88137...]
    """
    return unary(Asinh, x)


def acosh(x: Tensor) -> Tensor:
    """Elementwise inverse hyperbolic cosine.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; NaN below 1. The derivative at 1 is infinite.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.acosh(tt.tensor([1.0, 2.0])).tolist()
        [0.0, 1.31695...]
    """
    return unary(Acosh, x)


def atanh(x: Tensor) -> Tensor:
    """Elementwise inverse hyperbolic tangent.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; infinite at -1 and 1, NaN outside.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.atanh(tt.tensor([0.0, 0.5])).tolist()
        [0.0, 0.54930...]
    """
    return unary(Atanh, x)
