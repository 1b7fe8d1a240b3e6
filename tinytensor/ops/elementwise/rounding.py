"""ceil, floor, trunc and round. Integers are unchanged; the gradient is 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.apply import unary
from tinytensor.dispatch.elementwise import (
    NUMERIC,
    REAL_NUMERIC,
    Elementwise,
)
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import flat
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["ceil", "floor", "round", "trunc"]


class Step(Elementwise):
    """Base class of the rounding ops."""

    inputs = ("x",)
    accepts: ClassVar[tuple[str, ...]] = REAL_NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 0: the function is piecewise constant."""
        return (flat(grads[0]),)


def _of_floats(ufunc: np.ufunc) -> Callable[..., Any]:
    """Apply a ufunc to floats, and copy integers."""

    def rounded(x: Array, out: Any = None, order: Any = "K") -> Any:
        return (ufunc if x.dtype.kind in "fc" else np.positive)(x, out=out, order=order)

    return staticmethod(rounded)


@register
class Ceil(Step):
    ufunc = _of_floats(np.ceil)


@register
class Floor(Step):
    ufunc = _of_floats(np.floor)


@register
class Trunc(Step):
    ufunc = _of_floats(np.trunc)


@register
class Round(Step):
    ufunc = _of_floats(np.rint)  # rounds both parts of complex numbers
    accepts = NUMERIC


def ceil(x: Tensor) -> Tensor:
    """Round elements up.

    Args:
        x: any shape; not bool, not complex.

    Returns:
        shape and dtype of x. Its gradient is 0.

    Raises:
        DTypeError: x is bool or complex.

    Example:
        >>> tt.ceil(tt.tensor([-1.5, 1.5, 2.5])).tolist()
        [-1.0, 2.0, 3.0]
    """
    return unary(Ceil, x)


def floor(x: Tensor) -> Tensor:
    """Round elements down.

    Args:
        x: any shape; not bool, not complex.

    Returns:
        shape and dtype of x. Its gradient is 0.

    Raises:
        DTypeError: x is bool or complex.

    Example:
        >>> tt.floor(tt.tensor([-1.5, 1.5, 2.5])).tolist()
        [-2.0, 1.0, 2.0]
    """
    return unary(Floor, x)


def trunc(x: Tensor) -> Tensor:
    """Round elements towards 0.

    Args:
        x: any shape; not bool, not complex.

    Returns:
        shape and dtype of x. Its gradient is 0.

    Raises:
        DTypeError: x is bool or complex.

    Example:
        >>> tt.trunc(tt.tensor([-1.5, 1.5, 2.5])).tolist()
        [-1.0, 1.0, 2.0]
    """
    return unary(Trunc, x)


def round(x: Tensor) -> Tensor:
    """Round elements to the nearest integer, ties to even; `round(x)`.

    Args:
        x: any shape; not bool. Both parts of complex numbers are rounded.

    Returns:
        shape and dtype of x. Its gradient is 0.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.round(tt.tensor([-1.5, 1.5, 2.5])).tolist()
        [-2.0, 2.0, 2.0]
    """
    return unary(Round, x)
