"""Elementwise arithmetic: the operators, maximum, minimum, clip; also the accumulation of gradients.

Powers are in power.py, since their gradient needs the logarithm; absolute values in sign_and_complex.py.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Algebra, Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply, binary, unary
from tinytensor.dispatch.cpu import do
from tinytensor.dispatch.elementwise import (
    NUMERIC,
    REAL,
    REAL_NUMERIC,
    Elementwise,
    Operand,
    checked_operands,
    on_device,
    result_dtype,
)
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.watch import watched, watchers
from tinytensor.dtypes import DType, iinfo
from tinytensor.errors import ArgumentError
from tinytensor.op import HostCall, register
from tinytensor.ops.elementwise.comparison import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_or,
    where,
)
from tinytensor.ops.inplace import copy_, inplace, store
from tinytensor.ops.views.manipulation import cast, copied, sum_to
from tinytensor.runtime.cpu.arrays import Array, dividing, fill, narrow, negated, silent, widen
from tinytensor.runtime.cpu.fused import formula_of
from tinytensor.runtime.cpu.graph import graphs
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.shapes import Shape
from tinytensor.tensor import Tensor, arr, empty

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


def flat(grad: Tensor) -> Tensor:
    """Zero gradient of a piecewise constant function."""
    zeros = empty(grad.layout.shape, grad.storage.dtype, device=grad.storage.device)
    store(zeros, 0)
    return zeros


@register
class Add(Elementwise):
    inputs = ("a", "b")
    ufunc = np.add
    formula = "{0} + {1}"
    flops = 1.0

    @staticmethod
    def host(y: Array, a: Array, b: Array) -> HostCall:
        return partial(kernels.add, y, a, b)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad, db = grad."""
        return grads[0], grads[0]


@register
class Subtract(Elementwise):
    inputs = ("a", "b")
    ufunc = np.subtract
    formula = "{0} - {1}"
    accepts = NUMERIC
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad, db = -grad."""
        (grad,) = grads
        return grad, negative(grad) if needs[1] else None


@register
class Multiply(Elementwise):
    inputs = ("a", "b")
    saves = ("a?b", "b?a")
    ufunc = np.multiply
    formula = "{0} * {1}"
    flops = 1.0

    @staticmethod
    def host(y: Array, a: Array, b: Array) -> HostCall:
        return partial(kernels.multiply, y, a, b)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad * b, db = grad * a."""
        (grad,) = grads
        return (multiply(grad, saved.b) if needs[0] else None, multiply(grad, saved.a) if needs[1] else None)


@register
class Divide(Elementwise):
    inputs = ("a", "b")
    saves = ("b", "a?b")
    ufunc = np.true_divide
    formula = "{0} / {1}"
    result = "float"
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad / b, db = -grad * a / b**2."""
        da = divide(grads[0], saved.b)
        return da, negative(divide(multiply(da, saved.a), saved.b)) if needs[1] else None


def _whole(ufunc: np.ufunc) -> Any:
    """Floor division or remainder that raises on integer division by 0, where NumPy warns and returns 0."""

    def division(a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
        if (a if isinstance(a, np.ndarray) else b).dtype.kind == "f":
            return ufunc(a, b, out=out, order=order)
        try:
            # not into out, which may be an operand; in a context of its own, which no Ctrl-C can leave set
            quotient = np.asarray(dividing().run(ufunc, a, b, order=order))
        except FloatingPointError:
            raise ArgumentError(
                f"{ufunc.__name__}: an integer is divided by 0",
                why="integer dtypes have neither inf nor nan",
                fix="cast to a float first, or divide by tt.where(b == 0, 1, b)",
            ) from None
        if not isinstance(out, np.ndarray):
            return quotient
        np.copyto(out, quotient)
        return out

    return staticmethod(division)


@register
class FloorDivide(Elementwise):
    inputs = ("a", "b")
    ufunc = _whole(np.floor_divide)
    refuses = True
    accepts = REAL_NUMERIC
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = 0, db = 0: the function is piecewise constant."""
        zeros = flat(grads[0])
        return zeros, zeros


@register
class Remainder(Elementwise):
    inputs = ("a", "b")
    saves = ("a?b", "b?b")
    ufunc = _whole(np.remainder)
    refuses = True
    accepts = REAL_NUMERIC
    flops = 1.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad, db = -grad * floor(a / b)."""
        (grad,) = grads
        return grad, negative(multiply(grad, floor_divide(saved.a, saved.b))) if needs[1] else None


@register
class Negative(Elementwise):
    inputs = ("x",)
    ufunc = staticmethod(negated)
    formula = "-{0}"
    accepts = NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = -grad."""
        return (negative(grads[0]),)


