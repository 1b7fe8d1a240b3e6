"""bernoulli, permutation and multinomial: random sampling. Random bits are reserved as in `random.py`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import sampling
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for, index_type
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import bool_, float64, int8, int32, int64, uint64
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.events import observers
from tinytensor.generator import Generator
from tinytensor.kernels.reduction import power_of_two
from tinytensor.kernels.sorting import BLOCK_ITEMS, FEW, TILE, launch_sort
from tinytensor.layout import contiguous
from tinytensor.op import Array, Op, Spec, Specs, per_input, register
from tinytensor.ops.random import philox
from tinytensor.ops.random.random import device_of, generator_of
from tinytensor.ops.views.manipulation import cast
from tinytensor.random_streams import Stream
from tinytensor.shapes import as_int, check_shape
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["bernoulli", "multinomial", "permutation"]


@register
class Permutation(Op):
    n: int
    device: Device

    inputs = ("stream",)
    flops = 0.0

    def infer(self, stream: Any) -> Specs:
        return (Spec((self.n,), int64),)

    def cpu(self, y: Array, stream: Stream) -> None:
        y[...] = philox.permutation(*stream, self.n)

    def cuda(self, launch: Launch, y: View, stream: Stream) -> None:
        keys = launch.scratch((self.n,), uint64)
        args = (keys, launch.stream(stream), self.n)
        launch("random_bits", index_type(keys), grid=blocks_for(self.n, BLOCK * 2), args=args)
        launch_sort(Launch(launch.runtime, "sorting"), None, y, keys, 0, self.n, False)


@register
class Bernoulli(Op):
    inputs = ("p", "stream")
    dense = ("p",)
    flops = 0.0

    def infer(self, p: Spec, stream: Any) -> Specs:
        return (Spec(p.shape, bool_),)

    def cpu(self, y: Array, p: Array, stream: Stream) -> None:
        _check_values(p, "bernoulli", at_most_one=True)
        u = np.empty(y.shape, np.float32)
        philox.uniform_float32(*stream, u)
        np.less(u, p, out=y)

    def cuda(self, launch: Launch, y: View, p: View, stream: Stream) -> None:
        bounds = launch.bounds(0, 0, _no_probability, "bernoulli", True)
        args = (y, p, launch.stream(stream), bounds, y.size)
        launch("bernoulli_forward", p.dtype, index_type(p), grid=blocks_for(y.size, BLOCK * 4), args=args)


@register
class Multinomial(Op):
    """Sample indices by weight: inverse of the cumulative sum; without replacement, exponential races."""

    num_samples: int
    replacement: bool

    inputs = ("p", "stream")
    dense = ("p",)
    flops = per_input(1.0)

    def infer(self, p: Spec, stream: Any) -> Specs:
        return (Spec((*p.shape[:-1], self.num_samples), int64),)

    def cpu(self, y: Array, p: Array, stream: Stream) -> None:
        if not y.size:
            return
        if observers and p.dtype != np.float64:
            copies.note("", "dtype", p.size * 8, "sums of weights are formed in float64")
        rows, out = p.reshape(-1, p.shape[-1]).astype(np.float64), y.reshape(-1, self.num_samples)
        np.ldexp(rows, -np.frexp(rows.max(1, keepdims=True))[1], out=rows)  # the largest is in [1/2, 1)
        if self.replacement:
            u = np.empty(out.shape, np.float64)
            philox.uniform_float64(*stream, u)
            for i, row in enumerate(rows):
                total = np.cumsum(row)
                last = int(np.flatnonzero(row)[-1])  # rounding must not lead past the last positive weight
                out[i] = np.minimum(np.searchsorted(total, u[i] * total[-1], side="right"), last)
            return
        u = np.empty(rows.shape, np.float64)
        philox.uniform_float64(*stream, u)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            time = -np.log1p(-u) / rows  # the first arrivals of exponential clocks
        time[p.reshape(rows.shape) == 0] = np.nan  # never: sorts after the latest, which may be inf
        out[...] = np.argsort(time, axis=-1, kind="stable")[:, : self.num_samples]

    def cuda(self, launch: Launch, y: View, p: View, stream: Stream) -> None:
        if y.size == 0:
            return
        width, samples = p.shape[-1], launch.stream(stream)
        rows = p.size // width
        fine = launch.bounds(0, 0, _no_probability, "multinomial", False)
        enough = launch.bounds(
            _needed(self.num_samples, self.replacement), 1 << 62, _too_few, self.num_samples
        )
        if self.replacement:
            size, parts = power_of_two(-(-width // BLOCK), 32, 1 << 62), -(-self.num_samples // _DRAWS)
            args = (y, p, samples, fine, enough, width, self.num_samples, size, parts)
            launch("multinomial_forward", p.dtype, grid=rows * parts, args=args)
            return
        exponents = launch.scratch((rows,), int32) if p.dtype is float64 else None
        if exponents is not None:
            launch("multinomial_exponents", p.dtype, grid=rows, args=(exponents, p, width))
        weights = (p, exponents, samples, fine, enough)
        if self.num_samples <= FEW or width <= TILE:
            _race(launch, y, weights, rows, width, self.num_samples)
            return
        times = launch.scratch((rows, width), float64)
        launch("multinomial_times", p.dtype, grid=rows, args=(times, *weights, width))
        first = y.read_through(contiguous((rows, self.num_samples)))  # (rows, samples)
        launch_sort(Launch(launch.runtime, "sorting"), None, first, times, 1, self.num_samples, False)


_DRAWS = 512  # samples per block; each block sums the row once


def _race(launch: Launch, y: View, weights: Sequence[Any], rows: int, length: int, keep: int) -> None:
    """The first `keep` arrivals of each row: of each tile, then of the survivors, until one tile is left."""
    arrived = None
    while True:
        tile = power_of_two(length, 2, TILE)
        tiles, together = -(-length // tile), max(tile, BLOCK_ITEMS)
        full, last = divmod(length, tile)
        kept = full * keep + min(last, keep)
        left = launch.scratch((rows * kept * 16,), int8) if tiles > 1 else None
        to = (None, left) if left is not None else (y, None)
        launch(
            *("multinomial_race", weights[0].dtype),
            grid=-(-rows * tiles // (together // tile)),
            args=(*to, arrived, *weights, rows, length, kept, tile, tiles, keep),
            shared=together * 16,
        )
        if left is None:
            return
        arrived, length = left, kept


def _needed(count: int, replacement: bool) -> int:
    """Number of weights of a row that must be positive."""
    return min(count, 1) if replacement else count


def _too_few(positive: int, count: int) -> ArgumentError:
    return ArgumentError(
        f"multinomial: {count} samples from a row with {positive} positive weights",
        why="without replacement each index is sampled at most once"
        if positive
        else "there is nothing to draw",
        fix="take fewer samples, or replacement=True" if positive else "give each row a positive weight",
    )


def permutation(n: int, *, device: Any = None, generator: Generator | None = None) -> Tensor:
    """A random permutation of 0 … n - 1.

    Returns:
        shape (n,), int64.

    >>> sorted(tt.permutation(5).tolist())
    [0, 1, 2, 3, 4]
    """
    place = device_of(device, "permutation")
    (count,) = check_shape((as_int(n, "permutation", "n"),), "permutation")
    return _permuted(count, place, generator_of(generator, "permutation"))


@sampling()
def _permuted(n: int, device: Device, g: Generator) -> Tensor:
    return apply(Permutation(device=device, n=n), Stream(g.seed, g.advance(philox.blocks_needed(n, 2))))


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the given probability, else 0, independently for each element.

    >>> tt.bernoulli(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    return cast(_trials(p, generator_of(generator, "bernoulli")), p.storage.dtype)


@sampling(0)
def _trials(p: Tensor, g: Generator) -> Tensor:
    _probabilities(p, "bernoulli")
    return apply(Bernoulli, p.detach(), Stream(g.seed, g.advance(philox.blocks_needed(p.layout.size, 1))))


def _no_probability(bits: int, what: str, at_most_one: bool) -> ArgumentError:
    """The error for a value that is not a probability; kernels report its bits."""
    return _not_probabilities(what, f"the value {struct.unpack('d', struct.pack('Q', bits))[0]}", at_most_one)


def _not_probabilities(what: str, values: str, at_most_one: bool) -> ArgumentError:
    return ArgumentError(
        f"{what}: {values}",
        why="probabilities are in [0, 1]" if at_most_one else "weights are finite and not negative",
        fix="normalize them, for example with tt.softmax",
    )


def _probabilities(p: Tensor, what: str) -> None:
    if not is_tensor(p) or not p.storage.dtype.is_floating:
        kind = p.storage.dtype if is_tensor(p) else type(p).__name__
        raise DTypeError(
            f"{what}: probabilities of type {kind}", why="they are floating", fix="tt.tensor([0.5, 0.5])"
        )


def _check_values(p: Array, what: str, *, at_most_one: bool) -> None:
    """Raise for a value that is no probability; kernels of devices do so as they read it."""
    low, high = (float(p.min()), float(p.max())) if p.size else (0.0, 0.0)
    if not (low >= 0 and (high <= 1 if at_most_one else high < float("inf"))):
        raise _not_probabilities(what, f"values from {low} to {high}", at_most_one)


def multinomial(
    p: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Sample indices with the given weights, independently for each row.

    Args:
        p: weights (..., V), not negative, not all zero in a row; they need not add up to 1.

    Returns:
        shape (..., num_samples), int64. An index of weight 0 is never sampled.

    Raises:
        ArgumentError: a weight is negative or not finite, a row is all zero, or has too few positive weights.

    >>> tt.multinomial(tt.tensor([0.0, 3.0, 0.0]), 2, replacement=True).tolist()
    [1, 1]
    """
    return _indices(p, num_samples, replacement, generator_of(generator, "multinomial"))


@sampling()
def _indices(p: Tensor, num_samples: int, replacement: bool, g: Generator) -> Tensor:
    if is_tensor(p) and not p.layout.shape:
        raise ShapeError("multinomial: p has no axes", why="it is a row of weights", fix="p.reshape(1)")
    _probabilities(p, "multinomial")
    if p.storage.device is cpu:
        _check_values(values(p), "multinomial", at_most_one=False)
    count = as_int(num_samples, "multinomial", "the number of samples")
    check_shape((count,), "multinomial")
    replacement = replacement or count == 1  # one index alone is not drawn twice
    rows = prod(p.layout.shape[:-1])
    impossible = not replacement and count > p.layout.shape[-1]
    if p.storage.device is cpu or impossible:
        positive = (p.detach() > 0).sum(-1)
        least = int(positive.min()) if positive.layout.size else count
        if least < _needed(count, replacement):
            raise _too_few(least, count)
    elif rows and count and p.layout.size == 0:
        raise _too_few(0, count)
    n = rows * (count if replacement else p.layout.shape[-1])
    offset = g.advance(philox.blocks_needed(n, 2))
    return apply(
        Multinomial(num_samples=count, replacement=bool(replacement)), p.detach(), Stream(g.seed, offset)
    )
