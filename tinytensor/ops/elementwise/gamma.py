"""The logarithm of the gamma function and its derivatives: lgamma, digamma, polygamma."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, unary
from tinytensor.dispatch.elementwise import REAL, Elementwise, in_double, steps
from tinytensor.errors import ArgumentError
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import multiply
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["digamma", "lgamma", "polygamma"]

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B2, B4, …, B16
_SHIFT = 10  # asymptotic series of 8 terms are exact up to rounding from here on
_MOST = 30  # the highest order: n! fits into float32


# ---- lgamma ------------------------------------------------------------------------------------------------


def _zeta_minus_1(s: int) -> float:
    """1/2^s + 1/3^s + …: a sum, and the rest of it by the Euler-Maclaurin formula."""
    a = 20.0
    return math.fsum(
        [k**-s for k in range(2, 20)]
        + [a ** (1 - s) / (s - 1), a**-s / 2, s * a ** (-s - 1) / 12]
        + [-s * (s + 1) * (s + 2) * a ** (-s - 3) / 720]
        + [s * (s + 1) * (s + 2) * (s + 3) * (s + 4) * a ** (-s - 5) / 30240]
    )


# lgamma(2 + e) = (1 - Euler's gamma) e + sum over k from 2 of (-1)^k (zeta(k) - 1) e^k / k, for |e| <= 1/2.
_NEAR_2 = [1 - np.euler_gamma, *((-1) ** k * _zeta_minus_1(k) / k for k in range(2, 28))]


def _lgamma_above(x: Array) -> Array:
    """lgamma for x >= 1/2: a series up to 2.5, Stirling's from there on."""
    first = x < 1.5  # lgamma(1 + e) = lgamma(2 + e) - log(1 + e)
    e = np.where(x < 2.5, x - np.where(first, 1, 2), 0)
    near = np.zeros_like(e)
    for c in reversed(_NEAR_2):
        near = (near + c) * e
    near = near - np.where(first, np.log1p(np.where(first, e, 0)), 0)
    product, a = np.ones_like(x), x
    for _ in range(_SHIFT - 2):  # lgamma(x) = lgamma(x + 1) - log(x)
        low = a < _SHIFT
        product = np.where(low, product * a, product)
        a = np.where(low, a + 1, a)
    far = (a - 0.5) * (np.log(a) - 1) + (math.log(2 * math.pi) - 1) / 2
    for j, b in enumerate(_BERNOULLI, 1):
        far = far + b / (2 * j * (2 * j - 1)) / a ** (2 * j - 1)
    return np.where(x < 2.5, near, far - np.log(product))


def _lgamma(x: Array) -> Array:
    below = x < 0.5  # lgamma(x) = log(pi / |sin(pi x)|) - lgamma(1 - x)
    above = _lgamma_above(np.where(below, 1 - x, x))
    sine = np.abs(np.sin(np.pi * (x - np.rint(x))))
    y = np.where(below, math.log(math.pi) - np.log(sine) - above, above)
    return np.where(np.isinf(x), np.inf, y)


