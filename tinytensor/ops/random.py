"""Random tensors. The numbers come from Philox counters (`philox.py`): a seed and an offset name every draw.

Each function reserves its stretch of the generator's stream first and then fills it, so equal seeds give
equal bits whatever the number of threads.
"""

from __future__ import annotations

import struct
from math import prod
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import Device, as_device, cpu
from ..dispatch import Op, Spec, Specs, apply, is_tensor, register
from ..dtypes import DType, as_dtype, bool_, finfo, float16, float32, float64, iinfo, int64
from ..errors import ArgumentError, DTypeError, ShapeError
from ..launching import BLOCK, Launch, View, blocks_for, index_type
from ..layout import Shape, as_int, check_shape
from ..random import Generator, default_generator
from ..runtime.host import Array
from . import philox

if TYPE_CHECKING:
    from ..tensor import Tensor


def _fill(draw: str, out: Array, seed: int, offset: int) -> None:
    """Fill any array with uniform or normal numbers: `philox` wants contiguous float32 or float64."""
    target = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    getattr(philox, f"{draw}_{target.dtype.name}")(seed, offset, target)
    if target is not out:
        out[...] = target


@register
class Uniform(Op):
    inputs = ()

    @staticmethod
    def infer(*, shape: Shape, dtype: DType, low: float, high: float, seed: int, offset: int) -> Specs:
        return (Spec(shape, dtype),)

    @staticmethod
    def cpu(y: Array, *, shape: Shape, dtype: DType, low: float, high: float, seed: int, offset: int) -> None:
        _fill("uniform", y, seed, offset)
        if dtype.narrow:  # drop the digits that it cannot hold, lest 0.9999 be rounded up to 1
            digits = np.float32(2048 if dtype is float16 else 256)
            np.floor(y * digits, out=y)
            y /= digits
        if (low, high) != (0.0, 1.0):
            y *= y.dtype.type(high - low)
            y += y.dtype.type(low)

    @staticmethod
    def cuda(
        launch: Launch,
        y: View,
        *,
        shape: Shape,
        dtype: DType,
        low: float,
        high: float,
        seed: int,
        offset: int,
    ) -> None:
        is_unit = (low, high) == (0.0, 1.0)
        _launch_fill(launch, "uniform_forward", y, seed, offset, low, high - low, is_unit)


def _launch_fill(launch: Launch, name: str, y: View, seed: int, offset: int, *numbers: Any) -> None:
    """Fill y by a kernel of which each thread writes 16 bytes or less."""
    args = (y, launch.stream(seed, offset), *numbers, y.size)
    each = 2 if y.itemsize == 8 or name == "randint_forward" else 4
    launch(name, y.dtype, index_type(y), grid=blocks_for(y.size, BLOCK * each), args=args)


@register
class Normal(Op):
    inputs = ()

    @staticmethod
    def infer(*, shape: Shape, dtype: DType, mean: float, std: float, seed: int, offset: int) -> Specs:
        return (Spec(shape, dtype),)

    @staticmethod
    def cpu(y: Array, *, shape: Shape, dtype: DType, mean: float, std: float, seed: int, offset: int) -> None:
        _fill("normal", y, seed, offset)
        if (mean, std) != (0.0, 1.0):
            y *= y.dtype.type(std)
            y += y.dtype.type(mean)

    @staticmethod
    def cuda(
        launch: Launch,
        y: View,
        *,
        shape: Shape,
        dtype: DType,
        mean: float,
        std: float,
        seed: int,
        offset: int,
    ) -> None:
        _launch_fill(launch, "normal_forward", y, seed, offset, mean, std, (mean, std) == (0.0, 1.0))


@register
class Randint(Op):
    inputs = ()

    @staticmethod
    def infer(*, shape: Shape, dtype: DType, low: int, high: int, seed: int, offset: int) -> Specs:
        return (Spec(shape, dtype),)

    @staticmethod
    def cpu(y: Array, *, shape: Shape, dtype: DType, low: int, high: int, seed: int, offset: int) -> None:
        y[...] = philox.randint(seed, offset, low, high, y.size).reshape(y.shape)

    @staticmethod
    def cuda(
        launch: Launch, y: View, *, shape: Shape, dtype: DType, low: int, high: int, seed: int, offset: int
    ) -> None:
        _launch_fill(launch, "randint_forward", y, seed, offset, low, (high - low) % (1 << 64))


@register
class Permutation(Op):
    inputs = ()

    @staticmethod
    def infer(*, n: int, seed: int, offset: int) -> Specs:
        return (Spec((n,), int64),)

    @staticmethod
    def cpu(y: Array, *, n: int, seed: int, offset: int) -> None:
        y[...] = philox.permutation(seed, offset, n)


