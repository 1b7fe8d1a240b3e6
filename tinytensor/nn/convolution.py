"""Convolution modules, and those of the transposed matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, ClassVar

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn import init
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

Numbers = int | Sequence[int]


class _Kernels(Module):
    """Base class of all convolutions, for any number of spatial axes: checks, and the initial weights."""

    weight: tt.Tensor
    bias: tt.Tensor | None
    axes: int
    usual: ClassVar[dict[str, Any]]  # options and their defaults

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        groups: int,
        bias: bool,
        transposed: bool,
        place: tuple[Any, Any],
        generator: tt.Generator | None,
        **options: Any,
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
        self.kernel_size, self.options = kernel, {**options, "groups": groups}
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = Parameter(tt.empty(first, second // groups, *kernel))
        bound = 1 / sqrt(init.fans(self.weight.shape)[0])
        init.uniform_(self.weight, -bound, bound, generator=generator)
        self.register_parameter("bias", Parameter(tt.empty(out_channels)) if bias else None)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)
        self.to(*place)

    def extra_repr(self) -> str:
        """The options that differ from their defaults."""
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items() if v != self.usual[k])


class _Convolution(_Kernels):
    """Base class of Conv1d and Conv2d."""

    usual: ClassVar[dict[str, Any]] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        super().__init__(
            in_channels, out_channels, kernel_size, groups, bias, False, (device, dtype), generator, **options
        )
        self.padding_mode = padding_mode

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, C_in, ...) or (C_in, ...) → the same with C_out channels and other sizes."""
        convolve, options = (F.conv1d, F.conv2d)[self.axes - 1], self.options
        if self.padding_mode != "zeros":
            x, options = F.pad(x, self._widths(), self.padding_mode), {**options, "padding": 0}
        return convolve(x, self.weight, self.bias, **options)

    def _widths(self) -> list[int]:
        """What `pad` takes, from the last axis to the first."""
        if self.options["padding"] == "same":
            reach = [d * (k - 1) for k, d in zip(self.kernel_size, self._each("dilation"), strict=True)]
            return [width for r in reach[::-1] for width in (r // 2, r - r // 2)]
        return [n for n in self._each("padding")[::-1] for _ in range(2)]

    def _each(self, name: str) -> list[int]:
        value = 0 if self.options[name] == "valid" else self.options[name]
        return [value] * self.axes if isinstance(value, int) else list(value)


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
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the weights; default the CPU and float32.
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
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the weights; default the CPU and float32.
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


class _Transposed(_Kernels):
    """Base class of ConvTranspose1d and ConvTranspose2d."""

    usual: ClassVar[dict[str, Any]] = {**_Convolution.usual, "output_padding": 0}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        more: dict[str, Any] = {"padding": padding, "output_padding": output_padding, "dilation": dilation}
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            groups,
            bias,
            True,
            (device, dtype),
            generator,
            stride=stride,
            **more,
        )

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, C_in, ...) or (C_in, ...) → the same with C_out channels and other sizes."""
        convolve = (F.conv_transpose1d, F.conv_transpose2d)[self.axes - 1]
        return convolve(x, self.weight, self.bias, **self.options)


class ConvTranspose1d(_Transposed):
    """The transpose of a convolution over sequences, which makes them longer: see `ConvTranspose2d`.

    Shapes:
        x (B, C_in, L) → (B, C_out, (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1);
        weight (C_in, C_out / groups, K), bias (C_out,).

    Example:
        >>> tt.nn.ConvTranspose1d(2, 4, 3, stride=2)(tt.ones(1, 2, 5)).shape
        (1, 4, 11)
    """

    axes = 1


class ConvTranspose2d(_Transposed):
    """The transpose of a convolution over images, which makes them larger.

    Args:
        in_channels: channels of the input, C_in.
        out_channels: channels of the output, C_out.
        kernel_size: one number, or (height, width): kh, kw.
        stride: distance between two elements' places in the output; one number, or one for each axis.
        padding: elements removed on all four sides.
        output_padding: elements added below and on the right.
        groups: number of independent channel groups.
        bias: whether to add a bias.
        dilation: distance between the elements of a window.
        device, dtype: of the weights; default the CPU and float32.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        x (B, C_in, H, W) → (B, C_out, Ho, Wo), Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1)
        + output_padding + 1 and Wo likewise; weight (C_in, C_out / groups, kh, kw), bias (C_out,).

    Raises:
        ArgumentError: a size is not positive, or the channels cannot be split into groups.

    Example:
        >>> tt.nn.ConvTranspose2d(1, 4, 2, stride=2)(tt.ones(2, 1, 3, 3)).shape
        (2, 4, 6, 6)
    """

    axes = 2
