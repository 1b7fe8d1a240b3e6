"""Activation functions, softmax among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import written

__all__ = [
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]


def _up_to_zero(input: Tensor) -> Tensor:
    """min(x, 0), with derivative 1 at 0: no exp of a large number in the half that `where` does not read."""
    return tt.where(input > 0, 0.0, input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) of each element.

    Example:
        >>> tt.nn.functional.relu(tt.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return input.relu_() if inplace else tt.relu(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x between the two values, else the nearer one; the derivative at both is 0.

    Example:
        >>> tt.nn.functional.hardtanh(tt.tensor([-3.0, 0.5, 3.0])).tolist()
        [-1.0, 0.5, 1.0]
    """
    if not input.dtype.is_inexact:
        min_val, max_val = int(min_val), int(max_val)  # integers stay integers
    outside = (input <= min_val) | (input >= max_val)
    return written(input, tt.where(outside, tt.clip(input.detach(), min_val, max_val), input), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    Example:
        >>> tt.nn.functional.relu6(tt.tensor([-1.0, 2.0, 8.0])).tolist()
        [0.0, 2.0, 6.0]
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, else negative_slope * x.

    Example:
        >>> tt.nn.functional.leaky_relu(tt.tensor([-1.0, 2.0]), 0.5).tolist()
        [-0.5, 2.0]
    """
    return written(input, tt.where(input > 0, input, input * negative_slope), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where it is positive, else weight * x; one weight, or one for each channel (axis 1).

    Example:
        >>> tt.nn.functional.prelu(tt.tensor([[-2.0, -2.0, 2.0]]), tt.tensor([0.5, 0.25, 0.5])).tolist()
        [[-1.0, -0.5, 2.0]]
    """
    per_channel = weight.size > 1 and input.ndim > 2
    slope = weight.reshape(-1, *[1] * (input.ndim - 2)) if per_channel else weight
    return tt.where(input > 0, input, slope * input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (exp(x) - 1).

    Example:
        >>> tt.nn.functional.elu(tt.tensor([-100.0, 2.0])).tolist()
        [-1.0, 2.0]
    """
    return written(input, tt.where(input > 0, input, alpha * tt.expm1(_up_to_zero(input))), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * elu(x, alpha=1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017, 1706.02515).

    Example:
        >>> tt.nn.functional.selu(tt.tensor([-100.0, 1.0])).tolist()
        [-1.7581, 1.0507]
    """
    return written(input, 1.0507009873554805 * elu(input, 1.6732632423543772), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function at x, by erf; approximate="tanh" is that of GPT-2.

    Example:
        >>> tt.nn.functional.gelu(tt.tensor([-1.0, 0.0, 1.0])).tolist()
        [-0.1587, 0.0, 0.8413]
    """
    return tt.gelu(input, approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish.

    Example:
        >>> tt.nn.functional.silu(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]
    """
    return written(input, tt.silu(input), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    Example:
        >>> tt.nn.functional.mish(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]
    """
    return written(input, input * tt.tanh(tt.softplus(input)), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold.

    Example:
        >>> tt.nn.functional.softplus(tt.tensor([0.0, 100.0])).tolist()
        [0.6931, 100.0]
    """
    scaled = input * beta
    return tt.where(scaled > threshold, input, tt.softplus(scaled) / beta)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    Example:
        >>> tt.nn.functional.softsign(tt.tensor([-1.0, 3.0])).tolist()
        [-0.5, 0.75]
    """
    return input / (1 + tt.abs(input))


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x)).

    Example:
        >>> tt.nn.functional.sigmoid(tt.tensor([0.0, 100.0])).tolist()
        [0.5, 1.0]
    """
    return tt.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent.

    Example:
        >>> tt.nn.functional.tanh(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 1.0]
    """
    return tt.tanh(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * min(max(x / 6 + 1/2, 0), 1).

    Example:
        >>> tt.nn.functional.hardswish(tt.tensor([-4.0, 1.5, 4.0])).tolist()
        [0.0, 1.125, 4.0]
    """
    return written(input, input * relu6(input + 3) / 6, inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), finite for every finite x.

    Example:
        >>> tt.nn.functional.logsigmoid(tt.tensor([0.0, -1000.0])).tolist()
        [-0.6931, -1000.0]
    """
    return -tt.softplus(-input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half along dim times the sigmoid of the second half (Dauphin et al. 2016, arXiv:1612.08083).

    Example:
        >>> tt.nn.functional.glu(tt.tensor([4.0, 6.0, 0.0, 100.0])).tolist()
        [2.0, 6.0]
    """
    value, gate = tt.chunk(input, 2, dim)
    return value * tt.sigmoid(gate)


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with inplace=True."""

    def written(input: Tensor, *options: float) -> Tensor:
        return function(input, *options, inplace=True)

    written.__name__ = written.__qualname__ = f"{function.__name__}_"
    written.__doc__ = f"`{function.__name__}` with inplace=True."
    return written


relu_, elu_, selu_ = _in_place(relu), _in_place(elu), _in_place(selu)

leaky_relu_, hardtanh_ = _in_place(leaky_relu), _in_place(hardtanh)


def _given_or_first(dim: int | None, ndim: int) -> int:
    """dim; where it is missing, the one that PyTorch (with a warning) takes."""
    return dim if dim is not None else 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(x) / sum of exp(x) along dim; the input is cast to dtype first. Name dim: the default is obsolete.

    Example:
        >>> tt.nn.functional.softmax(tt.zeros(2, 4), dim=-1).tolist()[0]
        [0.25, 0.25, 0.25, 0.25]
    """
    x = input if dtype is None else input.astype(dtype)
    return tt.softmax(x, _given_or_first(dim, x.ndim))


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along dim; the input is cast to dtype first. Name dim: the default is obsolete.

    Example:
        >>> tt.nn.functional.log_softmax(tt.zeros(2), dim=0).tolist()
        [-0.6931, -0.6931]
    """
    x = input if dtype is None else input.astype(dtype)
    return tt.log_softmax(x, _given_or_first(dim, x.ndim))


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + noise) / tau): a sample of the distribution, differentiable (1611.01144, 1611.00712).

    With hard it is one-hot, and has the gradient of the soft sample. eps is PyTorch's, and changes nothing.

    Example:
        >>> tt.nn.functional.gumbel_softmax(tt.zeros(2, 3), hard=True).sum(-1).tolist()
        [1.0, 1.0]
    """
    noise = -tt.log(-tt.log1p(-tt.rand(*logits.shape, dtype=logits.dtype, device=logits.device)))
    soft = tt.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    best = tt.argmax(soft, dim, True)
    one = tt.scatter_add(tt.zeros_like(soft), dim, best, tt.ones_like(best, dtype=soft.dtype))
    return one - soft.detach() + soft
