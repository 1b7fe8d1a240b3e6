"""fft, rfft, hfft, their inverses, and their forms for several axes.

Results are complex, or computed from complex numbers, so there are no gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any, ClassVar, Literal

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.checks import floating, refuse_complex_history, wide, without_kernel
from tinytensor.dtypes import DType, complex64, complex128, float32, float64, parts_of
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.op import Array, Flops, Op, Shapes, Spec, Specs, Tensor, register, size
from tinytensor.ops.elementwise.sign_and_complex import conj
from tinytensor.shapes import Shape, as_int, normalize_axes

__all__ = ["fft", "fftn", "hfft", "ifft", "ifftn", "ihfft", "irfft", "irfftn", "rfft", "rfftn"]

Norm = Literal["backward", "ortho", "forward"]
OTHER: dict[Norm, Norm] = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
COMPLEX: dict[DType, DType] = {float32: complex64, float64: complex128}


def _flops(each: float) -> Flops:
    """So many times N log2 N for transforms of N numbers."""

    def flops(op: Any, outs: Shapes, ins: Shapes) -> float:
        n = 1
        for count in op.sizes:
            n *= count
        return each * max(size(ins[0]), size(outs[0])) * log2(n)

    return flops


def _replaced(shape: Shape, sizes: Shape, axes: Shape, half: bool = False) -> Shape:
    """The shape with these sizes of these axes; `half`: of the last of them what a real transform keeps."""
    found = list(shape)
    for axis, count in zip(axes, sizes, strict=True):
        found[axis] = count
    if half:
        found[axes[-1]] = sizes[-1] // 2 + 1
    return tuple(found)


class Transform(Op):
    """Base class of transforms: NumPy's `function` of the axes."""

    function: ClassVar[Any]
    half: ClassVar[bool] = False  # the result is the half that a transform of real numbers keeps

    sizes: Shape
    axes: Shape
    norm: Norm

    inputs = ("x",)
    vmap = vmap_batched
    flops = _flops(2.5)

    def result(self, x: DType) -> DType:
        """The dtype of the result."""
        return COMPLEX.get(x, x)

    def infer(self, x: Spec) -> Specs:
        return (Spec(_replaced(x.shape, self.sizes, self.axes, self.half), self.result(x.dtype)),)

    def cpu(self, y: Array, x: Array) -> None:
        y[...] = self.function(x, self.sizes, self.axes, self.norm)


@register
class Fftn(Transform):
    function = staticmethod(np.fft.fftn)
    flops = _flops(5.0)


@register
class Ifftn(Transform):
    function = staticmethod(np.fft.ifftn)
    flops = _flops(5.0)


@register
class Rfftn(Transform):
    function, half = staticmethod(np.fft.rfftn), True


@register
class Irfftn(Transform):
    function = staticmethod(np.fft.irfftn)

    def result(self, x: DType) -> DType:
        return parts_of(x)


def _checked(what: str, x: Tensor, norm: Norm) -> None:
    wide(what, Spec(x.layout.shape, x.storage.dtype))
    refuse_complex_history(what, x)
    if x.storage.device is not cpu:
        raise without_kernel(what, x.storage.device)
    if norm not in OTHER:
        raise ArgumentError(
            f"{what}: norm {norm!r}",
            why="it says which direction divides by the number of elements, or by its root",
            fix="'backward', 'ortho' or 'forward'",
        )


def _sizes(
    what: str, x: Tensor, s: Sequence[int] | None, axes: Sequence[int] | None, half: bool = False
) -> tuple[Shape, Shape]:
    """Sizes and positions of the transformed axes; `half`: x holds a half of the last one."""
    shape = x.layout.shape
    if axes is None:
        axes = range(-len(shape if s is None else s), 0)
    at = normalize_axes(axes, len(shape), what)
    if not at:
        raise ShapeError(f"{what}: no axes", why="a transform is along an axis", fix="name one: axes=(-1,)")
    sizes = [shape[i] for i in at]
    if half:
        sizes[-1] = 2 * (sizes[-1] - 1)
    if s is not None:
        if len(s) != len(at):
            raise ShapeError(
                f"{what}: {len(s)} sizes for {len(at)} axes",
                why="s has the size of each transformed axis",
                fix=f"pass {len(at)} sizes; -1 is the size that the axis has",
            )
        given = [as_int(n, what, "a size") for n in s]
        sizes = [has if n == -1 else n for n, has in zip(given, sizes, strict=True)]
    if min(sizes) < 1:
        raise ShapeError(
            f"{what}: sizes {tuple(sizes)} of axes {at} of shape {shape}",
            why="a transform is of at least one number",
            fix="leave out the empty axis, or pass a positive size",
        )
    return tuple(sizes), at


Sizes = Sequence[int] | None


def _transformed(kind: Any, what: str, x: Tensor, s: Sizes, axes: Sizes, norm: Norm) -> Tensor:
    _checked(what, x, norm)
    if kind is Rfftn:
        floating(what, Spec(x.layout.shape, x.storage.dtype))
    sizes, at = _sizes(what, x, s, axes, half=kind is Irfftn)
    return apply(kind(sizes=sizes, axes=at, norm=norm), x)


