"""Kinds of packed weights: the block layouts of GGUF, and NumPy code that packs and unpacks them.

A row of a matrix is cut into blocks of equally many values, each of which has a few bytes: integers of 4 to 8
bits, and scales. In all kinds a value is scale * q + offset, where q is an integer and a group of 16 or 32
values shares the two floats. Source: ggml-quants.c and ggml-common.h of llama.cpp, as of November 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinytensor.errors import ArgumentError
from tinytensor.runtime.cpu.arrays import Array

__all__ = ["QUANTIZED"]

ROUNDED = 32  # activations that share a scale
MOST = np.float32(127 * 256)  # the largest rounded one


class Unpacked(NamedTuple):
    """Rows of a packed matrix as numbers: value = scale * q + offset.

    Attributes:
        q: int8, (rows, values).
        scale: float32, (rows, groups).
        offset: float32, (rows, groups); None if it is 0 in this kind.
    """

    q: Array
    scale: Array
    offset: Array | None

    def start(self) -> Array:
        """The offset, of a kind that has one."""
        assert self.offset is not None
        return self.offset


@dataclass(frozen=True)
class QuantizedKind:
    """A block layout.

    Args:
        name: in lower case; GGUF writes it in capitals.
        values: number of values in a block.
        nbytes: bytes of a block.
        group: number of values that share a scale.
        floats: at which bytes of a block its float16s begin.
        unpack: blocks (n, nbytes) → `Unpacked` with a row for each block.
        nearest: float32 blocks (n, values) → `Unpacked` with a row for each.
        encode: the inverse of `unpack`, of what `nearest` returns.

    >>> kind = tt.QUANTIZED["q4_1"]
    >>> kind.values, kind.nbytes, kind.bits
    (32, 20, 5.0)
    """

    name: str
    values: int
    nbytes: int
    group: int
    floats: tuple[int, ...]
    unpack: Callable[[Array], Unpacked]
    nearest: Callable[[Array], Unpacked]
    encode: Callable[[Unpacked], Array]

    @property
    def bits(self) -> float:
        """Bits of a value, scales included."""
        return 8 * self.nbytes / self.values


# ---- bytes -------------------------------------------------------------------------------------------------


def _floats(blocks: Array, at: int) -> Array:
    """The float16 at a byte of each block, as float32 (n, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def _steps(x: Array, most: int) -> tuple[Array, Array]:
    """Numbers (n, groups) of one sign, or, if most is 127, of any, as a float16 (n, 1) times integers."""
    d = (np.abs(x).max(1, keepdims=True) / most).astype(np.float16).astype(np.float32)
    return d, np.rint(x * _inverse(d)).clip(-most, most)


def _halves(x: Array) -> Array:
    """Numbers (n, 1) as the bytes of float16, (n, 2)."""
    return np.ascontiguousarray(x.astype(np.float16)).view(np.uint8)


def _nibbles(bytes_: Array, half: int) -> Array:
    """Values of 4 bits: of each run of `half` bytes the low halves, then the high ones."""
    runs = bytes_.reshape(len(bytes_), -1, 1, half)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(bytes_), -1)


def _from_nibbles(q: Array, half: int) -> Array:
    """The inverse of `_nibbles`, of the low 4 bits."""
    runs = (q.view(np.uint8) & 15).reshape(len(q), -1, 2, half)
    return (runs[:, :, 0] | (runs[:, :, 1] << 4)).reshape(len(q), -1)


def _fifth_bits(bytes_: Array, count: int) -> Array:
    """The bits of bytes, (n, 8 * bytes): byte by byte, or, if count is 32, bit 0 of 32 bytes first."""
    bits = np.unpackbits(bytes_, axis=1, bitorder="little").reshape(len(bytes_), -1, 8)
    return (bits.swapaxes(1, 2) if count == 32 else bits).reshape(len(bytes_), -1)


def _from_fifth_bits(q: Array, count: int) -> Array:
    """The inverse of `_fifth_bits`, of bit 4 of each value."""
    bits = q.view(np.uint8) >> 4 & 1
    if count == 32:
        bits = bits.reshape(len(q), 8, 32).swapaxes(1, 2)
    return np.packbits(bits.reshape(len(q), -1), axis=1, bitorder="little")


