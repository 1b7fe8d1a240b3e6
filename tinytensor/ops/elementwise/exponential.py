"""Exponentials, logarithms, logaddexp, tanh, sigmoid, softplus and the error function."""

from __future__ import annotations

import math
from functools import cache, reduce

import numpy as np

from tinytensor.dispatch.elementwise import REAL, Operand
from tinytensor.ops.elementwise.comparison import isinf, where
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["erf", "erfc", "exp", "expm1", "log", "log1p", "log2", "log10"]
__all__ += ["logaddexp", "sigmoid", "softplus", "tanh"]


@elementwise(np.exp, "exp(x)", dx=lambda g, y: g * y, result="float", flops=1, autocast="wide")
def exp(x: Tensor) -> Tensor:
    """Exponential, e to the power x.

    >>> tt.exp(tt.tensor([0.0, 1.0])).tolist()
    [1.0, 2.7182...]
    """


@elementwise(np.expm1, "expm1(x)", dx=lambda g, y: g * (y + 1.0), result="float", flops=1, autocast="wide")
def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, accurate also for small x.

    >>> tt.expm1(tt.tensor([0.0, 1e-12])).tolist()
    [0.0, 1e-12]
    """


@elementwise(np.log, "log(x)", dx=lambda g, x: g / x, result="float", flops=1, autocast="wide")
def log(x: Tensor) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below.

    >>> tt.log(tt.tensor([1.0, 10.0])).tolist()
    [0.0, 2.30258...]
    """


@elementwise(np.log1p, "log1p(x)", dx=lambda g, x: g / (x + 1.0), result="float", flops=1, autocast="wide")
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate also for small x; -inf at -1, NaN below.

    >>> tt.log1p(tt.tensor([0.0, 1e-12])).tolist()
    [0.0, 1e-12]
    """


@elementwise(
    np.log2, "log2(x)", dx=lambda g, x: g / (x * math.log(2.0)), result="float", flops=1, autocast="wide"
)
def log2(x: Tensor) -> Tensor:
    """Logarithm to base 2; -inf at 0, NaN below.

    >>> tt.log2(tt.tensor([1.0, 8.0])).tolist()
    [0.0, 3.0]
    """


@elementwise(
    np.log10, "log10(x)", dx=lambda g, x: g / (x * math.log(10.0)), result="float", flops=1, autocast="wide"
)
def log10(x: Tensor) -> Tensor:
    """Logarithm to base 10; -inf at 0, NaN below.

    >>> tt.log10(tt.tensor([1.0, 100.0])).tolist()
    [0.0, 2.0]
    """


@elementwise(
    np.logaddexp,
    "a == b ? a + A(0.6931471805599453) : a > b ? a + log1p(exp(b - a)) : b + log1p(exp(a - b))",
    # Equal infinities get half of the gradient each, as equal operands do; their difference would be nan.
    share=lambda a, b: sigmoid(where((a == b) & isinf(a + b), 0.0, a - b)),
    da=lambda g, share: g * share,
    db=lambda g, share: g * (1.0 - share),
    accepts=REAL,
    result="float",
    flops=4,
)
def logaddexp(a: Operand, b: Operand) -> Tensor:
    """log(exp(a) + exp(b)), without intermediate overflow. Equal infinities get half of the gradient each.

    >>> tt.logaddexp(tt.tensor([0.0, 1000.0]), tt.tensor([0.0, 1000.0])).tolist()
    [0.693147..., 1000.693...]
    """


@elementwise(np.tanh, "tanh(x)", dx=lambda g, y: g * (1.0 - y * y), result="float", flops=1)
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, in [-1, 1].

    >>> tt.tanh(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.76159...]
    """


@elementwise(
    lambda x: 1 / (1 + np.exp(-x)),  # exp may be inf; then the result is 0, as it should be
    "1 / (1 + A(exp(-x)))",
    dx=lambda g, y: g * (y * (1.0 - y)),
    accepts=REAL,
    result="float",
    flops=3,
)
def sigmoid(x: Tensor) -> Tensor:
    """Logistic function, in [0, 1].

    y = 1 / (1 + exp(-x))

    Accuracy: within 4 units in the last place; 0 below x = -88 in float32, where y would be subnormal.

    >>> tt.sigmoid(tt.tensor([0.0, 2.0])).tolist()
    [0.5, 0.88079...]
    """


@elementwise(
    lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "(x > 0 ? x : A(0)) + A(log1p(exp(-fabs(x))))",
    dx=lambda g, x: g * sigmoid(x),
    accepts=REAL,
    result="float",
    flops=3,
    autocast="wide",
)
def softplus(x: Tensor) -> Tensor:
    """Smooth approximation of relu, above 0.

    y = log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))

    Differs from: torch.nn.functional.softplus, which has a beta and is linear above a threshold.

    >>> tt.softplus(tt.tensor([0.0, 100.0])).tolist()
    [0.693147..., 100.0]
    """


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
    return reduce(lambda y, c: y * x + c, reversed(coefficients))  # type: ignore[arg-type]


def erf_of(x: Array) -> Array:
    below, above = _SERIES[x.dtype.char]
    near = _polynomial(below, x * x) * x
    size = np.abs(x)
    far = 1 - _polynomial(above, (1 / _HALF) / (size + 2) - _MIDDLE / _HALF) * np.exp(-(x * x))
    return np.where(size > 1, np.copysign(far, x), near)


@elementwise(
    erf_of,
    "erf(x)",
    dx=lambda g, x: g * (exp(-(x * x)) * (2 / math.sqrt(math.pi))),  # type: ignore[operator]
    accepts=REAL,
    result="float",
    flops=1,
)
def erf(x: Tensor) -> Tensor:
    """Error function, in [-1, 1].

    y = 2 / sqrt(pi) * integral of exp(-t²) from 0 to x

    Accuracy: within 4 units in the last place of float32 and float64.
    Source: Taylor series below 1; from 1 on, interpolation of erfc(x) exp(x²) at the Chebyshev nodes, as in
        Press et al., Numerical Recipes, 3rd edition, section 6.2.2.

    >>> tt.erf(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.84270...]
    """


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


def _erfc(numbers: Array) -> Array:
    x = numbers.astype(np.float64)
    size = np.minimum(np.abs(x), 30)
    near = 1 - x * _polynomial(_SERIES["d"][0], size * size)
    far = np.polynomial.chebyshev.chebval((1 / (size + 2) - _CENTER) / _REACH, _tail())
    far = far * _exp_of_minus_square(size) / (size + 2)
    return np.where(size < 0.5, near, np.where(x < 0, 2 - far, far)).astype(numbers.dtype)


@elementwise(
    _erfc,
    "erfc(x)",
    dx=lambda g, x: g * (exp(-(x * x)) * (-2 / math.sqrt(math.pi))),  # type: ignore[operator]
    accepts=REAL,
    result="float",
    flops=1,
)
def erfc(x: Tensor) -> Tensor:
    """Complementary error function, 1 - erf(x), in [0, 2], accurate also for large x.

    Accuracy: 5e-15 relative in float64, where y is not subnormal; float32 is computed in float64 on the CPU.
    Source: the Taylor series of erf below 1/2; from there on, interpolation of erfc(x) exp(x²) (x + 2) at the
        Chebyshev nodes, as in Press et al., Numerical Recipes, 3rd edition, section 6.2.2.

    >>> tt.erfc(tt.tensor([0.0, 5.0], dtype=tt.float64)).tolist()
    [1.0, 1.5374...e-12]
    """
