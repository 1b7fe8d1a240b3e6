"""PyTorch's names of elementwise functions."""

from __future__ import annotations

import math
from typing import Any

from tinytensor.creation import full_like, ones_like, zeros_like
from tinytensor.dispatch.elementwise import Operand
from tinytensor.dtypes import bool_, complex128, finfo, float32, float64
from tinytensor.errors import ArgumentError, DTypeError
from tinytensor.ops.elementwise.arithmetic import (
    add,
    clip,
    divide,
    floor_divide,
    multiply,
    negative,
    remainder,
    subtract,
)
from tinytensor.ops.elementwise.bitwise import bitwise_invert
from tinytensor.ops.elementwise.comparison import (
    equal,
    greater,
    greater_equal,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    not_equal,
    where,
)
from tinytensor.ops.elementwise.exponential import logaddexp
from tinytensor.ops.elementwise.power import pow
from tinytensor.ops.elementwise.rounding import trunc
from tinytensor.ops.elementwise.sign_and_complex import abs, copysign, sign
from tinytensor.ops.elementwise.trigonometric import acos, acosh, asin, asinh, atan, atan2, atanh
from tinytensor.ops.views.manipulation import astype, clone
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "absolute",
    "addcdiv",
    "addcmul",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bitwise_not",
    "clamp",
    "clamp_max",
    "clamp_min",
    "deg2rad",
    "div",
    "eq",
    "exp2",
    "fix",
    "float_power",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "gcd",
    "ge",
    "gt",
    "isneginf",
    "isposinf",
    "isreal",
    "lcm",
    "ldexp",
    "le",
    "lerp",
    "logaddexp2",
    "logit",
    "lt",
    "mul",
    "nan_to_num",
    "ne",
    "neg",
    "rad2deg",
    "rsub",
    "sgn",
    "sinc",
    "sub",
    "true_divide",
    "xlogy",
]

# ---- other names of the same function ----------------------------------------------------------------------

absolute = abs
arccos, arccosh, arcsin, arcsinh, arctan, arctanh = acos, acosh, asin, asinh, atan, atanh
arctan2 = atan2
bitwise_not = bitwise_invert
clamp = clip
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
fix = trunc
mul, neg, sub, true_divide = multiply, negative, subtract, divide
sgn = sign


# ---- in a line or two --------------------------------------------------------------------------------------