@register
class Lgamma(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = steps(in_double(_lgamma))
    accepts = REAL
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * digamma(x)."""
        return (multiply(grads[0], digamma(saved.x)),)


# ---- digamma -----------------------------------------------------------------------------------------------


def _digamma(x: Array) -> Array:
    below = x <= 0  # digamma(x) = digamma(1 - x) - pi / tan(pi x)
    a = np.where(below, 1 - x, x)
    y = np.zeros_like(x)
    for _ in range(_SHIFT):  # digamma(a) = digamma(a + 1) - 1 / a
        low = a < _SHIFT
        y = np.where(low, y - 1 / a, y)
        a = np.where(low, a + 1, a)
    y = y + np.log(a) - 0.5 / a
    for j, b in enumerate(_BERNOULLI, 1):
        y = y - b / (2 * j) / a ** (2 * j)
    y = np.where(below, y - np.pi / np.tan(np.pi * (x - np.rint(x))), y)
    y = np.where(below & (x == np.rint(x)), np.nan, y)
    return np.where(x == 0, np.copysign(np.inf, -x), y)


@register
class Digamma(Elementwise):
    inputs = ("x",)
    saves = ("x",)
    ufunc = steps(in_double(_digamma))
    accepts = REAL
    result = "float"
    flops = 60.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * polygamma(1, x)."""
        return (multiply(grads[0], polygamma(1, saved.x)),)


# ---- polygamma ---------------------------------------------------------------------------------------------


def _zeta(s: int, a: Array) -> Array:
    """Hurwitz zeta, the sum over k of (a + k)^-s, for a >= 0: 10 terms, and the rest by Euler-Maclaurin."""
    y = np.zeros_like(a)
    for k in range(_SHIFT):
        y = y + (a + k) ** -s
    a = a + _SHIFT
    power = a**-s
    y = y + a ** (1 - s) / (s - 1) + power / 2
    factor = 1.0
    for j, b in enumerate(_BERNOULLI, 1):  # b / (2j)! * s (s + 1) … (s + 2j - 2) / a^(s + 2j - 1)
        factor *= (s + 2 * j - 2) / (2 * j) * ((s + 2 * j - 3) / (2 * j - 1) if j > 1 else 1.0)
        y = y + b * factor * power / a ** (2 * j - 1)
    return y


def _polygamma(n: int, x: Array) -> Array:
    """(-1)^s n! times the sum over k of (x + k)^-s, with s = n + 1.

    Terms below 0 are a finite sum, the difference of two infinite ones, with the sign (-1)^s.
    """
    s = n + 1
    sign = (-1.0) ** s
    below, floor = x <= 0, np.floor(x)
    pole = below & (x == floor)
    y = _zeta(s, np.where(below, np.where(pole, 0.0, x - floor), x))
    if below.any():
        other = _zeta(s, np.where(pole, 1.0, floor + 1 - x)) - _zeta(s, np.where(below, 1 - x, 1.0))
        y = y + np.where(below & ~pole, sign * other, 0.0)
    return sign * math.factorial(n) * y


def _polygamma_array(x: Array, n: Any, out: Any = None, order: str = "K") -> Array:
    x, orders = np.broadcast_arrays(x, n)
    result: Array = out if isinstance(out, np.ndarray) else np.empty(x.shape, x.dtype)
    for k in np.unique(orders):
        chosen = orders == k
        result[chosen] = _polygamma(int(k), x[chosen].astype(np.float64))
    return result


@register
class Polygamma(Elementwise):
    inputs = ("x", "n")
    saves = ("x", "n")
    ufunc = staticmethod(_polygamma_array)
    accepts = REAL
    result = "float"
    flops = 150.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * polygamma(n + 1, x)."""
        return (multiply(grads[0], polygamma(int(saved.n) + 1, saved.x)), None)


# ---- functions ---------------------------------------------------------------------------------------------


def lgamma(x: Tensor) -> Tensor:
    """Elementwise logarithm of the absolute value of the gamma function; gamma(n) = (n - 1)! for integers.

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype; inf at 0, at negative integers and at both infinities.

    Raises:
        DTypeError: x is complex.

    Memory: saves x for backward.
    Accuracy: 1e-14 relative to the larger of 1 and |y| in float64; to |y| itself near the zeros 1 and 2.
    Source: DLMF, chapter 5 (dlmf.nist.gov): 5.7.3 near 2, Stirling's series 5.11.1, reflection 5.5.3.

    Example:
        >>> tt.lgamma(tt.tensor([1.0, 5.0, -1.0])).tolist()  # log(4!) = 3.178...
        [0.0, 3.17805..., inf]
    """
    return unary(Lgamma, x)


def digamma(x: Tensor) -> Tensor:
    """Elementwise derivative of lgamma.

    Args:
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype; -inf at 0, inf at -0, NaN at negative integers.

    Raises:
        DTypeError: x is complex.

    Memory: saves x for backward.
    Accuracy: 1e-14 relative to the larger of 1 and |y| in float64, next to poles 1e-13.
    Source: DLMF, chapter 5 (dlmf.nist.gov): recurrence 5.5.2, asymptotic series 5.11.2, reflection 5.5.4.

    Example:
        >>> tt.digamma(tt.tensor([1.0, 2.0, 0.0])).tolist()
        [-0.57721..., 0.42278..., -inf]
    """
    return unary(Digamma, x)


def polygamma(n: int, x: Tensor) -> Tensor:
    """Elementwise derivative of order n of digamma.

    Args:
        n: the order, from 0 (digamma itself) to 30; its gradient is that of order n + 1.
        x: any shape, not complex; integers become float32.

    Returns:
        shape of x, a floating dtype; inf at 0 and at negative integers, -inf for even n.

    Raises:
        ArgumentError: n is not an integer from 0 to 30.
        DTypeError: x is complex.

    Memory: saves x for backward.
    Accuracy: 1e-13 relative in float64, but near the zeros that even n has below 0. On devices, in float32,
        results of high orders are 0 where the power of x underflows.
    Source: DLMF (dlmf.nist.gov): 5.15.1 is the sum, 25.11.5 its rest.

    Example:
        >>> tt.polygamma(1, tt.tensor([1.0, 0.5])).tolist()  # pi^2 / 6, pi^2 / 2
        [1.64493..., 4.93480...]
    """
    if n not in range(_MOST + 1):
        raise ArgumentError(
            f"polygamma: n is {n!r}", why=f"the order is an integer from 0 to {_MOST}", fix="polygamma(1, x)"
        )
    return apply(Polygamma, x, n) if n else digamma(x)
