"""var, std, logsumexp, vector_norm and matrix_norm.

Large inputs are processed in blocks that fit in the cache, so no temporary is as large as the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, accumulator
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.kernels.reduction import Reduction, launch_reduction, reduced_count, reduced_shape
from tinytensor.op import Array, Grads, Needs, Saved, Shape, Spec, Tensor, per_input, register
from tinytensor.ops.elementwise.comparison import isfinite, where
from tinytensor.ops.elementwise.exponential import exp
from tinytensor.ops.elementwise.power import pow
from tinytensor.ops.elementwise.sign_and_complex import abs, sign
from tinytensor.ops.reductions.min_max import count_nonzero, max, min, nonempty_input
from tinytensor.ops.reductions.reduction import mean, reduced_axes, spread, sum
from tinytensor.ops.reductions.summing import ALL_AXES, add_up, sum_rows
from tinytensor.ops.views.manipulation import cast, detach

__all__ = ["logsumexp", "matrix_norm", "std", "var", "vector_norm"]

BLOCK = 24_576  # elements: 96 KiB of float32
Axes = tuple[int, ...]
AxisLike = int | Sequence[int] | None


def _sum_terms(y: Array, x: Array, axes: Axes, term: Callable[..., Array], *rows: Array) -> None:
    """y = the sum of term(x, *rows) over axes, block by block; y and rows have size 1 on the axes."""
    if x.ndim == 0 or x.size <= BLOCK:
        add_up(y, term(x, *rows), axes)
        return
    step = BLOCK * len(x) // x.size or 1
    blocks = [slice(i, i + step) for i in range(0, len(x), step)]
    if 0 not in axes:
        for b in blocks:
            add_up(y[b], term(x[b], *[r[b] for r in rows]), axes)
        return
    total, part = np.zeros(y.shape, np.float64), np.empty_like(y)
    for b in blocks:
        add_up(part, term(x[b], *rows), axes)
        total += part
    y[...] = total


def _squared_distance(x: Array, middle: Array) -> Array:
    d: Array = np.asarray(x - middle)
    return np.square(d, out=d)


def _shifted_exp(x: Array, shift: Array) -> Array:
    d: Array = np.asarray(x - shift)
    return np.exp(d, out=d)


def _kept(y: Array, x: Array, axes: Axes) -> Array:
    """View of y that has the reduced axes with size 1."""
    return y.reshape(reduced_shape(x.shape, axes, True))


@register
class DivideOrZero(Elementwise):
    """a / b, but 0 where b is 0, such as in the gradient of a square root at 0."""

    inputs = ("a", "b")
    saves = ("a?b", "b")
    result = "float"
    flops = 1.0

    @staticmethod
    def ufunc(a: Any, b: Any, out: Any = None, order: Any = "K") -> Any:
        if not isinstance(out, np.ndarray):
            out = np.empty(np.broadcast_shapes(np.shape(a), np.shape(b)), np.result_type(a, b))
        zero = np.equal(b, 0)
        np.divide(a, b, out=out)
        np.copyto(out, 0, where=zero)
        return out

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad / b, db = -grad * a / b**2; where b is 0, both are 0."""
        da = apply(DivideOrZero, grads[0], saved.b)
        return da, -(da * apply(DivideOrZero, saved.a, saved.b)) if needs[1] else None


def divide_or_zero(a: Tensor, b: Tensor) -> Tensor:
    """a / b, but 0 where b is 0."""
    return apply(DivideOrZero, a, b)


# ---- variance ----------------------------------------------------------------------------------------------


class Fractional(Reduction):
    """Base class of reductions of real floating dtypes."""

    def result(self, x: Spec) -> DType:
        floating(self.name, x)
        return x.dtype


