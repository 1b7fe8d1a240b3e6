"""Rows of tinytensor/ops/elementwise/trigonometric.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.arithmetic import whole
from tests.op_table.row import COMPLEX, INTS, Row, away_from, floats, numbers, unit

MATRIX = (3, 4)
CIRCLE = floats(MATRIX)
ALL_OF_THEM = [
    ("sin", np.sin, CIRCLE), ("cos", np.cos, CIRCLE), ("tan", np.tan, floats(MATRIX, -1.2, 1.2)),
    ("asin", np.arcsin, unit(MATRIX)), ("acos", np.arccos, unit(MATRIX)), ("atan", np.arctan, CIRCLE),
    ("sinh", np.sinh, CIRCLE), ("cosh", np.cosh, CIRCLE), ("asinh", np.arcsinh, CIRCLE),
    ("acosh", np.arccosh, floats(MATRIX, 1.2, 4.0)), ("atanh", np.arctanh, unit(MATRIX)),
]  # fmt: skip

ROWS = [
    *[
        Row(name, getattr(tt, name), reference, (x,), torch=f"torch.{name}", also=(((),), ((0, 3),)))
        for name, reference, x in ALL_OF_THEM
    ],
    *[
        Row(f"{name}:numbers", getattr(tt, name), lambda x, f=reference: f(whole(x)),
            (numbers(MATRIX, 0, 1),), dtypes=(*INTS, "bool", *COMPLEX), grad=False)
        for name, reference, _ in ALL_OF_THEM
    ],
    Row("atan2", tt.atan2, np.arctan2, (away_from(0.0, MATRIX), away_from(0.0, MATRIX)), torch="torch.atan2",
        also=(((3, 1), (4,)), ((), ()))),
    Row("atan2:numbers", tt.atan2, lambda a, b: np.arctan2(whole(a), whole(b)),
        (numbers(MATRIX, 0, 3), numbers(MATRIX, 0, 3)), dtypes=(*INTS, "bool"), grad=False),
]  # fmt: skip
