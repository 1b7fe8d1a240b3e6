"""abs, sign, copysign, nextafter, real, imag and conj."""

from __future__ import annotations

import numpy as np

from tinytensor.dispatch.elementwise import NUMERIC, REAL, Operand
from tinytensor.errors import DTypeError
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["abs", "conj", "copysign", "imag", "nextafter", "real", "sign"]


@elementwise(
    np.abs,
    "fabs(x)",
    integer="is_signed<A> && x < A(0) ? A(0 - wrapping<A>(x)) : x",
    dx=lambda g, x: g * sign(x),
    accepts=NUMERIC,
    result="real",
    flops=0,
)
def abs(x: Tensor) -> Tensor:
    """Absolute value; `abs(x)`. The derivative at 0 is 0.

    >>> tt.abs(tt.tensor([1.0, -2.0])).tolist()
    [1.0, 2.0]
    """


@elementwise(
    np.sign, "x > A(0) ? A(1) : x < A(0) ? A(-1) : x == A(0) ? A(0) : x", flat=True, accepts=NUMERIC, flops=0
)
def sign(x: Tensor) -> Tensor:
    """Sign: -1, 0 or 1 for negative, zero or positive elements; NaN for NaN; x / |x| for complex x.

    Its gradient is 0.

    >>> tt.sign(tt.tensor([3.0, 0.0, -2.0])).tolist()
    [1.0, 0.0, -1.0]
    """


@elementwise(
    np.copysign,
    "copysign(a, b)",
    sign_of_a=lambda a: sign(a),
    da=lambda g, sign_of_a, b: g * (sign_of_a * copysign(sign_of_a, b)),  # 0 at a = 0
    accepts=REAL,
    result="float",
    flops=0,
)
def copysign(a: Operand, b: Operand) -> Tensor:
    """Magnitude of a with the sign of b, including that of -0.0.

    Differentiable in a; the slope at a = 0 is 0.

    >>> tt.copysign(tt.tensor([1.0, 2.0]), tt.tensor([-0.0, 3.0])).tolist()
    [-1.0, 2.0]
    """


@elementwise(np.nextafter, "nextafter(a, b)", da=lambda g: g, accepts=REAL, result="float", flops=0)
def _nextafter(a: Operand, b: Operand) -> Tensor:
    """The next number after a in the direction of b."""


def nextafter(a: Operand, b: Operand) -> Tensor:
    """Next floating-point number after a in the direction of b.

    Args:
        a, b: tensors or numbers that broadcast together; float32 or float64.

    >>> (tt.nextafter(tt.tensor(1.0), 2.0) - 1.0).item() == tt.finfo(tt.float32).eps
    True
    """
    for x in (a, b):
        if is_tensor(x) and x.dtype.narrow:
            raise DTypeError(
                f"nextafter: an operand of dtype {x.dtype}",
                why="16-bit floats are computed in float32, whose next number rounds back to a",
                fix="cast first: x.astype(tt.float32)",
            )
    return _nextafter(a, b)


@elementwise(lambda x: x.real.copy(), "x", result="real", flops=0)
def _real(x: Tensor) -> Tensor:
    """The real part."""


def real(x: Tensor) -> Tensor:
    """Real part: a copy; x itself if it is not complex.

    Returns:
        shape of x; float32 for complex64, float64 for complex128.

    >>> tt.real(tt.tensor([1 + 2j])).tolist()
    [1.0]
    """
    return x if is_tensor(x) and x.dtype.kind != "complex" else _real(x)


@elementwise(lambda x: x.imag.copy(), accepts=("complex",), result="real", flops=0)
def imag(x: Tensor) -> Tensor:
    """Imaginary part: a copy.

    >>> tt.imag(tt.tensor([1 + 2j])).tolist()
    [2.0]
    """


@elementwise(np.conjugate, "x", flops=0)
def _conj(x: Tensor) -> Tensor:
    """The complex conjugate."""


def conj(x: Tensor) -> Tensor:
    """Complex conjugate: a copy; x itself if it is not complex.

    >>> tt.conj(tt.tensor([1 + 2j])).tolist()
    [(1-2j)]
    """
    return x if is_tensor(x) and x.dtype.kind != "complex" else _conj(x)
