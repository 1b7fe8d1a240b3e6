"""Arithmetic: the operators, maximum, minimum, clip; also the accumulation of gradients.

Powers are in power.py, since their gradient needs the logarithm; absolute values in sign_and_complex.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.autograd.graph import GradientOps
from tinytensor.dispatch import copies
from tinytensor.dispatch.elementwise import NUMERIC, REAL, REAL_NUMERIC, Operand, op_of
from tinytensor.dtypes import DType, iinfo
from tinytensor.errors import ArgumentError
from tinytensor.events import observers
from tinytensor.op import Shape, Spec, Tensor
from tinytensor.ops.elementwise.comparison import where
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.ops.inplace import copy_, write
from tinytensor.ops.views.manipulation import cast, copied, sum_to
from tinytensor.runtime.cpu.arrays import Array, dividing, fill, negated
from tinytensor.runtime.cpu.kernels import HostKernels

__all__ = [
    "add",
    "clip",
    "divide",
    "floor_divide",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "positive",
    "remainder",
    "subtract",
]

kernels = HostKernels("arithmetic")


@elementwise(
    np.add,
    "a + b",
    integer="wrapping<A>(a) + wrapping<A>(b)",
    da=lambda g: g,
    db=lambda g: g,
    kernels=kernels,
    flops=1,
)
def add(a: Operand, b: Operand) -> Tensor:
    """Sum; `a + b`. For bools: logical or.

    >>> tt.add(tt.tensor([1.0, 2.0]), 1).tolist()
    [2.0, 3.0]
    """


@elementwise(
    np.subtract,
    "a - b",
    integer="wrapping<A>(a) - wrapping<A>(b)",
    da=lambda g: g,
    db=lambda g: -g,
    accepts=NUMERIC,
    flops=1,
)
def subtract(a: Operand, b: Operand) -> Tensor:
    """Difference; `a - b`.

    >>> tt.subtract(tt.tensor([1.0, 2.0]), 1).tolist()
    [0.0, 1.0]
    """


@elementwise(
    np.multiply,
    "a * b",
    integer="wrapping<A>(a) * wrapping<A>(b)",
    da=lambda g, b: g * b,
    db=lambda g, a: g * a,
    kernels=kernels,
    flops=1,
)
def multiply(a: Operand, b: Operand) -> Tensor:
    """Product; `a * b`. For bools: logical and.

    Memory: saves each operand for backward only if the other one requires a gradient.

    >>> tt.multiply(tt.tensor([1.0, 2.0]), 3).tolist()
    [3.0, 6.0]
    """


@elementwise(
    np.true_divide, "a / b", da=lambda g, b: g / b, db=lambda da, a, b: -(da * a / b), result="float", flops=1
)
def divide(a: Operand, b: Operand) -> Tensor:
    """Quotient; `a / b`. Division by zero gives inf or nan.

    >>> tt.divide(tt.tensor([1, 2]), 2).tolist()
    [0.5, 1.0]
    """


def _whole(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """Floor division or remainder that raises on integer division by 0, where NumPy warns and returns 0."""

    def division(a: Any, b: Any) -> Any:
        if (a if isinstance(a, np.ndarray) else b).dtype.kind == "f":
            return ufunc(a, b)
        try:
            return dividing().run(ufunc, a, b)  # in a context of its own, which no Ctrl-C can leave set
        except FloatingPointError:
            raise ArgumentError(
                f"{ufunc.__name__}: an integer is divided by 0",
                why="integer dtypes have neither inf nor nan",
                fix="cast to a float first, or divide by tt.where(b == 0, 1, b)",
            ) from None

    return division


@elementwise(
    _whole(np.floor_divide), "floor_quotient(a, b)", flat=True, accepts=REAL_NUMERIC, refuses=True, flops=1
)
def floor_divide(a: Operand, b: Operand) -> Tensor:
    """Quotient, rounded down; `a // b`. Its gradient is 0.

    Raises:
        ArgumentError: an integer is divided by 0; floats give inf or nan.

    >>> tt.floor_divide(tt.tensor([7, -7]), 2).tolist()
    [3, -4]
    """


@elementwise(
    _whole(np.remainder),
    "floor_remainder(a, b)",
    da=lambda g: g,
    db=lambda g, a, b: -(g * (a // b)),
    accepts=REAL_NUMERIC,
    refuses=True,
    flops=1,
)
def remainder(a: Operand, b: Operand) -> Tensor:
    """Remainder of the division a / b, with the sign of b; `a % b`.

    remainder = a - floor(a / b) * b, as in Python.

    Raises:
        ArgumentError: an integer is divided by 0; floats give nan.

    >>> tt.remainder(tt.tensor([7, -7]), 3).tolist()
    [1, 2]
    """


@elementwise(negated, "-x", integer="0 - wrapping<A>(x)", dx=lambda g: -g, accepts=NUMERIC, flops=0)
def negative(x: Tensor) -> Tensor:
    """Negation; `-x`.

    >>> tt.negative(tt.tensor([1.0, -2.0])).tolist()
    [-1.0, 2.0]
    """


@elementwise(np.positive, "x", dx=lambda g: g, accepts=NUMERIC, flops=0)
def positive(x: Tensor) -> Tensor:
    """A copy of a numeric tensor; `+x`.

    >>> tt.positive(tt.tensor([1.0, -2.0])).tolist()
    [1.0, -2.0]
    """


def _ahead(g: Tensor, first: Operand, second: Operand) -> Tensor:
    """g where first > second or either is nan, g / 2 where they are equal, else 0."""
    return where(first < second, 0.0, where(first == second, g * 0.5, g))


@elementwise(
    np.maximum,
    "a > b || a != a ? a : b",  # of equal operands (0 and -0) the second one
    da=lambda g, a, b: _ahead(g, a, b),
    db=lambda g, a, b: _ahead(g, b, a),
    accepts=REAL,
    flops=0,
)
def maximum(a: Operand, b: Operand) -> Tensor:
    """Maximum of two operands; NaN where one is NaN. Where both are equal, each gets half of the gradient.

    >>> tt.maximum(tt.tensor([1.0, 3.0]), 2.0).tolist()
    [2.0, 3.0]
    """


@elementwise(
    np.minimum,
    "a < b || a != a ? a : b",
    da=lambda g, a, b: _ahead(g, b, a),
    db=lambda g, a, b: _ahead(g, a, b),
    accepts=REAL,
    flops=0,
)
def minimum(a: Operand, b: Operand) -> Tensor:
    """Minimum of two operands; NaN where one is NaN. Where both are equal, each gets half of the gradient.

    >>> tt.minimum(tt.tensor([1.0, 3.0]), 2.0).tolist()
    [1.0, 2.0]
    """


@elementwise(
    np.clip,
    "Minimum()(Maximum()(x, min), max)",
    dx=lambda g, x, min, max: where((x >= min) & (x <= max), g, 0.0),
    dmin=lambda g, x, min, max: where((x < min) & (min <= max), g, 0.0),
    dmax=lambda g, x, min, max: where((x > max) | (max < min), g, 0.0),
    accepts=REAL_NUMERIC,
    flops=0,
)
def _clip(x: Operand, min: Operand, max: Operand) -> Tensor:
    """minimum(maximum(x, min), max)."""


def _limits(x: Tensor, low: Operand | None, high: Operand | None) -> tuple[Operand, Operand]:
    """Bounds for clip; None becomes the lowest or highest value of the result's dtype."""
    if low is None or high is None:
        given = [t.item() if isinstance(t, np.generic) else t for t in (x, low, high) if t is not None]
        kinds = [Spec(t.shape, t.dtype) if isinstance(t, Tensor) else type(t) for t in given]
        dtype = op_of(_clip).compute_dtype(*kinds)
        if dtype.is_floating:
            ends: tuple[Operand, Operand] = -math.inf, math.inf
        else:
            info = iinfo(dtype)
            ends = info.min, info.max
        low, high = ends[0] if low is None else low, ends[1] if high is None else high
    return low, high


