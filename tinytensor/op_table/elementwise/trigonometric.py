"""Rows of tinytensor/ops/elementwise/trigonometric.py."""

import numpy as np

from tinytensor.op_table.row import COMPLEX, INTS, Row, away_from, floats, numbers, unit, whole

MATRIX = (3, 4)
CIRCLE = floats(MATRIX)
INPUTS = {
    "sin": CIRCLE, "cos": CIRCLE, "tan": floats(MATRIX, -1.2, 1.2),
    "asin": unit(MATRIX), "acos": unit(MATRIX), "atan": CIRCLE,
    "sinh": CIRCLE, "cosh": CIRCLE, "asinh": CIRCLE, "acosh": floats(MATRIX, 1.2, 4.0), "atanh": unit(MATRIX),
}  # fmt: skip

ROWS = [
    *[Row(name, (x,), torch=True, also=(((),), ((0, 3),))) for name, x in INPUTS.items()],
    *[
        Row(f"{name}:numbers", (numbers(MATRIX, 0, 1),),
            numpy=lambda x, name=name: getattr(np, name)(whole(x)), dtypes=(*INTS, "bool", *COMPLEX),
            grad=False)
        for name in INPUTS
    ],
    Row("atan2", (away_from(0.0, MATRIX), away_from(0.0, MATRIX)), torch=True,
        also=(((3, 1), (4,)), ((), ()))),
    Row("atan2:numbers", (numbers(MATRIX, 0, 3), numbers(MATRIX, 0, 3)),
        numpy=lambda a, b: np.atan2(whole(a), whole(b)), dtypes=(*INTS, "bool"), grad=False),
]  # fmt: skip
