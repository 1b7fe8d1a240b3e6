"""cumulative_sum, cumulative_prod, diff, and the linear recurrence for the gradient of cumulative_prod."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, accumulator, as_dtype, bool_
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.op import Array, Grads, Needs, Op, Saved, Spec, Specs, Tensor, per_input, register
from tinytensor.ops.indexing.indexing import getitem
from tinytensor.ops.joining.joining import concat, roll
from tinytensor.ops.joining.padding import pad
from tinytensor.ops.reductions.scan_launch import launch_scan
from tinytensor.ops.views.manipulation import cast, flip
from tinytensor.shapes import as_int, normalize_axis

__all__ = ["cumulative_prod", "cumulative_sum", "diff"]

_WIDE = {"f": np.float64, "c": np.complex128, "i": np.int64, "u": np.uint64}  # accumulation dtypes on the CPU


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """The key that slices one axis."""
    return (*(slice(None),) * axis, part)


def total_dtype(dtype: DType) -> DType:
    """Default dtype of sums and products: 64 bits wide for integers and bools."""
    return dtype if dtype.is_inexact else accumulator(dtype)


# ---- ops ---------------------------------------------------------------------------------------------------


@register
class CumulativeSum(Op):
    """y[i] = x[0] + … + x[i]; in reverse, y[i] = x[i] + … + x[n-1]."""

    axis: int
    reverse: bool

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_linear
    flops = per_input(1.0)
    autocast = "wide"

    def infer(self, x: Spec) -> Specs:
        return (Spec(x.shape, total_dtype(x.dtype)),)

    def cpu(self, y: Array, x: Array) -> None:
        if self.reverse:
            y, x = np.flip(y, self.axis), np.flip(x, self.axis)
        y[...] = np.add.accumulate(x, self.axis, np.promote_types(y.dtype, _WIDE[y.dtype.kind]))

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        launch_scan(launch, "CumulativeSum", y, x, None, self.axis, self.reverse)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[k] = sum of grad[i] over i >= k; in reverse over i <= k."""
        return (apply(self.replace(reverse=not self.reverse), grads[0]),)


@register
class CumulativeProd(Op):
    """y[i] = x[0] ⋯ x[i]; else as `cumulative_sum`.

    The gradient of x[k] is y[k-1] times r[k] = Σ_{i≥k} g[i] x[k+1] ⋯ x[i]. From the end, r is a linear
    recurrence, r[k] = x[k+1] r[k+1] + g[k]: without division, so zeros in x are exact, at any order of
    derivative.
    """

    axis: int

    inputs = ("x",)
    vmap = vmap_batched
    saves = ("x", "y")
    flops = per_input(1.0)
    autocast = "wide"

    def infer(self, x: Spec) -> Specs:
        return (Spec(x.shape, total_dtype(x.dtype)),)

    def cpu(self, y: Array, x: Array) -> None:
        np.multiply.accumulate(x, self.axis, y.dtype, out=y)

    def cuda(self, launch: Launch, y: View, x: View) -> None:
        launch_scan(launch, "CumulativeProd", y, x, None, self.axis)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx[k] = y[k-1] * r[k], where r[k] = x[k+1] * r[k+1] + grad[k] and y[-1] = 1."""
        before = _shifted(saved.y, self.axis, 1)
        return (before * _recurrence_from_the_end(saved.x, grads[0], self.axis),)


@register
class Recurrence(Op):
    """s[i] = a[i] s[i-1] + b[i], with s[-1] = 0: log n passes over pairs, as in a parallel prefix sum."""

    axis: int

    inputs = ("a", "b")
    vmap = vmap_batched
    outputs = ("s",)
    saves = ("a", "s?a")
    flops = 2.0

    def infer(self, a: Spec, b: Spec) -> Specs:
        return (Spec(a.shape, a.dtype),)

    def cpu(self, s: Array, a: Array, b: Array) -> None:
        _solve(np.moveaxis(s, self.axis, 0), np.moveaxis(a, self.axis, 0), np.moveaxis(b, self.axis, 0))

    def cuda(self, launch: Launch, s: View, a: View, b: View) -> None:
        launch_scan(launch, "Recurrence", s, a, b, self.axis)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """With r[k] = a[k+1] * r[k+1] + grad[k]: da[k] = r[k] * s[k-1], db = r."""
        r = _recurrence_from_the_end(saved.a, grads[0], self.axis)
        return r * _shifted(saved.s, self.axis, 0) if needs[0] else None, r


def _solve(s: Array, a: Array, b: Array) -> None:
    """Solve the recurrence along axis 0: pairs of steps form a recurrence of half the length, for odd i."""
    n = len(a)
    if n == 0:
        return
    if n > 1:
        even, odd = slice(0, n - 1, 2), slice(1, None, 2)
        _solve(s[odd], a[odd] * a[even], a[odd] * b[even] + b[odd])
        np.multiply(a[2::2], s[1 : n - 1 : 2], out=s[2::2])
        s[2::2] += b[2::2]
    s[0] = b[0]


def _recurrence_from_the_end(x: Tensor, g: Tensor, axis: int) -> Tensor:
    """r[k] = x[k+1] r[k+1] + g[k]."""
    factors = flip(roll(x, -1, axis), axis)  # the last factor comes first, and multiplies s[-1] = 0
    return flip(apply(Recurrence(axis=axis), factors, flip(g, axis)), axis)


def _shifted(y: Tensor, axis: int, first: int) -> Tensor:
    """first, y[0], …, y[n-2]."""
    n = y.layout.shape[axis]
    return _with_first(getitem(y, _along(axis, slice(0, n - 1))), axis, first) if n else y


def _with_first(y: Tensor, axis: int, first: int) -> Tensor:
    """first, y[0], y[1], …."""
    widths = [(int(i == axis), 0) for i in range(len(y.layout.shape))]
    return pad(y, widths, constant_values=bool(first) if y.storage.dtype is bool_ else first)


# ---- functions ---------------------------------------------------------------------------------------------


def _prepare(x: Tensor, axis: int | None, dtype: Any, what: str) -> tuple[Tensor, int]:
    """x in the requested dtype, and the normalized axis, optional if there is only one."""
    ndim = len(x.layout.shape)
    if axis is None and ndim != 1:
        raise ShapeError(
            f"{what}: shape {x.layout.shape} without an axis",
            why="it does not have exactly one axis",
            fix=f"tt.{what}(x, axis=0), or flatten it first: x.reshape(-1)",
        )
    at = normalize_axis(0 if axis is None else axis, ndim, what)
    wanted = total_dtype(x.storage.dtype) if dtype is None else as_dtype(dtype, what)
    return cast(x, wanted), at


def cumulative_sum(
    x: Tensor, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Cumulative sums along an axis: y[i] = x[0] + … + x[i].

    Args:
        axis: the axis; optional if x has only one.
        dtype: cast x to this dtype first; the result has it too; default as for `sum`.
        include_initial: prepend a 0, so that the axis is one element longer.

    Returns:
        shape of x (one longer with include_initial). dtype if given; else that of x, but int64 or uint64 for
        bool and integers.

    Accuracy: on the CPU floats are added in float64, and each sum is rounded once; on a device in float32 or
        wider, in runs. Integers wrap around.

    >>> tt.cumulative_sum(tt.tensor([1, 2, 3]), include_initial=True).tolist()
    [0, 1, 3, 6]
    """
    x, at = _prepare(x, axis, dtype, "cumulative_sum")
    y = apply(CumulativeSum(axis=at, reverse=False), x)
    if dtype is not None:
        y = cast(y, x.storage.dtype)
    return _with_first(y, at, 0) if include_initial else y


