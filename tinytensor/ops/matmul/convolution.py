"""conv1d, conv2d and pooling: windows as a strided view, then one matrix product or one reduction.

Windows are read in place. An image of shape (4, 4) has strides (4, 1): the next row is 4 elements ahead, the
next column 1. Its windows of 3 × 3 are the same 16 elements, read as

    shape    (2, 2, 3, 3)    which window (row, column), and where in it (row, column)
    strides  (4, 1, 4, 1)    a window one row down starts one row down

36 elements in the memory of 16. A stride of 2 doubles the first two strides, a dilation of 2 the last two.

A convolution multiplies each window by the weights and adds up: a matrix product with windows as columns.
BLAS reads matrices with evenly spaced rows; overlapping windows have none, so `reshape` copies them (im2col).
That is the only copy, and a 1 × 1 kernel needs none. Backward takes the same path in reverse: each element
gets the sum over all windows that contain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd.modes import inputs_of, using
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import DType, float32, iinfo
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.ops.joining.padding import pad
from tinytensor.ops.matmul.matmul import numeric, product
from tinytensor.ops.reductions.min_max import max
from tinytensor.ops.reductions.reduction import mean
from tinytensor.ops.views.manipulation import cast, permute, reshape, squeeze, unsqueeze
from tinytensor.ops.views.slicing import windows
from tinytensor.shapes import Shape, as_int
from tinytensor.tensor import Tensor

__all__ = ["avg_pool1d", "avg_pool2d", "conv1d", "conv2d", "max_pool1d", "max_pool2d"]

Numbers = int | Sequence[int]
Widths = list[tuple[int, int]]  # zeros (before, after) each spatial axis


# ---- arguments ---------------------------------------------------------------------------------------------


def _numbers(what: str, name: str, value: Any, n: int, least: int) -> Shape:
    """One integer per spatial axis; a single one applies to all axes."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    found = tuple([as_int(v, what, f"the {name}") for v in given])
    if len(found) != n or any([v < least for v in found]):
        raise ArgumentError(
            f"{what}: {name}={value!r}",
            why=f"it is a number from {least}, or {n} of them, one per spatial axis",
            fix=f"for example {name}={least or 1}",
        )
    return found


def _padding(what: str, value: Any, kernel: Shape, steps: Shape, dilations: Shape) -> Widths:
    """Zeros before and after each spatial axis."""
    if not isinstance(value, str):
        return [(v, v) for v in _numbers(what, "padding", value, len(kernel), 0)]
    if value == "valid":
        return [(0, 0)] * len(kernel)
    if value != "same" or any([s != 1 for s in steps]):
        raise ArgumentError(
            f"{what}: padding={value!r} with stride {steps}",
            why='it is a number, "valid" (none), or, with stride 1, "same" (the output has the size of x)',
            fix=f"give numbers, for example padding={tuple([(k - 1) // 2 for k in kernel])}",
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return [(t // 2, t - t // 2) for t in total]


def _padded(x: Tensor, widths: Widths, fill: float) -> Tensor:
    """x with its last axes padded by `fill`."""
    if not any([before or after for before, after in widths]):
        return x
    untouched = len(x.layout.shape) - len(widths)
    return pad(x, ((0, 0),) * untouched + tuple(widths), constant_values=fill)


def _windows(what: str, x: Tensor, kernel: Shape, steps: Shape, dilations: Shape) -> Tensor:
    """View (..., *image) → (..., *windows, *kernel); ShapeError if no window fits."""
    image = x.layout.shape[len(x.layout.shape) - len(kernel) :]
    spans = tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)])
    if any([span > n for span, n in zip(spans, image, strict=True)]):
        dilated = f", with dilation {dilations} over {spans}" if spans != kernel else ""
        raise ShapeError(
            f"{what}: a kernel of size {kernel}{dilated} on an image of size {image}, padding included",
            why="the kernel is larger than the image, so there is no window",
            fix="use a smaller kernel, or more padding",
        )
    return windows(x, kernel, steps, dilations)