@register
class Positive(Elementwise):
    inputs = ("x",)
    ufunc = np.positive
    formula = "{0}"
    accepts = NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad."""
        return grads


def _ahead(grad: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """grad where first > second or either is nan, grad / 2 where they are equal, else 0."""
    return where(less(first, second), 0.0, where(equal(first, second), multiply(grad, 0.5), grad))


@register
class Maximum(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b")
    ufunc = np.maximum
    formula = "{0} > {1} || {0} != {0} ? {0} : {1}"
    accepts = REAL
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad where a > b, db = grad where b > a; where they are equal, each gets half of grad."""
        (grad,) = grads
        a, b = saved.a, saved.b
        return _ahead(grad, a, b) if needs[0] else None, _ahead(grad, b, a) if needs[1] else None


@register
class Minimum(Elementwise):
    inputs = ("a", "b")
    saves = ("a", "b")
    ufunc = np.minimum
    formula = "{0} < {1} || {0} != {0} ? {0} : {1}"
    accepts = REAL
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad where a < b, db = grad where b < a; where they are equal, each gets half of grad."""
        (grad,) = grads
        a, b = saved.a, saved.b
        return _ahead(grad, b, a) if needs[0] else None, _ahead(grad, a, b) if needs[1] else None


@register
class Clip(Elementwise):
    inputs = ("x", "min", "max")
    saves = ("x", "min", "max")
    ufunc = np.clip
    accepts = REAL_NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad where min <= x <= max, dmin = grad where x < min <= max, dmax = grad where x > max or max
        < min; else 0.
        """
        (grad,) = grads
        x, low, high = saved.x, saved.min, saved.max
        dx = dlow = dhigh = None
        if needs[0]:  # the bounds are included
            dx = where(logical_and(greater_equal(x, low), less_equal(x, high)), grad, 0.0)
        if needs[1]:
            dlow = where(logical_and(less(x, low), less_equal(low, high)), grad, 0.0)
        if needs[2]:
            dhigh = where(logical_or(greater(x, high), less(high, low)), grad, 0.0)
        return dx, dlow, dhigh


def add(a: Operand, b: Operand) -> Tensor:
    """Elementwise sum; `a + b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape and the promoted dtype. For bools: logical or.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.add(tt.tensor([1.0, 2.0]), 1).tolist()
        [2.0, 3.0]
    """
    return binary(Add, a, b)


def subtract(a: Operand, b: Operand) -> Tensor:
    """Elementwise difference; `a - b`.

    Args:
        a, b: tensors or numbers that broadcast together; not bool.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: both operands are bool, or one is neither a tensor nor a number.

    Example:
        >>> tt.subtract(tt.tensor([1.0, 2.0]), 1).tolist()
        [0.0, 1.0]
    """
    return binary(Subtract, a, b)


def multiply(a: Operand, b: Operand) -> Tensor:
    """Elementwise product; `a * b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape and the promoted dtype. For bools: logical and.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Memory: saves each operand for backward only if the other one requires a gradient.

    Example:
        >>> tt.multiply(tt.tensor([1.0, 2.0]), 3).tolist()
        [3.0, 6.0]
    """
    return binary(Multiply, a, b)


def divide(a: Operand, b: Operand) -> Tensor:
    """Elementwise quotient; `a / b`. Integers are cast to float32 first.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, a floating dtype. Division by zero gives inf or nan.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.divide(tt.tensor([1, 2]), 2).tolist()
        [0.5, 1.0]
    """
    return binary(Divide, a, b)


def floor_divide(a: Operand, b: Operand) -> Tensor:
    """Elementwise quotient, rounded down; `a // b`.

    Args:
        a, b: tensors or numbers that broadcast together; not bool, not complex.

    Returns:
        The broadcast shape and the promoted dtype. Its gradient is 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: both operands are bool, or one is complex or neither a tensor nor a number.
        ArgumentError: an integer is divided by 0; floats give inf or nan.

    Example:
        >>> tt.floor_divide(tt.tensor([7, -7]), 2).tolist()
        [3, -4]
    """
    return apply(FloorDivide, a, b)


def remainder(a: Operand, b: Operand) -> Tensor:
    """Elementwise remainder of the division a / b, with the sign of b; `a % b`.

    remainder = a - floor(a / b) * b, as in Python.

    Args:
        a, b: tensors or numbers that broadcast together; not bool, not complex.

    Returns:
        The broadcast shape and the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: both operands are bool, or one is complex or neither a tensor nor a number.
        ArgumentError: an integer is divided by 0; floats give nan.

    Example:
        >>> tt.remainder(tt.tensor([7, -7]), 3).tolist()
        [1, 2]
    """
    return apply(Remainder, a, b)