def clip(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Clamp elements to the range from min to max: `minimum(maximum(x, min), max)`.

    Args:
        max: upper bound, likewise. Where min > max, the result is max.

    Returns:
        The broadcast shape and the promoted dtype; NaN propagates. The gradient goes to x inside the range,
            bounds included, and to a bound where it replaces x.

    >>> tt.clip(tt.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0).tolist()
    [-1.0, 0.5, 1.0]
    """
    return _clip(x, *_limits(x, min, max))


# ---- gradients: accumulation, reduction to a shape, copies ------------------------------------------------


def add_into(total: Tensor, grad: Tensor) -> None:
    """total += grad, in the dtype of total; for backward passes that are not recorded."""
    write(op_of(add), "gradient accumulation", total, total, cast(grad, total.storage.dtype))


def add_arrays(y: Array, a: Array, b: Array) -> None:
    """y = a + b of arrays."""
    fill(np.add, y, a, b, host=op_of(add).host)


def fit(grad: Tensor, shape: Shape, dtype: DType) -> Tensor:
    """Sum a gradient over broadcast axes and cast it to the dtype of its operand."""
    return cast(sum_to(grad, shape), dtype)


def kept_gradient(grad: Tensor) -> Tensor:
    """A copy of a gradient for `.grad`, where the memory of the gradient itself cannot be reused."""
    if observers:
        nbytes = grad.layout.size * grad.storage.dtype.itemsize
        copies.note("backward", "memory", nbytes, "the memory of a leaf's gradient cannot be reused")
    return copied(grad)


GRADIENT_OPS = GradientOps(add, add_into, fit, kept_gradient)


def zero_(x: Tensor) -> Tensor:
    """Fill x with zeros in place; returns x."""
    return copy_(x, 0)


def clip_(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x = clip(x, min, max), in the memory of x; returns x."""
    return write(op_of(_clip), "clip_", x, x, *_limits(x, min, max))