# ---- convolution -------------------------------------------------------------------------------------------


def _check_channels(what: str, x: Shape, weight: Shape, bias: Shape | None, groups: int, n: int) -> None:
    """ShapeError unless image, weight and bias fit together."""
    axes, kernel = ("L", "k") if n == 1 else ("H, W", "kh, kw")
    for name, shape, names in (
        ("x", x, f"(B, C_in, {axes})"),
        ("weight", weight, f"(C_out, C_in, {kernel})"),
    ):
        if len(shape) != n + 2:
            raise ShapeError(
                f"{what}: {name} has shape {shape}",
                why=f"its axes are {names}",
                fix=f"add the missing axes, for example {name}.unsqueeze(0)",
            )
    if x[1] != weight[1] * groups or weight[0] % groups:
        raise ShapeError(
            f"{what}: x of shape {x} and weight of shape {weight} with groups={groups}",
            why=f"weight's second size times groups must be x's number of channels, {x[1]}, and groups must "
            f"divide the number of output channels, {weight[0]}",
            fix=f"x is (N, C, {axes}): tt.moveaxis(x, -1, -{n + 1}) puts channels before the image"
            if x[-1] == weight[1] * groups
            else "give weight the shape (C_out, C_in // groups, …)",
        )
    if bias is not None and bias != weight[:1]:
        raise ShapeError(
            f"{what}: bias of shape {bias} for {weight[0]} output channels",
            why="there is one number per output channel",
            fix=f"give bias the shape ({weight[0]},)",
        )
    if 0 in weight[2:]:
        raise ShapeError(
            f"{what}: weight of shape {weight} has an empty kernel",
            why="a window has at least one element",
            fix="k >= 1",
        )


def _convolve(what: str, x: Tensor, weight: Tensor, bias: Tensor | None, *sizes: Any) -> Tensor:
    """Convolution over the last n axes; in autocast with operands of 16 bits and one rounding at the end."""
    if x.ndim == sizes[-1] + 1:  # an image is a batch of one
        return squeeze(_convolve(what, unsqueeze(x, 0), weight, bias, *sizes), 0)
    x, weight, bias = inputs_of("narrow", x, weight, bias)
    with using(None):
        return _convolved(what, x, weight, bias, *sizes)