def div(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Quotient x / y; rounded down with "floor", towards 0 with "trunc".

    Args:
        x, y: tensors or numbers that broadcast together.
        rounding_mode: None, "floor" or "trunc".

    Raises:
        ArgumentError: another mode.

    Example:
        >>> tt.div(tt.tensor([-7, 7]), 2, rounding_mode="trunc").tolist()
        [-3, 3]
    """
    if rounding_mode is None:
        return divide(x, y)
    if rounding_mode not in ("floor", "trunc"):
        raise ArgumentError(
            f"div: rounding_mode {rounding_mode!r}", why='it is None, "floor" or "trunc"', fix="leave it out"
        )
    down = floor_divide(x, y)
    if rounding_mode == "floor":
        return down
    if down.dtype.is_inexact:
        return trunc(divide(x, y))
    return add(down, astype(logical_and(less(down, 0), not_equal(remainder(x, y), 0)), down.dtype))


def clamp_min(x: Tensor, min: Operand) -> Tensor:
    """The larger of x and min, for each element.

    Args:
        x: any shape; not complex.
        min: a tensor or a number that broadcasts with x.

    Example:
        >>> tt.clamp_min(tt.tensor([-1.0, 2.0]), 0.0).tolist()
        [0.0, 2.0]
    """
    return clip(x, min)


def clamp_max(x: Tensor, max: Operand) -> Tensor:
    """The smaller of x and max, for each element.

    Args:
        x: any shape; not complex.
        max: a tensor or a number that broadcasts with x.

    Example:
        >>> tt.clamp_max(tt.tensor([-1.0, 2.0]), 0.0).tolist()
        [-1.0, 0.0]
    """
    return clip(x, None, max)


def lerp(x: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Linear interpolation x + weight * (end - x).

    Args:
        x, end: tensors that broadcast together.
        weight: a number or a tensor; 0 gives x, 1 gives end.

    Example:
        >>> tt.lerp(tt.tensor([0.0, 10.0]), tt.tensor([10.0, 20.0]), 0.25).tolist()
        [2.5, 12.5]
    """
    step = subtract(end, x)
    if not is_tensor(weight):
        return add(x, multiply(weight, step)) if weight < 0.5 else subtract(end, multiply(1 - weight, step))
    nearest = where(less(weight, 0.5), x, end)  # from which rounding leaves both ends as they are
    return add(nearest, multiply(where(less(weight, 0.5), weight, subtract(weight, 1)), step))


def _times(factor: Any, x: Tensor) -> Tensor:
    return x if factor == 1 else multiply(factor, x)


def addcmul(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: complex = 1) -> Tensor:
    """x + value * tensor1 * tensor2.

    Args:
        x, tensor1, tensor2: tensors that broadcast together.
        value: a number.

    Example:
        >>> tt.addcmul(tt.ones(2), tt.tensor([1.0, 2.0]), tt.tensor([3.0, 4.0]), value=10).tolist()
        [31.0, 81.0]
    """
    return add(x, multiply(_times(value, tensor1), tensor2))


def addcdiv(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: complex = 1) -> Tensor:
    """x + value * tensor1 / tensor2.

    Args:
        x, tensor1, tensor2: tensors that broadcast together.
        value: a number.

    Example:
        >>> tt.addcdiv(tt.ones(2), tt.tensor([1.0, 2.0]), tt.tensor([2.0, 4.0])).tolist()
        [1.5, 1.5]
    """
    return add(x, divide(_times(value, tensor1), tensor2))


def nan_to_num(x: Tensor, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """x with numbers for nan and the infinities.

    Args:
        x: any shape; not complex. Integers stay as they are.
        nan: in place of nan.
        posinf, neginf: in place of inf and -inf; None is the largest and the least number of the dtype.

    Example:
        >>> tt.nan_to_num(tt.tensor([float("nan"), float("inf"), 1.0]), posinf=9.0).tolist()
        [0.0, 9.0, 1.0]
    """
    if not x.dtype.is_floating:
        return clone(x)
    limits = finfo(x.dtype)
    y = where(isnan(x), nan, x)
    y = where(equal(y, math.inf), limits.max if posinf is None else posinf, y)
    return where(equal(y, -math.inf), limits.min if neginf is None else neginf, y)


def exp2(x: Tensor) -> Tensor:
    """2 to the power of x.

    Args:
        x: any shape.

    Example:
        >>> tt.exp2(tt.tensor([3.0, -1.0])).tolist()
        [8.0, 0.5]
    """
    return 2.0**x


def float_power(x: Tensor, exponent: Operand) -> Tensor:
    """x to a power, in float64; of complex numbers in complex128.

    Args:
        x: any shape.
        exponent: a tensor or a number.

    Example:
        >>> tt.float_power(tt.tensor([2, 3]), -1).dtype
        tinytensor.float64
    """
    is_complex = isinstance(exponent, complex) or "complex" in [
        y.dtype.kind for y in (x, exponent) if isinstance(y, Tensor)
    ]
    dtype = complex128 if is_complex else float64
    return pow(astype(x, dtype), astype(exponent, dtype) if isinstance(exponent, Tensor) else exponent)


def ldexp(x: Tensor, other: Tensor) -> Tensor:
    """x times 2 to the power of other.

    Args:
        x, other: tensors that broadcast together.

    Example:
        >>> tt.ldexp(tt.tensor([1.5]), tt.tensor([2])).tolist()
        [6.0]
    """
    return x * 2.0**other


def frac(x: Tensor) -> Tensor:
    """The part of x behind the point, with the sign of x.

    Args:
        x: any shape; floating.

    Example:
        >>> tt.frac(tt.tensor([2.5, -2.5])).tolist()
        [0.5, -0.5]
    """
    return x - trunc(x)


def fmod(x: Tensor, other: Operand) -> Tensor:
    """The remainder of x / other with the sign of x, as in C; `remainder` has the sign of other.

    Args:
        x: any shape; not complex.
        other: a tensor or a number.

    Example:
        >>> tt.fmod(tt.tensor([-7, 7]), 3).tolist()
        [-1, 1]
    """
    rest = remainder(x, other)
    if rest.dtype.is_floating:
        sign = copysign(ones_like(x), x)
        return sign * remainder(sign * x, abs(other) if is_tensor(other) else math.fabs(other))
    return where((rest != 0) & ((rest < 0) != (x < 0)), rest - other, rest)


def fmax(x: Tensor, other: Tensor) -> Tensor:
    """The larger of x and other, and the other number where one is nan.

    Args:
        x, other: tensors that broadcast together; not complex.

    Example:
        >>> tt.fmax(tt.tensor([1.0, math.nan]), tt.tensor([2.0, 0.0])).tolist()
        [2.0, 0.0]
    """
    return where(isnan(other) | (x >= other), x, other)


def fmin(x: Tensor, other: Tensor) -> Tensor:
    """The smaller of x and other, and the other number where one is nan.

    Args:
        x, other: tensors that broadcast together; not complex.

    Example:
        >>> tt.fmin(tt.tensor([1.0, math.nan]), tt.tensor([2.0, 0.0])).tolist()
        [1.0, 0.0]
    """
    return where(isnan(other) | (x <= other), x, other)


def gcd(x: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, by Euclid's algorithm.

    Args:
        x, other: integer tensors that broadcast together.

    Example:
        >>> tt.gcd(tt.tensor([12, -9]), tt.tensor([18, 0])).tolist()
        [6, 9]
    """
    a, b = x + other * 0, other + x * 0
    if a.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"gcd: a tensor of dtype {a.dtype}", why="divisors are integers", fix="x.long()")
    while (more := b != 0).any():
        a, b = where(more, b, a), where(more, remainder(a, where(more, b, 1)), 0)
    return abs(a)


def lcm(x: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, 0 where one of them is 0.

    Args:
        x, other: integer tensors that broadcast together.

    Example:
        >>> tt.lcm(tt.tensor([4, -3]), tt.tensor([6, 5])).tolist()
        [12, 15]
    """
    divisor = gcd(x, other)
    return abs(floor_divide(x, where(divisor == 0, 1, divisor)) * other)


def logaddexp2(x: Tensor, other: Tensor) -> Tensor:
    """log2(2 ** x + 2 ** other), without overflow.

    Args:
        x, other: tensors that broadcast together; floating.

    Example:
        >>> tt.logaddexp2(tt.tensor([3.0]), tt.tensor([3.0])).tolist()
        [4.0]
    """
    return logaddexp(x * math.log(2), other * math.log(2)) / math.log(2)


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid.

    Args:
        x: any shape; floating, in [0, 1].
        eps: clips x to [eps, 1 - eps] first.

    Example:
        >>> tt.logit(tt.tensor([0.5, 0.0]), eps=0.25).tolist()
        [0.0, -1.0986]
    """
    x = x if x.dtype.is_floating else astype(x, float32)
    x = x if eps is None else clip(x, eps, 1 - eps)
    x = x + where((x >= 0) & (x <= 1), zeros_like(x), math.nan)  # beyond, the gradient is nan, too
    return x.log() - (-x).log1p()


def sinc(x: Tensor) -> Tensor:
    """sin(pi * x) / (pi * x), 1 at 0.

    Args:
        x: any shape; floating.

    Example:
        >>> tt.sinc(tt.tensor([0.0, 0.5])).tolist()
        [1.0, 0.6366]
    """
    angle = where(x == 0, 1.0, x) * math.pi
    return where(x == 0, 1.0, angle.sin() / angle)


def xlogy(x: Tensor | float, other: Tensor | float) -> Tensor:
    """x * log(other), and 0 where x is 0, unless other is nan.

    Args:
        x, other: tensors, one of them may be a number, that broadcast together; floating.

    Example:
        >>> tt.xlogy(tt.tensor([0.0, 2.0]), tt.tensor([0.0, 1.0])).tolist()
        [0.0, 0.0]
    """
    like: Any = x if is_tensor(x) else other
    dtype = like.dtype if like.dtype.is_floating else float32
    factor, places = (y if is_tensor(y) else full_like(like, y, dtype=dtype) for y in (x, other))
    # only where log is not finite: elsewhere it is the slope at x = 0
    zero = (factor == 0) & ((places <= 0) | isinf(places))
    return factor * where(zero, 1.0, places).log()


def deg2rad(x: Tensor) -> Tensor:
    """Angles in degrees as radians.

    Args:
        x: any shape; floating.

    Example:
        >>> tt.deg2rad(tt.tensor([180.0])).tolist()
        [3.1416]
    """
    return x * (math.pi / 180)


def rad2deg(x: Tensor) -> Tensor:
    """Angles in radians as degrees.

    Args:
        x: any shape; floating.

    Example:
        >>> tt.rad2deg(tt.tensor([math.pi])).tolist()
        [180.0]
    """
    return x * (180 / math.pi)


def angle(x: Tensor) -> Tensor:
    """The angle of complex numbers, in radians; of real ones 0, or pi where they are negative.

    Args:
        x: any shape.

    Example:
        >>> tt.angle(tt.tensor([1j, -1.0])).tolist()
        [1.5708, 3.1416]
    """
    is_complex = x.dtype.kind == "complex"
    return atan2(x.imag, x.real) if is_complex else where(isnan(x), x, where(x < 0, math.pi, zeros_like(x)))


def isposinf(x: Tensor) -> Tensor:
    """Whether each element is inf.

    Args:
        x: any shape; not complex.

    Example:
        >>> tt.isposinf(tt.tensor([math.inf, -math.inf])).tolist()
        [True, False]
    """
    return isinf(x) & (x > 0)


def isneginf(x: Tensor) -> Tensor:
    """Whether each element is -inf.

    Args:
        x: any shape; not complex.

    Example:
        >>> tt.isneginf(tt.tensor([math.inf, -math.inf])).tolist()
        [False, True]
    """
    return isinf(x) & (x < 0)


def isreal(x: Tensor) -> Tensor:
    """Whether the imaginary part of each element is 0.

    Args:
        x: any shape.

    Example:
        >>> tt.isreal(tt.tensor([1j, 1.0])).tolist()
        [False, True]
    """
    return x.imag == 0 if x.dtype.kind == "complex" else x.new_ones(x.shape, dtype=bool_)


def rsub(x: Tensor, other: Operand, *, alpha: complex = 1) -> Tensor:
    """other - alpha * x.

    Args:
        x: any shape.
        other: a tensor or a number.
        alpha: a number.

    Example:
        >>> tt.rsub(tt.tensor([1, 2]), 10).tolist()
        [9, 8]
    """
    return subtract(other, _times(alpha, x))
