"""torch.nn.functional: the names, arguments and results of PyTorch, composed of the functions of tt.

The main namespace follows the array API: `tt.cross_entropy` has the classes on the last axis, the function
here on axis 1. Late options are keywords, since PyTorch has obsolete arguments between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.argument_errors import FUNCTIONAL, FUNCTIONS, missing

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "elu",
    "elu_",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "unfold",
]

Numbers = int | Sequence[int]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        missing(__name__, FUNCTIONS | {ours: f"tt.{ours}" for ours in tt.__all__} | FUNCTIONAL, name)


# ---- activations -------------------------------------------------------------------------------------------


def _result(input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    """y; with inplace in the memory of input, which backward then misses if it needs it (an error)."""
    return input.copy_(y) if inplace else y


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
    outside = (input <= min_val) | (input >= max_val)
    return _result(input, tt.where(outside, tt.clip(input.detach(), min_val, max_val), input), inplace)


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
    return _result(input, tt.where(input > 0, input, input * negative_slope), inplace)


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
    return _result(input, tt.where(input > 0, input, alpha * tt.expm1(_up_to_zero(input))), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * elu(x, alpha=1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017, 1706.02515).

    Example:
        >>> tt.nn.functional.selu(tt.tensor([-100.0, 1.0])).tolist()
        [-1.7581, 1.0507]
    """
    return _result(input, 1.0507009873554805 * elu(input, 1.6732632423543772), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (exp(x / alpha) - 1): an elu with a continuous derivative.

    Example:
        >>> tt.nn.functional.celu(tt.tensor([-100.0, 2.0]), alpha=2.0).tolist()
        [-2.0, 2.0]
    """
    below = alpha * tt.expm1(_up_to_zero(input) / alpha)
    return _result(input, tt.where(input > 0, input, below), inplace)


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
    return _result(input, tt.silu(input), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    Example:
        >>> tt.nn.functional.mish(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]
    """
    return _result(input, input * tt.tanh(tt.softplus(input)), inplace)


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


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x / 6 + 1/2, 0), 1).

    Example:
        >>> tt.nn.functional.hardsigmoid(tt.tensor([-4.0, 0.0, 4.0])).tolist()
        [0.0, 0.5, 1.0]
    """
    return _result(input, relu6(input + 3) / 6, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x).

    Example:
        >>> tt.nn.functional.hardswish(tt.tensor([-4.0, 1.5, 4.0])).tolist()
        [0.0, 1.125, 4.0]
    """
    return _result(input, input * relu6(input + 3) / 6, inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), finite for every finite x.

    Example:
        >>> tt.nn.functional.logsigmoid(tt.tensor([0.0, -1000.0])).tolist()
        [-0.6931, -1000.0]
    """
    return -tt.softplus(-input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    Example:
        >>> tt.nn.functional.tanhshrink(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 99.0]
    """
    return input - tt.tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| is at most lambd.

    Example:
        >>> tt.nn.functional.softshrink(tt.tensor([-2.0, 0.2, 2.0])).tolist()
        [-1.5, 0.0, 1.5]
    """
    return tt.where(tt.abs(input) <= lambd, 0.0, input - lambd * tt.sign(input))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 where |x| is at most lambd.

    Example:
        >>> tt.nn.functional.hardshrink(tt.tensor([-2.0, 0.2, 2.0])).tolist()
        [-2.0, 0.0, 2.0]
    """
    return tt.where(tt.abs(input) <= lambd, 0.0, input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, else the value.

    Example:
        >>> tt.nn.functional.threshold(tt.tensor([0.5, 2.0]), 1.0, -7.0).tolist()
        [-7.0, 2.0]
    """
    return _result(input, tt.where(input <= threshold, value, input), inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half along dim times the sigmoid of the second half (Dauphin et al. 2016, arXiv:1612.08083).

    Example:
        >>> tt.nn.functional.glu(tt.tensor([4.0, 6.0, 0.0, 100.0])).tolist()
        [2.0, 6.0]
    """
    value, gate = tt.split(input, 2, dim)
    return value * tt.sigmoid(gate)


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with inplace=True."""

    def written(input: Tensor, *options: float) -> Tensor:
        return function(input, *options, inplace=True)

    written.__name__ = written.__qualname__ = f"{function.__name__}_"
    written.__doc__ = f"`{function.__name__}` with inplace=True."
    return written


relu_, elu_, selu_, celu_ = _in_place(relu), _in_place(elu), _in_place(selu), _in_place(celu)
leaky_relu_, hardtanh_, threshold_ = _in_place(leaky_relu), _in_place(hardtanh), _in_place(threshold)


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


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """softmax(-x) along dim.

    Example:
        >>> tt.nn.functional.softmin(tt.tensor([0.0, 100.0]), dim=0).tolist()
        [1.0, 0.0]
    """
    return softmax(-input, dim, dtype=dtype)


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
    one = tt.scatter_add(tt.zeros_like(soft), best, tt.ones_like(best, dtype=soft.dtype), dim)
    return one - soft.detach() + soft


# ---- layers ------------------------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., K) with weight (N, K) and bias (N,) → (..., N).

    Example:
        >>> tt.nn.functional.linear(tt.tensor([1.0, 2.0]), tt.tensor([[3.0, 4.0]])).tolist()
        [11.0]
    """
    return tt.linear(input, weight, bias, transposed=True)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1' A x2 + bias for each matrix A of weight (N, K1, K2): (..., K1), (..., K2) → (..., N).

    Example:
        >>> tt.nn.functional.bilinear(tt.ones(2), tt.ones(3), tt.ones(1, 2, 3)).tolist()
        [6.0]
    """
    y = tt.einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight (V, C): integers (...) → (..., C). The row padding_idx gets no gradient.

    Example:
        >>> tt.nn.functional.embedding(tt.tensor([1, 0]), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[3.0, 4.0], [1.0, 2.0]]
    """
    rows = tt.embedding(weight, input)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % weight.shape[0]).unsqueeze(-1)  # (..., 1)
    return tt.where(padding, rows.detach(), rows)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (...) → (..., num_classes), int64, with a 1 each; -1: as many classes as are needed.

    Example:
        >>> tt.nn.functional.one_hot(tt.tensor([2, 0])).tolist()
        [[0, 0, 1], [1, 0, 0]]
    """
    return tt.one_hot(tensor, int(tensor.max()) + 1 if num_classes == -1 else num_classes)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """0 with probability p, else x / (1 - p); x itself if not training.

    Example:
        >>> tt.nn.functional.dropout(tt.ones(2), 0.5, training=False).tolist()
        [1.0, 1.0]
    """
    return _result(input, tt.dropout(input, p, training), inplace)


def _channel_dropout(axes: int, name: str) -> Callable[..., Tensor]:
    """Dropout of whole channels, which have so many axes."""

    def function(
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        generator: tt.Generator | None = None,
    ) -> Tensor:
        ones = tt.ones(*input.shape[:-axes], *[1] * axes, dtype=input.dtype, device=input.device)
        kept = tt.dropout(ones, p, training, generator=generator)
        return input if kept is ones else _result(input, input * kept, inplace)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Channels whole 0 with probability p, else x / (1 - p): (N, C, {axes} more axes)."
    return function


dropout1d, dropout2d = _channel_dropout(1, "dropout1d"), _channel_dropout(2, "dropout2d")


def _rows(what: str, input: Tensor, normalized_shape: Numbers, *parameters: Tensor | None) -> list[Any]:
    """The tensors with the last axes, which are those of normalized_shape, made one."""
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    lead = input.ndim - len(sizes)
    found = [input.shape[max(lead, 0) :], *[p.shape for p in parameters if p is not None]]
    if any([shape != sizes for shape in found]):
        raise tt.ShapeError(
            f"{what}: normalized_shape {sizes} for shapes {input.shape} and {found[1:]}",
            why="it is the shape of the last axes of the input, and of the parameters",
            fix=f"normalized_shape={input.shape[-1:]}",
        )
    if len(sizes) == 1:
        return [input, *parameters]
    return [input.reshape(*input.shape[:lead], -1), *[p if p is None else p.reshape(-1) for p in parameters]]


def layer_norm(
    input: Tensor,
    normalized_shape: Numbers,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, times weight plus bias, both of normalized_shape.

    Raises:
        ShapeError: the last axes, weight or bias do not have normalized_shape.

    Example:
        >>> tt.nn.functional.layer_norm(tt.tensor([1.0, 2.0, 3.0]), (3,)).tolist()
        [-1.2247, 0.0, 1.2247]
    """
    x, weight, bias = _rows("layer_norm", input, normalized_shape, weight, bias)
    return tt.layer_norm(x, weight, bias, eps=eps).reshape(input.shape)


