"""Convolutions, their transposes, and windows as columns and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import Numbers
from tinytensor.nn.functional.vision import pad

__all__ = [
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "unfold",
]


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
    return x.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * kh * kw, math.prod(x.shape[2:4]))