def _six_bits(bytes_: Array) -> tuple[Array, Array]:
    """Scales and minimums (n, 8) of 6 bits, from 12 bytes."""
    a, b, c = bytes_[:, :4], bytes_[:, 4:8], bytes_[:, 8:]
    scales = np.concatenate([a & 63, (c & 15) | ((a >> 2) & 48)], axis=1)
    return scales, np.concatenate([b & 63, (c >> 4) | ((b >> 2) & 48)], axis=1)


def _from_six_bits(scales: Array, minimums: Array) -> Array:
    """The inverse of `_six_bits`."""
    (s, t), (m, k) = np.split(scales, 2, axis=1), np.split(minimums, 2, axis=1)
    return np.concatenate([s | (t >> 4 << 6), m | (k >> 4 << 6), (t & 15) | (k & 15) << 4], axis=1)


# ---- blocks of 32 values -----------------------------------------------------------------------------------


def _inverse(d: Array) -> Array:
    """1 / d, and 0 for 0."""
    return np.where(d == 0, np.float32(0), 1 / np.where(d == 0, np.float32(1), d))


def _peak(x: Array) -> Array:
    """The value of largest magnitude on the last axis, with its sign, (…, 1)."""
    return np.take_along_axis(x, np.abs(x).argmax(-1, keepdims=True), -1)


def _symmetric(x: Array, top: int) -> Unpacked:
    """With integers from -top to top - 1: the largest value is -top."""
    d = _peak(x) / -top
    q = np.trunc(x * _inverse(d) + np.float32(top + 0.5)).clip(0, 2 * top - 1) - top
    return Unpacked(q.astype(np.int8), d, None)


def _asymmetric(x: Array, top: int) -> Unpacked:
    """With minimums, and integers 0 to top."""
    low = x.min(1, keepdims=True)
    d = (x.max(1, keepdims=True) - low) / top
    q = np.trunc((x - low) * _inverse(d) + np.float32(0.5))
    return Unpacked(q.clip(0, top).astype(np.int8), d, low)


def _unpack_q8_0(blocks: Array) -> Unpacked:
    return Unpacked(blocks[:, 2:].view(np.int8), _floats(blocks, 0), None)


def _nearest_q8_0(x: Array) -> Unpacked:
    d = np.abs(x).max(1, keepdims=True) / 127
    scaled = x * _inverse(d)
    size = np.abs(scaled)
    whole = np.floor(size)
    q = np.sign(scaled) * (whole + np.floor(2 * (size - whole)))  # to nearest, halves away from 0
    return Unpacked(q.astype(np.int8), d, None)


def _encode_q8_0(of: Unpacked) -> Array:
    return np.concatenate([_halves(of.scale), of.q.view(np.uint8)], axis=1)


def _unpack_q4_0(blocks: Array) -> Unpacked:
    return Unpacked(_nibbles(blocks[:, 2:], 16).astype(np.int8) - np.int8(8), _floats(blocks, 0), None)


def _encode_q4_0(of: Unpacked) -> Array:
    return np.concatenate([_halves(of.scale), _from_nibbles(of.q + 8, 16)], axis=1)


def _unpack_q4_1(blocks: Array) -> Unpacked:
    q = _nibbles(blocks[:, 4:], 16).astype(np.int8)
    return Unpacked(q, _floats(blocks, 0), _floats(blocks, 2))


def _encode_q4_1(of: Unpacked) -> Array:
    return np.concatenate([_halves(of.scale), _halves(of.start()), _from_nibbles(of.q, 16)], axis=1)


def _unpack_q5_0(blocks: Array) -> Unpacked:
    q = _nibbles(blocks[:, 6:], 16) | _fifth_bits(blocks[:, 2:6], 1) << 4
    return Unpacked(q.astype(np.int8) - np.int8(16), _floats(blocks, 0), None)


def _encode_q5_0(of: Unpacked) -> Array:
    q = of.q + 16
    return np.concatenate([_halves(of.scale), _from_fifth_bits(q, 1), _from_nibbles(q, 16)], axis=1)


def _unpack_q5_1(blocks: Array) -> Unpacked:
    q = _nibbles(blocks[:, 8:], 16) | _fifth_bits(blocks[:, 4:8], 1) << 4
    return Unpacked(q.astype(np.int8), _floats(blocks, 0), _floats(blocks, 2))