def rms_norm(
    input: Tensor, normalized_shape: Numbers, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Root mean square 1 over the last axes, times weight; eps None is that of the dtype.

    Raises:
        ShapeError: the last axes or weight do not have normalized_shape.

    Example:
        >>> tt.nn.functional.rms_norm(tt.tensor([3.0, 4.0]), (2,)).tolist()
        [0.8485, 1.1314]
    """
    x, weight = _rows("rms_norm", input, normalized_shape, weight)
    if eps is None:  # 16-bit floats are computed in float32
        eps = tt.finfo(tt.float64 if x.dtype is tt.float64 else tt.float32).eps
    return tt.rms_norm(x, weight, eps=eps).reshape(input.shape)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over each of num_groups groups of channels, times weight plus bias, both (C,).

    Shapes: (N, C, ...) → the same.

    Raises:
        ShapeError: C is no multiple of num_groups.

    Example:
        >>> tt.nn.functional.group_norm(tt.tensor([[1.0, 3.0, 10.0, 20.0]]), 2).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """
    n, c = input.shape[:2]
    if c % num_groups:
        raise tt.ShapeError(
            f"group_norm: {num_groups} groups of {c} channels",
            why="all groups have the same number of channels",
            fix="num_groups that divides the number of channels",
        )
    y = tt.layer_norm(input.reshape(n, num_groups, -1), eps=eps).reshape(input.shape)
    columns = (c, *[1] * (input.ndim - 2))  # of a parameter, to broadcast to (N, C, ...)
    y = y if weight is None else y * weight.reshape(columns)
    return y if bias is None else y + bias.reshape(columns)


def _average(running: Tensor, new: Tensor, momentum: float) -> None:
    """Move running statistics towards new ones, in place."""
    try:
        with tt.no_grad():
            running.copy_(tt.lerp(running, new, momentum))
    except tt.TransformError as error:
        raise tt.TransformError(
            "batch_norm: the running statistics would be written for each sample of vmap",
            why="they are one tensor, which all samples share",
            fix="model.eval() before, or nn.BatchNorm1d(..., track_running_stats=False)",
        ) from error


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel with mean 0 and variance 1 over the batch, times weight plus bias: (N, C, ...) → the same.

    With training the statistics are those of the batch, which are added to the running ones in place, the
    variance with n - 1; otherwise they are the running ones. All parameters have shape (C,).

    Raises:
        ArgumentError: one value per channel while training, or no running statistics otherwise.

    Example:
        >>> tt.nn.functional.batch_norm(tt.tensor([[1.0], [3.0]]), None, None, training=True).tolist()
        [[-1.0], [1.0]]
    """
    axes, columns = (0, *range(2, input.ndim)), (-1, *[1] * (input.ndim - 2))
    mean, variance = running_mean, running_var
    if training:
        n = math.prod([input.shape[axis] for axis in axes])
        if n == 1:
            raise tt.ArgumentError(
                f"batch_norm: one value per channel in an input of shape {input.shape}",
                why="the variance of one number is 0",
                fix="a larger batch, or model.eval()",
            )
        mean, variance = input.mean(axes), input.var(axes)
        for running, new in ((running_mean, mean), (running_var, variance * (n / max(n - 1, 1)))):
            if running is not None:
                _average(running, new.astype(running.dtype, copy=False), momentum)
    if mean is None or variance is None:
        raise tt.ArgumentError(
            "batch_norm: there are no running statistics", why="training is False", fix="training=True"
        )
    scale = tt.rsqrt(variance + eps) if weight is None else tt.rsqrt(variance + eps) * weight
    y = (input - mean.reshape(columns)) * scale.reshape(columns)
    return y if bias is None else y + bias.reshape(columns)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` of each example by itself: (N, C, ...) → the same; running statistics are means over N.

    Raises:
        ArgumentError: one position per channel, or no running statistics without use_input_stats.

    Example:
        >>> tt.nn.functional.instance_norm(tt.tensor([[[1.0, 3.0]], [[5.0, 9.0]]])).tolist()
        [[[-1.0, 1.0]], [[-1.0, 1.0]]]
    """
    n, c = input.shape[:2]
    given = (running_mean, running_var, weight, bias)
    tiled: list[Any] = [None if t is None else tt.tile(t, n) for t in given]  # (N * C,)
    rows = input.reshape(1, n * c, *input.shape[2:])
    mean, variance, scale, shift = tiled
    y = batch_norm(rows, mean, variance, scale, shift, use_input_stats, momentum, eps)
    if use_input_stats:
        with tt.no_grad():
            for running, each in zip(given[:2], tiled, strict=False):
                if running is not None and each is not None:
                    running.copy_(each.reshape(n, c).mean(0))
    return y.reshape(input.shape)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x divided by its p-norm along dim, or by eps if that is larger.

    Example:
        >>> tt.nn.functional.normalize(tt.tensor([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    return input / tt.clip(tt.norm(input, dim, True, p), min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between x1 and x2 along dim, which is reduced; norms are at least eps.

    Example:
        >>> tt.nn.functional.cosine_similarity(tt.tensor([3.0, 4.0]), tt.tensor([1.0, 0.0]), dim=0).item()
        0.6
    """
    x1, x2 = tt.broadcast_arrays(x1, x2)
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """p-norm of x1 - x2 + eps along the last axis, which is reduced.

    Example:
        >>> tt.nn.functional.pairwise_distance(tt.zeros(1, 2), tt.tensor([[3.0, 4.0]])).tolist()
        [5.0]
    """
    return tt.norm(x1 - x2 + eps, -1, keepdim, p)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """p-norms of the differences of all pairs of rows: (N, D) → (N * (N - 1) / 2,).

    Example:
        >>> tt.nn.functional.pdist(tt.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [5.0]
    """
    return tt.pdist(input, p)


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pairs (before, after) of new elements, for the last axis first; a negative number removes elements.

    Args:
        input: any shape.
        pad: (left, right, top, bottom, ...), at most two numbers for each axis.
        mode: "constant", "reflect" (without the border element), "replicate" or "circular".
        value: of the constant; None is 0.

    Raises:
        ArgumentError: an unknown mode.
        ShapeError: an odd number of widths, or more than two for each axis.

    Example:
        >>> tt.nn.functional.pad(tt.tensor([[1, 2]]), (1, 2)).tolist()
        [[0, 1, 2, 0, 0]]
    """
    pairs = list(zip(pad[::2], pad[1::2]))[::-1]
    if mode not in _MODES:
        raise tt.ArgumentError(
            f"pad: mode {mode!r}", why=f"the modes are {', '.join(_MODES)}", fix='mode="constant"'
        )
    pairs = [(0, 0)] * (input.ndim - len(pairs)) + pairs  # one pair for each axis, from the first
    if (
        len(pad) % 2
        or len(pairs) > input.ndim
        or any([b + n + a < 0 for n, (b, a) in zip(input.shape, pairs)])
    ):
        raise tt.ShapeError(
            f"pad: widths {tuple(pad)} for shape {input.shape}",
            why="they are pairs (before, after), from the last axis to the first, and remove what is there",
            fix="for example (1, 1) for the last axis, (1, 1, 2, 2) for the last two",
        )
    widths = [(max(b, 0), max(a, 0)) for b, a in pairs]

    def cropped(x: Tensor) -> Tensor:
        return x[tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])]

    if mode == "reflect":  # which mirrors what is removed at the other end, too
        return cropped(tt.pad(input, widths, mode))
    return tt.pad(cropped(input), widths, _MODES[mode], 0 if value is None else value)


def _both_masks(mask: Tensor, seen: Tensor) -> Tensor:
    """A mask, bool or floating, that also hides what is not seen."""
    return mask & seen if mask.dtype is tt.bool else tt.where(seen, mask, -math.inf)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale * query key' + mask) value; with is_causal query i attends to the keys up to i.

    Args:
        query: shape (B, H, Tq, D), (H, Tq, D) or (Tq, D).
        key: shape (B, H, Tk, D); with enable_gqa fewer heads, of which H is a multiple.
        value: shape (B, H, Tk, Dv).
        attn_mask: broadcasts to (B, H, Tq, Tk); bool (True: attend), or floating (added to the scores).
        dropout_p: probability of dropping a weight, also outside training.
        is_causal: in addition to the mask.
        scale: default 1 / sqrt(D).

    Returns:
        shape (B, H, Tq, Dv), without the axes that query lacks.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> q, v = tt.zeros(1, 1, 2, 4), tt.tensor([[[[1.0], [3.0]]]])
        >>> tt.nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True).tolist()
        [[[[1.0], [2.0]]]]
    """
    what = "scaled_dot_product_attention"
    if query.ndim < 4:
        q, k, v = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
        options: Any = {"scale": scale, "enable_gqa": enable_gqa}
        return scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal, **options).squeeze(0)
    if not enable_gqa and key.ndim == 4 and key.shape[1] not in (1, query.shape[1]):
        raise tt.ShapeError(
            f"{what}: {query.shape[1]} heads of queries and {key.shape[1]} of keys",
            why="each head has its own keys, unless heads share them in groups",
            fix="enable_gqa=True",
        )
    queries, keys = query.shape[2], key.shape[2]
    if is_causal and queries != keys:  # aligned at the start; that of the engine at the end
        is_causal, lower = False, tt.tril(tt.ones(queries, keys, dtype=tt.bool, device=query.device))
        attn_mask = lower if attn_mask is None else _both_masks(attn_mask, lower)
    y = tt.scaled_dot_product_attention(
        query, key, value, mask=attn_mask, causal=is_causal, scale=scale, dropout=dropout_p
    )
    assert isinstance(y, Tensor)  # a tuple only with need_weights
    return y


# ---- convolution and pooling -------------------------------------------------------------------------------


def _only(what: str, **given: bool) -> None:
    """ArgumentError for options of PyTorch that are not here."""
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise tt.ArgumentError(
            f"{what}: there is no {', '.join(wrong)}",
            why="pooling here has kernel_size, stride and padding",
            fix="leave it out",
        )


def _batched(convolve: Any, n: int, input: Tensor, *args: Any) -> Tensor:
    """A convolution over the last n axes; an image (C, ...) is a batch of one."""
    if input.ndim == n + 1:
        return _batched(convolve, n, input.unsqueeze(0), *args).squeeze(0)
    weight, bias, stride, padding, dilation, groups = args
    y: Tensor = convolve(
        input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return y


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of sequences (N, C, L) or (C, L) with weight (C_out, C / groups, K), see `tt.conv1d`.

    Example:
        >>> x = tt.tensor([[[1.0, 2.0, 4.0, 8.0]]])
        >>> tt.nn.functional.conv1d(x, tt.tensor([[[-1.0, 1.0]]])).tolist()
        [[[1.0, 2.0, 4.0]]]
    """
    return _batched(tt.conv1d, 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of images (N, C, H, W) or (C, H, W) with weight (C_out, C / groups, kh, kw).

    Example:
        >>> tt.nn.functional.conv2d(tt.ones(1, 4, 4), tt.ones(1, 1, 3, 3)).tolist()
        [[[9.0, 9.0], [9.0, 9.0]]]
    """
    return _batched(tt.conv2d, 2, input, weight, bias, stride, padding, dilation, groups)


def _transposed(axes: int, input: Tensor, weight: Tensor, bias: Tensor | None, *options: Numbers) -> Tensor:
    """A convolution of the input with zeros between its elements, by the mirrored kernels."""
    if input.ndim == axes + 1:
        return _transposed(axes, input.unsqueeze(0), weight, bias, *options).squeeze(0)
    stride, padding, more, dilation = [[n] * axes if isinstance(n, int) else n for n in options[:4]]
    groups = int(options[4])  # type: ignore[arg-type]  # a number
    x = input
    for axis, step in enumerate(stride, 2):
        spread = pad(x.unsqueeze(axis + 1), [0, 0] * (x.ndim - axis - 1) + [0, step - 1])
        x = tt.narrow(tt.flatten(spread, axis, axis + 1), axis, 0, (x.shape[axis] - 1) * step + 1)
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], dilation, strict=True)]
    widths = [(r - p, r - p + m) for r, p, m in zip(reach, padding, more, strict=True)]
    x = pad(x, [width for pair in widths[::-1] for width in pair])
    mirrored = tt.flip(weight, tuple(range(2, 2 + axes)))
    kernels = tt.flatten(tt.unflatten(mirrored, 0, (groups, -1)).transpose(1, 2), 0, 1)
    convolve: Callable[..., Tensor] = tt.conv1d if axes == 1 else tt.conv2d
    return convolve(x, kernels, bias, dilation=dilation, groups=groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The transpose of `conv1d` as a matrix: (N, C, L) or (C, L) with weight (C, C_out / groups, K).

    Example:
        >>> x, kernel = tt.tensor([[1.0, 2.0]]), tt.tensor([[[1.0, 1.0, 1.0]]])
        >>> tt.nn.functional.conv_transpose1d(x, kernel, stride=2).tolist()
        [[1.0, 1.0, 3.0, 2.0, 2.0]]
    """
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed(1, input, weight, bias, *options)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The transpose of `conv2d` as a matrix: (N, C, H, W) with weight (C, C_out / groups, kh, kw).

    Example:
        >>> tt.nn.functional.conv_transpose2d(tt.ones(1, 1, 1), tt.ones(1, 1, 2, 2)).tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
    """
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed(2, input, weight, bias, *options)


def max_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window along the last axis; equal ones share the gradient.

    Raises:
        ArgumentError: dilation, ceil_mode or return_indices, which are not here.

    Example:
        >>> tt.nn.functional.max_pool1d(tt.tensor([[1.0, 5.0, 2.0, 3.0]]), 2).tolist()
        [[5.0, 3.0]]
    """
    given = {"dilation": dilation != 1, "ceil_mode": ceil_mode, "return_indices": return_indices}
    _only("max_pool1d", **given)
    return tt.max_pool1d(input, kernel_size, stride=stride, padding=padding)


def max_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window over the last two axes; equal ones share the gradient.

    Raises:
        ArgumentError: dilation, ceil_mode or return_indices, which are not here.

    Example:
        >>> tt.nn.functional.max_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
        [[[3.0]]]
    """
    given = {"dilation": dilation != 1, "ceil_mode": ceil_mode, "return_indices": return_indices}
    _only("max_pool2d", **given)
    return tt.max_pool2d(input, kernel_size, stride=stride, padding=padding)


def avg_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along the last axis; count_include_pad=False: of its own elements alone.

    Raises:
        ArgumentError: ceil_mode, which is not here.

    Example:
        >>> tt.nn.functional.avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[3.0, 3.0]]
    """
    _only("avg_pool1d", ceil_mode=ceil_mode)
    y = tt.avg_pool1d(input, kernel_size, stride=stride, padding=padding)
    if count_include_pad:
        return y
    return y / tt.avg_pool1d(tt.ones_like(input), kernel_size, stride=stride, padding=padding)


def avg_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last two axes; count_include_pad=False: of its own elements alone.

    Raises:
        ArgumentError: ceil_mode or divisor_override, which are not here.

    Example:
        >>> tt.nn.functional.avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
        [[[1.5]]]
    """
    _only("avg_pool2d", ceil_mode=ceil_mode, divisor_override=divisor_override is not None)
    y = tt.avg_pool2d(input, kernel_size, stride=stride, padding=padding)
    if count_include_pad:
        return y
    return y / tt.avg_pool2d(tt.ones_like(input), kernel_size, stride=stride, padding=padding)


def _parts(size: int, wanted: int | None, like: Tensor) -> Tensor:
    """Which elements each of `wanted` parts of an axis has: bool, shape (wanted, size)."""
    count = size if wanted is None else wanted
    part = tt.arange(count, device=like.device).unsqueeze(1)
    at = tt.arange(size, device=like.device)
    return (at >= part * size // count) & (at < -(-(part + 1) * size // count))


def _adaptive(x: Tensor, sizes: Sequence[int | None], reduce: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """reduce(rows, parts) along each of the last axes."""
    for axis, wanted in enumerate(sizes, -len(sizes)):
        rows = tt.moveaxis(x, axis, -1)
        x = tt.moveaxis(reduce(rows, _parts(rows.shape[-1], wanted, x)), -1, axis)
    return x


def _mean_of_parts(x: Tensor, parts: Tensor) -> Tensor:
    """(..., size), (count, size) → (..., count)."""
    shares = parts.astype(x.dtype)
    return x @ (shares / shares.sum(1, True)).T


def _max_of_parts(x: Tensor, parts: Tensor) -> Tensor:
    """(..., size), (count, size) → (..., count)."""
    return tt.where(parts, x.unsqueeze(-2), -math.inf).max(-1)


def _sizes(output_size: int | Sequence[int | None], axes: int) -> Sequence[int | None]:
    sizes = [output_size] * axes if isinstance(output_size, int) else list(output_size)
    if len(sizes) != axes:
        raise tt.ArgumentError(
            f"adaptive pooling: output_size {tuple(sizes)}", why=f"it has {axes} numbers", fix="output_size=1"
        )
    return sizes


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The mean of each of output_size parts of the last axis, of equal size up to one element.

    Example:
        >>> tt.nn.functional.adaptive_avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[3.0, 3.0]]
    """
    return _adaptive(input, _sizes(output_size, 1), _mean_of_parts)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each of output_size = (height, width) parts of the last two axes; None keeps the size.

    Example:
        >>> tt.nn.functional.adaptive_avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 1).tolist()
        [[[1.5]]]
    """
    return _adaptive(input, _sizes(output_size, 2), _mean_of_parts)


def adaptive_max_pool1d(
    input: Tensor, output_size: int | Sequence[int], return_indices: bool = False
) -> Tensor:
    """The largest element of each of output_size parts of the last axis, of equal size up to one element.

    Raises:
        ArgumentError: return_indices, which is not here.

    Example:
        >>> tt.nn.functional.adaptive_max_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[5.0, 4.0]]
    """
    _only("adaptive_max_pool1d", return_indices=return_indices)
    return _adaptive(input, _sizes(output_size, 1), _max_of_parts)


def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor:
    """The largest element of each of output_size = (height, width) parts of the last two axes.

    Raises:
        ArgumentError: return_indices, which is not here.

    Example:
        >>> tt.nn.functional.adaptive_max_pool2d(tt.arange(4.0).reshape(1, 2, 2), 1).tolist()
        [[[3.0]]]
    """
    _only("adaptive_max_pool2d", return_indices=return_indices)
    return _adaptive(input, _sizes(output_size, 2), _max_of_parts)


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Sequences (N, C, L), images (N, C, H, W) or volumes (N, C, D, H, W) of another size.

    Args:
        input: three to five axes; floating.
        size: of the last axes, one number for all or one for each.
        scale_factor: in place of size.
        mode: "nearest" (the element at floor(i * scale)), "nearest-exact", or "linear", "bilinear" or
            "trilinear", by the number of axes.
        align_corners: with "linear" and so on: the outer elements keep their places.

    Raises:
        ArgumentError: another mode or number of axes, or not one of size and scale_factor.

    Example:
        >>> tt.nn.functional.interpolate(tt.tensor([[[1.0, 3.0]]]), size=3, mode="linear").tolist()
        [[[1.0, 2.0, 3.0]]]
    """
    axes = input.ndim - 2
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}
    if axes not in linear or mode not in ("nearest", "nearest-exact", linear[axes]):
        raise tt.ArgumentError(
            f"interpolate: mode {mode!r} for shape {input.shape}",
            why='it takes three to five axes; the modes are "nearest", "nearest-exact", and for three axes '
            '"linear", for four "bilinear", for five "trilinear"',
            fix='mode="nearest"',
        )
    if (size is None) == (scale_factor is None):
        raise tt.ArgumentError(
            "interpolate: not one of size and scale_factor", why="one gives the other", fix="scale_factor=2"
        )
    x = input
    factors = scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * axes
    wanted = size if isinstance(size, Sequence) else [size] * axes
    for axis, n, m, factor in zip(range(2, 2 + axes), input.shape[2:], wanted, factors, strict=True):
        count = int(n * factor) if m is None and factor is not None else m or 0
        if count < 1:
            raise tt.ArgumentError(
                f"interpolate: an axis of size {n} becomes {count}",
                why="it has elements",
                fix="scale_factor=2",
            )
        step = n / count if factor is None else 1 / factor
        if align_corners and "linear" in mode:
            step = (n - 1) / (count - 1) if count > 1 else 0.0
        half = 0.0 if mode == "nearest" or align_corners else 0.5
        at = (tt.arange(count, dtype=tt.float64) + half) * step  # places of the new elements among the old
        at = at - half if "linear" in mode else at
        if "linear" in mode:
            distance = tt.abs(tt.clip(at, 0, n - 1).unsqueeze(1) - tt.arange(n))
            weights = tt.clip(1 - distance, min=0).astype(x.dtype).to(x.device)  # (count, n)
            x = tt.moveaxis(tt.moveaxis(x, axis, -1) @ weights.T, -1, axis)
        else:
            index = tt.clip(tt.floor(at), 0, n - 1).astype(tt.int64)
            x = tt.take(x, index.to(x.device), axis)
    return x


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r², H, W) → (..., C, H * r, W * r), r = upscale_factor.

    Example:
        >>> tt.nn.functional.pixel_shuffle(tt.arange(4).reshape(4, 1, 1), 2).tolist()
        [[[0, 1], [2, 3]]]
    """
    r, (c, h, w) = upscale_factor, input.shape[-3:]
    x = input.reshape(-1, c // r**2, r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(*input.shape[:-3], c // r**2, h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) → (..., C * r², H, W), r = downscale_factor.

    Example:
        >>> tt.nn.functional.pixel_unshuffle(tt.arange(4).reshape(1, 2, 2), 2).tolist()
        [[[0]], [[1]], [[2]], [[3]]]
    """
    r, (c, h, w) = downscale_factor, input.shape[-3:]
    x = input.reshape(-1, c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(*input.shape[:-3], c * r**2, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of the groups in turn: (N, groups * k, ...) → the same (Zhang et al. 2017, arXiv:1707.01083).

    Example:
        >>> tt.nn.functional.channel_shuffle(tt.arange(4).reshape(1, 4), 2).tolist()
        [[0, 2, 1, 3]]
    """
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)


def unfold(
    input: Tensor, kernel_size: Numbers, dilation: Numbers = 1, padding: Numbers = 0, stride: Numbers = 1
) -> Tensor:
    """Windows of images as columns: (N, C, H, W) → (N, C * kh * kw, number of windows).

    Raises:
        ShapeError: a window is larger than the padded image.

    Example:
        >>> tt.nn.functional.unfold(tt.arange(4.0).reshape(1, 1, 2, 2), (1, 2)).tolist()
        [[[0.0, 2.0], [1.0, 3.0]]]
    """
    if input.ndim == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    (kh, kw), (dh, dw), (ph, pw), (sh, sw) = [
        (n, n) if isinstance(n, int) else tuple(n) for n in (kernel_size, dilation, padding, stride)
    ]
    x = pad(input, (pw, pw, ph, ph))
    x = x.unfold(2, dh * (kh - 1) + 1, sh)[..., ::dh]  # (N, C, Ho, W, kh)
    x = x.unfold(3, dw * (kw - 1) + 1, sw)[..., ::dw]  # (N, C, Ho, Wo, kh, kw)
    return x.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * kh * kw, -1)


# ---- losses ------------------------------------------------------------------------------------------------


def _reduced(what: str, losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses, or the losses."""
    if reduction not in ("mean", "sum", "none"):
        raise tt.ArgumentError(
            f"{what}: reduction is {reduction!r}",
            why='it is "mean", "sum" or "none"',
            fix='leave it out for the mean, or pass reduction="none"',
        )
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _same_shape(what: str, input: Tensor, target: Tensor) -> None:
    """ShapeError unless the shapes are equal; PyTorch warns here, or refuses, too."""
    if input.shape != target.shape:
        raise tt.ShapeError(
            f"{what}: shapes {input.shape} and {target.shape} differ",
            why="each prediction has one target; broadcasting here is nearly always a mistake",
            fix="reshape or expand one of them to the shape of the other",
        )


def _classes_last(input: Tensor) -> Tensor:
    """(N, C, ...) → (N, ..., C)."""
    return tt.moveaxis(input, 1, -1) if input.ndim > 1 else input


def _weights_of(target: Tensor, weight: Tensor, ignore_index: int) -> Tensor:
    """Weight of the class of each target, 0 where it is ignored."""
    ignored = target == ignore_index
    return tt.where(ignored, 0.0, tt.take(weight, tt.where(ignored, 0, target), 0))


def _weighted(what: str, losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    """Losses, which contain their weights already; "mean" divides by the sum of the weights."""
    return losses.sum() / weights.sum() if reduction == "mean" else _reduced(what, losses, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of each target class, times the weight of the class.

    Args:
        input: log-probabilities, shape (N, C, ...) or (C,).
        target: shape (N, ...) or (), classes or ignore_index.
        weight: shape (C,), or None for 1; "mean" divides by the sum of the weights.

    Raises:
        ShapeError: the shapes do not fit.
        IndexRangeError: a target is not a class.

    Example:
        >>> tt.nn.functional.nll_loss(tt.tensor([[-1.0, -2.0], [-3.0, -4.0]]), tt.tensor([0, 1])).item()
        2.5
    """
    rows = _classes_last(input)
    if weight is None:
        return tt.nll_loss(rows, target, ignore_index=ignore_index, reduction=reduction)
    losses = tt.nll_loss(rows, target, ignore_index=ignore_index, reduction="none")
    weights = _weights_of(target, weight, ignore_index)
    return _weighted("nll_loss", losses * weights, weights, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-probability of the targets under softmax(input), whose classes are on axis 1.

    Args:
        input: logits, shape (N, C, ...) or (C,).
        target: shape (N, ...) or (), classes or ignore_index; or probabilities of the shape of input.
        weight: of each class, shape (C,), or None for 1; "mean" divides by the sum of the weights of targets.
        label_smoothing: share of the target that is spread evenly over all classes.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: floating targets in the shape of classes.
        IndexRangeError: a target is not a class.

    Example:
        >>> tt.nn.functional.cross_entropy(tt.zeros(2, 4, 3), tt.zeros(2, 3, dtype=tt.int64)).item()
        1.3863
    """
    rows = _classes_last(input)  # (N, ..., C)
    if target.dtype.is_floating:
        return _cross_entropy_of_shares(rows, target, weight, reduction, label_smoothing)
    if weight is None:
        return tt.cross_entropy(
            rows, target, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction
        )
    log_probs = tt.log_softmax(rows)
    weights = _weights_of(target, weight, ignore_index)  # (N, ...)
    losses = tt.nll_loss(log_probs, target, ignore_index=ignore_index, reduction="none") * weights
    if label_smoothing:
        evenly = tt.where(target == ignore_index, 0.0, -(log_probs * weight).mean(-1))
        losses = (1 - label_smoothing) * losses + label_smoothing * evenly
    return _weighted("cross_entropy", losses, weights, reduction)


def _cross_entropy_of_shares(
    rows: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """cross_entropy of logits (N, ..., C) with probabilities (N, C, ...)."""
    if target.shape == rows.shape[:-1] != rows.shape:
        raise tt.DTypeError(
            f"cross_entropy: targets of shape {target.shape} and dtype {target.dtype}",
            why="classes are integers; floating targets are probabilities, in the shape of the input",
            fix="targets.long()",
        )
    shares = _classes_last(target)  # (N, ..., C)
    _same_shape("cross_entropy", rows, shares)
    shares = shares * (1 - label_smoothing) + label_smoothing / shares.shape[-1]
    log_probs = tt.log_softmax(rows)
    losses = -(shares * (log_probs if weight is None else log_probs * weight)).sum(-1)
    return _reduced("cross_entropy", losses, reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of (input - target)², of equal shapes.

    Example:
        >>> tt.nn.functional.mse_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
        2.0
    """
    return tt.mse_loss(input, target, reduction=reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |input - target|, of equal shapes.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.l1_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
        1.0
    """
    _same_shape("l1_loss", input, target)
    return _reduced("l1_loss", tt.abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Mean of d² / (2 beta) where d = |input - target| is below beta, else of d - beta / 2.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.smooth_l1_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
        [0.5, 4.5]
    """
    _same_shape("smooth_l1_loss", input, target)
    d = tt.abs(input - target)
    losses = d if beta == 0 else tt.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)
    return _reduced("smooth_l1_loss", losses, reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Mean of d² / 2 where d = |input - target| is at most delta, else of delta * (d - delta / 2).

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.huber_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
        [0.5, 4.5]
    """
    _same_shape("huber_loss", input, target)
    d = tt.abs(input - target)
    return _reduced("huber_loss", tt.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def _log(p: Tensor) -> Tensor:
    """log(p), but at least -100; at 0 with the slope that PyTorch has there, which keeps it finite."""
    return tt.where(p == 0, 1e12 * p - 100, tt.clip(tt.log(tt.where(p == 0, 1.0, p)), min=-100.0))


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Mean of -target * log(input) - (1 - target) * log(1 - input), the logarithms at least -100.

    Args:
        input: probabilities in [0, 1], any shape; outside the loss is nan.
        target: probabilities, of the same shape.
        weight: factor of each loss; broadcasts.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.binary_cross_entropy(tt.tensor([0.5, 1.0]), tt.ones(2)).item()
        0.3466
    """
    _same_shape("binary_cross_entropy", input, target)
    losses = -(target * _log(input) + (1 - target) * _log(1 - input))
    return _reduced("binary_cross_entropy", losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), finite for all logits.

    Args:
        input: logits, any shape.
        target: probabilities, of the same shape.
        weight: factor of each loss; broadcasts.
        pos_weight: factor of the term with log(sigmoid(input)); broadcasts.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> F = tt.nn.functional
        >>> F.binary_cross_entropy_with_logits(tt.tensor([0.0, 1000.0]), tt.ones(2)).item()
        0.3466
    """
    what = "binary_cross_entropy_with_logits"
    _same_shape(what, input, target)
    if pos_weight is None:
        losses = tt.bce_with_logits(input, target, reduction="none")
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * tt.softplus(-input)
    return _reduced(what, losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Mean of target * (log(target) - input): the divergence of exp(input) from target.

    Args:
        input: log-probabilities, any shape.
        target: probabilities, or with log_target their logarithms.
        reduction: "mean" over all elements, "batchmean" (the sum over the size of axis 0), "sum" or "none".

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> x = tt.log(tt.tensor([0.5, 0.5]))
        >>> tt.nn.functional.kl_div(x, tt.tensor([0.0, 1.0]), reduction="sum").item()
        0.6931
    """
    _same_shape("kl_div", input, target)
    if log_target:
        losses = tt.exp(target) * (target - input)
    else:
        losses = target * tt.log(tt.where(target == 0, 1.0, target)) - target * input
    if reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return _reduced("kl_div", losses, reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of 1 - cos where target is 1, of max(0, cos - margin) where it is -1: (N, D), (N, D), (N,) → ().

    Example:
        >>> x = tt.tensor([[1.0, 0.0]])
        >>> tt.nn.functional.cosine_embedding_loss(x, x, tt.tensor([-1]), margin=0.5).item()
        0.5
    """
    squares = [(x * x).sum(-1) + 1e-12 for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / tt.sqrt(squares[0] * squares[1])
    alike = tt.where(target == 1, 1 - cosine, 0.0)
    unlike = tt.where(target == -1, tt.clip(cosine - margin, min=0.0), 0.0)
    return _reduced("cosine_embedding_loss", alike + unlike, reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of max(0, margin - target * (input1 - input2)); target 1: input1 should be larger, else -1.

    Example:
        >>> x, y = tt.tensor([1.0, 2.0]), tt.tensor([0.0, 5.0])
        >>> tt.nn.functional.margin_ranking_loss(x, y, tt.ones(2), reduction="none").tolist()
        [0.0, 3.0]
    """
    losses = tt.clip(-target * (input1 - input2) + margin, min=0.0)
    return _reduced("margin_ranking_loss", losses, reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of x where target is 1, of max(0, margin - x) where it is -1.

    Example:
        >>> tt.nn.functional.hinge_embedding_loss(tt.tensor([3.0, 0.5]), tt.tensor([1, -1])).item()
        1.75
    """
    unlike = tt.where(target != 1, tt.clip(margin - input, min=0.0), 0.0)
    return _reduced("hinge_embedding_loss", unlike + tt.where(target != -1, input, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of log(1 + exp(-target * x)), target 1 or -1, of equal shapes.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.soft_margin_loss(tt.tensor([0.0, 1000.0]), tt.ones(2)).item()
        0.3466
    """
    _same_shape("soft_margin_loss", input, target)
    return _reduced("soft_margin_loss", tt.softplus(-target * input), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, margin + distance to positive - distance to negative): three of (N, D) → ().

    swap takes the distance of positive and negative where it is the smaller one.

    Example:
        >>> x, far = tt.zeros(1, 2), tt.tensor([[3.0, 4.0]])
        >>> tt.nn.functional.triplet_margin_loss(x, far, x).item()
        6.0
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = tt.minimum(far, pairwise_distance(positive, negative, p, eps))
    return _reduced("triplet_margin_loss", tt.clip(margin + near - far, min=0.0), reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Mean of (log(var) + (input - target)² / var) / 2, var at least eps; full adds log(2 pi) / 2.

    Args:
        input, target: any equal shapes (N, ..., D).
        var: variances: that shape, (N, ..., 1) or (N, ...).

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a variance is negative.

    Example:
        >>> tt.nn.functional.gaussian_nll_loss(tt.tensor([1.0]), tt.tensor([3.0]), tt.ones(1)).item()
        2.0
    """
    _same_shape("gaussian_nll_loss", input, target)
    if var.shape == input.shape[:-1] != ():
        var = var.unsqueeze(-1)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        _same_shape("gaussian_nll_loss", input, var)
    if (var < 0).any():
        raise tt.ArgumentError(
            "gaussian_nll_loss: a variance is negative", why="it is a mean of squares", fix="var.exp()"
        )
    var = var + (tt.clip(var, min=eps) - var).detach()  # derivative 1 also below eps, as in PyTorch
    losses = 0.5 * (tt.log(var) + tt.square(input - target) / var)
    return _reduced("gaussian_nll_loss", losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Mean of exp(input) - target * input; without log_input of input - target * log(input + eps).

    full adds Stirling's approximation of log(target!) where target is above 1.

    Example:
        >>> tt.nn.functional.poisson_nll_loss(tt.tensor([0.0, 0.0]), tt.tensor([1.0, 3.0])).item()
        1.0
    """
    losses = tt.exp(input) - target * input if log_input else input - target * tt.log(input + eps)
    if full:
        t = tt.where(target > 1, target, 1.0)
        stirling = t * tt.log(t) - t + 0.5 * tt.log(2 * math.pi * t)
        losses = losses + tt.where(target > 1, stirling, 0.0)
    return _reduced("poisson_nll_loss", losses, reduction)