def _one(n: int | None) -> tuple[int] | None:
    return None if n is None else (n,)


# ---- complex transforms ------------------------------------------------------------------------------------


def fft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Discrete Fourier transform along an axis.

    y[k] = sum over j of x[j] * exp(-2πi j k / n)

    Args:
        n: elements that are transformed: x is cut, or filled with zeros, to this size; None takes all.
        norm: "forward" divides by n, "ortho" by its square root, "backward" by nothing.

    Returns:
        shape of x with n elements on the axis; complex64 for float32, complex128 for float64.

    Raises:
        GradError: x requires grad: there are no gradients of complex numbers.
        DeviceError: x is not on the CPU.

    >>> tt.fft.fft(tt.tensor([1.0, 0.0, -1.0, 0.0])).tolist()
    [0j, (2+0j), 0j, (2+0j)]
    """
    return _transformed(Fftn, "fft", x, _one(n), (axis,), norm)


def ifft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Inverse of `fft`.

    x[j] = sum over k of y[k] * exp(2πi j k / n) / n

    Args:
        norm: "backward" divides by n, "ortho" by its square root, "forward" by nothing.

    >>> tt.fft.ifft(tt.fft.fft(tt.tensor([1.0, 2.0]))).tolist()
    [(1+0j), (2+0j)]
    """
    return _transformed(Ifftn, "ifft", x, _one(n), (axis,), norm)


def fftn(
    x: Tensor, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """Discrete Fourier transform along several axes: `fft` along each.

    Args:
        s: the size of each axis, to which x is cut or filled with zeros; -1 is the size it has.
        axes: None is the last len(s) axes, or all.

    >>> tt.fft.fftn(tt.ones(2, 2)).tolist()
    [[(4+0j), 0j], [0j, 0j]]
    """
    return _transformed(Fftn, "fftn", x, s, axes, norm)


def ifftn(
    x: Tensor, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """Inverse of `fftn`.

    >>> tt.fft.ifftn(tt.ones(2, 2)).tolist()
    [[(1+0j), 0j], [0j, 0j]]
    """
    return _transformed(Ifftn, "ifftn", x, s, axes, norm)


# ---- transforms of real numbers ----------------------------------------------------------------------------


def rfft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Discrete Fourier transform of real numbers: the first half of `fft`.

    Returns:
        shape of x with n // 2 + 1 elements on the axis; complex64 for float32, complex128 for float64.

    Raises:
        GradError: x requires grad: there are no gradients of complex numbers, nor of irfft(rfft(x)).

    >>> tt.fft.rfft(tt.tensor([1.0, 0.0, -1.0, 0.0])).tolist()
    [0j, (2+0j), 0j]
    """
    return _transformed(Rfftn, "rfft", x, _one(n), (axis,), norm)


def irfft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Inverse of `rfft`: real numbers.

    Args:
        n: elements of the result; None is 2 * (m - 1), where x has m on the axis.

    Returns:
        shape of x with n elements on the axis; float32 for complex64, float64 for complex128.

    >>> tt.fft.irfft(tt.fft.rfft(tt.tensor([1.0, 2.0, 3.0])), n=3).tolist()
    [1.0, 2.0, 3.0]
    """
    return _transformed(Irfftn, "irfft", x, _one(n), (axis,), norm)


def rfftn(
    x: Tensor, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """Discrete Fourier transform of real numbers: `rfft` along the last axis, `fft` along others.

    >>> tt.fft.rfftn(tt.ones(2, 2)).tolist()
    [[(4+0j), 0j], [0j, 0j]]
    """
    return _transformed(Rfftn, "rfftn", x, s, axes, norm)


def irfftn(
    x: Tensor, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Tensor:
    """Inverse of `rfftn`: real numbers.

    Args:
        s: the size of each axis of the result; None and -1 are the size it has, but 2 * (m - 1) on the last
            of the axes, where x has m.

    >>> tt.fft.irfftn(tt.fft.rfftn(tt.ones(2, 2))).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _transformed(Irfftn, "irfftn", x, s, axes, norm)


def hfft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Discrete Fourier transform of numbers whose second half is the conjugate of the first: real numbers.

    >>> tt.fft.hfft(tt.tensor([1.0, 0.0, -1.0], dtype=tt.complex64)).tolist()
    [0.0, 2.0, 0.0, 2.0]
    """
    return _transformed(Irfftn, "hfft", conj(x), _one(n), (axis,), OTHER.get(norm, norm))


def ihfft(x: Tensor, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """Inverse of `hfft`: the first half of the numbers.

    >>> tt.fft.hfft(tt.fft.ihfft(tt.tensor([1.0, 2.0, 3.0, 4.0]))).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    return conj(_transformed(Rfftn, "ihfft", x, _one(n), (axis,), OTHER.get(norm, norm)))
