"""Modules that change shapes: flatten, padding, resizing, pixel shuffle; and distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn.module import Module
from tinytensor.nn.stateless.base import Stateless

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "CosineSimilarity",
    "Flatten",
    "Fold",
    "Identity",
    "PairwiseDistance",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "Unflatten",
    "Unfold",
    "Upsample",
    "ZeroPad1d",
    "ZeroPad2d",
]

Numbers = int | Sequence[int]


class Identity(Module):
    """The input as it is; all arguments are ignored, as they are in PyTorch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """x → x."""
        return x


class Flatten(Stateless):
    """Axes start_dim to end_dim made one; by default all but the first, as between convolutions and a Linear.

    Example:
        >>> tt.nn.Flatten()(tt.ones(2, 3, 4)).shape
        (2, 12)
    """

    start_dim: int = 1
    end_dim: int = -1
    function = staticmethod(tt.flatten)


class Unflatten(Stateless):
    """One axis split into several.

    Example:
        >>> tt.nn.Unflatten(1, (3, 4))(tt.ones(2, 12)).shape
        (2, 3, 4)
    """

    dim: int
    unflattened_size: Sequence[int]

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., N, ...) → (..., *unflattened_size, ...)."""
        return tt.unflatten(x, self.dim, self.unflattened_size)


class Unfold(Stateless):
    """Windows of images as columns: (N, C, H, W) → (N, C * kh * kw, number of windows)."""

    kernel_size: Numbers
    dilation: Numbers = 1
    padding: Numbers = 0
    stride: Numbers = 1
    function = staticmethod(F.unfold)


class Fold(Stateless):
    """Columns added up as windows of images: (N, C * kh * kw, number of windows) → (N, C, *output_size)."""

    output_size: Numbers
    kernel_size: Numbers
    dilation: Numbers = 1
    padding: Numbers = 0
    stride: Numbers = 1
    function = staticmethod(F.fold)


class PixelShuffle(Stateless):
    """(N, C * r², H, W) → (N, C, H * r, W * r), r = upscale_factor (Shi et al. 2016, arXiv:1609.05158)."""

    upscale_factor: int
    function = staticmethod(F.pixel_shuffle)


class PixelUnshuffle(Stateless):
    """(N, C, H * r, W * r) → (N, C * r², H, W), r = downscale_factor."""

    downscale_factor: int
    function = staticmethod(F.pixel_unshuffle)


class Upsample(Stateless):
    """Images, sequences or volumes of another size: (N, C, H, W) → (N, C, *size), see `interpolate`.

    Example:
        >>> tt.nn.Upsample(scale_factor=2)(tt.tensor([[[1.0, 2.0]]])).tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]
    """

    size: Numbers | None = None
    scale_factor: float | Sequence[float] | None = None
    mode: Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear"] = "nearest"
    align_corners: bool | None = None
    function = staticmethod(F.interpolate)


class CosineSimilarity(Stateless):
    """Cosine of the angle between x1 and x2 along dim, which is reduced."""

    dim: int = 1
    eps: float = 1e-8
    function = staticmethod(F.cosine_similarity)


class PairwiseDistance(Stateless):
    """p-norm of x1 - x2 + eps along the last axis, which is reduced."""

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False
    function = staticmethod(F.pairwise_distance)


class _Pad(Stateless):
    """Base class of the padding modules: one width for all sides, or (left, right, top, bottom)."""

    padding: Numbers
    axes, mode, value = 1, "constant", 0.0

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., L) or (..., H, W), with the padding."""
        widths = [self.padding] * 2 * self.axes if isinstance(self.padding, int) else self.padding
        return F.pad(x, widths, self.mode, self.value)


class ZeroPad1d(_Pad):
    """Zeros at both ends of the last axis: (..., L) → (..., left + L + right)."""


class ZeroPad2d(_Pad):
    """Zeros on all four sides of the last two axes; padding is one width, or (left, right, top, bottom).

    Example:
        >>> tt.nn.ZeroPad2d((1, 0, 0, 0))(tt.tensor([[1, 2]])).tolist()
        [[0, 1, 2]]
    """

    axes = 2


class ConstantPad1d(_Pad):
    """A value at both ends of the last axis."""

    value: float


class ConstantPad2d(ConstantPad1d):
    """A value on all four sides of the last two axes."""

    axes = 2


class ReflectionPad1d(_Pad):
    """Elements mirrored at the ends of the last axis, the end itself once."""

    mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """Elements mirrored at the four borders of the last two axes, the border itself once."""

    axes = 2


class ReplicationPad1d(_Pad):
    """The first and the last element of the last axis, repeated."""

    mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """The border elements of the last two axes, repeated."""

    axes = 2


class CircularPad1d(_Pad):
    """Elements of the other end of the last axis."""

    mode = "circular"


class CircularPad2d(CircularPad1d):
    """Elements of the opposite sides of the last two axes."""

    axes = 2
