"""Pooling modules: the largest element or the mean of each window of the last axes."""

from __future__ import annotations

from collections.abc import Sequence

import tinytensor.nn.functional as F
from tinytensor.nn.stateless.base import Stateless

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
]

Numbers = int | Sequence[int]


class AdaptiveAvgPool1d(Stateless):
    """The mean of each of output_size parts of the last axis: (..., L) → (..., output_size)."""

    output_size: Numbers
    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(Stateless):
    """The mean of each of output_size = (height, width) parts: (..., H, W) → (..., height, width).

    Example:
        >>> tt.nn.AdaptiveAvgPool2d(1)(tt.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist()
        [[3.0]]
    """

    output_size: int | Sequence[int | None]
    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(Stateless):
    """The largest element of each of output_size parts of the last axis: (..., L) → (..., output_size)."""

    output_size: Numbers
    return_indices: bool = False
    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(Stateless):
    """The largest element of each of output_size = (h, w) parts: (..., H, W) → (..., h, w)."""

    output_size: int | Sequence[int | None]
    return_indices: bool = False
    function = staticmethod(F.adaptive_max_pool2d)


class AvgPool1d(Stateless):
    """The mean of each window of the last axis, see `nn.functional.avg_pool1d`."""

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    function = staticmethod(F.avg_pool1d)


class AvgPool2d(Stateless):
    """The mean of each window of the last two axes, see `nn.functional.avg_pool2d`.

    (..., H, W) → (..., Ho, Wo), Ho = (H + 2 * padding - kernel_size) // stride + 1 and Wo likewise.

    Example:
        >>> tt.nn.AvgPool2d(2)(tt.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist()
        [[3.0]]
    """

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    function = staticmethod(F.avg_pool2d)


class MaxPool1d(Stateless):
    """The largest element of each window of the last axis, see `nn.functional.max_pool1d`."""

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    dilation: Numbers = 1
    return_indices: bool = False
    ceil_mode: bool = False
    function = staticmethod(F.max_pool1d)


class MaxPool2d(Stateless):
    """The largest element of each window of the last two axes, see `nn.functional.max_pool2d`.

    (..., H, W) → (..., Ho, Wo), Ho = (H + 2 * padding - kernel_size) // stride + 1 and Wo likewise.

    Args:
        kernel_size: size of a window: one number, or (height, width), as for the next two.
        stride: distance between windows; None is kernel_size.
        padding: on all four sides, with elements that are never the maximum.
        dilation, return_indices, ceil_mode: PyTorch's; other values than the defaults are errors on call.

    Example:
        >>> tt.nn.MaxPool2d(2)(tt.arange(16.0).reshape(1, 1, 4, 4)).tolist()
        [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    dilation: Numbers = 1
    return_indices: bool = False
    ceil_mode: bool = False
    function = staticmethod(F.max_pool2d)
