"""Comparisons, logical ops, isfinite, isinf, isnan, signbit, isclose, and `where`.

Independent of arithmetic: only `where` is differentiable, and it just routes the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import apply, binary, unary
from tinytensor.dispatch.elementwise import (
    NUMBERS,
    REAL,
    Elementwise,
    Operand,
    on_device,
)
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.transfer import values
from tinytensor.dispatch.watch import watched
from tinytensor.dtypes import bool_
from tinytensor.errors import DTypeError
from tinytensor.op import register
from tinytensor.runtime.cpu.arrays import Array
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


class Question(Elementwise):
    """Base class of the ops whose result is bool."""

    result = "bool"

    flops = 0.0


@register
class Equal(Question):
    inputs = ("a", "b")
    ufunc = np.equal
    formula = "{0} == {1}"


@register
class NotEqual(Question):
    inputs = ("a", "b")
    ufunc = np.not_equal
    formula = "{0} != {1}"


@register
class Less(Question):
    inputs = ("a", "b")
    ufunc = np.less
    formula = "{0} < {1}"
    accepts = REAL


@register
class LessEqual(Question):
    inputs = ("a", "b")
    ufunc = np.less_equal
    formula = "{0} <= {1}"
    accepts = REAL


@register
class Greater(Question):
    inputs = ("a", "b")
    ufunc = np.greater
    formula = "{0} > {1}"
    accepts = REAL


@register
class GreaterEqual(Question):
    inputs = ("a", "b")
    ufunc = np.greater_equal
    formula = "{0} >= {1}"
    accepts = REAL


@register
class LogicalAnd(Question):
    inputs = ("a", "b")
    ufunc = np.logical_and


@register
class LogicalOr(Question):
    inputs = ("a", "b")
    ufunc = np.logical_or


@register
class LogicalXor(Question):
    inputs = ("a", "b")
    ufunc = np.logical_xor


@register
class LogicalNot(Question):
    inputs = ("x",)
    ufunc = np.logical_not


@register
class Isfinite(Question):
    inputs = ("x",)
    ufunc = np.isfinite


@register
class Isinf(Question):
    inputs = ("x",)
    ufunc = np.isinf


@register
class Isnan(Question):
    inputs = ("x",)
    ufunc = np.isnan


@register
class Signbit(Question):
    inputs = ("x",)
    ufunc = np.signbit
    accepts = REAL


def _isclose(a: Any, b: Any, rtol: Any, atol: Any, out: Any = None, order: Any = "K") -> Any:
    """np.isclose with `out=`."""
    close = np.asarray(np.isclose(a, b, rtol, atol), order=order)
    if not isinstance(out, np.ndarray):
        return close
    np.copyto(out, close)
    return out


@register
class Isclose(Question):
    inputs = ("a", "b", "rtol", "atol")
    ufunc = staticmethod(_isclose)


def choose(condition: Array, a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
    """np.where with `out=`, branch-free: out = b ^ ((a ^ b) & mask), with a mask of all ones or all zeros.

    Selecting element by element takes ten times as long where branch prediction fails.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not isinstance(out, np.ndarray):
        if max(condition.size, a.size, b.size) < 1024:
            return np.asarray(np.where(condition, a, b), order=order)
        out = np.empty(np.broadcast_shapes(condition.shape, a.shape, b.shape), a.dtype)
    if out.size < 1024 or a.itemsize > 8:  # few elements, or complex128: no integer is as wide
        np.copyto(out, b)
        np.copyto(out, a, where=condition)
        return out
    kind = f"i{a.itemsize}"
    mask, bits, a, b = (
        np.negative(condition.view("i1"), out=np.empty(condition.shape, "i1")),
        out.view(kind),
        a.view(kind),
        b.view(kind),
    )
    if not b.ndim and not b:  # b is often 0
        np.bitwise_and(a, mask, out=bits)
    elif not a.ndim and not a:
        np.bitwise_and(b, np.invert(mask, out=mask), out=bits)
    else:
        np.bitwise_xor(a, b, out=bits)
        np.bitwise_and(bits, mask, out=bits)
        np.bitwise_xor(bits, b, out=bits)
    return out


