"""Convolution, pooling and flatten modules."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = ["AvgPool2d", "Conv1d", "Conv2d", "Flatten", "MaxPool2d"]

Numbers = int | Sequence[int]


class _Convolution(Module):
    """Base class of Conv1d and Conv2d, for any number of spatial axes."""

    weight: tt.Tensor
    bias: tt.Tensor | None
    axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        *,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_size(name, "in_channels", in_channels)
        check_size(name, "out_channels", out_channels)
        if check_size(name, "groups", groups) > 1 and (in_channels % groups or out_channels % groups):
            raise tt.ArgumentError(
                f"{name}: {groups} groups of {in_channels} input and {out_channels} output channels",
                why="each group has the same number of channels",
                fix="groups=1, or channels that are multiples of groups",
            )
        kernel = _per_axis(name, "kernel_size", kernel_size, self.axes)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.weight = Parameter(tt.empty(out_channels, in_channels // groups, *kernel))
        bound = 1 / sqrt(init.fans(self.weight.shape)[0])
        init.uniform_(self.weight, -bound, bound, generator=generator)
        self.register_parameter("bias", Parameter(tt.empty(out_channels)) if bias else None)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def _options(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """The options that differ from their defaults."""
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        return ", ".join(f"{k}={v!r}" for k, v in self._options().items() if v != usual[k])


def _per_axis(layer: str, name: str, value: Numbers, axes: int) -> tuple[int, ...]:
    """One size per spatial axis; a single number applies to all."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(sizes) != axes:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}",
            why=f"it is one number, or {axes}: one for each spatial axis",
            fix=f"{name}=3",
        )
    return tuple([check_size(layer, name, size) for size in sizes])


class Conv1d(_Convolution):
    """1-D convolution over sequences, see `tt.conv1d`.

    Args:
        in_channels: channels of the input, C_in.
        out_channels: channels of the output, one per kernel, C_out.
        kernel_size: K, length of a kernel.
        stride: distance between windows.
        padding: zeros at both ends, or "same", or "valid".
        dilation: distance between the elements of a window.
        groups: number of independent channel groups.
        bias: whether to add a bias.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        x (B, C_in, L) → (B, C_out, (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1); weight
        (C_out, C_in / groups, K), bias (C_out,).

    Raises:
        ArgumentError: a size is not positive, or the channels cannot be split into groups.

    Source: initial values from U(-b, b), b = 1 / sqrt(K * C_in / groups), as for Linear.

    Example:
        >>> layer = tt.nn.Conv1d(2, 4, 3, padding="same")
        >>> layer(tt.ones(1, 2, 10)).shape
        (1, 4, 10)
        >>> layer
        Conv1d(padding='same'; weight (4, 2, 3), bias (4,))  # 28 parameters
    """

    axes = 1

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, C_in, L) → (B, C_out, L_out)."""
        return tt.conv1d(x, self.weight, self.bias, **self._options())


class Conv2d(_Convolution):
    """2-D convolution over images, see `tt.conv2d`.

    Args:
        in_channels: channels of the input, C_in.
        out_channels: channels of the output, one per kernel, C_out.
        kernel_size: one number, or (height, width): kh, kw.
        stride: distance between windows: one number, or (vertical, horizontal), as for the next two.
        padding: zeros on all four sides, or "same", or "valid".
        dilation: distance between the elements of a window.
        groups: number of independent channel groups.
        bias: whether to add a bias.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        x (B, C_in, H, W) → (B, C_out, Ho, Wo), Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
        and Wo likewise; weight (C_out, C_in / groups, kh, kw), bias (C_out,).

    Raises:
        ArgumentError: a size is not positive, or the channels cannot be split into groups.

    Source: initial values from U(-b, b), b = 1 / sqrt(kh * kw * C_in / groups), as for Linear.

    Example:
        >>> tt.nn.Conv2d(1, 4, 3, stride=2)(tt.ones(2, 1, 9, 9)).shape
        (2, 4, 4, 4)
    """

    axes = 2

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, C_in, H, W) → (B, C_out, Ho, Wo)."""
        return tt.conv2d(x, self.weight, self.bias, **self._options())


class _Pool(Module):
    """Base class of the pooling modules."""

    def __init__(self, kernel_size: Numbers, *, stride: Numbers | None = None, padding: Numbers = 0) -> None:
        super().__init__()
        self.kernel_size: Numbers = kernel_size
        self.stride, self.padding = stride, padding
        _per_axis(type(self).__name__, "kernel_size", kernel_size, 2)

    def extra_repr(self) -> str:
        """The options that are set."""
        stride = "" if self.stride is None else f", stride={self.stride}"
        padding = f", padding={self.padding}" if self.padding else ""
        return f"kernel_size={self.kernel_size}{stride}{padding}"


class MaxPool2d(_Pool):
    """2-D max pooling over the last two axes, see `tt.max_pool2d`.

    Args:
        kernel_size: size of a window: one number, or (height, width), as for the next two.
        stride: distance between windows; None is kernel_size.
        padding: padding on all four sides with elements that are never the maximum.

    Shapes:
        x (..., H, W) → (..., Ho, Wo), Ho = (H + 2 * padding - kernel_size) // stride + 1 and Wo likewise.

    Raises:
        ArgumentError: kernel_size is not positive.

    Example:
        >>> tt.nn.MaxPool2d(2)(tt.arange(16).reshape(1, 1, 4, 4)).tolist()
        [[[[5, 7], [13, 15]]]]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., H, W) → (..., Ho, Wo)."""
        return tt.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)


class AvgPool2d(_Pool):
    """2-D average pooling over the last two axes, see `tt.avg_pool2d`.

    Args:
        kernel_size: size of a window: one number, or (height, width), as for the next two.
        stride: distance between windows; None is kernel_size.
        padding: zeros on all four sides, included in the mean.

    Shapes:
        x (..., H, W) → (..., Ho, Wo), Ho = (H + 2 * padding - kernel_size) // stride + 1 and Wo likewise.

    Raises:
        ArgumentError: kernel_size is not positive.

    Example:
        >>> tt.nn.AvgPool2d(2)(tt.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist()
        [[3.0]]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., H, W) → (..., Ho, Wo)."""
        return tt.avg_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)


class Flatten(Module):
    """Flatten all axes but the first, as between convolutions and a Linear.

    Shapes:
        x (B, ...) → (B, product of the others).

    Example:
        >>> tt.nn.Flatten()(tt.ones(2, 3, 4)).shape
        (2, 12)
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, ...) → (B, N)."""
        if not x.ndim:
            raise tt.ShapeError(
                "Flatten: x has no axes", why="the first axis, the batch, is kept", fix="x.reshape(1, 1)"
            )
        size = 1
        for n in x.shape[1:]:  # not -1: that is not defined for an empty batch
            size *= n
        return x.reshape(x.shape[0], size)
