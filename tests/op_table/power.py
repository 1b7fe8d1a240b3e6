"""Rows of tinytensor/ops/elementwise/power.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.arithmetic import whole
from tests.op_table.row import (
    ALL,
    COMPLEX,
    FLOATS,
    NUMERIC,
    REAL,
    Row,
    away_from,
    floats,
    numbers,
    positive,
)

ROWS = [
    Row("pow", tt.pow, np.power, (positive((3, 4)), floats((3, 4))), torch="torch.pow", tol=2.0,
        also=(((3, 1), (4,)), ((), ()), ((0,), (1,)))),  # by way of a logarithm
    *[
        Row(f"pow:{power}", lambda x, p=power: x**p, lambda x, p=power: x ** float(p),
            (away_from(0.0, (3, 4)),), torch=lambda torch, x, p=power: x**p)
        for power in (0, 1, 2, 3, 4, -1, -2)
    ],
    Row("pow:root", lambda x: x**0.5, lambda x: x**0.5, (positive((3, 4)),)),
    Row("pow:base", lambda x: 2.0**x, lambda x: 2.0**x, (floats((3, 4)),), torch=lambda torch, x: 2.0**x),
    Row("pow:numbers", lambda x: x**3, lambda x: x**3, (numbers((3, 4)),), dtypes=NUMERIC, tol=2.0),
    Row("pow:whole", lambda a, b: a ** abs(b), lambda a, b: a ** np.abs(b),
        (numbers((3, 4), 1, 2), numbers((3, 4), 0, 3)), dtypes=NUMERIC, grad=False,
        ops=("pow", "abs"), tol=4.0),
    Row("square", tt.square, np.square, (numbers((3, 4)),), dtypes=NUMERIC, torch="torch.square"),
    Row("reciprocal", tt.reciprocal, lambda x: np.reciprocal(whole(x)), (numbers((3, 4), nonzero=True),),
        dtypes=ALL, torch="torch.reciprocal"),
    Row("sqrt", tt.sqrt, np.sqrt, (positive((3, 4)),), torch="torch.sqrt", also=(((),), ((0, 3),))),
    Row("sqrt:numbers", tt.sqrt, lambda x: np.sqrt(whole(x)), (numbers((3, 4), 0, 4),),
        dtypes=REAL + COMPLEX, grad=False),
    Row("rsqrt", tt.rsqrt, lambda x: 1 / np.sqrt(x), (positive((3, 4)),), torch="torch.rsqrt",
        also=(((),), ((0, 3),), ((3, 9000),))),
    Row("hypot", tt.hypot, np.hypot, (away_from(0.0, (3, 4)), floats((3, 4))), torch="torch.hypot",
        also=(((3, 1), (4,)), ((), ())), dtypes=FLOATS),
]  # fmt: skip
