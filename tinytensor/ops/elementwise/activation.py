"""Piecewise linear activations: relu and heaviside. Smooth ones are in exponential.py and gelu.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dispatch.apply import binary
from tinytensor.dispatch.elementwise import REAL, REAL_NUMERIC, Operand, op_of
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["heaviside", "relu"]


def _relu(x: Array, out: Any = None, order: Any = "K") -> Any:
    return np.maximum(x, 0, out=out, order=order)


@elementwise(
    _relu,
    "x > 0 || x != x ? x : 0",
    dx=lambda g, y: binary(op_of(_relu_backward), g, y),
    accepts=REAL_NUMERIC,
    flops=0,
)
def relu(x: Tensor) -> Tensor:
    """Rectified linear unit: the positive part of each element; NaN propagates. The derivative at 0 is 0.

    y = max(x, 0)

    >>> tt.relu(tt.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """


@elementwise(
    lambda grad, y: np.where(y <= 0, grad.dtype.type(0), grad),
    "y <= 0 ? 0 : grad",
    dgrad=lambda g, y: binary(op_of(_relu_backward), g, y),
    kernels=HostKernels("activation"),
    accepts=REAL_NUMERIC,
    flops=0,
)
def _relu_backward(grad: Tensor, y: Tensor) -> Tensor:
    """The gradient where y > 0 or y is nan, else 0."""


@elementwise(
    np.heaviside, "x != x ? x : x == 0 ? value : x > 0", flat=True, accepts=REAL, result="float", flops=0
)
def heaviside(x: Operand, value: Operand) -> Tensor:
    """Heaviside step function: 0 below 0, 1 above, `value` at 0; NaN where x is NaN. Its gradient is 0.

    Source: Rosenblatt 1958, "The perceptron", Psychological Review 65, for its use as an activation.

    >>> tt.heaviside(tt.tensor([-2.0, 0.0, 3.0]), 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
