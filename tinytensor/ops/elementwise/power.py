"""Powers and roots: pow, square, reciprocal, sqrt, rsqrt, hypot."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytensor.dispatch.elementwise import NUMERIC, REAL, Operand
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for
from tinytensor.dtypes import DType
from tinytensor.errors import ArgumentError
from tinytensor.ops.elementwise.comparison import where
from tinytensor.ops.elementwise.declaration import elementwise, flat
from tinytensor.ops.elementwise.exponential import log
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["hypot", "pow", "reciprocal", "rsqrt", "sqrt", "square"]


def _fraction(exponent: int) -> ArgumentError:
    return ArgumentError(
        f"pow: an integer is raised to a negative integer, {exponent}",
        why="the result is a fraction, which integer dtypes cannot represent",
        fix="cast to a float first: x.astype(tt.float32) ** -1",
    )


def _root(x: Array) -> Any:
    """x to the power 0.5: np.sqrt, but inf at -inf and 0.0 at -0.0, as pow in C."""
    if x.dtype.kind == "c":
        return np.sqrt(x)
    root = np.asarray(np.sqrt(x) + 0.0)
    np.copyto(root, np.inf, where=x == -np.inf)
    return root


# Exponents for which another function is up to fifty times as fast as np.power.
_SHORT: dict[float, Any] = {0.5: _root, 1.0: np.positive, 2.0: np.square, 3.0: lambda a: np.square(a) * a}


def _power(a: Any, b: Any) -> Any:
    """np.power, faster for common exponents; raises ArgumentError for negative integer exponents."""
    if isinstance(a, np.ndarray) and np.ndim(b) == 0:
        exponent = b if isinstance(b, (int, float)) else b.item()
        if exponent in _SHORT:
            return _SHORT[exponent](a)
        if exponent == -1 and a.dtype.kind == "f":
            return np.reciprocal(a)
    kind = b.dtype.kind if isinstance(b, (np.ndarray, np.generic)) else "f"
    if kind == "i" and np.size(a) and np.size(b) and (lowest := np.min(b)) < 0:
        raise _fraction(int(lowest))
    return np.power(a, b)


def _check_exponents(launch: Launch, operands: Sequence[View | bytes], dtype: DType) -> None:
    exponents = operands[1]
    if dtype.kind != "int":
        return
    if not isinstance(exponents, View):
        number = int.from_bytes(exponents[: dtype.itemsize], sys.byteorder, signed=True)
        if number < 0:
            raise _fraction(number)
    elif exponents.size:
        exponents = launch.dense(exponents, op="pow")
        bounds = launch.bounds(0, 0, _fraction)
        grid = blocks_for(exponents.size, BLOCK)
        launch("check_exponents", dtype, grid=grid, args=(exponents, bounds, exponents.size))


def _in_base(g: Tensor, a: Tensor, b: Operand) -> Tensor:
    """g * (b * a**(b - 1)); 0 where b = 0, also at a = 0, where this would be 0 * inf."""
    if not isinstance(b, (int, float)):
        still = (a == 0.0) & (b == 0.0)
        return g * (b * pow(a, where(still, 0.0, b - 1.0)))
    return flat(g) if b == 0 else g * ((a if b == 2 else pow(a, b - 1)) * b)


def _log_of_base(a: Operand, b: Tensor) -> Operand:
    """log(a); 0 where a = 0 and b >= 0: the derivative of a**b in b is 0 there, not 0 * -inf."""
    if isinstance(a, (int, float)):
        if a > 0:
            return math.log(a)
        return math.nan if a else where(b >= 0.0, flat(b), -math.inf)
    return log(where((a == 0.0) & (b >= 0.0), 1.0, a))


@elementwise(
    _power,
    "power(a, b)",
    da=_in_base,
    log_a=_log_of_base,
    db=lambda g, y, log_a: g * (y * log_a),
    check=_check_exponents,
    accepts=NUMERIC,
    refuses=True,
    flops=1,
    autocast="wide",
)
def pow(a: Operand, b: Operand) -> Tensor:
    """Power; `a ** b`. NaN for a fractional power of a negative number.

    At a = 0 the derivative in b is 0 for b >= 0.

    Raises:
        ArgumentError: an integer is raised to a negative integer.

    Accuracy: the exponents 2, 3, 0.5 and -1 use products, roots and reciprocals, which are exact or rounded
        once or twice.

    >>> tt.pow(tt.tensor([1.0, 2.0]), 3).tolist()
    [1.0, 8.0]
    """


@elementwise(
    np.square,
    "x * x",
    integer="wrapping<A>(x) * wrapping<A>(x)",
    dx=lambda g, x: g * (x * 2.0),
    accepts=NUMERIC,
    flops=1,
)
def square(x: Tensor) -> Tensor:
    """Square.

    >>> tt.square(tt.tensor([1.0, -3.0])).tolist()
    [1.0, 9.0]
    """


@elementwise(
    np.reciprocal, "1 / x", dx=lambda g, y: -(g * square(y)), result="float", flops=1, autocast="wide"
)
def reciprocal(x: Tensor) -> Tensor:
    """Reciprocal, 1 / x; inf at 0.

    >>> tt.reciprocal(tt.tensor([2.0, 4.0])).tolist()
    [0.5, 0.25]
    """


@elementwise(np.sqrt, "sqrt(x)", dx=lambda g, y: g / (y * 2.0), result="float", flops=1)
def sqrt(x: Tensor) -> Tensor:
    """Square root; NaN below 0. The derivative at 0 is inf.

    >>> tt.sqrt(tt.tensor([4.0, 9.0])).tolist()
    [2.0, 3.0]
    """


@elementwise(
    lambda x: np.reciprocal(np.sqrt(x)),
    "1 / A(sqrt(x))",  # CUDA's rsqrt is faster, but has an error of up to 2 ulp
    dx=lambda g, y: g * (pow(y, 3) * -0.5),  # type: ignore[operator]
    accepts=REAL,
    result="float",
    flops=2,
    autocast="wide",
)
def rsqrt(x: Tensor) -> Tensor:
    """Reciprocal square root, 1 / sqrt(x); inf at 0, NaN below.

    >>> tt.rsqrt(tt.tensor([4.0, 16.0])).tolist()
    [0.5, 0.25]
    """


@elementwise(
    np.hypot,
    "hypot(a, b)",
    length=lambda y: where(y == 0.0, 1.0, y),  # the gradient at the origin is 0, not 0 / 0
    da=lambda g, a, length: g * (a / length),
    db=lambda g, b, length: g * (b / length),
    accepts=REAL,
    result="float",
    flops=1,
)
def hypot(a: Operand, b: Operand) -> Tensor:
    """sqrt(a² + b²), without intermediate overflow. The derivatives at a = b = 0 are 0.

    >>> tt.hypot(tt.tensor([3.0]), 4.0).tolist()
    [5.0]
    """
