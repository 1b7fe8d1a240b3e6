"""uniform, normal, rand, randn and randint: random tensors from the counter-based Philox generator.

A seed and an offset identify every sample (`philox.py`). Each function first reserves its range of the
generator's stream and then fills it, so results depend on the seed alone, not on the number of threads.
"""

from __future__ import annotations

from math import prod
from numbers import Real
from typing import Any

import numpy as np

from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import sampling
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dtypes import DType, as_dtype, finfo, float16, float32, float64, iinfo, int64
from tinytensor.errors import ArgumentError, DTypeError
from tinytensor.generator import Generator, default_generator
from tinytensor.op import Array, Op, Spec, Specs, register
from tinytensor.ops.random import philox
from tinytensor.random_streams import Stream
from tinytensor.shapes import Shape, as_int, check_shape
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["normal", "rand", "randint", "randn", "uniform"]


def _fill(draw: str, out: Array, stream: Stream) -> None:
    """Fill an array with uniform or normal numbers, through a contiguous float32 or float64 array."""
    target = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    getattr(philox, f"{draw}_{target.dtype.name}")(*stream, target)
    if target is not out:
        out[...] = target


@register
class Uniform(Op):
    shape: Shape
    dtype: DType
    device: Device
    low: float
    high: float

    inputs = ("stream",)
    flops = 1.0

    def infer(self, stream: Any) -> Specs:
        return (Spec(self.shape, self.dtype),)

    def cpu(self, y: Array, stream: Stream) -> None:
        _fill("uniform", y, stream)
        if self.dtype.narrow:  # drop the bits that it cannot represent: 0.9999 must not round up to 1
            digits = np.float32(2048 if self.dtype is float16 else 256)
            np.floor(y * digits, out=y)
            y /= digits
        if (self.low, self.high) != (0.0, 1.0):
            y *= y.dtype.type(self.high - self.low)
            y += y.dtype.type(self.low)

    def cuda(self, launch: Launch, y: View, stream: Stream) -> None:
        is_unit = (self.low, self.high) == (0.0, 1.0)
        _launch_fill(launch, "uniform_forward", y, stream, self.low, self.high - self.low, is_unit)


def _launch_fill(launch: Launch, name: str, y: View, stream: Stream, *numbers: Any) -> None:
    """Fill y by a kernel whose threads write at most 16 bytes each."""
    args = (y, launch.stream(stream), *numbers, y.size)
    each = 2 if y.itemsize == 8 or name == "randint_forward" else 4
    launch(name, y.dtype, index_type(y), grid=blocks_for(y.size, BLOCK * each), args=args)


@register
class Normal(Op):
    shape: Shape
    dtype: DType
    device: Device
    mean: float
    std: float

    inputs = ("stream",)
    flops = 6.0

    def infer(self, stream: Any) -> Specs:
        return (Spec(self.shape, self.dtype),)

    def cpu(self, y: Array, stream: Stream) -> None:
        _fill("normal", y, stream)
        if (self.mean, self.std) != (0.0, 1.0):
            y *= y.dtype.type(self.std)
            y += y.dtype.type(self.mean)

    def cuda(self, launch: Launch, y: View, stream: Stream) -> None:
        _launch_fill(
            launch, "normal_forward", y, stream, self.mean, self.std, (self.mean, self.std) == (0.0, 1.0)
        )


@register
class Randint(Op):
    shape: Shape
    dtype: DType
    device: Device
    low: int
    high: int

    inputs = ("stream",)
    flops = 0.0

    def infer(self, stream: Any) -> Specs:
        return (Spec(self.shape, self.dtype),)

    def cpu(self, y: Array, stream: Stream) -> None:
        y[...] = philox.randint(*stream, self.low, self.high, y.size).reshape(y.shape)

    def cuda(self, launch: Launch, y: View, stream: Stream) -> None:
        _launch_fill(launch, "randint_forward", y, stream, self.low, (self.high - self.low) % (1 << 64))