def _encode_q5_1(of: Unpacked) -> Array:
    parts = [_halves(of.scale), _halves(of.start()), _from_fifth_bits(of.q, 1), _from_nibbles(of.q, 16)]
    return np.concatenate(parts, axis=1)


# ---- blocks of 256 values, whose scales are integers times a float -----------------------------------------


def _unpack_k(blocks: Array, q: Array) -> Unpacked:
    scales, minimums = _six_bits(blocks[:, 4:16])
    return Unpacked(q.astype(np.int8), _floats(blocks, 0) * scales, -(_floats(blocks, 2) * minimums))


def _nearest_k(x: Array, top: int) -> Unpacked:
    groups = x.reshape(len(x), 8, 32)
    low = np.minimum(groups.min(2), 0)  # (n, 8)
    (d, steps), (e, minimums) = _steps((groups.max(2).clip(0) - low) / top, 63), _steps(low, 63)
    scale, offset = d * steps, e * minimums
    q = np.rint((groups - offset[..., None]) * _inverse(scale[..., None])).clip(0, top)
    return Unpacked(q.reshape(len(x), 256).astype(np.int8), scale, offset)


def _head_k(of: Unpacked) -> Array:
    """The first 16 bytes."""
    (d, scales), (e, minimums) = _steps(of.scale, 63), _steps(of.start(), 63)
    return np.concatenate(
        [_halves(d), _halves(e), _from_six_bits(scales.astype(np.uint8), np.abs(minimums).astype(np.uint8))],
        axis=1,
    )


def _unpack_q4_k(blocks: Array) -> Unpacked:
    return _unpack_k(blocks, _nibbles(blocks[:, 16:], 32))


def _encode_q4_k(of: Unpacked) -> Array:
    return np.concatenate([_head_k(of), _from_nibbles(of.q, 32)], axis=1)


def _unpack_q5_k(blocks: Array) -> Unpacked:
    return _unpack_k(blocks, _nibbles(blocks[:, 48:], 32) | _fifth_bits(blocks[:, 16:48], 32) << 4)


def _encode_q5_k(of: Unpacked) -> Array:
    return np.concatenate([_head_k(of), _from_fifth_bits(of.q, 32), _from_nibbles(of.q, 32)], axis=1)


def _unpack_q6_k(blocks: Array) -> Unpacked:
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    q = _nibbles(blocks[:, :128], 64) | ((high & 3) << 4).reshape(-1, 256)
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32)
    return Unpacked(q.astype(np.int8) - np.int8(32), _floats(blocks, 208) * scales, None)


def _nearest_q6_k(x: Array) -> Unpacked:
    groups = x.reshape(len(x), 16, 16)
    d, steps = _steps(_peak(groups)[..., 0] / -32, 127)
    q = np.rint(groups * _inverse((d * steps)[..., None])).clip(-32, 31)
    return Unpacked(q.reshape(len(x), 256).astype(np.int8), d * steps, None)


def _encode_q6_k(of: Unpacked) -> Array:
    q = (of.q + 32).view(np.uint8)
    pairs = (q >> 4).reshape(-1, 2, 4, 32) << np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = np.bitwise_or.reduce(pairs, 2).reshape(-1, 64)
    d, steps = _steps(of.scale, 127)
    parts = [_from_nibbles(q, 64), high, steps.astype(np.int8).view(np.uint8), _halves(d)]
    return np.concatenate(parts, axis=1)


_KINDS = (
    QuantizedKind("q8_0", 32, 34, 32, (0,), _unpack_q8_0, _nearest_q8_0, _encode_q8_0),
    QuantizedKind("q4_0", 32, 18, 32, (0,), _unpack_q4_0, lambda x: _symmetric(x, 8), _encode_q4_0),
    QuantizedKind("q4_1", 32, 20, 32, (0, 2), _unpack_q4_1, lambda x: _asymmetric(x, 15), _encode_q4_1),
    QuantizedKind("q5_0", 32, 22, 32, (0,), _unpack_q5_0, lambda x: _symmetric(x, 16), _encode_q5_0),
    QuantizedKind("q5_1", 32, 24, 32, (0, 2), _unpack_q5_1, lambda x: _asymmetric(x, 31), _encode_q5_1),
    QuantizedKind("q4_k", 256, 144, 32, (0, 2), _unpack_q4_k, lambda x: _nearest_k(x, 15), _encode_q4_k),
    QuantizedKind("q5_k", 256, 176, 32, (0, 2), _unpack_q5_k, lambda x: _nearest_k(x, 31), _encode_q5_k),
    QuantizedKind("q6_k", 256, 210, 16, (208,), _unpack_q6_k, _nearest_q6_k, _encode_q6_k),
)
QUANTIZED: dict[str, QuantizedKind] = {kind.name: kind for kind in _KINDS}
NUMBERS = {kind.name: i for i, kind in enumerate(_KINDS)}  # in C++


