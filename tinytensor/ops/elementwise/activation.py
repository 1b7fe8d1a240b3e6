"""Piecewise linear activations: relu and heaviside. Smooth ones are in exponential.py and gelu.py."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.backward import Saved
from tinytensor.autograd.graph import Needs
from tinytensor.autograd.hooks import Grads
from tinytensor.config import config
from tinytensor.dispatch.apply import apply, binary, unary
from tinytensor.dispatch.elementwise import (
    REAL,
    REAL_NUMERIC,
    Elementwise,
    Operand,
)
from tinytensor.op import HostCall, register
from tinytensor.ops.elementwise.arithmetic import flat
from tinytensor.ops.elementwise.comparison import choose
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["heaviside", "relu"]

kernels = HostKernels("activation")


def _relu(x: Array, out: Any = None, order: Any = "K") -> Any:
    return np.maximum(x, 0, out=out, order=order)


def _passed(grad: Array, y: Array, out: Any = None, order: Any = "K") -> Any:
    """grad where not y <= 0, else 0, with the signature of a ufunc."""
    shape = y.shape if y.shape == grad.shape else np.broadcast_shapes(grad.shape, y.shape)
    result = out if isinstance(out, np.ndarray) else np.empty(shape, grad.dtype)
    call = None if config.host_kernels == "off" else ReluBackward.host(result, grad, y)
    if call is None or not call():
        choose(np.less_equal(y, 0), grad.dtype.type(0), grad, out=result)
    return result


@register
class Relu(Elementwise):
    inputs = ("x",)
    saves = ("y",)
    ufunc = staticmethod(_relu)
    formula = "{0} > 0 || {0} != {0} ? {0} : 0"
    accepts = REAL_NUMERIC
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad where y > 0, else 0."""
        return (binary(ReluBackward, grads[0], saved.y),)


@register
class ReluBackward(Elementwise):
    """grad where y > 0 or y is nan, else 0."""

    inputs = ("grad", "y")
    saves = ("y",)
    ufunc = staticmethod(_passed)
    formula = "{1} <= 0 ? 0 : {0}"
    accepts = REAL_NUMERIC
    flops = 0.0

    @staticmethod
    def host(dx: Array, grad: Array, y: Array) -> HostCall:
        return partial(kernels.relu_backward, dx, grad, y)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = the gradient where y > 0, else 0; dy = 0."""
        y = saved.y
        return binary(ReluBackward, grads[0], y) if needs[0] else None, flat(y) if needs[1] else None


@register
class Heaviside(Elementwise):
    inputs = ("x", "value")
    ufunc = np.heaviside
    accepts = REAL
    result = "float"
    flops = 0.0

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 0, dvalue = 0."""
        zeros = flat(grads[0])
        return zeros, zeros


def relu(x: Tensor) -> Tensor:
    """Rectified linear unit: the positive part of each element.

    y = max(x, 0)

    Args:
        x: any shape; not bool, not complex.

    Returns:
        shape and dtype of x; NaN propagates. The derivative at 0 is 0.

    Raises:
        DTypeError: x is bool or complex.

    Memory: saves the result for backward.

    Example:
        >>> tt.relu(tt.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return unary(Relu, x)


def heaviside(x: Operand, value: Operand) -> Tensor:
    """Heaviside step function: 0 below 0, 1 above, `value` at 0.

    Args:
        x, value: tensors or numbers that broadcast together; not complex. Integers become float32.

    Returns:
        The broadcast shape, a floating dtype; NaN where x is NaN. Its gradient is 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: an operand is complex, or neither a tensor nor a number.

    Source: Rosenblatt 1958, "The perceptron", Psychological Review 65, for its use as an activation.

    Example:
        >>> tt.heaviside(tt.tensor([-2.0, 0.0, 3.0]), 0.5).tolist()
        [0.0, 0.5, 1.0]
    """
    return apply(Heaviside, x, value)
