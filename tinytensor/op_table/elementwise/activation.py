"""Rows of tinytensor/ops/elementwise/activation.py."""

import numpy as np

from tinytensor.op_table.row import REAL_NUMERIC, Row, away_from, floats, numbers

ROWS = [
    Row("relu", (away_from(0.0, (3, 4)),), numpy=lambda x: np.maximum(x, 0), torch=True,
        ops=("relu", "relu_backward"), also=(((),), ((0, 3),))),
    Row("relu:numbers", (numbers((3, 4)),), numpy=lambda x: np.maximum(x, 0), dtypes=REAL_NUMERIC,
        grad=False),
    Row("heaviside", (away_from(0.0, (3, 4)), floats((3, 4))), also=(((3, 1), (4,)), ((), ()))),
    Row("heaviside:values", (floats((3, 4)), floats((3, 4))), torch=True, grad=False, large="r c, r c",
        timed="heaviside"),
    Row("heaviside:at", (floats((3, 4)), floats((4,))), lambda xp, x, v: xp.heaviside(x * 0.0, v), grad=False,
        torch=True, large="r c, c"),
]  # fmt: skip
