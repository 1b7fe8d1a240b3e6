"""PyTorch's names of elementwise functions."""

from __future__ import annotations

import math
from typing import Any

from tinytensor.dispatch.elementwise import Operand
from tinytensor.dtypes import finfo
from tinytensor.errors import ArgumentError
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
from tinytensor.ops.elementwise.comparison import (
    equal,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    logical_and,
    not_equal,
    where,
)
from tinytensor.ops.elementwise.rounding import trunc
from tinytensor.ops.views.manipulation import astype, clone
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "addcdiv",
    "addcmul",
    "clamp",
    "clamp_max",
    "clamp_min",
    "div",
    "eq",
    "ge",
    "gt",
    "le",
    "lerp",
    "lt",
    "mul",
    "nan_to_num",
    "ne",
    "neg",
    "sub",
    "true_divide",
]

# ---- other names of the same function ----------------------------------------------------------------------

clamp = clip
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
mul, neg, sub, true_divide = multiply, negative, subtract, divide


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
