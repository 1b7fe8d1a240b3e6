"""Activation functions and dropout, each with its module."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.module import Module, as_module, check_share


def _up_to_zero(input: Tensor) -> Tensor:
    """min(x, 0), with derivative 1 at 0: no exp of a large number in the half that `where` does not read."""
    return tt.where(input > 0, 0.0, input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x between the two values, else the nearer one; the derivative at both is 0.

    >>> tt.nn.functional.hardtanh(tt.tensor([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if not input.dtype.is_inexact:
        min_val, max_val = int(min_val), int(max_val)  # integers stay integers
    outside = (input <= min_val) | (input >= max_val)
    return tt.where(outside, tt.clip(input.detach(), min_val, max_val), input)


def relu6(input: Tensor) -> Tensor:
    """min(max(x, 0), 6).

    >>> tt.nn.functional.relu6(tt.tensor([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return hardtanh(input, 0.0, 6.0)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else negative_slope * x.

    >>> tt.nn.functional.leaky_relu(tt.tensor([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return tt.where(input > 0, input, input * negative_slope)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (exp(x) - 1).

    >>> tt.nn.functional.elu(tt.tensor([-100.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return tt.where(input > 0, input, alpha * tt.expm1(_up_to_zero(input)))


def selu(input: Tensor) -> Tensor:
    """1.0507 * elu(x, alpha=1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017, 1706.02515).

    >>> tt.nn.functional.selu(tt.tensor([-100.0, 1.0])).tolist()
    [-1.7581, 1.0507]
    """
    return 1.0507009873554805 * elu(input, 1.6732632423543772)


def mish(input: Tensor) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    >>> tt.nn.functional.mish(tt.tensor([0.0, 100.0])).tolist()
    [0.0, 100.0]
    """
    return input * tt.tanh(tt.softplus(input))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> tt.nn.functional.softsign(tt.tensor([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """
    return input / (1 + tt.abs(input))


def hardswish(input: Tensor) -> Tensor:
    """x * min(max(x / 6 + 1/2, 0), 1).

    >>> tt.nn.functional.hardswish(tt.tensor([-4.0, 1.5, 4.0])).tolist()
    [0.0, 1.125, 4.0]
    """
    return input * relu6(input + 3) / 6


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), finite for every finite x.

    >>> tt.nn.functional.logsigmoid(tt.tensor([0.0, -1000.0])).tolist()
    [-0.6931, -1000.0]
    """
    return -tt.softplus(-input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half along dim times the sigmoid of the second half (Dauphin et al. 2016, arXiv:1612.08083).

    >>> tt.nn.functional.glu(tt.tensor([4.0, 6.0, 0.0, 100.0])).tolist()
    [2.0, 6.0]
    """
    if input.shape[dim] % 2:
        raise tt.ShapeError(
            f"glu: axis {dim} of shape {input.shape}",
            why="it has two halves",
            fix="an even number of elements",
        )
    value, gate = tt.chunk(input, 2, dim)
    return value * tt.sigmoid(gate)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: tt.Generator | None = None
) -> Tensor:
    """Channels of images, whole, 0 with probability p, else x / (1 - p): (N, C, H, W) → the same.

    >>> x = tt.ones(2, 3, 4, 5)
    >>> tt.nn.functional.dropout2d(x, training=False) is x
    True
    """
    ones = tt.ones(*input.shape[:-2], 1, 1, dtype=input.dtype, device=input.device)
    kept = tt.dropout(ones, p, training, generator=generator)
    return input if kept is ones else input * kept


ELU = as_module("ELU", elu)
GELU = as_module("GELU", tt.gelu)
GLU = as_module("GLU", glu)
SELU = as_module("SELU", selu)
Hardswish = as_module("Hardswish", hardswish)
Hardtanh = as_module("Hardtanh", hardtanh)
LeakyReLU = as_module("LeakyReLU", leaky_relu)
LogSigmoid = as_module("LogSigmoid", logsigmoid)
LogSoftmax = as_module("LogSoftmax", tt.log_softmax)
Mish = as_module("Mish", mish)
ReLU = as_module("ReLU", tt.relu)
ReLU6 = as_module("ReLU6", relu6)
SiLU = as_module("SiLU", tt.silu)
Sigmoid = as_module("Sigmoid", tt.sigmoid)
Softmax = as_module("Softmax", tt.softmax)
Softplus = as_module("Softplus", tt.softplus)
Softsign = as_module("Softsign", softsign)
Tanh = as_module("Tanh", tt.tanh)


class Dropout(Module):
    """While training, set each element to 0 with probability p and scale the others by 1 / (1 - p).

    Shapes:
        x, any → the same; x itself in evaluation.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way to prevent
        neural networks from overfitting"; scaled while training, so that evaluation changes nothing.

    >>> layer = tt.nn.Dropout(0.5)
    >>> x = tt.ones(4)
    >>> layer.eval()(x) is x
    True
    >>> layer
    Dropout(p=0.5)
    """

    function: ClassVar[Callable[..., Tensor]] = staticmethod(tt.dropout)

    def __init__(self, p: float = 0.5, *, generator: tt.Generator | None = None) -> None:
        super().__init__()
        self.p = check_share(type(self).__name__, "p", p)
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same."""
        return type(self).function(x, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p:g}"


class Dropout2d(Dropout):
    """Dropout of whole channels of images: (N, C, H, W) → the same (Tompson et al. 2014, 1411.4280)."""

    function = staticmethod(dropout2d)
