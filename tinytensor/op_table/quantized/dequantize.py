"""Rows of tinytensor/ops/quantized/dequantize.py: packed bytes are drawn, and read in a few lines."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Array, Input, Row, Shape, ints


def q4_1(shape: Shape) -> Input:
    """Rows of blocks q4_1, as integers: a scale and a start that are float16, and 16 random bytes."""

    def draw(rng: np.random.Generator, s: Shape, _: Any) -> Array:
        floats = rng.integers(1, 2000, (int(np.prod(s)) // 20, 2)) / np.float32(2048)
        halves = floats.astype(np.float16).view(np.uint8)
        blocks = np.concatenate([halves, rng.integers(0, 256, (len(halves), 16))], axis=1)
        found: Array = blocks.reshape(s)
        return found

    return Input(shape, "int", draw, repeats=False)


def values_of_q4_1(packed: Array) -> Array:
    """The values of rows (..., bytes), in float64."""
    blocks = packed.astype(np.uint8).reshape(-1, 20)
    scale, start = np.ascontiguousarray(blocks[:, :4]).view(np.float16).astype(np.float64).T[..., None]
    bytes_ = blocks[:, 4:].astype(np.float64)
    low, high = bytes_ % 16, bytes_ // 16
    found: Array = np.concatenate([low, high], axis=1) * scale + start
    return found.reshape(*packed.shape[:-1], packed.shape[-1] // 20 * 32)


def with_peaks(shape: Shape) -> Input:
    """Integers up to 127 in magnitude, which is that of the first of each 32: packed as q8_0, they stay."""

    def draw(rng: np.random.Generator, s: Shape, _: Any) -> Array:
        values = rng.integers(-127, 128, s)
        values[..., ::32] = 127
        return values

    return Input(shape, "int", draw, repeats=False)


def packed_as_q8_0(values: Array) -> Array:
    """Bytes of integers with peaks of 127: the scale is 1, in float16 0x3c00."""
    blocks = values.reshape(-1, 32).astype(np.int8).view(np.uint8)
    scales = np.broadcast_to(np.array([0, 0x3C], np.uint8), (len(blocks), 2))
    return np.concatenate([scales, blocks], axis=1).reshape(*values.shape[:-1], values.shape[-1] // 32 * 34)


ROWS = [
    Row("dequantize", (q4_1((3, 40)),), lambda xp, p: xp.dequantize(p.astype(xp.uint8), "q4_1"),
        values_of_q4_1, dtypes=("float32",), grad=False, result="float32",
        also=(((20,),), ((0, 40),), ((2, 3, 20),)), large="r 60"),
    Row("quantize", (with_peaks((3, 64)),), lambda xp, x: xp.quantize(x.astype(xp.float32), "q8_0"),
        packed_as_q8_0, dtypes=("float32",), grad=False, result="uint8", also=(((32,),), ((0, 32),)),
        large=""),
    Row("quantized_embedding", (ints((2, 4), 0, 5), q4_1((5, 40))),
        lambda xp, i, p: xp.quantized_embedding(i, p.astype(xp.uint8), "q4_1"),
        lambda i, p: values_of_q4_1(p)[i], ops=("dequantize",), dtypes=("float32",), grad=False,
        result="float32", large="3 c, r 60"),
]  # fmt: skip