def _convolved(
    what: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    n: int,
) -> Tensor:
    """Convolution in the precision of the operands."""
    x, weight, *rest = numeric(what, x, weight, *(() if bias is None else (bias,)))
    (g,) = _numbers(what, "groups", groups, 1, 1)
    _check_channels(what, x.layout.shape, weight.layout.shape, rest[0].layout.shape if rest else None, g, n)
    batch, channels = x.layout.shape[:2]
    outputs, kernel = weight.layout.shape[0], weight.layout.shape[2:]
    steps = _numbers(what, "stride", stride, n, 1)
    dilations = _numbers(what, "dilation", dilation, n, 1)
    dtype = x.storage.dtype
    if dtype.narrow:  # one rounding at the end, and none between the sum and the bias
        x, weight, rest = cast(x, float32), cast(weight, float32), [cast(b, float32) for b in rest]
    x = _padded(x, _padding(what, padding, kernel, steps, dilations), 0)  # (B, C, H, W)

    v = _windows(what, x, kernel, steps, dilations)  # (B, C, Ho, Wo, kh, kw), a view
    places = v.layout.shape[2 : 2 + n]
    v = permute(v, 0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))  # (B, C, kh, kw, Ho, Wo), a view
    k = channels // g * prod(kernel)
    columns = reshape(v, (batch, g, k, prod(places)))  # (B, G, C/G·kh·kw, Ho·Wo): here the windows are copied
    y = product(reshape(weight, (g, outputs // g, k)), columns)  # (B, G, C_out/G, Ho·Wo)
    y = reshape(y, (batch, outputs, *places))  # (B, C_out, Ho, Wo)
    if rest:
        y = y + reshape(rest[0], (outputs, *[1] * n))
    return cast(y, dtype)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution of sequences (a cross-correlation, as in every deep learning library).

    y[b, o, i] = bias[o] + sum over c and u of weight[o, c, u] * x[b, c, i * stride + u * dilation].

    Args:
        input: shape (B, C_in, L) or (C_in, L).
        weight: shape (C_out, C_in / groups, K).
        bias: shape (C_out,), or None.
        padding: zeros at both ends; "valid" is 0; "same" keeps the length, with the odd zero at the end.

    Returns:
        shape (B, C_out, (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1), or without B; the promoted
        dtype.

    Memory: copies the windows, about K / stride times x, and keeps them if the weight needs a gradient.
    Accuracy: 16-bit floats are computed in float32 and rounded once.

    >>> x = tt.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    >>> tt.nn.functional.conv1d(x, tt.tensor([[[-1.0, 1.0]]])).tolist()
    [[[1.0, 2.0, 4.0]]]
    """
    return _convolve("conv1d", input, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution of images (a cross-correlation, as in every deep learning library).

    y[b, o, i, j] = bias[o] + sum over c, u and v of
    weight[o, c, u, v] * x[b, c, i * stride + u * dilation, j * stride + v * dilation].

    Args:
        input: shape (B, C_in, H, W) or (C_in, H, W).
        weight: shape (C_out, C_in / groups, kh, kw).
        bias: shape (C_out,), or None.
        stride: distance between windows: one number, or (vertical, horizontal), as for the next two.
        padding: zeros on all four sides; "valid" is 0; "same" keeps the size, with odd zeros below and right.

    Returns:
        shape (B, C_out, Ho, Wo) with Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, and Wo
        likewise, or without B; the promoted dtype.

    Memory: copies the windows, about kh * kw / stride² times x, and keeps them if the weight needs a
        gradient.
    Accuracy: 16-bit floats are computed in float32 and rounded once.

    >>> tt.nn.functional.conv2d(tt.ones(1, 4, 4), tt.ones(1, 1, 3, 3)).tolist()
    [[[9.0, 9.0], [9.0, 9.0]]]
    """
    return _convolve("conv2d", input, weight, bias, stride, padding, dilation, groups, 2)


# ---- pooling -----------------------------------------------------------------------------------------------


def _pooled(what: str, x: Tensor, size: Any, stride: Any, padding: Any, fill: float, n: int) -> Tensor:
    """(..., *image) → (*kernel, ..., *windows), padded with `fill`: a view that reads in long runs."""
    shape = x.layout.shape
    kernel = _numbers(what, "kernel_size", size, n, 1)
    steps = kernel if stride is None else _numbers(what, "stride", stride, n, 1)
    around = _numbers(what, "padding", padding, n, 0)
    if len(shape) < n:
        raise ShapeError(
            f"{what}: x has shape {shape}",
            why=f"windows slide over its last {n} axes",
            fix="give it more axes with x.unsqueeze(0)",
        )
    if any([2 * p > k for p, k in zip(around, kernel, strict=True)]):
        raise ArgumentError(
            f"{what}: padding={padding} with kernel_size={size}",
            why="it must be at most half the kernel, or windows would lie outside the input",
            fix=f"padding={tuple([k // 2 for k in kernel])}",
        )
    v = _windows(what, _padded(x, [(p, p) for p in around], fill), kernel, steps, (1,) * n)
    lead = len(v.layout.shape) - n
    return permute(v, *range(lead, lead + n), *range(lead))


def _least(what: str, dtype: DType) -> float:
    """The least value of a dtype, as padding for a maximum; DTypeError for complex dtypes."""
    if dtype.kind == "complex":
        raise DTypeError(
            f"{what}: x has dtype {dtype}", why="complex numbers have no order", fix="compare absolute values"
        )
    return -float("inf") if dtype.is_inexact else iinfo(dtype).min if dtype.kind != "bool" else False


def max_pool1d(
    input: Tensor, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0
) -> Tensor:
    """The largest element of each window along the last axis.

    Args:
        input: shape (..., L); not complex.
        stride: distance between windows; None is kernel_size.
        padding: -inf (or the least integer) at both ends; at most half of kernel_size.

    Returns:
        shape (..., (L + 2 * padding - kernel_size) // stride + 1), dtype of x. Tied elements share the
        gradient evenly.

    Memory: keeps x and the result for backward; the windows are a view.
    Differs from: torch.nn.functional.max_pool1d, which gives the whole gradient to the first of the
        tied elements.

    >>> tt.nn.functional.max_pool1d(tt.tensor([[1.0, 5.0, 2.0, 3.0]]), 2).tolist()
    [[5.0, 3.0]]
    """
    least = _least("max_pool1d", input.storage.dtype)
    return max(_pooled("max_pool1d", input, kernel_size, stride, padding, least, 1), axis=0)


def max_pool2d(
    input: Tensor, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0
) -> Tensor:
    """The largest element of each window over the last two axes.

    Args:
        kernel_size: size of a window: one number, or (height, width), as for the next two.

    Returns:
        shape (..., Ho, Wo) with Ho = (H + 2 * padding - kernel_size) // stride + 1, and Wo likewise; dtype of
        x. Tied elements share the gradient evenly.

    Memory: keeps x and the result for backward; the windows are a view.
    Differs from: torch.nn.functional.max_pool2d, as for `max_pool1d`.

    >>> tt.nn.functional.max_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
    [[[3.0]]]
    """
    least = _least("max_pool2d", input.storage.dtype)
    return max(_pooled("max_pool2d", input, kernel_size, stride, padding, least, 2), axis=(0, 1))


def _mean(
    what: str, x: Tensor, size: Any, stride: Any, padding: Any, count_include_pad: bool, n: int
) -> Tensor:
    """The mean of each window over the last n axes."""
    if not x.storage.dtype.is_inexact:
        raise DTypeError(
            f"{what}: x of shape {x.layout.shape} has dtype {x.storage.dtype}",
            why="the mean of integers has a fraction",
            fix="cast first: x.astype(tt.float32)",
        )
    y = mean(_pooled(what, x, size, stride, padding, 0, n), axis=tuple(range(n)))
    if count_include_pad:
        return y
    ones = constant(np.ones(x.layout.shape, np.float32), float32, x.storage.device)
    return y / _mean(what, cast(ones, x.storage.dtype), size, stride, padding, True, n)


def avg_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along the last axis.

    Args:
        padding: zeros at both ends; at most half of kernel_size.
        count_include_pad: whether these count; else the mean is that of the window's own elements.

    Returns:
        shape (..., (L + 2 * padding - kernel_size) // stride + 1), dtype of x.

    Memory: nothing is kept for backward; the windows are a view.

    >>> tt.nn.functional.avg_pool1d(tt.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).tolist()
    [[3.0, 3.0]]
    """
    return _mean("avg_pool1d", input, kernel_size, stride, padding, count_include_pad, 1)


def avg_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window over the last two axes; arguments and memory as for `avg_pool1d`.

    Args:
        kernel_size, stride, padding: a number, or one for each axis.

    Returns:
        shape (..., Ho, Wo) with Ho = (H + 2 * padding - kernel_size) // stride + 1, and Wo likewise; dtype of
        x.

    >>> tt.nn.functional.avg_pool2d(tt.arange(4.0).reshape(1, 2, 2), 2).tolist()
    [[[1.5]]]
    """
    return _mean("avg_pool2d", input, kernel_size, stride, padding, count_include_pad, 2)