def generator_of(generator: Generator | None, what: str) -> Generator:
    """The given generator, or the global one."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise DTypeError(
            f"{what}: generator is a {type(generator).__name__}",
            why="it is a tt.Generator",
            fix="tt.Generator(seed)",
        )
    return generator


def _float_dtype(dtype: Any, what: str) -> tuple[DType, int]:
    """The dtype, and the number of Philox words per element."""
    wanted = float32 if dtype is None else as_dtype(dtype, what)
    if not wanted.is_floating:
        raise DTypeError(
            f"{what}: dtype {wanted}", why="it samples real numbers", fix="dtype=tt.float32, or tt.randint"
        )
    return wanted, 2 if wanted is float64 else 1


def _number(value: Any, dtype: DType, what: str, noun: str) -> float:
    """A real number as a float; raises unless the dtype can represent it."""
    if not isinstance(value, Real):
        raise DTypeError(
            f"{what}: {noun} of type {type(value).__name__}",
            why="it is a real number",
            fix=f"{noun}=x.item()" if is_tensor(value) else f"{noun}=0.5",
        )
    size: Any = abs(value)
    if not size <= finfo(dtype).max:
        raise ArgumentError(
            f"{what}: {noun} is {value}",
            why=f"the largest {dtype} is {finfo(dtype).max:.4g}",
            fix="a smaller number, or dtype=tt.float64",
        )
    return float(value)


def device_of(device: Any, what: str) -> Device:
    """The given device, or the CPU."""
    return cpu if device is None else as_device(device, what)


@sampling(0)
def _drawn(shape: Shape, op: Any, g: Generator, words: int, **params: Any) -> Tensor:
    """Samples of a random op, `words` Philox words each, from the next bits of a generator."""
    offset = g.advance(philox.blocks_needed(prod(shape), words))
    return apply(op(shape=shape, **params), Stream(g.seed, offset))


def uniform(
    shape: Any,
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Samples from the uniform distribution on [low, high), float32 by default.

    Args:
        low, high: the ends; float32 results are multiples of 2**-24 of the range. If the range is not [0, 1)
            the scaling rounds, and may reach high.
        device: of the result; the values do not depend on it. Default "cpu".
        generator: source of the random bits; default the global one, see `tt.manual_seed`.

    >>> u = tt.uniform((2, 3), generator=tt.Generator(1))
    >>> bool((u >= 0).all() & (u < 1).all())
    True
    """
    place = device_of(device, "uniform")
    sizes = check_shape(shape, "uniform")
    kind, words = _float_dtype(dtype, "uniform")
    low, high = _number(low, kind, "uniform", "low"), _number(high, kind, "uniform", "high")
    if low > high:
        raise ArgumentError(f"uniform: from {low} to {high}", why="it needs low <= high", fix="swap the ends")
    if high - low > finfo(float32 if kind.narrow else kind).max:
        raise ArgumentError(
            f"uniform: from {low} to {high} in {kind}",
            why="the distance high - low is too large for the dtype",
            fix=f"2 * tt.uniform(shape, {low / 2}, {high / 2})",
        )
    g = generator_of(generator, "uniform")
    return _drawn(sizes, Uniform, g, words, device=place, dtype=kind, low=low, high=high)


def normal(
    mean: float = 0.0,
    std: float = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Samples from a normal distribution, float32 by default; the same on every device.

    Source: the inverse normal CDF, see ops/random/inverse_normal.py.

    >>> tt.normal(0.0, 1.0, (3,), generator=tt.Generator(0)).shape
    (3,)
    """
    if shape is None:
        raise ArgumentError(
            "normal: there is no shape",
            why="the arguments are mean, std and shape, as in PyTorch",
            fix="tt.normal(0.0, 1.0, (2, 3)); shape=() for one number",
        )
    place = device_of(device, "normal")
    sizes = check_shape(shape, "normal")
    kind, words = _float_dtype(dtype, "normal")
    mean, std = _number(mean, kind, "normal", "mean"), _number(std, kind, "normal", "std")
    if std < 0:
        raise ArgumentError(
            f"normal: std is {std}", why="a standard deviation is not negative", fix=f"std={-std}"
        )
    g = generator_of(generator, "normal")
    return _drawn(sizes, Normal, g, words, device=place, dtype=kind, mean=mean, std=std)


def rand(
    *shape: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """PyTorch's name for `uniform` on [0, 1).

    >>> tt.rand(2, 3).shape
    (2, 3)
    """
    sizes = shape[0] if len(shape) == 1 else shape
    found = uniform(sizes, dtype=dtype, device=device, generator=generator)
    return found.requires_grad_() if requires_grad else found


def randn(
    *shape: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """PyTorch's name for `normal` with mean 0 and standard deviation 1.

    >>> tt.randn(2, 3).shape
    (2, 3)
    """
    sizes = shape[0] if len(shape) == 1 else shape
    found = normal(0.0, 1.0, sizes, dtype=dtype, device=device, generator=generator)
    return found.requires_grad_() if requires_grad else found


def randint(
    low: Any = 0,
    high: Any = None,
    shape: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Samples from the uniform distribution on the integers low to high - 1.

    Args:
        low, high: the ends; high is exclusive. A single one is high, as in PyTorch: `tt.randint(10, (2, 3))`.

    >>> x = tt.randint(0, 10, (100,))
    >>> bool((x >= 0).all() & (x < 10).all())
    True
    """
    if shape is None and isinstance(high, tuple | list):
        low, high, shape = 0, low, high
    elif high is None:
        low, high = 0, low
    place = device_of(device, "randint")
    sizes = check_shape(shape, "randint")
    kind = int64 if dtype is None else as_dtype(dtype, "randint")
    if kind.kind not in ("int", "uint"):
        raise DTypeError(
            f"randint: dtype {kind}", why="it samples integers", fix="dtype=tt.int64, or tt.uniform"
        )
    first, last = as_int(low, "randint", "low"), as_int(high, "randint", "high")
    if first >= last or first < -(2**63) or last > 2**63:
        raise ArgumentError(
            f"randint: from {low} to {high}",
            why="the range is empty or exceeds int64",
            fix="choose low < high",
        )
    holds = iinfo(kind)
    if first < holds.min or last - 1 > holds.max:
        raise ArgumentError(
            f"randint: from {low} to {high} in {kind}",
            why=f"{kind} has the range {holds.min} to {holds.max}",
            fix="choose a wider dtype, for example dtype=tt.int64",
        )
    g = generator_of(generator, "randint")
    return _drawn(sizes, Randint, g, 2, device=place, dtype=kind, low=first, high=last)