# ---- rows --------------------------------------------------------------------------------------------------


def kind_of(what: str, kind: str) -> QuantizedKind:
    """The kind of a name; raises ArgumentError if there is none."""
    found = QUANTIZED.get(kind)
    if found is None:
        raise ArgumentError(
            f"{what}: the kind {kind!r}",
            why=f"there are {', '.join(QUANTIZED)}",
            fix='give one of these: kind="q8_0"',
        )
    return found


def unpacked(packed: Array, kind: QuantizedKind) -> Unpacked:
    """Packed rows (rows, bytes) as integers, scales and offsets."""
    rows = len(packed)
    found = kind.unpack(packed.reshape(-1, kind.nbytes))
    return Unpacked(*[None if part is None else part.reshape(rows, -1) for part in found])  # type: ignore[arg-type]


def dequantized(packed: Array, kind: QuantizedKind) -> Array:
    """Packed rows (rows, bytes) as float32 (rows, values).

    scale * q has at most 23 bits in every kind, so it is exact: with or without a fused multiply-add a value
    is rounded once.
    """
    q, scale, offset = unpacked(packed, kind)
    x = q.reshape(len(q), -1, kind.group) * scale[..., None]
    if offset is not None:
        x += offset[..., None]
    return x.reshape(len(q), -1)


def packed_rows(x: Array, kind: QuantizedKind) -> Array:
    """Rows of float32 (rows, values) packed, (rows, bytes)."""
    return kind.encode(kind.nearest(x.reshape(-1, kind.values))).reshape(len(x), -1)


def rounded(x: Array) -> tuple[Array, Array]:
    """Rows of activations rounded to 16 bits: integers -32512 to 32512, float64 (rows, blocks, 32), and a
    scale for each block of 32, float32 (rows, blocks).

    A kernel multiplies integers of 8 bits: q = 256 * high + low, both from -128 to 127, if |q| <= 32512.

    A block whose largest magnitude is below 1e-30 becomes 0, one with inf or NaN gets the scale NaN.
    """
    blocks = x.astype(np.float32, copy=False).reshape(len(x), -1, ROUNDED)
    top = np.abs(blocks).max(2)
    usable = (top >= np.float32(1e-30)) & np.isfinite(top)
    inverse = np.where(usable, MOST / np.where(usable, top, np.float32(1)), np.float32(0))
    q = np.rint(np.where(usable[..., None], blocks, np.float32(0)) * inverse[..., None])
    scale = np.where(np.isfinite(top), top / MOST, np.float32(np.nan))
    return q.astype(np.float64), scale


def rounded_product(x: Array, packed: Array, kind: QuantizedKind) -> Array:
    """Product of rounded activations (rows, K) and packed rows (N, bytes): float32 (rows, N).

    Each group of weights is multiplied by its activations in integers, which is exact here, too.
    """
    x_q, x_scale = rounded(x)
    q, scale, offset = unpacked(packed, kind)
    groups = x_q.reshape(len(x), -1, kind.group).swapaxes(0, 1)  # (G, rows, group)
    weights = q.astype(np.float64).reshape(len(q), -1, kind.group).transpose(1, 2, 0)  # (G, group, N)
    parts = np.matmul(groups, weights) * scale.T[:, None]  # (G, rows, N)
    if offset is not None:
        parts += groups.sum(2, keepdims=True) * offset.T[:, None]
    parts *= np.repeat(x_scale, ROUNDED // kind.group, 1).T[..., None]
    total: Array = parts.sum(0).astype(np.float32)
    return total