@register
class Var(Fractional):
    correction: float

    saves: ClassVar[tuple[str, ...]] = ("x",)
    flops = per_input(4.0)

    def scalar(self, shape: Shape) -> float:
        """The degrees of freedom; 0 if there are none."""
        n = reduced_count(shape, self.axes)
        return n - self.correction if n > self.correction else 0.0

    def cpu(self, y: Array, x: Array) -> None:
        y = _kept(y, x, self.axes)
        middle = np.empty_like(y)
        add_up(middle, x, self.axes)
        middle /= reduced_count(x.shape, self.axes)
        _sum_terms(y, x, self.axes, _squared_distance, middle)
        y /= self.scalar(x.shape)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * 2 * (x - mean(x)) / (n - correction)."""
        return self.slope(saved.x, grads[0], 2.0)

    def slope(self, x: Tensor, g: Tensor, factor: float) -> Grads:
        """dx = g * factor * (x - mean(x)) / (n - correction)."""
        free = self.scalar(x.layout.shape)
        centered = x - mean(x, self.axes, keepdims=True)
        scale = factor / free if free else math.nan
        return (centered * spread(g * scale, x.layout.shape, self.axes),)


@register
class Std(Var):
    saves = ("x", "y")

    def cpu(self, y: Array, x: Array) -> None:
        super().cpu(y, x)
        np.sqrt(y, out=y)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * (x - mean(x)) / (y * (n - correction)), and 0 where y is 0."""
        return self.slope(saved.x, apply(DivideOrZero, grads[0], saved.y), 1.0)


