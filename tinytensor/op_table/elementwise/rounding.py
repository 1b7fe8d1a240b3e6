"""Rows of tinytensor/ops/elementwise/rounding.py. The gradient is 0 away from the steps."""

from tinytensor.op_table.row import INTS, REAL_NUMERIC, Row, floats, numbers

NAMES = ("ceil", "floor", "trunc", "round")

ROWS = [
    *[
        Row(name, (numbers((3, 4), -3, 3),), torch=True, dtypes=REAL_NUMERIC, grad=False,
            also=(((),), ((0, 3),)))
        for name in NAMES
    ],
    *[Row(f"{name}:flat", (floats((3, 4), 1.1, 1.4),)) for name in NAMES],
    Row("round:halves", (numbers((3, 4), -9, 9),), lambda xp, x: xp.round(x * 0.5), dtypes=("int64",),
        grad=False, ops=("round", "multiply")),
    Row("floor:whole", (numbers((3, 4), -9, 9),), numpy=lambda x: x, dtypes=INTS, grad=False),
]  # fmt: skip