@register
class Bernoulli(Op):
    inputs = ("p",)
    dense = ("p",)

    @staticmethod
    def infer(p: Spec, *, seed: int, offset: int) -> Specs:
        return (Spec(p.shape, bool_),)

    @staticmethod
    def cpu(y: Array, p: Array, *, seed: int, offset: int) -> None:
        u = np.empty(y.shape, np.float32)
        philox.uniform_float32(seed, offset, u)
        np.less(u, p, out=y)

    @staticmethod
    def cuda(launch: Launch, y: View, p: View, *, seed: int, offset: int) -> None:
        bounds = launch.bounds(0, 0, _no_probability, "bernoulli", True)
        args = (y, p, launch.stream(seed, offset), bounds, y.size)
        launch("bernoulli_forward", p.dtype, index_type(p), grid=blocks_for(y.size, BLOCK * 4), args=args)


@register
class Multinomial(Op):
    """Indices drawn by weight: by inverting sums, or, without replacement, by exponential races."""

    inputs = ("p",)
    dense = ("p",)

    @staticmethod
    def infer(p: Spec, *, num_samples: int, replacement: bool, seed: int, offset: int) -> Specs:
        return (Spec((*p.shape[:-1], num_samples), int64),)

    @staticmethod
    def cpu(y: Array, p: Array, *, num_samples: int, replacement: bool, seed: int, offset: int) -> None:
        if not y.size:
            return
        rows, out = p.reshape(-1, p.shape[-1]).astype(np.float64), y.reshape(-1, num_samples)
        np.ldexp(rows, -np.frexp(rows.max(1, keepdims=True))[1], out=rows)  # the largest lies in [1/2, 1)
        if replacement:
            u = np.empty(out.shape, np.float64)
            philox.uniform_float64(seed, offset, u)
            for i, row in enumerate(rows):
                total = np.cumsum(row)
                last = int(np.flatnonzero(row)[-1])  # rounding may not lead past the last possible index
                out[i] = np.minimum(np.searchsorted(total, u[i] * total[-1], side="right"), last)
            return
        u = np.empty(rows.shape, np.float64)
        philox.uniform_float64(seed, offset, u)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            time = -np.log1p(-u) / rows  # the first arrivals of exponential clocks
        time[p.reshape(rows.shape) == 0] = np.nan  # never: sorted behind the latest, which may be inf
        out[...] = np.argsort(time, axis=-1, kind="stable")[:, :num_samples]

    @staticmethod
    def cuda(
        launch: Launch, y: View, p: View, *, num_samples: int, replacement: bool, seed: int, offset: int
    ) -> None:
        if y.size == 0:
            return
        width, stream = p.shape[-1], launch.stream(seed, offset)
        rows = p.size // width
        fine = launch.bounds(0, 0, _no_probability, "multinomial", False)
        enough = launch.bounds(_needed(num_samples, replacement), 1 << 62, _too_few, num_samples)
        scratch = launch.scratch((rows, width), float64)
        if replacement:
            launch("multinomial_sums", p.dtype, grid=rows, args=(scratch, p, fine, enough, width))
            args = (y, scratch, p, stream, width, num_samples, y.size)
            launch("multinomial_draw", p.dtype, grid=blocks_for(y.size, BLOCK), args=args)
        else:
            launch("multinomial_times", p.dtype, grid=rows, args=(scratch, p, stream, fine, enough, width))


def _needed(count: int, replacement: bool) -> int:
    """How many weights of a row must be positive."""
    return min(count, 1) if replacement else count


def _too_few(positive: int, count: int) -> ArgumentError:
    return ArgumentError(
        f"multinomial: {count} samples from a row with {positive} positive weights",
        why="without replacement each index is drawn once at most"
        if positive
        else "there is nothing to draw",
        fix="draw fewer, or with replacement=True" if positive else "give each row a positive weight",
    )


def _generator(generator: Generator | None, what: str) -> Generator:
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
    """The dtype, and how many Philox words an element takes."""
    wanted = float32 if dtype is None else as_dtype(dtype, what)
    if not wanted.is_floating:
        raise DTypeError(
            f"{what}: dtype {wanted}", why="it draws real numbers", fix="dtype=tt.float32, or tt.randint"
        )
    return wanted, 2 if wanted is float64 else 1


def _number(value: Any, dtype: DType, what: str, noun: str) -> float:
    """A real number that the dtype holds, as a float."""
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
            why=f"{dtype} holds numbers up to {finfo(dtype).max:.4g}",
            fix="a smaller number, or dtype=tt.float64",
        )
    return float(value)


def _device(device: Any, what: str) -> Device:
    return cpu if device is None else as_device(device, what)


