"""Rows of tinytensor/ops/quantized/quantized_linear.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.quantized.dequantize import q4_1, values_of_q4_1
from tinytensor.op_table.row import Array, Input, Row, Shape, positive


def exact(shape: Shape) -> Input:
    """Multiples of 1/8 with 127/8 in each block of 32: rounded to 16 bits, they stay."""

    def draw(rng: np.random.Generator, s: Shape, _: Any) -> Array:
        values = rng.integers(-127, 128, s) / 8
        values[..., ::32] = 127 / 8
        return values

    return Input(shape, "float", draw, repeats=False)


def product(x: Array, packed: Array) -> Array:
    return x @ values_of_q4_1(packed).T


ROWS = [
    Row("quantized_linear", (positive((3, 64)), q4_1((5, 40))),
        lambda xp, x, p: xp.quantized_linear(x, p.astype(xp.uint8), "q4_1"), product,
        also=(((64,), (5, 40)), ((0, 32), (2, 20)), ((2, 3, 32), (4, 20)), ((2, 32), (0, 20))),
        large="r 96, c 60"),
    Row("quantized_linear:rounded", (exact((3, 64)), q4_1((5, 40))),
        lambda xp, x, p: xp.quantized_linear(x, p.astype(xp.uint8), "q4_1", rounded=True), product,
        dtypes=("float32",), grad=False, also=(((1, 640), (33, 400)), ((0, 32), (2, 20))),
        large="9 96, c 60"),
]  # fmt: skip
