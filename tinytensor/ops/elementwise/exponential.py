"""Exponentials, logarithms, logaddexp, tanh, sigmoid, softplus and the error function."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, unary
from tinytensor.dispatch.elementwise import (
    REAL,
    Elementwise,
    Operand,
    in_double,
    steps,
)
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import add, divide, multiply, negative, subtract
from tinytensor.ops.elementwise.comparison import choose, equal, isinf, logical_and, where
from tinytensor.runtime.cpu.arrays import Array, negated
from tinytensor.tensor import Tensor

__all__ = ["erf", "erfc", "exp", "expm1", "log", "log1p", "log2", "log10"]
__all__ += ["logaddexp", "sigmoid", "softplus", "tanh"]


@register
class Exp(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.exp
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * y."""
        return (multiply(grads[0], saved.y),)


@register
class Expm1(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.expm1
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * (y + 1)."""
        return (multiply(grads[0], add(saved.y, 1.0)),)


@register
class Log(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.log
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / x."""
        return (divide(grads[0], saved.x),)


@register
class Log1p(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.log1p
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (x + 1)."""
        return (divide(grads[0], add(saved.x, 1.0)),)


@register
class Log2(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.log2
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (x * log(2))."""
        return (divide(grads[0], multiply(saved.x, math.log(2.0))),)


@register
class Log10(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = np.log10
    result = "float"
    flops = 1.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad / (x * log(10))."""
        return (divide(grads[0], multiply(saved.x, math.log(10.0))),)


@register
class Logaddexp(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b")
    ufunc = np.logaddexp
    accepts = REAL
    result = "float"
    flops = 4.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * sigmoid(a - b), db = grad * (1 - sigmoid(a - b))."""
        (grad,) = grads
        a, b = saved.a, saved.b
        # Equal infinities get half of the gradient each, as equal operands do; their difference would be nan.
        one = b if isinstance(b, Tensor) else a  # the other may be a number
        share = sigmoid(where(logical_and(equal(a, b), isinf(one)), 0.0, subtract(a, b)))
        return (
            multiply(grad, share) if needs[0] else None,
            multiply(grad, subtract(1.0, share)) if needs[1] else None,
        )


@register
class Tanh(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = np.tanh
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * (1 - y**2)."""
        y = saved.y
        return (multiply(grads[0], subtract(1.0, multiply(y, y))),)


def _sigmoid(x: Array, out: Array) -> None:
    negated(x, out=out)
    np.exp(out, out=out)  # inf for large negative x; the reciprocal is 0, as it should be
    out += 1
    np.reciprocal(out, out=out)


@register
class Sigmoid(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = steps(_sigmoid)
    accepts = REAL
    result = "float"
    flops = 3.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * y * (1 - y)."""
        y = saved.y
        return (multiply(grads[0], multiply(y, subtract(1.0, y))),)


def _softplus(x: Array, out: Array) -> None:
    positive_part = np.maximum(x, 0)
    np.abs(x, out=out)
    negated(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    out += positive_part


@register
class Softplus(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = steps(_softplus)
    accepts = REAL
    result = "float"
    flops = 3.0
    autocast = "wide"

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * sigmoid(x)."""
        return (multiply(grads[0], sigmoid(saved.x)),)


# ---- the error function ------------------------------------------------------------------------------------

# Below 1: erf(x) = x p(x²), the Taylor series, p = 2 / sqrt(pi) * sum of (-1)^k x^(2k) / (k! (2k + 1)).
# From 1 on: erf(x) = 1 - exp(-x²) q(t); q varies slowly and is interpolated in t, a map of 1 / (x + 2) to
# [-1, 1] for x from 1 to 6, where erf is 1 up to rounding.
_MIDDLE, _HALF = (1 / 3 + 1 / 8) / 2, (1 / 3 - 1 / 8) / 2


def _taylor(terms: int) -> list[float]:
    """Coefficients of p, in ascending order."""
    return [2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(terms)]


def _interpolation(terms: int) -> list[float]:
    """Coefficients of q, in ascending order, interpolated at the Chebyshev nodes."""
    angles = [math.pi * (k + 0.5) / terms for k in range(terms)]
    nodes = [1 / (_HALF * math.cos(angle) + _MIDDLE) - 2 for angle in angles]
    values = [math.erfc(x) * math.exp(x * x) for x in nodes]
    total = [0.0] * terms
    before, now = [0.0] * terms, [1.0] + [0.0] * (terms - 1)  # T(k - 1) and T(k) as polynomials, k = 0
    for k in range(terms):
        share = math.fsum(y * math.cos(k * angle) for y, angle in zip(values, angles)) / terms
        total = [t + (2 if k else 1) * share * c for t, c in zip(total, now)]
        shifted = [0.0, *now[:-1]]
        before, now = now, [2 * c - b for c, b in zip(shifted, before)] if k else shifted
    return total


# The number of terms follows the precision of the dtype.
_SERIES = {"d": (_taylor(20), _interpolation(18)), "f": (_taylor(11), _interpolation(7))}


def _polynomial(coefficients: list[float], x: Array) -> Array:
    """Evaluate a polynomial by Horner's rule."""
    *low, highest = coefficients
    y = np.full_like(x, highest)
    for c in reversed(low):
        y *= x
        y += c
    return y


def _erf(x: Array, out: Array) -> None:
    below, above = _SERIES[x.dtype.char]
    size = np.abs(x)
    square = np.multiply(x, x)
    near = _polynomial(below, square)
    near *= x
    t = size + 2
    np.divide(1 / _HALF, t, out=t)
    t -= _MIDDLE / _HALF
    far = _polynomial(above, t)
    np.negative(square, out=square)
    far *= np.exp(square, out=square)
    np.subtract(1, far, out=far)
    np.copysign(far, x, out=far)
    choose(np.greater(size, 1), far, near, out=out)


erf_array = steps(_erf)


@register
class Erf(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = erf_array
    accepts = REAL
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * 2 / sqrt(pi) * exp(-x**2)."""
        slope = multiply(exp(negative(multiply(saved.x, saved.x))), 2 / math.sqrt(math.pi))
        return (multiply(grads[0], slope),)


# From 1/2 on: erfc(x) = exp(-x²) q(t) / (x + 2); q varies slowly and is interpolated in t, a map of
# 1 / (x + 2) to [-1, 1] for x from 1/2 to 26.5, where erfc becomes subnormal.
_TERMS = 20
_CENTER, _REACH = (1 / 2.5 + 1 / 28.5) / 2, (1 / 2.5 - 1 / 28.5) / 2


def _exp_of_minus_square(x: Array) -> Array:
    """exp(-x²), accurate also where it is small: the square of x, rounded to sixteenths, is exact."""
    near = np.rint(x * 16) / 16
    return np.asarray(np.exp(-near * near) * np.exp((near - x) * (near + x)))


@cache
def _tail() -> list[float]:
    """Coefficients of q, a sum of Chebyshev polynomials, interpolated at the Chebyshev nodes."""
    angles = np.pi * (np.arange(_TERMS) + 0.5) / _TERMS
    x = 1 / (np.cos(angles) * _REACH + _CENTER) - 2
    q = np.array([math.erfc(v) for v in x]) / _exp_of_minus_square(x) * (x + 2)
    return [math.fsum(q * np.cos(k * angles)) * (2 if k else 1) / _TERMS for k in range(_TERMS)]


def _erfc(x: Array) -> Array:
    size = np.minimum(np.abs(x), 30)
    near = 1 - x * _polynomial(_SERIES["d"][0], size * size)
    far = chebyshev.chebval((1 / (size + 2) - _CENTER) / _REACH, _tail())
    far = far * _exp_of_minus_square(size) / (size + 2)
    return np.where(size < 0.5, near, np.where(x < 0, 2 - far, far))


@register
class Erfc(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = steps(in_double(_erfc))
    accepts = REAL
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad * 2 / sqrt(pi) * exp(-x**2)."""
        slope = multiply(exp(negative(multiply(saved.x, saved.x))), -2 / math.sqrt(math.pi))
        return (multiply(grads[0], slope),)


# ---- functions ---------------------------------------------------------------------------------------------


def exp(x: Tensor) -> Tensor:
    """Elementwise exponential, e to the power x.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype.

    Raises:
        DTypeError: x is not a tensor.

    Memory: saves the result for backward.

    Example:
        >>> tt.exp(tt.tensor([0.0, 1.0])).tolist()
        [1.0, 2.7182...]
    """
    return unary(Exp, x)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, accurate also for small x.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.expm1(tt.tensor([0.0, 1e-12])).tolist()
        [0.0, 1e-12]
    """
    return unary(Expm1, x)


def log(x: Tensor) -> Tensor:
    """Elementwise natural logarithm.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; -inf at 0, NaN below.

    Raises:
        DTypeError: x is not a tensor.

    Memory: saves x for backward.

    Example:
        >>> tt.log(tt.tensor([1.0, 10.0])).tolist()
        [0.0, 2.30258...]
    """
    return unary(Log, x)


def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate also for small x.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; -inf at -1, NaN below.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.log1p(tt.tensor([0.0, 1e-12])).tolist()
        [0.0, 1e-12]
    """
    return unary(Log1p, x)


def log2(x: Tensor) -> Tensor:
    """Elementwise logarithm to base 2.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; -inf at 0, NaN below.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.log2(tt.tensor([1.0, 8.0])).tolist()
        [0.0, 3.0]
    """
    return unary(Log2, x)


def log10(x: Tensor) -> Tensor:
    """Elementwise logarithm to base 10.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype; -inf at 0, NaN below.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.log10(tt.tensor([1.0, 100.0])).tolist()
        [0.0, 2.0]
    """
    return unary(Log10, x)


def logaddexp(a: Operand, b: Operand) -> Tensor:
    """log(exp(a) + exp(b)), without intermediate overflow.

    Args:
        a, b: tensors or numbers that broadcast together; not complex. Integers become float32.

    Returns:
        The broadcast shape, a floating dtype. Equal infinities get half of the gradient each.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Memory: saves both operands for backward.

    Example:
        >>> tt.logaddexp(tt.tensor([0.0, 1000.0]), tt.tensor([0.0, 1000.0])).tolist()
        [0.693147..., 1000.693...]
    """
    return apply(Logaddexp, a, b)


def tanh(x: Tensor) -> Tensor:
    """Elementwise hyperbolic tangent.

    Args:
        x: any shape; integers become float32.

    Returns:
        shape of x, a floating dtype, in [-1, 1].

    Raises:
        DTypeError: x is not a tensor.

    Memory: saves the result for backward.

    Example:
        >>> tt.tanh(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.76159...]
    """
    return unary(Tanh, x)


def sigmoid(x: Tensor) -> Tensor:
    """Elementwise logistic function.

    y = 1 / (1 + exp(-x))

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype, in [0, 1].

    Raises:
        DTypeError: x is complex.

    Memory: saves the result for backward.
    Accuracy: within 4 units in the last place; 0 below x = -88 in float32, where y would be subnormal.

    Example:
        >>> tt.sigmoid(tt.tensor([0.0, 2.0])).tolist()
        [0.5, 0.88079...]
    """
    return unary(Sigmoid, x)


def softplus(x: Tensor) -> Tensor:
    """Elementwise softplus, a smooth approximation of relu.

    y = log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype, above 0.

    Raises:
        DTypeError: x is complex.

    Memory: saves x for backward.
    Differs from: torch.nn.functional.softplus, which has a beta and is linear above a threshold.

    Example:
        >>> tt.softplus(tt.tensor([0.0, 100.0])).tolist()
        [0.693147..., 100.0]
    """
    return unary(Softplus, x)


def erf(x: Tensor) -> Tensor:
    """Elementwise error function.

    y = 2 / sqrt(pi) * integral of exp(-t²) from 0 to x

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype, in [-1, 1].

    Raises:
        DTypeError: x is complex.

    Memory: saves x for backward.
    Accuracy: within 4 units in the last place of float32 and float64.
    Source: Taylor series below 1; from 1 on, interpolation of erfc(x) exp(x²) at the Chebyshev nodes, as in
        Press et al., Numerical Recipes, 3rd edition, section 6.2.2.

    Example:
        >>> tt.erf(tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.84270...]
    """
    return unary(Erf, x)


def erfc(x: Tensor) -> Tensor:
    """Elementwise complementary error function, 1 - erf(x), accurate also for large x.

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype, in [0, 2].

    Raises:
        DTypeError: x is complex.

    Memory: saves x for backward.
    Accuracy: 5e-15 relative in float64, where y is not subnormal; float32 is computed in float64 on the CPU.
    Source: the Taylor series of erf below 1/2; from there on, interpolation of erfc(x) exp(x²) (x + 2) at the
        Chebyshev nodes, as in Press et al., Numerical Recipes, 3rd edition, section 6.2.2.

    Example:
        >>> tt.erfc(tt.tensor([0.0, 5.0], dtype=tt.float64)).tolist()
        [1.0, 1.5374...e-12]
    """
    return unary(Erfc, x)
