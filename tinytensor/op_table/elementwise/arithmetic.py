"""Rows of tinytensor/ops/elementwise/arithmetic.py, and of `where`."""

import numpy as np

from tinytensor.op_table.row import (
    ALL,
    NUMERIC,
    REAL,
    REAL_NUMERIC,
    Row,
    away_from,
    bools,
    both,
    distinct,
    floats,
    numbers,
    positive,
    whole,
)

PAIR = (numbers((3, 4)), numbers((3, 4)))
APART = (distinct((3, 4)), away_from(0.0, (3, 4), -0.1, 0.1, 0.05))  # multiples of 0.25, and not
QUOTIENT = (numbers((3, 4), -9, 9), numbers((3, 4), nonzero=True))
SPREAD = (((3, 1), (1, 4)), ((2, 3), (3,)), ((), (2,)), ((0, 2), (2,)), ((), ()))

ROWS = [
    Row("add", PAIR, torch=True, dtypes=ALL, also=SPREAD, timed="add"),
    Row("add:scalar", (floats((3, 4)),), lambda _, x: 1.5 + x),
    *[
        Row(f"{name}:row", (floats((3, 4)), positive((4,))), torch=True, large="r c, c",
            timed=both("x + row") if name == "add" else ())
        for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
    ],
    Row("add:1 axis", (floats((4,)), floats(())), torch=True, large="c, "),
    Row("add:3 axes", (floats((2, 3, 4)), floats((3, 1))), torch=True, large="2 r c, r 1"),
    Row("add:4 axes", (floats((2, 3, 4, 5)), floats((2, 1, 4, 1))), torch=True, large="2 3 t d, 2 1 t 1"),
    Row("add:transposed", (floats((4, 3)), floats((4, 3))), lambda _, x, y: x.T[1:] + y.T[1:], torch=True,
        large="r c, r c"),
    Row("subtract", PAIR, torch=True, dtypes=NUMERIC, also=SPREAD),
    Row("subtract:scalar", (floats((3, 4)),), lambda _, x: 2 - x),
    Row("multiply", PAIR, torch=True, dtypes=ALL, also=SPREAD),
    Row("multiply:scalar", (floats((3, 4)),), lambda _, x: x * 2.0, torch=True, large="r c"),
    Row("divide", (numbers((3, 4)), numbers((3, 4), nonzero=True)), torch=True,
        numpy=lambda a, b: np.divide(whole(a), whole(b)), dtypes=ALL, also=SPREAD),
    Row("divide:scalar", (positive((3, 4)),), lambda _, x: 2 / x),
    Row("floor_divide", QUOTIENT, torch=True, dtypes=REAL_NUMERIC, grad=False, also=SPREAD),
    Row("floor_divide:flat", (floats((3, 4), 0.1, 0.6),), lambda _, x: x // 0.7),
    Row("remainder", QUOTIENT, torch=True, dtypes=REAL_NUMERIC, grad=False, also=SPREAD),
    Row("remainder:slope", (floats((3, 4), 1.2, 1.9), floats((3, 4), -0.59, -0.41)), lambda _, a, b: a % b,
        torch=True, tol=4.0, dtypes=("float64", "float32")),  # the quotient multiplies the rounding of b
    Row("negative", (numbers((3, 4)),), torch=True, dtypes=NUMERIC),
    Row("positive", (numbers((3, 4)),), torch=True, dtypes=NUMERIC),
    Row("maximum", APART, torch=True, also=SPREAD),
    Row("maximum:numbers", PAIR, dtypes=REAL, grad=False),
    Row("minimum", APART, torch=True, also=SPREAD),
    Row("minimum:numbers", PAIR, dtypes=REAL, grad=False),
    Row("clip", (away_from(0.9, (3, 4), -0.7),), lambda xp, x: xp.clip(x, -0.9, 0.9), torch=True,
        also=(((),), ((0, 3),))),
    Row("clip:tensors", (floats((3, 4), -9, 9), floats((4,), -3, -2), floats((3, 1), 2, 3)),
        lambda _, x, a, b: x.clip(a, b), torch=True),
    Row("clip:below", (numbers((3, 4)),), lambda _, x: x.clip(min=0), dtypes=REAL_NUMERIC, grad=False),
    Row("clip:above", (numbers((3, 4)),), lambda _, x: x.clip(max=2), dtypes=REAL_NUMERIC, grad=False),
    Row("clip:none", (numbers((3, 4)),), lambda _, x: x.clip(), lambda x: x, dtypes=REAL_NUMERIC),
    Row("where", (bools((3, 4)), *PAIR), torch=True, dtypes=ALL,
        also=(((3, 1), (4,), ()), ((0,), (1,), (1,)), ((), (), ()))),
    Row("where:row", (bools((3, 4)), floats((3, 4)), floats((4,))), torch=True, large="r c, r c, c"),
    Row("where:long", (bools((40, 30)), numbers((40, 30)), numbers((30,))), dtypes=ALL),
    Row("where:long,0", (bools((40, 30)), numbers((40, 30))), lambda xp, c, x: xp.where(c, x, 0),
        lambda c, x: np.where(c, x, 0 * x), dtypes=NUMERIC),
    Row("where:0,long", (bools((40, 30)), numbers((40, 30))), lambda xp, c, x: xp.where(c, 0, x),
        lambda c, x: np.where(c, 0 * x, x), dtypes=NUMERIC),
    Row("where:scalar", (bools((3, 4)), floats((3, 4))), lambda xp, c, x: xp.where(c, x, 0.0), torch=True),
    Row("where:first", (bools((3, 4)), floats((3, 4))), lambda xp, c, x: xp.where(c, 0.0, x)),
]  # fmt: skip