def cumulative_prod(
    x: Tensor, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Cumulative products along an axis: y[i] = x[0] ⋯ x[i]; else as `cumulative_sum`.

    Args:
        include_initial: prepend a 1, so that the axis is one element longer.

    Accuracy: the gradient is exact at zeros too: it is a recurrence without division.

    >>> tt.cumulative_prod(tt.tensor([1, 2, 3])).tolist()
    [1, 2, 6]
    """
    x, at = _prepare(x, axis, dtype, "cumulative_prod")
    y = apply(CumulativeProd(axis=at), x)
    if dtype is not None:
        y = cast(y, x.storage.dtype)
    return _with_first(y, at, 1) if include_initial else y


def diff(
    x: Tensor, n: int = 1, axis: int = -1, *, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """n-th differences of adjacent elements along an axis: y[i] = x[i+1] - x[i].

    Args:
        n: the order of the difference; 0 returns x.
        prepend, append: tensors to concatenate before and after x along the axis first.

    Returns:
        shape of x with the axis n shorter, but not below 0. Unsigned integers wrap around.

    >>> tt.diff(tt.tensor([1, 4, 9])).tolist()
    [3, 5]
    """
    at = normalize_axis(axis, len(x.layout.shape), "diff")
    if as_int(n, "diff", "the number of times") < 0:
        raise ShapeError(f"diff: n = {n}", why="the order of a difference is 0 or more", fix="pass n=1")
    if x.storage.dtype.kind == "bool":
        raise DTypeError(
            f"diff: the input of shape {x.layout.shape} has dtype bool",
            why="the difference of bools is not defined",
            fix="cast it with .astype(tt.int64), or compare: x[1:] != x[:-1]",
        )
    parts = [p for p in (prepend, x, append) if p is not None]
    y = concat(parts, at) if len(parts) > 1 else x
    if not y.layout.size:
        return getitem(y, _along(at, slice(min(n, y.layout.shape[at]), None)))
    for _ in range(min(n, y.layout.shape[at])):  # then the axis is empty
        y = getitem(y, _along(at, slice(1, None))) - getitem(y, _along(at, slice(0, -1)))
    return y