def var(x: Tensor, axis: AxisLike = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Variance over axes: the sum of squared distances from the mean, divided by n - correction.

    Args:
        x: any shape, floating.
        correction: 0 divides by n; 1 gives the unbiased estimate from a sample.

    Returns:
        shape of x without the reduced axes, dtype of x; nan (or inf) where n is not above correction.

    Differs from: torch.var, whose correction is 1 by default.

    >>> x = tt.tensor([1.0, 3.0])
    >>> x.var().item(), x.var(correction=1).item()
    (1.0, 2.0)
    """
    axes = reduced_axes(x, axis, "var")
    return apply(Var(axes=axes, correction=correction, keepdims=keepdims), x)


def std(x: Tensor, axis: AxisLike = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes: the square root of `var`.

    Args:
        correction: 0 divides by n; 1 by n - 1.

    Returns:
        shape of x without the reduced axes, dtype of x; nan (or inf) where n is not above correction. The
        gradient is 0 where the result is.

    Accuracy: the mean is rounded, so equal elements may differ from it by up to the rounding error of one:
        std([1000.1] * 3) is 6e-5 in float32, and its gradient is not 0.
    Differs from: torch.std, whose correction is 1 by default.

    >>> tt.tensor([1.0, 3.0]).std().item()
    1.0
    """
    axes = reduced_axes(x, axis, "std")
    return apply(Std(axes=axes, correction=correction, keepdims=keepdims), x)


# ---- logsumexp ---------------------------------------------------------------------------------------------


@register
class Logsumexp(Fractional):
    saves = ("x",)
    flops = per_input(3.0)
    autocast = "wide"

    def cpu(self, y: Array, x: Array) -> None:
        y = _kept(y, x, self.axes)
        largest = np.maximum.reduce(x, self.axes, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)
        _sum_terms(y, x, self.axes, _shifted_exp, shift)
        np.log(y, out=y)
        y += shift

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * exp(x - y), where exp(x - y) = softmax(x) over the reduced axes."""
        x = saved.x
        g = spread(grads[0], x.layout.shape, self.axes)
        return (g * _shares(x, self.axes) if x.layout.size else g,)


def _shares(x: Tensor, axes: Axes) -> Tensor:
    """softmax over axes, but 0 where all elements are -inf.

    Not computed from the logsumexp, whose rounding error is large for large x.
    """
    wide = cast(x, accumulator(x.storage.dtype))
    top = max(detach(wide), axis=axes, keepdims=True)
    e = exp(wide - where(isfinite(top), top, 0.0))
    return cast(apply(DivideOrZero, e, sum(e, axes, True)), x.storage.dtype)


def logsumexp(x: Tensor, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Log of the sum of exponentials over axes, without overflow.

    y = m + log Σ exp(x - m), with m the largest element. Its gradient is softmax.

    Returns:
        shape of x without the reduced axes, dtype of x; -inf for an empty axis.

    >>> tt.logsumexp(tt.tensor([1000.0, 1000.0])).item()
    1000.693
    """
    return apply(Logsumexp(axes=reduced_axes(x, axis, "logsumexp"), keepdims=keepdims), x)


# ---- norms -------------------------------------------------------------------------------------------------


@register
class VectorNorm(Reduction):
    """(Σ |x|**p)**(1/p) for a finite p other than 0."""

    p: float

    saves = ("x", "y")
    flops = per_input(2.0)
    autocast = "wide"

    def cpu(self, y: Array, x: Array) -> None:
        y = _kept(y, x, self.axes)
        if self.p == 1:
            _sum_terms(y, x, self.axes, np.abs)
        elif self.p == 2:
            if x.flags.c_contiguous and self.axes == ALL_AXES[x.ndim][x.ndim - len(self.axes) :]:
                rows = x.reshape(y.size, reduced_count(x.shape, self.axes))
                sum_rows(y.reshape(-1), rows, lambda r, out: np.vecdot(r, r, out=out))
            else:
                _sum_terms(y, x, self.axes, np.square)
            np.sqrt(y, out=y)
        else:
            _sum_terms(y, x, self.axes, lambda b: np.abs(b) ** self.p)
            np.power(y, 1 / self.p, out=y)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        functor = {1.0: "Norm1", 2.0: "Norm2"}.get(self.p, "NormP")
        launch_reduction(launch, functor, y, x, self.axes, scalar=self.p)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * x * |x|**(p - 2) / y**(p - 1), and 0 where all x are 0."""
        g, x = grads[0], saved.x
        if self.p == 1:
            return (sign(x) * spread(g, x.layout.shape, self.axes),)
        y = saved.y if self.p == 2 else pow(saved.y, self.p - 1)
        direction = x if self.p == 2 else sign(x) * pow(abs(x), self.p - 1)
        g = apply(DivideOrZero, g, y)
        return (direction * spread(g, x.layout.shape, self.axes),)


def vector_norm(x: Tensor, axis: AxisLike = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Vector norm over axes: (Σ |x|**ord)**(1/ord).

    Args:
        ord: 2 is the Euclidean norm, 1 the sum of absolute values, inf and -inf the largest and smallest
            absolute value, 0 the number of nonzero elements; or any other number.

    Returns:
        shape of x without the reduced axes, dtype of x. The gradient of a vector of zeros is 0.

    >>> x = tt.tensor([3.0, -4.0])
    >>> [tt.vector_norm(x, ord=p).item() for p in (2, 1, float("inf"))]
    [5.0, 7.0, 4.0]
    """
    axes = reduced_axes(x, axis, "vector_norm")
    floating("vector_norm", Spec(x.layout.shape, x.storage.dtype))
    if math.isinf(ord):
        nonempty_input("vector_norm", x.layout.shape, axes)
        return (
            max(abs(x), axis=axes, keepdims=keepdims)
            if ord > 0
            else min(abs(x), axis=axes, keepdims=keepdims)
        )
    if ord == 0:
        return cast(count_nonzero(x, axes, keepdims), x.storage.dtype)
    return apply(VectorNorm(axes=axes, keepdims=keepdims, p=float(ord)), x)


def matrix_norm(x: Tensor, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Matrix norm over the last two axes.

    Args:
        ord: "fro" is the root of the sum of squares; 1 and -1 the largest and smallest sum of absolute values
            of a column, inf and -inf of a row.

    Returns:
        shape (...), dtype of x.

    Raises:
        ArgumentError: ord is not one of these; tt.linalg.matrix_norm has 2, -2 and "nuc", too.

    >>> x = tt.tensor([[1.0, -2.0], [3.0, 4.0]])
    >>> tt.matrix_norm(x, ord=1).item(), tt.matrix_norm(x, ord=float("inf")).item()
    (6.0, 7.0)
    """
    shape = x.layout.shape
    if len(shape) < 2:
        raise ShapeError(
            f"matrix_norm: shape {shape} has no last two axes",
            why="the rows and columns of a matrix are its last two axes",
            fix="tt.vector_norm(x)",
        )
    if ord == "fro":
        return vector_norm(x, (-2, -1), keepdims)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(
            f"matrix_norm: ord {ord!r}",
            why="'fro', 1, -1, inf and -inf are sums; 2, -2 and 'nuc' need singular values",
            fix="tt.linalg.matrix_norm has those, too",
        )
    floating("matrix_norm", Spec(shape, x.storage.dtype))
    last = (len(shape) - 2, len(shape) - 1)
    nonempty_input("matrix_norm", shape, last)
    lengths = vector_norm(x, -2 if math.isfinite(ord) else -1, True, ord=1)
    return (
        max(lengths, axis=last, keepdims=keepdims) if ord > 0 else min(lengths, axis=last, keepdims=keepdims)
    )
