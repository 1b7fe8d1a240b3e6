"""Operations on the bits of integers; on bools, logic. None has a gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinytensor.dispatch.elementwise import INTEGRAL, Elementwise, Operand, elementwise
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
    """What the ops of this module share. They go the general road, which refuses floats in our words."""

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
    """Bits that are set in both; `a & b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither tensor nor number.

    Example:
        >>> tt.bitwise_and(tt.tensor([12, 5]), 6).tolist()
        [4, 4]
    """
    return elementwise(BitwiseAnd, a, b)


def bitwise_or(a: Operand, b: Operand) -> Tensor:
    """Bits that are set in one or both; `a | b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither tensor nor number.

    Example:
        >>> tt.bitwise_or(tt.tensor([12, 5]), 6).tolist()
        [14, 7]
    """
    return elementwise(BitwiseOr, a, b)


def bitwise_xor(a: Operand, b: Operand) -> Tensor:
    """Bits that are set in exactly one; `a ^ b`.

    Args:
        a, b: integer or bool tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is floating or complex, or neither tensor nor number.

    Example:
        >>> tt.bitwise_xor(tt.tensor([12, 5]), 6).tolist()
        [10, 3]
    """
    return elementwise(BitwiseXor, a, b)


def bitwise_invert(x: Tensor) -> Tensor:
    """All bits changed; `~x`.

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
    return elementwise(BitwiseInvert, x)


def bitwise_left_shift(a: Operand, b: Operand) -> Tensor:
    """Bits of a moved up by b places; `a << b`.

    Args:
        a, b: integer tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype. Bits that leave the dtype are lost: 0 where b is negative
            or as many as the dtype has bits.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is bool, floating or complex, or neither tensor nor number.

    Example:
        >>> tt.bitwise_left_shift(tt.tensor([1, 5]), 2).tolist()
        [4, 20]
    """
    return elementwise(BitwiseLeftShift, a, b)


def bitwise_right_shift(a: Operand, b: Operand) -> Tensor:
    """Bits of a moved down by b places, copies of the sign moving in; `a >> b`.

    Args:
        a, b: integer tensors or numbers that broadcast together.

    Returns:
        The broadcast shape, the promoted dtype. 0, or -1 for negative a, where b is negative or as many
            as the dtype has bits.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is bool, floating or complex, or neither tensor nor number.

    Example:
        >>> tt.bitwise_right_shift(tt.tensor([8, -8]), 2).tolist()
        [2, -2]
    """
    return elementwise(BitwiseRightShift, a, b)
