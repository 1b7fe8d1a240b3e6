"""Borders and sizes of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import need_axes

__all__ = [
    "channel_shuffle",
    "interpolate",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
]


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


def _between(x: Tensor, axis: int, at: Tensor, linear: bool) -> Tensor:
    """The elements of an axis at fractional places: those below, or with linear also of those above."""
    last = x.shape[axis] - 1
    low = tt.clip(tt.floor(at), max=last)
    below = tt.take(x, low.astype(tt.int64), axis)
    if not linear:
        return below
    above = tt.take(x, tt.clip(low + 1, max=last).astype(tt.int64), axis)
    share = (at - low).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
    return below * (1 - share) + above * share


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Sequences (N, C, L), images (N, C, H, W) or volumes (N, C, D, H, W) of another size.

    Args:
        input: three to five axes; floating, but for "nearest" and "nearest-exact".
        size: of the last axes, one number for all or one for each.
        scale_factor: in place of size.
        mode: "nearest" (the element at floor(i * scale)), "nearest-exact", or "linear", "bilinear" or
            "trilinear", by the number of axes.
        align_corners: with "linear" and so on: the outer elements keep their places.

    Raises:
        ArgumentError: another mode or number of axes, or not one of size and scale_factor.
        DTypeError: integers with "linear" and so on.

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
    if "linear" in mode and not input.dtype.is_floating:
        raise tt.DTypeError(
            f"interpolate: mode {mode!r} for a tensor of dtype {input.dtype}",
            why="what lies between two elements has fractions",
            fix='x.float(), or mode="nearest"',
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
        if count == n and "linear" in mode:
            continue  # also with a factor such as 1.2, as in PyTorch
        step = n / count if factor is None else 1 / factor
        if align_corners and "linear" in mode:
            step = (n - 1) / (count - 1) if count > 1 else 0.0
        half = 0.0 if mode == "nearest" or align_corners else 0.5
        at = (tt.arange(count, dtype=tt.float64) + half) * step  # places of the new elements among the old
        at = at - half if "linear" in mode else at
        x = _between(x, axis, tt.clip(at, min=0).to(x.device), "linear" in mode)
    return x


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r², H, W) → (..., C, H * r, W * r), r = upscale_factor.

    Example:
        >>> tt.nn.functional.pixel_shuffle(tt.arange(4).reshape(4, 1, 1), 2).tolist()
        [[[0, 1], [2, 3]]]
    """
    need_axes("pixel_shuffle", input, 3, "(..., C, H, W)")
    r, (c, h, w) = upscale_factor, input.shape[-3:]
    x = input.reshape(math.prod(input.shape[:-3]), c // r**2, r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(*input.shape[:-3], c // r**2, h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) → (..., C * r², H, W), r = downscale_factor.

    Example:
        >>> tt.nn.functional.pixel_unshuffle(tt.arange(4).reshape(1, 2, 2), 2).tolist()
        [[[0]], [[1]], [[2]], [[3]]]
    """
    need_axes("pixel_unshuffle", input, 3, "(..., C, H, W)")
    r, (c, h, w) = downscale_factor, input.shape[-3:]
    x = input.reshape(math.prod(input.shape[:-3]), c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(*input.shape[:-3], c * r**2, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of the groups in turn: (N, groups * k, ...) → the same (Zhang et al. 2017, arXiv:1707.01083).

    Example:
        >>> tt.nn.functional.channel_shuffle(tt.arange(4).reshape(1, 4), 2).tolist()
        [[0, 2, 1, 3]]
    """
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)