def negative(x: Tensor) -> Tensor:
    """Elementwise negation; `-x`.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.negative(tt.tensor([1.0, -2.0])).tolist()
        [-1.0, 2.0]
    """
    return unary(Negative, x)


def positive(x: Tensor) -> Tensor:
    """A copy of a numeric tensor; `+x`.

    Args:
        x: any shape; not bool.

    Returns:
        shape and dtype of x.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.positive(tt.tensor([1.0, -2.0])).tolist()
        [1.0, -2.0]
    """
    return unary(Positive, x)


def maximum(a: Operand, b: Operand) -> Tensor:
    """Elementwise maximum of two tensors.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape and the promoted dtype. NaN where one is NaN. Where both are
            equal, each gets half of the gradient.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.maximum(tt.tensor([1.0, 3.0]), 2.0).tolist()
        [2.0, 3.0]
    """
    return binary(Maximum, a, b)


def minimum(a: Operand, b: Operand) -> Tensor:
    """Elementwise minimum of two tensors.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape and the promoted dtype. NaN where one is NaN. Where both are
            equal, each gets half of the gradient.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.minimum(tt.tensor([1.0, 3.0]), 2.0).tolist()
        [1.0, 2.0]
    """
    return binary(Minimum, a, b)


def _limits(x: Tensor, low: Operand | None, high: Operand | None) -> tuple[Operand, Operand]:
    """Bounds for clip; None becomes the lowest or highest value of the result's dtype."""
    if low is None or high is None:
        given = [t for t in (x, low, high) if t is not None]
        _, dtypes, kinds, _ = checked_operands(Clip, given)
        dtype = result_dtype(Clip, dtypes, kinds)
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
        x: any shape; not complex.
        min: lower bound, a number or a tensor that broadcasts with x; None for no bound.
        max: upper bound, likewise. Where min > max, the result is max.

    Returns:
        The broadcast shape and the promoted dtype; NaN propagates. The gradient goes to x inside the range,
            bounds included, and to a bound where it replaces x.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither tensor nor number; x and the bounds are bool.

    Memory: saves x and the bounds for backward.

    Example:
        >>> tt.clip(tt.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0).tolist()
        [-1.0, 0.5, 1.0]
    """
    return apply(Clip, x, *_limits(x, min, max))


# ---- gradients: accumulation, reduction to a shape, copies ------------------------------------------------


def add_into(total: Tensor, grad: Tensor) -> None:
    """total += grad, not recorded and in the dtype of total, which does not overlap itself as grad may."""
    grad = cast(grad, total.storage.dtype)
    if watchers:
        watched("add", total.storage.device, (total, grad), {}, lambda: (_added(total, grad),))
    else:
        _added(total, grad)
    total.storage.bump("gradient accumulation")


def _added(total: Tensor, grad: Tensor) -> Tensor:
    """total, after `add_into`."""
    dtype = total.storage.dtype
    if total.storage.device is not cpu:
        on_device(Add, (total, grad), view_of(total), dtype)
        return total
    if graphs:
        target, added = arr(total), arr(grad)
        formula = (
            None if dtype.narrow else formula_of(Add.formula, np.add, target, (target, added), None, Add.name)
        )
        do(partial(_add_arrays, dtype), target, added, writes=(total,), formula=formula)
    else:
        _add_arrays(dtype, arr(total), arr(grad))
    return total


def _add_arrays(dtype: DType, target: Array, grad: Array) -> None:
    if dtype.narrow:
        narrow(silent().run(np.add, widen(target, dtype), widen(grad, dtype)), dtype, target)
    else:
        silent().run(np.add, target, grad, out=target)


def add_arrays(y: Array, a: Array, b: Array) -> None:
    """y = a + b of arrays."""
    fill(np.add, y, a, b, host=Add.host)


def fit(grad: Tensor, shape: Shape, dtype: DType) -> Tensor:
    """Sum a gradient over broadcast axes and cast it to the dtype of its operand."""
    return cast(sum_to(grad, shape), dtype)


def kept_gradient(grad: Tensor) -> Tensor:
    """A copy of a gradient for `.grad`, where the memory of the gradient itself cannot be reused."""
    if copies.listener is not None:
        nbytes = grad.layout.size * grad.storage.dtype.itemsize
        copies.note("backward", "memory", nbytes, "the memory of a leaf's gradient cannot be reused")
    return copied(grad)


ALGEBRA = Algebra(add, add_into, fit, kept_gradient)


def zero_(x: Tensor) -> Tensor:
    """Fill x with zeros in place; returns x."""
    return copy_(x, 0)


def clip_(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x = clip(x, min, max), in the memory of x; returns x."""
    return inplace(Clip, x, *_limits(x, min, max))
