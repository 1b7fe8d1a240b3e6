"""Normalization over the last axes, groups of channels, or the batch: functions and modules; similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import tinytensor.api as tt
from tinytensor.nn.module import Module, Parameter, as_module, check_size
from tinytensor.ops.nn.layer_norm import layer_norm as _layer_norm
from tinytensor.ops.nn.layer_norm import rms_norm as _rms_norm

Numbers = int | Sequence[int]


def _rows(what: str, input: tt.Tensor, normalized_shape: Numbers, *parameters: tt.Tensor | None) -> list[Any]:
    """The tensors with the last axes, which are those of normalized_shape, made one."""
    given: object = normalized_shape
    if isinstance(given, tt.Tensor):
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
    input: tt.Tensor,
    normalized_shape: Numbers,
    weight: tt.Tensor | None = None,
    bias: tt.Tensor | None = None,
    eps: float = 1e-5,
) -> tt.Tensor:
    """Mean 0 and variance 1 over the last axes, times weight plus bias.

    Args:
        input: shape (..., *normalized_shape), floating.
        weight, bias: of normalized_shape, or None for 1 and 0.

    >>> tt.nn.functional.layer_norm(tt.tensor([1.0, 2.0, 3.0]), (3,)).tolist()
    [-1.2247, 0.0, 1.2247]
    """
    x, weight, bias = _rows("layer_norm", input, normalized_shape, weight, bias)
    y = _layer_norm(x, weight, bias, eps=eps)
    return y if x is input else y.reshape(input.shape)


def rms_norm(
    input: tt.Tensor, normalized_shape: Numbers, weight: tt.Tensor | None = None, eps: float | None = None
) -> tt.Tensor:
    """Root mean square 1 over the last axes, times weight.

    Args:
        eps: added to the mean of squares; None is that of the dtype, 1.2e-7 for float32.

    >>> tt.nn.functional.rms_norm(tt.tensor([3.0, 4.0]), (2,)).tolist()
    [0.8485, 1.1314]
    """
    x, weight = _rows("rms_norm", input, normalized_shape, weight)
    if eps is None:  # 16-bit floats are computed in float32
        eps = tt.finfo(tt.float64 if x.dtype is tt.float64 else tt.float32).eps
    y = _rms_norm(x, weight, eps=eps)
    return y if x is input else y.reshape(input.shape)


def group_norm(
    input: tt.Tensor,
    num_groups: int,
    weight: tt.Tensor | None = None,
    bias: tt.Tensor | None = None,
    eps: float = 1e-5,
) -> tt.Tensor:
    """Mean 0 and variance 1 over each of num_groups groups of channels, times weight plus bias, both (C,).

    Shapes: (N, C, ...) → the same.

    >>> tt.nn.functional.group_norm(tt.tensor([[1.0, 3.0, 10.0, 20.0]]), 2).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    if input.ndim < 2:
        raise tt.ShapeError(
            f"group_norm: the input has shape {input.shape}",
            why="its axes are (N, C, ...), at least 2",
            fix="x.unsqueeze(0) for an axis that is missing in front",
        )
    n, c = input.shape[:2]
    if c % num_groups:
        raise tt.ShapeError(
            f"group_norm: {num_groups} groups of {c} channels",
            why="all groups have the same number of channels",
            fix="num_groups that divides the number of channels",
        )
    rows = input.reshape(n, num_groups, math.prod(input.shape[1:]) // num_groups)
    y = _layer_norm(rows, eps=eps).reshape(input.shape)
    columns = (c, *[1] * (input.ndim - 2))  # of a parameter, to broadcast to (N, C, ...)
    y = y if weight is None else y * weight.reshape(columns)
    return y if bias is None else y + bias.reshape(columns)


def _average(running: tt.Tensor, new: tt.Tensor, momentum: float) -> None:
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
    input: tt.Tensor,
    running_mean: tt.Tensor | None,
    running_var: tt.Tensor | None,
    weight: tt.Tensor | None = None,
    bias: tt.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tt.Tensor:
    """Each channel with mean 0 and variance 1 over the batch, times weight plus bias: (N, C, ...) → the same.

    With training the statistics are those of the batch, which are added to the running ones in place, the
    variance with n - 1; otherwise they are the running ones. All parameters have shape (C,).

    Raises:
        ArgumentError: one value per channel while training, or no running statistics otherwise.

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


def normalize(input: tt.Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> tt.Tensor:
    """x divided by its p-norm along dim, or by eps if that is larger.

    >>> tt.nn.functional.normalize(tt.tensor([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    return input / tt.clip(tt.norm(input, p, dim, True), min=eps)


def cosine_similarity(x1: tt.Tensor, x2: tt.Tensor, dim: int = 1, eps: float = 1e-8) -> tt.Tensor:
    """Cosine of the angle between x1 and x2 along dim, which is reduced; norms are at least eps.

    >>> tt.nn.functional.cosine_similarity(tt.tensor([3.0, 4.0]), tt.tensor([1.0, 0.0]), dim=0).item()
    0.6
    """
    x1, x2 = tt.broadcast_arrays(x1, x2)
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)


CosineSimilarity = as_module("CosineSimilarity", cosine_similarity, inputs=2)


class _Norm(Module):
    """Base class: weight, initially 1, and bias, initially 0, or None for each."""

    weight: tt.Tensor | None
    bias: tt.Tensor | None
    eps: float | None
    narrow: bool = False

    def _dtype_for(self, x: tt.Tensor) -> tt.DType | None:
        """Dtype of the result; None for that of x."""
        return tt.get_autocast_dtype(x.device) if self.narrow and not x.dtype.itemsize > 4 else None

    def _parameters_of(self, shape: Sequence[int], weight: bool, bias: bool) -> None:
        self.register_parameter("weight", Parameter(tt.ones(*shape)) if weight else None)
        self.register_parameter("bias", Parameter(tt.zeros(*shape)) if bias else None)

    def _last_axes(self, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
        sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        return tuple([check_size(type(self).__name__, "normalized_shape", size) for size in sizes])

    def _is_one_op(self) -> bool:
        """Whether `add` is: there is one axis and a weight, and no hook wants to see the sum."""
        return len(self.normalized_shape) == 1 and self.weight is not None and not self.hooked

    def extra_repr(self) -> str:
        """The eps."""
        return "" if self.eps is None else f"eps={self.eps:g}"


class LayerNorm(_Norm):
    """Layer normalization over the last axes, with a learned scale and shift.

    y = (x - mean) / sqrt(variance + eps) * weight + bias

    Args:
        normalized_shape: C, the size of the last axis, or the sizes of the last axes.
        narrow: in an autocast block the result has its 16-bit dtype, to which the products that read it would
            round it; else float32.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1, bias (C,), initially 0.

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

    >>> tt.nn.LayerNorm(2)(tt.tensor([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    >>> tt.nn.LayerNorm(4, bias=False)
    LayerNorm(eps=1e-05; weight (4,))  # 4 parameters
    """

    eps: float

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps, self.narrow = self._last_axes(normalized_shape), eps, narrow
        self._parameters_of(self.normalized_shape, elementwise_affine, elementwise_affine and bias)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., C) → (..., C)."""
        if len(self.normalized_shape) == 1 and self.weight is not None:  # whose size the op checks
            return _layer_norm(x, self.weight, self.bias, eps=self.eps, dtype=self._dtype_for(x))
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def add(self, x: tt.Tensor, y: tt.Tensor, dropout: float = 0.0) -> tuple[tt.Tensor, tt.Tensor]:
        """x + dropout(y), and its norm in the dtype of y: a residual connection and this layer in one."""
        if self._is_one_op():
            return tt.add_layer_norm(x, y, self.weight, self.bias, eps=self.eps, dropout=dropout)
        total = x + (tt.dropout(y.astype(x.dtype), dropout) if dropout else y)
        return total, self(total).astype(y.dtype)


class RMSNorm(_Norm):
    """Root mean square normalization over the last axes, with a learned scale.

    y = x / sqrt(mean(x²) + eps) * weight

    Args:
        eps: added to the mean square; None is that of the dtype, 1.2e-7 for float32.
        narrow: in an autocast block the result has its 16-bit dtype, to which the products that read it would
            round it; else float32.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1.

    Source: Zhang, Sennrich 2019, arXiv:1910.07467.

    >>> tt.nn.RMSNorm(2)(tt.tensor([3.0, -3.0])).tolist()
    [1.0, -1.0]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps, self.narrow = self._last_axes(normalized_shape), eps, narrow
        self._parameters_of(self.normalized_shape, elementwise_affine, False)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., C) → (..., C)."""
        if len(self.normalized_shape) == 1 and self.weight is not None and self.eps is not None:
            return _rms_norm(x, self.weight, eps=self.eps, dtype=self._dtype_for(x))
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def add(self, x: tt.Tensor, y: tt.Tensor, dropout: float = 0.0) -> tuple[tt.Tensor, tt.Tensor]:
        """x + dropout(y), and its norm in the dtype of y: a residual connection and this layer in one."""
        if (
            self.eps is not None
            and self.weight is not None
            and len(self.normalized_shape) == 1
            and not self.hooked
        ):
            return tt.add_rms_norm(x, y, self.weight, eps=self.eps, dropout=dropout)
        total = x + (tt.dropout(y.astype(x.dtype), dropout) if dropout else y)
        return total, self(total).astype(y.dtype)


class GroupNorm(_Norm):
    """Mean 0 and variance 1 over each group of channels of each example, then a scale and shift per channel.

    Shapes:
        x (N, C, ...) → the same; weight (C,), initially 1, bias (C,), initially 0.

    Source: Wu, He 2018, arXiv:1803.08494.

    >>> tt.nn.GroupNorm(2, 4)(tt.tensor([[1.0, 3.0, 10.0, 20.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    eps: float

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = check_size("GroupNorm", "num_groups", num_groups)
        self.num_channels = check_size("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise tt.ArgumentError(
                f"GroupNorm: {num_groups} groups of {num_channels} channels",
                why="all groups have the same number of channels",
                fix="num_groups that divides num_channels",
            )
        self.eps = eps
        self._parameters_of((num_channels,), affine, affine and bias)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(N, C, ...) → the same."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Groups and eps."""
        return f"num_groups={self.num_groups}, eps={self.eps:g}"


class BatchNorm1d(_Norm):
    """Mean 0 and variance 1 of each channel over the batch, then a scale and shift per channel.

    y = (x - mean) / sqrt(variance + eps) * weight + bias

    While training, mean and variance are those of the batch, and running averages of them are kept, of the
    variance with n - 1; in evaluation they are the running averages.

    Args:
        momentum: weight of the new batch in the running averages; None: all batches weigh the same.
        track_running_stats: False uses the statistics of the batch in evaluation, too.

    Shapes:
        x (N, C) or (N, C, L) → the same; weight, bias and the buffers running_mean and running_var (C,),
        num_batches_tracked ().

    Raises:
        ArgumentError: num_features is not positive; on call while training: one value per channel.

    Source: Ioffe, Szegedy 2015, arXiv:1502.03167.

    >>> layer = tt.nn.BatchNorm1d(1)
    >>> layer(tt.tensor([[1.0], [3.0]])).tolist(), layer.running_mean.tolist()
    ([[-1.0], [1.0]], [0.2])
    >>> layer.eval()(tt.tensor([[0.2]])).tolist()
    [[0.0]]
    """

    running_mean: tt.Tensor | None
    running_var: tt.Tensor | None
    num_batches_tracked: tt.Tensor | None
    eps: float
    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    shapes: ClassVar[str] = "(N, C) or (N, C, L)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_size(type(self).__name__, "num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self._parameters_of((num_features,), affine, affine and bias)
        zeros, ones, count = tt.zeros(num_features), tt.ones(num_features), tt.tensor(0)
        for name, start in (("running_mean", zeros), ("running_var", ones), ("num_batches_tracked", count)):
            self.register_buffer(name, start if track_running_stats else None)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """The same shape."""
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            raise tt.ShapeError(
                f"{type(self).__name__}: x has shape {x.shape}",
                why=f"it is {self.shapes}, with C = {self.num_features}",
                fix="x.unsqueeze(0) is a batch of one example",
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / int(self.num_batches_tracked)
        by_batch = self.training or self.running_mean is None
        return batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps
        )


class BatchNorm2d(BatchNorm1d):
    """BatchNorm1d of images: x (N, C, H, W) → the same; statistics over N, H and W."""

    ranks, shapes = (4,), "(N, C, H, W)"
