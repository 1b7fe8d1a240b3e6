"""Inverse normal CDF (quantile function), bitwise equal on every device. Independent of tensors.

Everything is +, -, *, / and sqrt, which IEEE 754 rounds correctly, in the order written here, with operands
and constants rounded to the dtype of the result, plus integer operations on the bits of a float. There is no
library logarithm: its last bits differ between devices. A compiler must not fuse a * b + c (CUDA:
-fmad=false, division and square root correctly rounded).

With q = p - 1/2 there are three rational functions: of 0.425**2 - q**2 if |q| <= 0.425, as for 85 % of all p;
else of r - 1.6, where r = sqrt(-log(min(p, 1 - p))), or of r - 5 if r > 5, which float32 does not reach.

Source: Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics
37(3); PPND7 for float32, PPND16 for float64. The logarithm is the series of the inverse hyperbolic tangent.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["inverse_normal"]

Array = NDArray[Any]
LOG_2 = 0.6931471805599453

Coefficients = tuple[float, ...]  # of a polynomial, constant first
Rational = tuple[Coefficients, Coefficients]  # numerator, denominator


class Kind(NamedTuple):
    """Parameters of float32 or float64: bit layout and coefficients."""

    integer: np.dtype[Any]  # signed, of the same width
    fraction_bits: int  # of the float format
    sqrt_half: int  # bits of sqrt(1/2), rounded
    log_terms: int  # of the series of the logarithm; the remainder is below 0.1 ulp
    center: Rational  # in 0.425**2 - q**2
    tail: Rational  # in r - 1.6
    far: Rational | None  # in r - 5


def _rational(text: str) -> Rational:
    """Parse `numerator / denominator`: coefficients separated by spaces."""
    numerator, denominator = text.split("/")
    return tuple(map(float, numerator.split())), tuple(map(float, denominator.split()))


FLOAT32 = Kind(
    integer=np.dtype(np.int32),
    fraction_bits=23,
    sqrt_half=0x3F3504F3,
    log_terms=5,
    center=_rational(
        """
        3.3871327179 5.0434271938e1 1.5929113202e2 5.910937472e1
        / 1 1.7895169469e1 7.8757757664e1 6.71875636e1
        """
    ),
    tail=_rational(
        """
        1.4234372777 2.75681539 1.3067284816 1.7023821103e-1
        / 1 7.370016425e-1 1.2021132975e-1
        """
    ),
    far=None,  # min(p, 1 - p) >= 2**-25 there, so r < 4.17
)

FLOAT64 = Kind(
    integer=np.dtype(np.int64),
    fraction_bits=52,
    sqrt_half=0x3FE6A09E667F3BCD,
    log_terms=10,
    center=_rational(
        """
        3.387132872796366608 1.3314166789178437745e2 1.9715909503065514427e3 1.3731693765509461125e4
        4.5921953931549871457e4 6.7265770927008700853e4 3.3430575583588128105e4 2.5090809287301226727e3
        / 1 4.2313330701600911252e1 6.871870074920579083e2 5.3941960214247511077e3
        2.1213794301586595867e4 3.930789580009271061e4 2.8729085735721942674e4 5.226495278852854561e3
        """
    ),
    tail=_rational(
        """
        1.42343711074968357734 4.6303378461565452959 5.7694972214606914055 3.64784832476320460504
        1.27045825245236838258 2.4178072517745061177e-1 2.27238449892691845833e-2 7.7454501427834140764e-4
        / 1 2.05319162663775882187 1.6763848301838038494 6.8976733498510000455e-1
        1.4810397642748007459e-1 1.51986665636164571966e-2 5.475938084995344946e-4 1.05075007164441684324e-9
        """
    ),
    far=_rational(
        """
        6.6579046435011037772 5.4637849111641143699 1.7848265399172913358 2.9656057182850489123e-1
        2.6532189526576123093e-2 1.2426609473880784386e-3 2.71155556874348757815e-5 2.01033439929228813265e-7
        / 1 5.9983220655588793769e-1 1.3692988092273580531e-1 1.48753612908506148525e-2
        7.868691311456132591e-4 1.8463183175100546818e-5 1.4215117583164458887e-7 2.04426310338993978564e-15
        """
    ),
)

KINDS = {np.dtype(np.float32): FLOAT32, np.dtype(np.float64): FLOAT64}


def inverse_normal(q: Array) -> None:
    """Replace q = p - 1/2 by the inverse normal CDF of p, in place.

    Args:
        q: shape (n,), float32 or float64, -1/2 < q < 1/2 and 1/2 - |q| exact, as for odd multiples of 2**-25
            (float32) or 2**-54 (float64).

    Accuracy: relative error below 5e-7 (float32, each of the 2**24 odd multiples) or 2e-15 (float64).
    """
    kind = KINDS[q.dtype]
    tail = np.flatnonzero(np.abs(q) > 0.425)  # 15 % of them
    outer = q[tail]  # (n_tail,)
    r = q * q
    np.subtract(0.180625, r, out=r)  # 0.425**2 - q**2
    q *= _polynomial(r, kind.center[0])
    q /= _polynomial(r, kind.center[1])

    r = np.abs(outer)
    np.subtract(0.5, r, out=r)  # min(p, 1 - p), exact
    r = np.sqrt(_minus_log(kind, r))
    x = _quotient(r - 1.6, kind.tail)
    if kind.far is not None:
        far = np.flatnonzero(r > 5.0)
        x[far] = _quotient(r[far] - 5.0, kind.far)
    q[tail] = np.copysign(x, outer)


def _quotient(r: Array, rational: Rational) -> Array:
    """Evaluate a rational function at r."""
    value = _polynomial(r, rational[0])
    value /= _polynomial(r, rational[1])
    return value


def _polynomial(x: Array, coefficients: Coefficients) -> Array:
    """Horner's rule: (… (c_n * x + c_(n-1)) * x + …) * x + c_0, each step rounded to the dtype of x."""
    value = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        value += coefficient
        value *= x
    value += coefficients[0]
    return value


def _minus_log(kind: Kind, p: Array) -> Array:
    """Return -log(p) for normal positive floats.

    p = 2**e * m with sqrt(1/2) <= m < sqrt(2); log(m) = 2 * artanh(s), s = (m - 1) / (m + 1), |s| < 0.172;
    -log(p) = -e * log(2) - s * (2 + 2/3 s**2 + 2/5 s**4 + …).
    """
    pattern = p.view(kind.integer) - kind.sqrt_half
    exponent = (pattern >> kind.fraction_bits).astype(p.dtype)
    pattern &= (1 << kind.fraction_bits) - 1
    pattern += kind.sqrt_half
    m = pattern.view(p.dtype)
    s = (m - 1) / (m + 1)
    s *= _polynomial(s * s, tuple(2 / (2 * i + 1) for i in range(kind.log_terms)))
    exponent *= -LOG_2
    exponent -= s
    return exponent
