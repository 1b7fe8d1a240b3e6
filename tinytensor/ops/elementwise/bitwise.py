"""Bitwise ops on integers, logical ops on bools; not differentiable."""

from __future__ import annotations

import numpy as np

from tinytensor.dispatch.elementwise import INTEGRAL, Operand
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.tensor import Tensor

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
]


@elementwise(np.bitwise_and, "a & b", accepts=INTEGRAL, flops=0)
def bitwise_and(a: Operand, b: Operand) -> Tensor:
    """Bitwise and; `a & b`.

    >>> tt.bitwise_and(tt.tensor([12, 5]), 6).tolist()
    [4, 4]
    """


@elementwise(np.bitwise_or, "a | b", accepts=INTEGRAL, flops=0)
def bitwise_or(a: Operand, b: Operand) -> Tensor:
    """Bitwise or; `a | b`.

    >>> tt.bitwise_or(tt.tensor([12, 5]), 6).tolist()
    [14, 7]
    """


@elementwise(np.bitwise_xor, "a ^ b", accepts=INTEGRAL, flops=0)
def bitwise_xor(a: Operand, b: Operand) -> Tensor:
    """Bitwise exclusive or; `a ^ b`.

    >>> tt.bitwise_xor(tt.tensor([12, 5]), 6).tolist()
    [10, 3]
    """


@elementwise(np.invert, "x ^ A(-1)", accepts=INTEGRAL, flops=0)
def bitwise_invert(x: Tensor) -> Tensor:
    """Bitwise inversion; `~x`.

    >>> tt.bitwise_invert(tt.tensor([0, 5])).tolist()
    [-1, -6]
    """


@elementwise(np.left_shift, "is_shift(b) ? A(wrapping<A>(a) << b) : A(0)", accepts=("uint", "int"), flops=0)
def bitwise_left_shift(a: Operand, b: Operand) -> Tensor:
    """Shift the bits of a to the left by b; `a << b`.

    Bits shifted out of the dtype are lost: 0 where b is negative or at least the number of bits of the dtype.

    >>> tt.bitwise_left_shift(tt.tensor([1, 5]), 2).tolist()
    [4, 20]
    """


@elementwise(
    np.right_shift, "is_shift(b) ? A(a >> b) : a < 0 ? A(-1) : A(0)", accepts=("uint", "int"), flops=0
)
def bitwise_right_shift(a: Operand, b: Operand) -> Tensor:
    """Shift the bits of a to the right by b, with copies of the sign bit; `a >> b`.

    0, or -1 for negative a, where b is negative or at least the number of bits of the dtype.

    >>> tt.bitwise_right_shift(tt.tensor([8, -8]), 2).tolist()
    [2, -2]
    """