def uniform(
    shape: Any,
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers drawn evenly from [low, high).

    Args:
        shape: sizes as a tuple or one integer.
        low, high: the ends; float32 results are multiples of 2**-24 of the range. Where the range is not
            [0, 1) the scaling rounds, and may reach high.
        dtype: floating; default float32.
        device: where they are drawn; the bits are the same everywhere. Default "cpu".
        generator: where the bits come from; default: tinytensor's own, see `tt.manual_seed`.

    Returns:
        A leaf tensor.

    Raises:
        ArgumentError: high is below low, or the dtype does not hold an end or their distance.
        DTypeError: the dtype is not floating, or an end is no number.

    Example:
        >>> u = tt.uniform((2, 3), generator=tt.Generator(1))
        >>> bool((u >= 0).all() & (u < 1).all())
        True
    """
    place = _device(device, "uniform")
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
    g = _generator(generator, "uniform")
    offset = g.advance(philox.blocks_needed(prod(sizes), words))
    return apply(
        Uniform, device=place, shape=sizes, dtype=kind, low=low, high=high, seed=g.seed, offset=offset
    )


def normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers drawn from a normal distribution.

    Args:
        shape: sizes as a tuple or one integer.
        mean: center.
        std: standard deviation, not negative.
        dtype: floating; default float32.
        device: where they are drawn; the bits are the same everywhere. Default "cpu".
        generator: where the bits come from; default: tinytensor's own, see `tt.manual_seed`.

    Returns:
        A leaf tensor.

    Raises:
        ArgumentError: std is negative, or the dtype does not hold mean or std.
        DTypeError: the dtype is not floating, or mean or std is no number.

    Source: the inverse of the normal distribution, see ops/inverse_normal.py.

    Example:
        >>> tt.normal((3,), generator=tt.Generator(0)).shape
        (3,)
    """
    place = _device(device, "normal")
    sizes = check_shape(shape, "normal")
    kind, words = _float_dtype(dtype, "normal")
    mean, std = _number(mean, kind, "normal", "mean"), _number(std, kind, "normal", "std")
    if std < 0:
        raise ArgumentError(f"normal: std is {std}", why="a deviation is not negative", fix=f"std={-std}")
    g = _generator(generator, "normal")
    offset = g.advance(philox.blocks_needed(prod(sizes), words))
    return apply(
        Normal, device=place, shape=sizes, dtype=kind, mean=mean, std=std, seed=g.seed, offset=offset
    )


def rand(*shape: Any, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """PyTorch's name for `uniform` on [0, 1).

    Args:
        shape: sizes, one by one or as a tuple.
        dtype: floating; default float32.
        device: where they are drawn; the bits are the same everywhere. Default "cpu".
        generator: default: tinytensor's own.

    Returns:
        A leaf tensor.

    Example:
        >>> tt.rand(2, 3).shape
        (2, 3)
    """
    sizes = shape[0] if len(shape) == 1 else shape
    return uniform(sizes, dtype=dtype, device=device, generator=generator)


def randn(*shape: Any, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """PyTorch's name for `normal` with mean 0 and deviation 1.

    Args:
        shape: sizes, one by one or as a tuple.
        dtype: floating; default float32.
        device: where they are drawn; the bits are the same everywhere. Default "cpu".
        generator: default: tinytensor's own.

    Returns:
        A leaf tensor.

    Example:
        >>> tt.randn(2, 3).shape
        (2, 3)
    """
    sizes = shape[0] if len(shape) == 1 else shape
    return normal(sizes, dtype=dtype, device=device, generator=generator)


def randint(
    low: int,
    high: int,
    shape: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers drawn evenly from low to high - 1.

    Args:
        low, high: the ends; high is not drawn.
        shape: sizes as a tuple or one integer.
        dtype: default int64.
        device: where they are drawn; the bits are the same everywhere. Default "cpu".
        generator: default: tinytensor's own.

    Returns:
        A tensor of integers.

    Raises:
        ArgumentError: the range is empty, or leaves int64 or the dtype.
        DTypeError: the dtype is not an integer one.

    Example:
        >>> x = tt.randint(0, 10, (100,))
        >>> bool((x >= 0).all() & (x < 10).all())
        True
    """
    place = _device(device, "randint")
    sizes = check_shape(shape, "randint")
    kind = int64 if dtype is None else as_dtype(dtype, "randint")
    if kind.kind not in ("int", "uint"):
        raise DTypeError(
            f"randint: dtype {kind}", why="it draws integers", fix="dtype=tt.int64, or tt.uniform"
        )
    first, last = as_int(low, "randint", "low"), as_int(high, "randint", "high")
    if first >= last or first < -(2**63) or last > 2**63:
        raise ArgumentError(
            f"randint: from {low} to {high}",
            why="the range is empty or leaves int64",
            fix="choose low < high",
        )
    holds = iinfo(kind)
    if first < holds.min or last - 1 > holds.max:
        raise ArgumentError(
            f"randint: from {low} to {high} in {kind}",
            why=f"{kind} holds {holds.min} to {holds.max}",
            fix="choose a wider dtype, for example dtype=tt.int64",
        )
    g = _generator(generator, "randint")
    offset = g.advance(philox.blocks_needed(prod(sizes), 2))
    return apply(
        Randint, device=place, shape=sizes, dtype=kind, low=first, high=last, seed=g.seed, offset=offset
    )


def permutation(n: int, *, device: Any = None, generator: Generator | None = None) -> Tensor:
    """The numbers 0 … n - 1 in random order.

    Args:
        n: how many.
        device: where they are drawn; the order is the same everywhere. Default "cpu".
        generator: default: tinytensor's own.

    Returns:
        shape (n,), int64.

    Raises:
        ShapeError: n is negative.

    Example:
        >>> sorted(tt.permutation(5).tolist())
        [0, 1, 2, 3, 4]
    """
    place = _device(device, "permutation")
    (count,) = check_shape((as_int(n, "permutation", "n"),), "permutation")
    g = _generator(generator, "permutation")
    offset = g.advance(philox.blocks_needed(count, 2))
    return apply(Permutation, device=place, n=count, seed=g.seed, offset=offset)


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """True with the given probability, for each element by itself.

    Args:
        p: probabilities from 0 to 1, any shape, floating.
        generator: default: tinytensor's own.

    Returns:
        shape of p, bool.

    Raises:
        ArgumentError: a probability outside [0, 1].
        DTypeError: p is not a floating tensor.

    Example:
        >>> tt.bernoulli(tt.tensor([0.0, 1.0])).tolist()
        [False, True]
    """
    _probabilities(p, "bernoulli", at_most_one=True)
    g = _generator(generator, "bernoulli")
    return apply(Bernoulli, p.detach(), seed=g.seed, offset=g.advance(philox.blocks_needed(p.layout.size, 1)))


def _no_probability(bits: int, what: str, at_most_one: bool) -> ArgumentError:
    """The error for a number that is none; kernels report its bits."""
    return _not_probabilities(what, f"the value {struct.unpack('d', struct.pack('Q', bits))[0]}", at_most_one)


def _not_probabilities(what: str, values: str, at_most_one: bool) -> ArgumentError:
    return ArgumentError(
        f"{what}: {values}",
        why="probabilities lie in [0, 1]" if at_most_one else "weights are finite and not negative",
        fix="normalize them, for example with tt.softmax",
    )


def _probabilities(p: Tensor, what: str, *, at_most_one: bool) -> None:
    if not is_tensor(p) or not p.storage.dtype.is_floating:
        kind = p.storage.dtype if is_tensor(p) else type(p).__name__
        raise DTypeError(
            f"{what}: probabilities of type {kind}", why="they are floating", fix="tt.tensor([0.5, 0.5])"
        )
    if p.storage.device is not cpu:
        return  # kernels look at each number as they use it
    low, high = (float(p.min()), float(p.max())) if p.layout.size else (0.0, 0.0)
    if not (low >= 0 and (high <= 1 if at_most_one else high < float("inf"))):
        raise _not_probabilities(what, f"values from {low} to {high}", at_most_one)


def multinomial(
    p: Tensor, num_samples: int, replacement: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with the given weights, for each row by itself.

    Args:
        p: weights (..., V), not negative, not all zero in a row; they need not add up to 1.
        num_samples: draws per row.
        replacement: whether an index can be drawn twice.
        generator: default: tinytensor's own.

    Returns:
        shape (..., num_samples), int64. An index of weight 0 is never drawn.

    Raises:
        ArgumentError: a weight is negative or not finite, a row is all zero, or has too few positive weights.
        ShapeError: p has no axes, or num_samples is negative.

    Differs from: torch.multinomial, where replacement is False by default.

    Example:
        >>> tt.multinomial(tt.tensor([0.0, 3.0, 0.0]), 2).tolist()
        [1, 1]
    """
    if is_tensor(p) and not p.layout.shape:
        raise ShapeError("multinomial: p has no axes", why="it is a row of weights", fix="p.reshape(1)")
    _probabilities(p, "multinomial", at_most_one=False)
    count = as_int(num_samples, "multinomial", "the number of samples")
    check_shape((count,), "multinomial")
    rows = prod(p.layout.shape[:-1])
    if p.storage.device is cpu:
        positive = (p.detach() > 0).sum(-1)
        least = int(positive.min()) if positive.layout.size else count
        if least < _needed(count, replacement):
            raise _too_few(least, count)
    elif rows and count and p.layout.size == 0:
        raise _too_few(0, count)
    g = _generator(generator, "multinomial")
    n = rows * (count if replacement else p.layout.shape[-1])
    offset = g.advance(philox.blocks_needed(n, 2))
    return apply(
        Multinomial, p.detach(), num_samples=count, replacement=bool(replacement), seed=g.seed, offset=offset
    )
