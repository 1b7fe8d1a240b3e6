"""Pooling over windows, and over a number of parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import Numbers

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
]


def _only(what: str, **given: bool) -> None:
    """ArgumentError for options of PyTorch that are not here."""
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise tt.ArgumentError(
            f"{what}: there is no {', '.join(wrong)}",
            why="pooling here has kernel_size, stride and padding",
            fix="leave it out",
        )


def max_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window along the last axis; equal ones share the gradient.

    Raises:
        ArgumentError: dilation, ceil_mode or return_indices, which are not here.

    Example:
        >>> tt.nn.functional.max_pool1d(tt.tensor([[1.0, 5.0, 2.0, 3.0]]), 2).tolist()
        [[5.0, 3.0]]
    """
    given = {"dilation": dilation != 1, "ceil_mode": ceil_mode, "return_indices": return_indices}
    _only("max_pool1d", **given)
    return tt.max_pool1d(input, kernel_size, stride=stride, padding=padding)


def max_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window over the last two axes; equal ones share the gradient.

    Raises:
        ArgumentError: dilation, ceil_mode or return_indices, which are not here.

    Example:
        >>> tt.nn.functional.max_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
        [[[3.0]]]
    """
    given = {"dilation": dilation != 1, "ceil_mode": ceil_mode, "return_indices": return_indices}
    _only("max_pool2d", **given)
    return tt.max_pool2d(input, kernel_size, stride=stride, padding=padding)


def avg_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along the last axis; count_include_pad=False: of its own elements alone.

    Raises:
        ArgumentError: ceil_mode, which is not here.

    Example:
        >>> tt.nn.functional.avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[3.0, 3.0]]
    """
    _only("avg_pool1d", ceil_mode=ceil_mode)
    y = tt.avg_pool1d(input, kernel_size, stride=stride, padding=padding)
    if count_include_pad:
        return y
    return y / tt.avg_pool1d(tt.ones_like(input), kernel_size, stride=stride, padding=padding)


def avg_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last two axes; count_include_pad=False: of its own elements alone.

    Raises:
        ArgumentError: ceil_mode or divisor_override, which are not here.

    Example:
        >>> tt.nn.functional.avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
        [[[1.5]]]
    """
    _only("avg_pool2d", ceil_mode=ceil_mode, divisor_override=divisor_override is not None)
    y = tt.avg_pool2d(input, kernel_size, stride=stride, padding=padding)
    if count_include_pad:
        return y
    return y / tt.avg_pool2d(tt.ones_like(input), kernel_size, stride=stride, padding=padding)


def _parts(size: int, wanted: int | None, like: Tensor) -> Tensor:
    """Which elements each of `wanted` parts of an axis has: bool, shape (wanted, size)."""
    count = size if wanted is None else wanted
    part = tt.arange(count, device=like.device).unsqueeze(1)
    at = tt.arange(size, device=like.device)
    return (at >= part * size // count) & (at < -(-(part + 1) * size // count))


def _adaptive(x: Tensor, sizes: Sequence[int | None], reduce: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """reduce(rows, parts) along each of the last axes."""
    for axis, wanted in enumerate(sizes, -len(sizes)):
        rows = tt.moveaxis(x, axis, -1)
        x = tt.moveaxis(reduce(rows, _parts(rows.shape[-1], wanted, x)), -1, axis)
    return x


def _mean_of_parts(x: Tensor, parts: Tensor) -> Tensor:
    """(..., size), (count, size) → (..., count); in a product inf and nan would reach all parts."""
    return tt.where(parts, x.unsqueeze(-2), 0).sum(-1) / parts.sum(1)


def _max_of_parts(x: Tensor, parts: Tensor) -> Tensor:
    """(..., size), (count, size) → (..., count)."""
    return tt.where(parts, x.unsqueeze(-2), -math.inf).max(-1)


def _sizes(output_size: int | Sequence[int | None], axes: int) -> Sequence[int | None]:
    sizes = [output_size] * axes if isinstance(output_size, int) else list(output_size)
    if len(sizes) != axes:
        raise tt.ArgumentError(
            f"adaptive pooling: output_size {tuple(sizes)}", why=f"it has {axes} numbers", fix="output_size=1"
        )
    return sizes


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The mean of each of output_size parts of the last axis, of equal size up to one element.

    Example:
        >>> tt.nn.functional.adaptive_avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[3.0, 3.0]]
    """
    return _adaptive(input, _sizes(output_size, 1), _mean_of_parts)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each of output_size = (height, width) parts of the last two axes; None keeps the size.

    Example:
        >>> tt.nn.functional.adaptive_avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 1).tolist()
        [[[1.5]]]
    """
    return _adaptive(input, _sizes(output_size, 2), _mean_of_parts)


def adaptive_max_pool1d(
    input: Tensor, output_size: int | Sequence[int], return_indices: bool = False
) -> Tensor:
    """The largest element of each of output_size parts of the last axis, of equal size up to one element.

    Raises:
        ArgumentError: return_indices, which is not here.

    Example:
        >>> tt.nn.functional.adaptive_max_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
        [[5.0, 4.0]]
    """
    _only("adaptive_max_pool1d", return_indices=return_indices)
    return _adaptive(input, _sizes(output_size, 1), _max_of_parts)


def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor:
    """The largest element of each of output_size = (height, width) parts of the last two axes.

    Raises:
        ArgumentError: return_indices, which is not here.

    Example:
        >>> tt.nn.functional.adaptive_max_pool2d(tt.arange(4.0).reshape(1, 2, 2), 1).tolist()
        [[[3.0]]]
    """
    _only("adaptive_max_pool2d", return_indices=return_indices)
    return _adaptive(input, _sizes(output_size, 2), _max_of_parts)