@register
class Where(Elementwise):
    inputs = ("condition", "a", "b")
    saves = ("condition",)
    ufunc = staticmethod(choose)
    formula = "{0} ? {1} : {2}"
    untyped = 1
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad where the condition is True, db = grad where it is False; else 0."""
        (grad,) = grads
        condition = saved.condition
        return (
            None,
            where(condition, grad, 0.0) if needs[1] else None,
            where(condition, 0.0, grad) if needs[2] else None,
        )


def equal(a: Operand, b: Operand) -> Tensor:
    """Elementwise equality; `a == b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool. NaN is not equal to anything, including NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.equal(tt.tensor([1, 2, 3]), 2).tolist()
        [False, True, False]
    """
    return binary(Equal, a, b)


def not_equal(a: Operand, b: Operand) -> Tensor:
    """Elementwise inequality; `a != b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool. True where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.not_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [True, False, True]
    """
    return binary(NotEqual, a, b)


def less(a: Operand, b: Operand) -> Tensor:
    """Elementwise less than; `a < b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.less(tt.tensor([1, 2, 3]), 2).tolist()
        [True, False, False]
    """
    return binary(Less, a, b)


def less_equal(a: Operand, b: Operand) -> Tensor:
    """Elementwise less than or equal; `a <= b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.less_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [True, True, False]
    """
    return binary(LessEqual, a, b)


def greater(a: Operand, b: Operand) -> Tensor:
    """Elementwise greater than; `a > b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.greater(tt.tensor([1, 2, 3]), 2).tolist()
        [False, False, True]
    """
    return binary(Greater, a, b)


def greater_equal(a: Operand, b: Operand) -> Tensor:
    """Elementwise greater than or equal; `a >= b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Example:
        >>> tt.greater_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [False, True, True]
    """
    return binary(GreaterEqual, a, b)


def logical_and(a: Operand, b: Operand) -> Tensor:
    """Elementwise logical and; nonzero elements are true.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.logical_and(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
        [False, False, True]
    """
    return apply(LogicalAnd, a, b)


def logical_or(a: Operand, b: Operand) -> Tensor:
    """Elementwise logical or; nonzero elements are true.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.logical_or(tt.tensor([0, 1, 0]), tt.tensor([1, 0, 0])).tolist()
        [True, True, False]
    """
    return apply(LogicalOr, a, b)


def logical_xor(a: Operand, b: Operand) -> Tensor:
    """Elementwise logical exclusive or; nonzero elements are true.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.logical_xor(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
        [True, True, False]
    """
    return apply(LogicalXor, a, b)


def logical_not(x: Tensor) -> Tensor:
    """Elementwise logical not: True where x is 0 or False.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.logical_not(tt.tensor([0, 1, 2])).tolist()
        [True, False, False]
    """
    return unary(LogicalNot, x)


def isfinite(x: Tensor) -> Tensor:
    """Elementwise test for finite values: neither infinite nor NaN.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.isfinite(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [True, False, False]
    """
    return unary(Isfinite, x)


def isinf(x: Tensor) -> Tensor:
    """Elementwise test for infinity of either sign.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.isinf(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [False, True, False]
    """
    return unary(Isinf, x)


def isnan(x: Tensor) -> Tensor:
    """Elementwise test for NaN.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is not a tensor.

    Example:
        >>> tt.isnan(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [False, False, True]
    """
    return unary(Isnan, x)


def signbit(x: Tensor) -> Tensor:
    """Elementwise test for the sign bit, which is set for negative numbers and -0.0.

    Args:
        x: any shape, not complex.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is complex.

    Example:
        >>> tt.signbit(tt.tensor([-1.0, -0.0, 0.0])).tolist()
        [True, True, False]
    """
    return unary(Signbit, x)


def isclose(
    a: Operand, b: Operand, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Elementwise equality up to a tolerance.

    |a - b| <= atol + rtol |b|, so b is the reference; infinities are close if they are equal.

    Args:
        a, b: tensors or numbers that broadcast together.
        rtol: tolerance relative to b.
        atol: absolute tolerance.
        equal_nan: whether NaN is close to NaN.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.isclose(tt.tensor([1.0, 2.0]), tt.tensor([1.000001, 2.1])).tolist()
        [True, False]
    """
    close = apply(Isclose, a, b, float(rtol), float(atol))
    return logical_or(close, logical_and(not_equal(a, a), not_equal(b, b))) if equal_nan else close


def allclose(
    a: Operand, b: Operand, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are equal up to a tolerance; see `isclose`.

    Args:
        a, b: tensors or numbers that broadcast together.
        rtol: tolerance relative to b.
        atol: absolute tolerance.
        equal_nan: whether NaN is close to NaN.

    Returns:
        A Python bool; True for empty tensors.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither a tensor nor a number.

    Example:
        >>> tt.allclose(tt.ones(2), 1.000001)
        True
    """
    return bool(values(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)).all())


def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """Elementwise selection: a where the condition is True, else b.

    Args:
        condition: bool tensor.
        a, b: tensors or numbers; all three broadcast together.

    Returns:
        The broadcast shape, the promoted dtype of a and b (for two Python numbers: their default dtype). The
        gradient goes to the selected operand; the other gets 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the condition is not a bool tensor.

    Memory: saves the condition for backward.

    Example:
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
    return apply(Where, condition, a, b)


# ---- operators ---------------------------------------------------------------------------------------------

_COMPARED = (*NUMBERS, np.generic, np.ndarray, list, tuple)  # arrays and lists raise, not compare unequal


def _eq(x: Tensor, y: object) -> Any:
    """x == y; NotImplemented for other types, such as None, for which Python compares identities."""
    return equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented


def _ne(x: Tensor, y: object) -> Any:
    """x != y."""
    return not_equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented


def write_where(x: Tensor, condition: Tensor, value: Any) -> None:
    """x = where(condition, value, x) on a device, in place; does not record or bump the version."""
    operands = condition, value, x

    def run() -> Sequence[Any]:
        on_device(Where, operands, view_of(x), x.storage.dtype, untyped=1)
        return (x,)

    watched("where", x.storage.device, operands, {}, run)
