"""Windows of sequences and images: borders, convolutions, their transposes, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, ClassVar

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.module import Module, Parameter, as_module, check_size
from tinytensor.ops.joining.padding import pad as _pad
from tinytensor.ops.matmul.convolution import avg_pool1d, avg_pool2d, conv1d, conv2d, max_pool1d, max_pool2d

Numbers = int | Sequence[int]
_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    input: tt.Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> tt.Tensor:
    """Pairs (before, after) of new elements, for the last axis first; a negative number removes elements.

    Args:
        pad: (left, right, top, bottom, ...), at most two numbers for each axis.
        mode: "constant", "reflect" (without the border element), "replicate" or "circular".

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

    def cropped(x: tt.Tensor) -> tt.Tensor:
        return x[tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])]

    if mode == "reflect":  # which mirrors what is removed at the other end, too
        return cropped(_pad(input, widths, mode))
    return _pad(cropped(input), widths, _MODES[mode], 0 if value is None else value)


def _transposed(
    axes: int, input: tt.Tensor, weight: tt.Tensor, bias: tt.Tensor | None, *options: Numbers
) -> tt.Tensor:
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
    convolve: Callable[..., tt.Tensor] = conv1d if axes == 1 else conv2d
    return convolve(x, kernels, bias, dilation=dilation, groups=groups)


