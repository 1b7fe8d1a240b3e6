"""Activation modules."""

from __future__ import annotations

from typing import Literal

import tinytensor.nn.functional as F
from tinytensor.nn.stateless.base import Stateless

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


class ELU(Stateless):
    """x where it is positive, else alpha * (exp(x) - 1); any shape. See `nn.functional.elu`."""

    alpha: float = 1.0
    inplace: bool = False
    function = staticmethod(F.elu)


class GELU(Stateless):
    """x times the normal distribution function at x; approximate="tanh" is that of GPT-2.

    Raises:
        ArgumentError: approximate is neither "none" nor "tanh".

    Source: Hendrycks, Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> tt.nn.GELU()(tt.tensor([-100.0, 0.0, 100.0])).tolist()
        [0.0, 0.0, 100.0]
    """

    approximate: Literal["none", "tanh"] = "none"
    function = staticmethod(F.gelu)


class GLU(Stateless):
    """First half along dim times the sigmoid of the second half. See `nn.functional.glu`."""

    dim: int = -1
    function = staticmethod(F.glu)


class SELU(Stateless):
    """1.0507 * elu(x, alpha=1.6733), which keeps mean 0 and variance 1. See `nn.functional.selu`."""

    inplace: bool = False
    function = staticmethod(F.selu)


class Hardswish(Stateless):
    """x * min(max(x / 6 + 1/2, 0), 1); any shape. See `nn.functional.hardswish`."""

    inplace: bool = False
    function = staticmethod(F.hardswish)


class Hardtanh(Stateless):
    """x between two values, else the nearer one; any shape. See `nn.functional.hardtanh`."""

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False
    function = staticmethod(F.hardtanh)


class LeakyReLU(Stateless):
    """x where it is positive, else negative_slope * x; any shape. See `nn.functional.leaky_relu`."""

    negative_slope: float = 0.01
    inplace: bool = False
    function = staticmethod(F.leaky_relu)


class LogSigmoid(Stateless):
    """log(sigmoid(x)); any shape. See `nn.functional.logsigmoid`."""

    function = staticmethod(F.logsigmoid)


class LogSoftmax(Stateless):
    """log(softmax(x)) along dim. See `nn.functional.log_softmax`."""

    dim: int | None = None
    function = staticmethod(F.log_softmax)


class Mish(Stateless):
    """x * tanh(softplus(x)); any shape. See `nn.functional.mish`."""

    inplace: bool = False
    function = staticmethod(F.mish)


class ReLU(Stateless):
    """max(x, 0); any shape.

    Example:
        >>> tt.nn.ReLU()(tt.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    inplace: bool = False
    function = staticmethod(F.relu)


class ReLU6(Stateless):
    """min(max(x, 0), 6); any shape. See `nn.functional.relu6`."""

    inplace: bool = False
    function = staticmethod(F.relu6)


class SiLU(Stateless):
    """x * sigmoid(x), also called swish; any shape (Elfwing, Uchibe, Doya 2017, arXiv:1702.03118)."""

    inplace: bool = False
    function = staticmethod(F.silu)


class Sigmoid(Stateless):
    """1 / (1 + exp(-x)); any shape."""

    function = staticmethod(F.sigmoid)


class Softmax(Stateless):
    """Softmax along dim: exp(x) / sum(exp(x)), positive values that sum to 1.

    Args:
        dim: the axis; name it: None, as in PyTorch, is axis 0 of one or three axes, else axis 1.

    Example:
        >>> tt.nn.Softmax(dim=-1)(tt.zeros(1, 4)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    dim: int | None = None
    function = staticmethod(F.softmax)


class Softplus(Stateless):
    """log(1 + exp(beta * x)) / beta, and x where beta * x is above the threshold; any shape."""

    beta: float = 1.0
    threshold: float = 20.0
    function = staticmethod(F.softplus)


class Softsign(Stateless):
    """x / (1 + |x|); any shape."""

    function = staticmethod(F.softsign)


class Tanh(Stateless):
    """Hyperbolic tangent; any shape."""

    function = staticmethod(F.tanh)
