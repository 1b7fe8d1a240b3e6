"""Rows of tinytensor/ops/elementwise/gamma.py."""

import math

import numpy as np

from tinytensor.op_table.row import INTS, Array, Row, floats, numbers, whole

MATRIX = (3, 4)
ALSO = (((),), ((0, 3),), ((3, 9000),))
LGAMMA = np.vectorize(math.lgamma, otypes=[np.float64])
_U = np.arange(-4, 5, 1 / 32)
POINTS = np.exp(_U - np.exp(-_U))
SHARES = POINTS * (1 + np.exp(-_U)) / 32


def integral(f: Array) -> Array:
    """From 0 to infinity, of f at `POINTS`: the trapezoidal rule in u, with t = exp(u - exp(-u))."""
    return np.asarray((f * SHARES).sum(-1))


def digamma(x: Array) -> Array:
    """log(x) - 1 / (2 x) - integral of 2 t / ((t^2 + x^2) (exp(2 pi t) - 1)), for x > 0 (Binet)."""
    x = np.asarray(x, np.float64)
    t = POINTS
    f = 2 * t * np.exp(-2 * np.pi * t) / -np.expm1(-2 * np.pi * t) / (t * t + x[..., None] ** 2)
    return np.asarray(np.log(x) - 0.5 / x - integral(f))


def polygamma(n: int, x: Array) -> Array:
    """(-1)^(n + 1) times the integral of t^n exp(-x t) / (1 - exp(-t)), for x > 0."""
    x = np.asarray(x, np.float64)
    return np.asarray((-1) ** n * integral(POINTS**n / np.expm1(-POINTS) * np.exp(-x[..., None] * POINTS)))


ROWS = [
    Row("lgamma", (floats(MATRIX, 0.5, 5.0),), numpy=LGAMMA, torch=True, also=ALSO),
    Row("lgamma:below", (floats(MATRIX, -1.8, -1.2),), numpy=LGAMMA, torch="torch.lgamma"),
    Row("digamma", (floats(MATRIX, 0.6, 5.0),), numpy=digamma, torch=True, also=ALSO),
    Row("polygamma", (floats(MATRIX, 0.6, 3.0),), lambda xp, x: xp.polygamma(1, x),
        numpy=lambda x: polygamma(1, x), torch=True, also=ALSO),
    Row("polygamma:2", (floats(MATRIX, 0.6, 3.0),), lambda xp, x: xp.polygamma(2, x),
        numpy=lambda x: polygamma(2, x), torch=True),
    *[
        Row(f"{name}:numbers", (numbers(MATRIX, 1, 3),), numpy=lambda x, f=reference: f(whole(x)),
            dtypes=INTS, grad=False)
        for name, reference in [("lgamma", LGAMMA), ("digamma", digamma)]
    ],
]  # fmt: skip
