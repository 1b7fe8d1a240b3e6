"""Normalization over the last axes, groups of channels, or the batch."""

from __future__ import annotations

import math
from typing import Any

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import Numbers, need_axes

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "normalize",
    "rms_norm",
]


def _rows(what: str, input: Tensor, normalized_shape: Numbers, *parameters: Tensor | None) -> list[Any]:
    """The tensors with the last axes, which are those of normalized_shape, made one."""
    given: object = normalized_shape
    if isinstance(given, Tensor):
        raise tt.ArgumentError(
            f"{what}: normalized_shape is a tensor of shape {given.shape}",
            why="it is the shape of the last axes, and comes before the weight",
            fix=f"normalized_shape={input.shape[-1:]}",
        )
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
    rows = input.reshape(*input.shape[:lead], math.prod(sizes))
    return [rows, *[p if p is None else p.reshape(-1) for p in parameters]]


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
    need_axes("group_norm", input, 2, "(N, C, ...)")
    n, c = input.shape[:2]
    if c % num_groups:
        raise tt.ShapeError(
            f"group_norm: {num_groups} groups of {c} channels",
            why="all groups have the same number of channels",
            fix="num_groups that divides the number of channels",
        )
    rows = input.reshape(n, num_groups, math.prod(input.shape[1:]) // num_groups)
    y = tt.layer_norm(rows, eps=eps).reshape(input.shape)
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
    need_axes("instance_norm", input, 2, "(N, C, ...)")
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
    return input / tt.clip(tt.norm(input, p, dim, True), min=eps)
