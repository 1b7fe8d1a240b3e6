"""Comparisons, logic, questions about single elements, and the choice between two values.

Knows no arithmetic: nothing here has a gradient of its own but `where`, which passes it on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.elementwise import (
    NUMBERS,
    REAL,
    Elementwise,
    Operand,
    binary,
    elementwise,
    on_device,
    unary,
)
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.transfer import values
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
    """What the ops of this module share that answer with a bool."""

    result = "bool"
    of_float32 = bool_
    flops = 0.0


@register
class Equal(Question):
    inputs = ("a", "b")
    ufunc = np.equal


@register
class NotEqual(Question):
    inputs = ("a", "b")
    ufunc = np.not_equal


@register
class Less(Question):
    inputs = ("a", "b")
    ufunc = np.less
    accepts = REAL


@register
class LessEqual(Question):
    inputs = ("a", "b")
    ufunc = np.less_equal
    accepts = REAL


@register
class Greater(Question):
    inputs = ("a", "b")
    ufunc = np.greater
    accepts = REAL


@register
class GreaterEqual(Question):
    inputs = ("a", "b")
    ufunc = np.greater_equal
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


def _isclose(a: Any, b: Any, rtol: Any, atol: Any, out: Any = None, order: str = "K") -> Any:
    """np.isclose with `out=`."""
    close = np.asarray(np.isclose(a, b, rtol, atol))
    if not isinstance(out, np.ndarray):
        return close
    np.copyto(out, close)
    return out


@register
class Isclose(Question):
    inputs = ("a", "b", "rtol", "atol")
    ufunc = staticmethod(_isclose)


def choose(condition: Array, a: Any, b: Any, out: Any = None, order: str = "K") -> Any:
    """np.where with `out=`, on the bits of the elements: out = b ^ ((a ^ b) & mask), a mask being all ones or
    all zeros. To choose element by element takes ten times as long where the processor cannot guess ahead.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not isinstance(out, np.ndarray):
        if max(condition.size, a.size, b.size) < 1024:
            return np.where(condition, a, b)
        out = np.empty(np.broadcast_shapes(condition.shape, a.shape, b.shape), a.dtype)
    if out.size < 1024 or a.itemsize > 8:  # a few elements, or complex128, as wide as no integer
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
    if not b.ndim and not b:  # often the other value is 0
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
    untyped = 1
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad where the condition holds, db = grad where it does not; else 0."""
        (grad,) = grads
        condition = saved.condition
        return (
            None,
            where(condition, grad, 0.0) if needs[1] else None,
            where(condition, 0.0, grad) if needs[2] else None,
        )


def equal(a: Operand, b: Operand) -> Tensor:
    """Whether elements are equal; `a == b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool. NaN equals nothing, not even itself.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.equal(tt.tensor([1, 2, 3]), 2).tolist()
        [False, True, False]
    """
    return binary(Equal, a, b)


def not_equal(a: Operand, b: Operand) -> Tensor:
    """Whether elements differ; `a != b`.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool. NaN differs from everything.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.not_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [True, False, True]
    """
    return binary(NotEqual, a, b)


def less(a: Operand, b: Operand) -> Tensor:
    """Whether elements of a lie below those of b; `a < b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither tensor nor number.

    Example:
        >>> tt.less(tt.tensor([1, 2, 3]), 2).tolist()
        [True, False, False]
    """
    return binary(Less, a, b)


def less_equal(a: Operand, b: Operand) -> Tensor:
    """Whether elements of a do not lie above those of b; `a <= b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither tensor nor number.

    Example:
        >>> tt.less_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [True, True, False]
    """
    return binary(LessEqual, a, b)


def greater(a: Operand, b: Operand) -> Tensor:
    """Whether elements of a lie above those of b; `a > b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither tensor nor number.

    Example:
        >>> tt.greater(tt.tensor([1, 2, 3]), 2).tolist()
        [False, False, True]
    """
    return binary(Greater, a, b)


def greater_equal(a: Operand, b: Operand) -> Tensor:
    """Whether elements of a do not lie below those of b; `a >= b`.

    Args:
        a, b: tensors or numbers that broadcast together; not complex.

    Returns:
        The broadcast shape, bool. False where one is NaN.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither tensor nor number.

    Example:
        >>> tt.greater_equal(tt.tensor([1, 2, 3]), 2).tolist()
        [False, True, True]
    """
    return binary(GreaterEqual, a, b)


def logical_and(a: Operand, b: Operand) -> Tensor:
    """Whether both elements are true, that is, not 0.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.logical_and(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
        [False, False, True]
    """
    return binary(LogicalAnd, a, b)


def logical_or(a: Operand, b: Operand) -> Tensor:
    """Whether one of two elements is true, that is, not 0.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.logical_or(tt.tensor([0, 1, 0]), tt.tensor([1, 0, 0])).tolist()
        [True, True, False]
    """
    return binary(LogicalOr, a, b)


def logical_xor(a: Operand, b: Operand) -> Tensor:
    """Whether exactly one of two elements is true, that is, not 0.

    Args:
        a, b: tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, bool.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.logical_xor(tt.tensor([0, 1, 2]), tt.tensor([1, 0, 3])).tolist()
        [True, True, False]
    """
    return binary(LogicalXor, a, b)


def logical_not(x: Tensor) -> Tensor:
    """Whether elements are 0 (or False).

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is no tensor.

    Example:
        >>> tt.logical_not(tt.tensor([0, 1, 2])).tolist()
        [True, False, False]
    """
    return unary(LogicalNot, x)


def isfinite(x: Tensor) -> Tensor:
    """Whether elements are neither infinite nor NaN.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is no tensor.

    Example:
        >>> tt.isfinite(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [True, False, False]
    """
    return unary(Isfinite, x)


def isinf(x: Tensor) -> Tensor:
    """Whether elements are infinite, of either sign.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is no tensor.

    Example:
        >>> tt.isinf(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [False, True, False]
    """
    return unary(Isinf, x)


def isnan(x: Tensor) -> Tensor:
    """Whether elements are NaN.

    Args:
        x: any shape and dtype.

    Returns:
        shape of x, bool.

    Raises:
        DTypeError: x is no tensor.

    Example:
        >>> tt.isnan(tt.tensor([1.0, float('inf'), float('nan')])).tolist()
        [False, False, True]
    """
    return unary(Isnan, x)


def signbit(x: Tensor) -> Tensor:
    """Whether the sign bit is set: of negative numbers, and of -0.0.

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
    """Whether elements are equal up to a tolerance.

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
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.isclose(tt.tensor([1.0, 2.0]), tt.tensor([1.000001, 2.1])).tolist()
        [True, False]
    """
    close = elementwise(Isclose, a, b, float(rtol), float(atol))
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
        A Python bool; True where there are no elements.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is neither tensor nor number.

    Example:
        >>> tt.allclose(tt.ones(2), 1.000001)
        True
    """
    return bool(values(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)).all())


def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """Elements of a where the condition holds, else of b.

    Args:
        condition: bool tensor.
        a, b: tensors or numbers; all three broadcast together.

    Returns:
        The broadcast shape, the promoted dtype of a and b (of two Python numbers: their default dtype). The
        gradient goes to the value that was chosen, and 0 to the other.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the condition is not a bool tensor.

    Memory: keeps the condition for backward.

    Example:
        >>> x = tt.tensor([-1.0, 2.0])
        >>> tt.where(x > 0, x, 0.0).tolist()
        [0.0, 2.0]
    """
    if not is_tensor(condition) or condition.storage.dtype is not bool_:
        kind = f"a tensor of dtype {condition.dtype}" if is_tensor(condition) else type(condition).__name__
        raise DTypeError(
            f"where: the condition is {kind}",
            why="each element is chosen by True or False",
            fix="compare first, for example tt.where(x > 0, a, b)",
        )
    return elementwise(Where, condition, a, b)


# ---- operators ---------------------------------------------------------------------------------------------

_COMPARED = (*NUMBERS, np.generic, np.ndarray, list, tuple)  # arrays and lists raise: False would be a lie


def _eq(x: Tensor, y: object) -> Any:
    """x == y; Python compares identities where y is something else altogether, such as None."""
    return equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented


def _ne(x: Tensor, y: object) -> Any:
    """x != y."""
    return not_equal(x, y) if is_tensor(y) or isinstance(y, _COMPARED) else NotImplemented


def write_where(x: Tensor, condition: Tensor, value: Any) -> None:
    """x = where(condition, value, x) on a device, in the memory of x; no history, no version."""
    on_device(Where, (condition, value, x), view_of(x), x.storage.dtype, untyped=1)