def conv_transpose1d(
    input: tt.Tensor,
    weight: tt.Tensor,
    bias: tt.Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> tt.Tensor:
    """The transpose of `conv1d` as a matrix: (N, C, L) or (C, L) with weight (C, C_out / groups, K).

    >>> x, kernel = tt.tensor([[1.0, 2.0]]), tt.tensor([[[1.0, 1.0, 1.0]]])
    >>> tt.nn.functional.conv_transpose1d(x, kernel, stride=2).tolist()
    [[1.0, 1.0, 3.0, 2.0, 2.0]]
    """
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed(1, input, weight, bias, *options)


def conv_transpose2d(
    input: tt.Tensor,
    weight: tt.Tensor,
    bias: tt.Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> tt.Tensor:
    """The transpose of `conv2d` as a matrix: (N, C, H, W) with weight (C, C_out / groups, kh, kw).

    >>> tt.nn.functional.conv_transpose2d(tt.ones(1, 1, 1), tt.ones(1, 1, 2, 2)).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed(2, input, weight, bias, *options)


def unfold(
    input: tt.Tensor, kernel_size: Numbers, dilation: Numbers = 1, padding: Numbers = 0, stride: Numbers = 1
) -> tt.Tensor:
    """Windows of images as columns: (N, C, H, W) → (N, C * kh * kw, number of windows).

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
    return x.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * kh * kw, math.prod(x.shape[2:4]))


Unfold = as_module("Unfold", unfold)


def _parts(size: int, wanted: int | None, like: tt.Tensor) -> tt.Tensor:
    """Masks of the elements of each of `wanted` parts of an axis: bool, shape (wanted, size)."""
    count = size if wanted is None else wanted
    part = tt.arange(count, device=like.device).unsqueeze(1)
    at = tt.arange(size, device=like.device)
    return (at >= part * size // count) & (at < -(-(part + 1) * size // count))


def _adaptive(x: tt.Tensor, output_size: int | Sequence[int | None], axes: int) -> tt.Tensor:
    """The mean of each part of each of the last axes."""
    sizes = [output_size] * axes if isinstance(output_size, int) else list(output_size)
    if len(sizes) != axes:
        raise tt.ArgumentError(
            f"adaptive pooling: output_size {tuple(sizes)}", why=f"it has {axes} numbers", fix="output_size=1"
        )
    for axis, wanted in enumerate(sizes, -axes):
        rows = tt.moveaxis(x, axis, -1)
        parts = _parts(rows.shape[-1], wanted, x)
        means = tt.where(parts, rows.unsqueeze(-2), 0).sum(-1) / parts.sum(1)  # in a product nan would spread
        x = tt.moveaxis(means, -1, axis)
    return x


def adaptive_avg_pool1d(input: tt.Tensor, output_size: int | Sequence[int]) -> tt.Tensor:
    """The mean of each of output_size parts of the last axis, of equal size up to one element.

    >>> tt.nn.functional.adaptive_avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
    [[3.0, 3.0]]
    """
    return _adaptive(input, output_size, 1)


def adaptive_avg_pool2d(input: tt.Tensor, output_size: int | Sequence[int | None]) -> tt.Tensor:
    """The mean of each of output_size = (height, width) parts of the last two axes; None keeps the size.

    >>> tt.nn.functional.adaptive_avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 1).tolist()
    [[[1.5]]]
    """
    return _adaptive(input, output_size, 2)


AdaptiveAvgPool1d = as_module("AdaptiveAvgPool1d", adaptive_avg_pool1d)
AdaptiveAvgPool2d = as_module("AdaptiveAvgPool2d", adaptive_avg_pool2d)
AvgPool1d = as_module("AvgPool1d", avg_pool1d)
AvgPool2d = as_module("AvgPool2d", avg_pool2d)
MaxPool1d = as_module("MaxPool1d", max_pool1d)
MaxPool2d = as_module("MaxPool2d", max_pool2d)


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
        convolve, options = (conv1d, conv2d)[self.axes - 1], self.options
        if self.padding_mode != "zeros":
            x, options = pad(x, self._widths(), self.padding_mode), {**options, "padding": 0}
        return convolve(x, self.weight, self.bias, **options)

    def _widths(self) -> list[int]:
        """Arguments of `pad`, from the last axis to the first."""
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
    """1-D convolution over sequences, see `nn.functional.conv1d`.

    Args:
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Shapes:
        x (B, C_in, L) → (B, C_out, (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1); weight
        (C_out, C_in / groups, K), bias (C_out,).

    Source: initial values from U(-b, b), b = 1 / sqrt(K * C_in / groups), as for Linear.

    >>> layer = tt.nn.Conv1d(2, 4, 3, padding="same")
    >>> layer(tt.ones(1, 2, 10)).shape
    (1, 4, 10)
    >>> layer
    Conv1d(padding='same'; weight (4, 2, 3), bias (4,))  # 28 parameters
    """

    axes = 1


class Conv2d(_Convolution):
    """2-D convolution over images, see `nn.functional.conv2d`.

    Shapes:
        x (B, C_in, H, W) → (B, C_out, Ho, Wo), Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
        and Wo likewise; weight (C_out, C_in / groups, kh, kw), bias (C_out,).

    Source: initial values from U(-b, b), b = 1 / sqrt(kh * kw * C_in / groups), as for Linear.

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
        convolve = (conv_transpose1d, conv_transpose2d)[self.axes - 1]
        return convolve(x, self.weight, self.bias, **self.options)


class ConvTranspose1d(_Transposed):
    """The transpose of a convolution over sequences, which makes them longer: see `ConvTranspose2d`.

    Shapes:
        x (B, C_in, L) → (B, C_out, (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1);
        weight (C_in, C_out / groups, K), bias (C_out,).

    >>> tt.nn.ConvTranspose1d(2, 4, 3, stride=2)(tt.ones(1, 2, 5)).shape
    (1, 4, 11)
    """

    axes = 1


class ConvTranspose2d(_Transposed):
    """The transpose of a convolution over images, which makes them larger.

    Args:
        stride: distance between two elements' places in the output; one number, or one for each axis.
        padding: elements removed on all four sides.
        output_padding: elements added below and on the right.

    Shapes:
        x (B, C_in, H, W) → (B, C_out, Ho, Wo), Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1)
        + output_padding + 1 and Wo likewise; weight (C_in, C_out / groups, kh, kw), bias (C_out,).

    >>> tt.nn.ConvTranspose2d(1, 4, 2, stride=2)(tt.ones(2, 1, 3, 3)).shape
    (2, 4, 6, 6)
    """

    axes = 2
