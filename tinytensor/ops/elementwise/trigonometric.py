"""Trigonometric and hyperbolic functions and their inverses, in radians; tanh is in exponential.py."""

from __future__ import annotations

import numpy as np

from tinytensor.dispatch.elementwise import REAL, Operand
from tinytensor.ops.elementwise.comparison import where
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.ops.elementwise.power import hypot, sqrt
from tinytensor.tensor import Tensor

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "sin", "sinh", "tan"]


@elementwise(np.sin, "sin(x)", dx=lambda g, x: g * cos(x), result="float", flops=1)
def sin(x: Tensor) -> Tensor:
    """Sine, in [-1, 1]; NaN for infinities.

    >>> tt.sin(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.84147...]
    """


@elementwise(np.cos, "cos(x)", dx=lambda g, x: -(g * sin(x)), result="float", flops=1)
def cos(x: Tensor) -> Tensor:
    """Cosine, in [-1, 1]; NaN for infinities.

    >>> tt.cos(tt.tensor([0.0, 1.0])).tolist()
    [1.0, 0.54030...]
    """


@elementwise(np.tan, "tan(x)", dx=lambda g, y: g * (y * y + 1.0), result="float", flops=1, autocast="wide")
def tan(x: Tensor) -> Tensor:
    """Tangent; NaN for infinities.

    >>> tt.tan(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 1.55740...]
    """


@elementwise(
    np.arcsin,
    "asin(x)",
    dx=lambda g, x: g / sqrt((1.0 - x) * (x + 1.0)),  # a product, which avoids cancellation for x near 1
    result="float",
    flops=1,
    autocast="wide",
)
def asin(x: Tensor) -> Tensor:
    """Inverse sine, in [-pi/2, pi/2]; NaN outside [-1, 1]. The derivative at the ends is infinite.

    >>> tt.asin(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 1.57079...]
    """


@elementwise(
    np.arccos,
    "acos(x)",
    dx=lambda g, x: -(g / sqrt((1.0 - x) * (x + 1.0))),
    result="float",
    flops=1,
    autocast="wide",
)
def acos(x: Tensor) -> Tensor:
    """Inverse cosine, in [0, pi]; NaN outside [-1, 1]. The derivative at the ends is infinite.

    >>> tt.acos(tt.tensor([0.0, 1.0])).tolist()
    [1.57079..., 0.0]
    """


@elementwise(np.arctan, "atan(x)", dx=lambda g, x: g / (x * x + 1.0), result="float", flops=1)
def atan(x: Tensor) -> Tensor:
    """Inverse tangent, in [-pi/2, pi/2].

    >>> tt.atan(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.78539...]
    """


@elementwise(
    np.arctan2,
    "atan2(a, b)",
    radius=lambda a, b: hypot(a, b),
    length=lambda radius: where(radius == 0.0, 1.0, radius),  # the gradient at the origin is 0, not 0 / 0
    turn=lambda g, length: g / length,  # two divisions: the square of the length may overflow
    da=lambda turn, b, length: turn * (b / length),
    db=lambda turn, a, length: -(turn * (a / length)),
    accepts=REAL,
    result="float",
    flops=1,
)
def atan2(a: Operand, b: Operand) -> Tensor:
    """Angle of the point (b, a) from the positive first axis, with the sign of a, in [-pi, pi].

    The derivatives at a = b = 0 are 0.

    >>> tt.atan2(tt.tensor([1.0, -1.0]), tt.tensor([1.0, -1.0])).tolist()
    [0.78539..., -2.35619...]
    """


@elementwise(np.sinh, "sinh(x)", dx=lambda g, x: g * cosh(x), result="float", flops=1, autocast="wide")
def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine.

    >>> tt.sinh(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 1.17520...]
    """


@elementwise(np.cosh, "cosh(x)", dx=lambda g, x: g * sinh(x), result="float", flops=1, autocast="wide")
def cosh(x: Tensor) -> Tensor:
    """Hyperbolic cosine, at least 1.

    >>> tt.cosh(tt.tensor([0.0, 1.0])).tolist()
    [1.0, 1.54308...]
    """


@elementwise(np.arcsinh, "asinh(x)", dx=lambda g, x: g / hypot(x, 1.0), result="float", flops=1)
def asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine.

    >>> tt.asinh(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.88137...]
    """


@elementwise(
    np.arccosh, "acosh(x)", dx=lambda g, x: g / (sqrt(x - 1.0) * sqrt(x + 1.0)), result="float", flops=1
)
def acosh(x: Tensor) -> Tensor:
    """Inverse hyperbolic cosine; NaN below 1. The derivative at 1 is infinite.

    >>> tt.acosh(tt.tensor([1.0, 2.0])).tolist()
    [0.0, 1.31695...]
    """


@elementwise(np.arctanh, "atanh(x)", dx=lambda g, x: g / ((1.0 - x) * (x + 1.0)), result="float", flops=1)
def atanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; infinite at -1 and 1, NaN outside.

    >>> tt.atanh(tt.tensor([0.0, 0.5])).tolist()
    [0.0, 0.54930...]
    """
