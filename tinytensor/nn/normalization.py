"""Normalization modules: over the last axes, over groups of channels, over the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "RMSNorm",
]


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
        eps: added to the variance.
        elementwise_affine: whether to have weight and bias.
        bias: whether to add a bias; False as in nanoGPT's bias-free GPT.
        device, dtype: of the weights; default the CPU and float32.
        narrow: in an autocast block the result has its 16-bit dtype, to which the products that read it would
            round it; else float32.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1, bias (C,), initially 0.

    Raises:
        ArgumentError: a size is not positive.

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

    Example:
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
            return tt.layer_norm(x, self.weight, self.bias, eps=self.eps, dtype=self._dtype_for(x))
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

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
        normalized_shape: C, the size of the last axis, or the sizes of the last axes.
        eps: added to the mean square; None is that of the dtype, 1.2e-7 for float32.
        elementwise_affine: whether to have a weight.
        device, dtype: of the weights; default the CPU and float32.
        narrow: in an autocast block the result has its 16-bit dtype, to which the products that read it would
            round it; else float32.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1.

    Raises:
        ArgumentError: a size is not positive.

    Source: Zhang, Sennrich 2019, arXiv:1910.07467.

    Example:
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
            return tt.rms_norm(x, self.weight, eps=self.eps, dtype=self._dtype_for(x))
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

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

    Args:
        num_groups: G, which divides C.
        num_channels: C.
        eps: added to the variance.
        affine: whether to have weight and bias.
        device, dtype: of the weights; default the CPU and float32.
        bias: whether to add a bias, if affine.

    Shapes:
        x (N, C, ...) → the same; weight (C,), initially 1, bias (C,), initially 0.

    Raises:
        ArgumentError: a size is not positive, or G does not divide C.

    Source: Wu, He 2018, arXiv:1803.08494.

    Example:
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
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Groups and eps."""
        return f"num_groups={self.num_groups}, eps={self.eps:g}"


class _ByChannel(_Norm):
    """Base class of the modules that may keep running statistics of channels."""

    running_mean: tt.Tensor | None
    running_var: tt.Tensor | None
    num_batches_tracked: tt.Tensor | None
    eps: float
    ranks: ClassVar[tuple[int, ...]]
    shapes: ClassVar[str]

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

    def _check(self, x: tt.Tensor, channels: int) -> None:
        if x.ndim not in self.ranks or x.shape[channels] != self.num_features:
            raise tt.ShapeError(
                f"{type(self).__name__}: x has shape {x.shape}",
                why=f"it is {self.shapes}, with C = {self.num_features}",
                fix="x.unsqueeze(0) is a batch of one example",
            )


class BatchNorm1d(_ByChannel):
    """Mean 0 and variance 1 of each channel over the batch, then a scale and shift per channel.

    y = (x - mean) / sqrt(variance + eps) * weight + bias

    While training, mean and variance are those of the batch, and running averages of them are kept, of the
    variance with n - 1; in evaluation they are the running averages.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running averages; None: all batches weigh the same.
        affine: whether to have weight and bias.
        device, dtype: of the weights; default the CPU and float32.
        bias: whether to add a bias, if affine.
        track_running_stats: False uses the statistics of the batch in evaluation, too.

    Shapes:
        x (N, C) or (N, C, L) → the same; weight, bias and the buffers running_mean and running_var (C,),
        num_batches_tracked ().

    Raises:
        ArgumentError: num_features is not positive; on call while training: one value per channel.
        ShapeError: x does not fit.

    Source: Ioffe, Szegedy 2015, arXiv:1502.03167.

    Example:
        >>> layer = tt.nn.BatchNorm1d(1)
        >>> layer(tt.tensor([[1.0], [3.0]])).tolist(), layer.running_mean.tolist()
        ([[-1.0], [1.0]], [0.2])
        >>> layer.eval()(tt.tensor([[0.2]])).tolist()
        [[0.0]]
    """

    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    shapes = "(N, C) or (N, C, L)"

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """The same shape."""
        self._check(x, 1)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / int(self.num_batches_tracked)
        by_batch = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps
        )


class BatchNorm2d(BatchNorm1d):
    """BatchNorm1d of images: x (N, C, H, W) → the same; statistics over N, H and W."""

    ranks, shapes = (4,), "(N, C, H, W)"


class InstanceNorm1d(_ByChannel):
    """Mean 0 and variance 1 of each channel of each example, over its positions.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running averages.
        affine: whether to have weight and bias, one for each channel.
        device, dtype: of the weights; default the CPU and float32.
        bias: whether to add a bias, if affine.
        track_running_stats: keep running averages over examples, which evaluation uses.

    Shapes:
        x (N, C, L) or (C, L) → the same.

    Raises:
        ArgumentError: num_features is not positive; on call: one position per channel.
        ShapeError: x does not fit.

    Source: Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.

    Example:
        >>> tt.nn.InstanceNorm1d(1)(tt.tensor([[1.0, 3.0]])).tolist()
        [[-1.0, 1.0]]
    """

    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    shapes = "(N, C, L) or (C, L)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        options = (affine, track_running_stats, device, dtype)
        super().__init__(num_features, eps, momentum, *options, bias=bias)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """The same shape."""
        if x.ndim == self.ranks[0]:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        self._check(x, 1)
        by_input = self.training or self.running_mean is None
        momentum = self.momentum or 0.0
        return F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_input, momentum, self.eps
        )


class InstanceNorm2d(InstanceNorm1d):
    """InstanceNorm1d of images: x (N, C, H, W) or (C, H, W) → the same; statistics over H and W."""

    ranks, shapes = (3, 4), "(N, C, H, W) or (C, H, W)"
