"""Bitwise ops on integers, logical ops on bools; not differentiable."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinytensor.dispatch.apply import apply, unary
from tinytensor.dispatch.elementwise import (
    INTEGRAL,
    Elementwise,
    Operand,
)
from tinytensor.op import register
from tinytensor.tensor import Tensor

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
]


class Bitwise(Elementwise):
    """Base class of the bitwise ops. They take the general path, which raises our DTypeError for floats."""

    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    accepts: ClassVar[tuple[str, ...]] = INTEGRAL
    flops = 0.0


@register
class BitwiseAnd(Bitwise):
    ufunc = np.bitwise_and


@register
class BitwiseOr(Bitwise):
    ufunc = np.bitwise_or


@register
class BitwiseXor(Bitwise):
    ufunc = np.bitwise_xor


@register
class BitwiseInvert(Bitwise):
    inputs = ("x",)
    ufunc = np.invert


@register
class BitwiseLeftShift(Bitwise):
    ufunc = np.left_shift
    accepts = ("uint", "int")


@register
class BitwiseRightShift(Bitwise):
    ufunc = np.right_shift
    accepts = ("uint", "int")


def bitwise_and(a: Operand, b: Operand) -> Tensor:
    """Bitwise and; `a & b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither a tensor nor a number.

    Example:
        >>> tt.bitwise_and(tt.tensor([12, 5]), 6).tolist()
        [4, 4]
    """
    return apply(BitwiseAnd, a, b)


def bitwise_or(a: Operand, b: Operand) -> Tensor:
    """Bitwise or; `a | b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither a tensor nor a number.

    Example:
        >>> tt.bitwise_or(tt.tensor([12, 5]), 6).tolist()
        [14, 7]
    """
    return apply(BitwiseOr, a, b)


def bitwise_xor(a: Operand, b: Operand) -> Tensor:
    """Bitwise exclusive or; `a ^ b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither a tensor nor a number.

    Example:
        >>> tt.bitwise_xor(tt.tensor([12, 5]), 6).tolist()
        [10, 3]
    """
    return apply(BitwiseXor, a, b)


def bitwise_invert(x: Tensor) -> Tensor:
    """Bitwise inversion; `~x`.

    Args:
        x: any shape, integer or bool.

    Returns:
        shape and dtype of x.

    Raises:
        DTypeError: x is floating or complex.

    Example:
        >>> tt.bitwise_invert(tt.tensor([0, 5])).tolist()
        [-1, -6]
    """
    return unary(BitwiseInvert, x)


def bitwise_left_shift(a: Operand, b: Operand) -> Tensor:
    """Shift the bits of a to the left by b; `a << b`.

    Args:
        a, b: integer tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype. Bits shifted out of the dtype are lost: 0 where b is negative
            or at least the number of bits of the dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is bool, floating or complex, or neither a tensor nor a number.

    Example:
        >>> tt.bitwise_left_shift(tt.tensor([1, 5]), 2).tolist()
        [4, 20]
    """
    return apply(BitwiseLeftShift, a, b)


def bitwise_right_shift(a: Operand, b: Operand) -> Tensor:
    """Arithmetic shift of the bits of a to the right by b; `a >> b`.

    Args:
        a, b: integer tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype. 0, or -1 for negative a, where b is negative or at least
            the number of bits of the dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is bool, floating or complex, or neither a tensor nor a number.

    Example:
        >>> tt.bitwise_right_shift(tt.tensor([8, -8]), 2).tolist()
        [2, -2]
    """
    return apply(BitwiseRightShift, a, b)
