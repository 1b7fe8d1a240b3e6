"""Comparisons, logical ops, isfinite, isinf, isnan, signbit, isclose, and `where`.

Independent of arithmetic: only `where` is differentiable, and it just routes the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dispatch.elementwise import NUMBERS, REAL, Operand, op_of
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import bool_
from tinytensor.errors import DTypeError
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "allclose",
    "equal",
    "greater",
    "greater_equal",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
    "where",
]


@elementwise(np.equal, "a == b", result="bool", flops=0)
def equal(a: Operand, b: Operand) -> Tensor:
    """Equality; `a == b`. NaN is not equal to anything, including NaN.

    >>> tt.equal(tt.tensor([1, 2, 3]), 2).tolist()
    [False, True, False]
    """


@elementwise(np.not_equal, "a != b", result="bool", flops=0)
def not_equal(a: Operand, b: Operand) -> Tensor:
    """Inequality; `a != b`. True where one is NaN.

    >>> tt.not_equal(tt.tensor([1, 2, 3]), 2).tolist()
    [True, False, True]
    """


@elementwise(np.less, "a < b", result="bool", accepts=REAL, flops=0)
def less(a: Operand, b: Operand) -> Tensor:
    """Less than; `a < b`. False where one is NaN.

    >>> tt.less(tt.tensor([1, 2, 3]), 2).tolist()
    [True, False, False]
    """


@elementwise(np.less_equal, "a <= b", result="bool", accepts=REAL, flops=0)
def less_equal(a: Operand, b: Operand) -> Tensor:
    """Less than or equal; `a <= b`. False where one is NaN.

    >>> tt.less_equal(tt.tensor([1, 2, 3]), 2).tolist()
    [True, True, False]
    """


@elementwise(np.greater, "a > b", result="bool", accepts=REAL, flops=0)
def greater(a: Operand, b: Operand) -> Tensor:
    """Greater than; `a > b`. False where one is NaN.

    >>> tt.greater(tt.tensor([1, 2, 3]), 2).tolist()
    [False, False, True]
    """


@elementwise(np.greater_equal, "a >= b", result="bool", accepts=REAL, flops=0)
def greater_equal(a: Operand, b: Operand) -> Tensor:
    """Greater than or equal; `a >= b`. False where one is NaN.

    >>> tt.greater_equal(tt.tensor([1, 2, 3]), 2).tolist()
    [False, True, True]
    """


@elementwise(np.logical_and, "a != A(0) && b != A(0)", result="bool", flops=0)
def logical_and(a: Operand, b: Operand) -> Tensor:
    """Logical and; elements other than 0 are true, also NaN.

    >>> tt.logical_and(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
    [False, False, True]
    """


@elementwise(np.logical_or, "a != A(0) || b != A(0)", result="bool", flops=0)
def logical_or(a: Operand, b: Operand) -> Tensor:
    """Logical or; elements other than 0 are true, also NaN.

    >>> tt.logical_or(tt.tensor([0, 1, 0]), tt.tensor([1, 0, 0])).tolist()
    [True, True, False]
    """


@elementwise(np.logical_xor, "(a != A(0)) != (b != A(0))", result="bool", flops=0)
def logical_xor(a: Operand, b: Operand) -> Tensor:
    """Logical exclusive or; elements other than 0 are true, also NaN.

    >>> tt.logical_xor(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
    [True, True, False]
    """


@elementwise(np.logical_not, "x == A(0)", result="bool", flops=0)
def logical_not(x: Tensor) -> Tensor:
    """Logical not: True where x is 0 or False.

    >>> tt.logical_not(tt.tensor([0, 1, 2])).tolist()
    [True, False, False]
    """


@elementwise(np.isfinite, "x - x == 0", integer="true", result="bool", flops=0)
def isfinite(x: Tensor) -> Tensor:
    """Whether elements are finite: neither infinite nor NaN.

    >>> tt.isfinite(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
    [True, False, False]
    """


@elementwise(np.isinf, "fabs(x) == infinity<A>()", integer="false", result="bool", flops=0)
def isinf(x: Tensor) -> Tensor:
    """Whether elements are infinite, of either sign.

    >>> tt.isinf(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
    [False, True, False]
    """


@elementwise(np.isnan, "x != x", result="bool", flops=0)
def isnan(x: Tensor) -> Tensor:
    """Whether elements are NaN.

    >>> tt.isnan(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
    [False, False, True]
    """


@elementwise(np.signbit, "copysign(A(1), x) < 0", integer="x < A(0)", result="bool", accepts=REAL, flops=0)
def signbit(x: Tensor) -> Tensor:
    """Whether the sign bit is set, as it is for negative numbers and -0.0.

    >>> tt.signbit(tt.tensor([-1.0, -0.0, 0.0])).tolist()
    [True, True, False]
    """


@elementwise(
    np.isclose,
    "(fabs(a - b) <= atol + product(rtol, fabs(b)) && b - b == 0) || a == b",
    result="bool",
    flops=0,
)
def _isclose(a: Operand, b: Operand, rtol: Operand, atol: Operand) -> Tensor:
    """Whether |a - b| <= atol + rtol |b|, and b is finite; or both are equal."""


def isclose(
    a: Operand, b: Operand, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether elements are equal up to a tolerance.

    |a - b| <= atol + rtol |b|, so b is the reference; infinities are close if they are equal.

    >>> tt.isclose(tt.tensor([1.0, 2.0]), tt.tensor([1.000001, 2.1])).tolist()
    [True, False]
    """
    close = _isclose(a, b, float(rtol), float(atol))
    return logical_or(close, logical_and(not_equal(a, a), not_equal(b, b))) if equal_nan else close


def allclose(
    a: Operand, b: Operand, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are equal up to a tolerance, as a Python bool; True for empty tensors.

    >>> tt.allclose(tt.ones(2), 1.000001)
    True
    """
    return bool(values(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)).all())


@elementwise(
    np.where,
    "condition ? a : b",
    da=lambda g, condition: where(condition, g, 0.0),
    db=lambda g, condition: where(condition, 0.0, g),
    kernels=HostKernels("comparison"),
    untyped=1,
    flops=0,
)
def _where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """a where the condition is True, else b."""


WHERE = op_of(_where)


def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """Selection: a where the condition is True, else b.

    Args:
        a, b: tensors or numbers; all three broadcast together.

    Returns:
        The broadcast shape, the promoted dtype of a and b (for two Python numbers: their default dtype). The
        gradient goes to the selected operand; the other gets 0.

    >>> x = tt.tensor([-1.0, 2.0])
    >>> tt.where(x > 0, x, 0.0).tolist()
    [0.0, 2.0]
    """
    if not is_tensor(condition) or condition.storage.dtype is not bool_:
        kind = f"a tensor of dtype {condition.dtype}" if is_tensor(condition) else type(condition).__name__
        raise DTypeError(
            f"where: the condition is {kind}",
            why="the condition selects elements by True or False",
            fix="compare first, for example tt.where(x > 0, a, b)",
        )
    return _where(condition, a, b)


# ---- operators ---------------------------------------------------------------------------------------------

_COMPARED = (*NUMBERS, np.generic, np.ndarray, list, tuple)  # arrays and lists raise, not compare unequal


def _eq(x: Tensor, y: object) -> Any:
    """x == y; NotImplemented for other types, such as None, for which Python compares identities."""
    return equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented


def _ne(x: Tensor, y: object) -> Any:
    """x != y."""
    return not_equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented
