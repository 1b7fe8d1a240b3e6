"""Rows of tinytensor/ops/elementwise/power.py."""

import numpy as np

from tinytensor.op_table.row import (
    ALL,
    COMPLEX,
    NUMERIC,
    REAL,
    Row,
    away_from,
    floats,
    numbers,
    positive,
    whole,
)

SPREAD = (((3, 1), (4,)), ((), ()))

ROWS = [
    Row("pow", (positive((3, 4)), floats((3, 4))), torch=True, tol=2.0,
        also=(*SPREAD, ((0,), (1,)))),  # by way of a logarithm
    Row("pow:row", (positive((3, 4)), floats((4,))), torch=True, tol=2.0, large="r c, c"),
    *[
        Row(f"pow:{power}", (away_from(0.0, (3, 4)),), lambda _, x, p=power: x**p,
            lambda x, p=power: x ** float(p), torch=True)
        for power in (0, 1, 2, 3, 4, -1, -2)
    ],
    Row("pow:root", (positive((3, 4)),), lambda _, x: x**0.5),
    Row("pow:base", (floats((3, 4)),), lambda _, x: 2.0**x, torch=True),
    Row("pow:numbers", (numbers((3, 4)),), lambda _, x: x**3, dtypes=NUMERIC, tol=2.0),
    Row("pow:whole", (numbers((3, 4), 1, 2), numbers((3, 4), 0, 3)), lambda _, a, b: a ** abs(b),
        dtypes=NUMERIC, grad=False, ops=("pow", "abs"), tol=4.0),
    Row("square", (numbers((3, 4)),), torch=True, dtypes=NUMERIC),
    Row("reciprocal", (numbers((3, 4), nonzero=True),), numpy=lambda x: np.reciprocal(whole(x)), torch=True,
        dtypes=ALL),
    Row("sqrt", (positive((3, 4)),), torch=True, also=(((),), ((0, 3),))),
    Row("sqrt:numbers", (numbers((3, 4), 0, 4),), numpy=lambda x: np.sqrt(whole(x)), dtypes=REAL + COMPLEX,
        grad=False),
    Row("rsqrt", (positive((3, 4)),), numpy=lambda x: 1 / np.sqrt(x), torch=True,
        also=(((),), ((0, 3),), ((3, 9000),))),
    Row("hypot", (away_from(0.0, (3, 4)), floats((3, 4))), torch=True, also=SPREAD),
    Row("hypot:row", (away_from(0.0, (3, 4)), floats((4,))), torch=True, large="r c, c"),
]  # fmt: skip
