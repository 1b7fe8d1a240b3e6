"""Rounding to whole numbers. Integers stay as they are, and the gradient is 0: the functions are steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.dispatch.elementwise import NUMERIC, REAL_NUMERIC, Elementwise, unary
from tinytensor.op import register
from tinytensor.ops.elementwise.arithmetic import flat
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["ceil", "floor", "round", "trunc"]


class Step(Elementwise):
    """What the ops of this module share."""

    inputs = ("x",)
    accepts: ClassVar[tuple[str, ...]] = REAL_NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 0: steps are flat."""
        return (flat(grads[0]),)


def _of_floats(ufunc: np.ufunc) -> Callable[..., Any]:
    """The ufunc for floats, a copy for integers."""

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
    ufunc = _of_floats(np.rint)  # of complex numbers it rounds both parts
    accepts = NUMERIC


def ceil(x: Tensor) -> Tensor:
    """Each element rounded up.

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
    """Each element rounded down.

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
    """Each element rounded towards 0.

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
    """Each element rounded to the nearest whole number, a half to the even one; `round(x)`.

    Args:
        x: any shape; not bool. Of complex numbers both parts are rounded.

    Returns:
        shape and dtype of x. Its gradient is 0.

    Raises:
        DTypeError: x is bool.

    Example:
        >>> tt.round(tt.tensor([-1.5, 1.5, 2.5])).tolist()
        [-2.0, 2.0, 2.0]
    """
    return unary(Round, x)
