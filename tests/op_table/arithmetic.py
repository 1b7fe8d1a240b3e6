"""Rows of tinytensor/ops/elementwise/arithmetic.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import (
    ALL,
    NUMERIC,
    REAL,
    REAL_NUMERIC,
    Row,
    away_from,
    bools,
    distinct,
    floats,
    numbers,
    positive,
)

PAIR = (numbers((3, 4)), numbers((3, 4)))
APART = (distinct((3, 4)), away_from(0.0, (3, 4), -0.1, 0.1, 0.05))  # multiples of 0.25, and not
SPREAD = (((3, 1), (1, 4)), ((2, 3), (3,)), ((), (2,)), ((0, 2), (2,)), ((), ()))


def whole(x):  # PyTorch, NumPy and we agree on integers; only floats have -0.0
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


ROWS = [
    Row("add", tt.add, np.add, PAIR, dtypes=ALL, torch="torch.add", also=SPREAD),
    Row("add:scalar", lambda x: 1.5 + x, lambda x: 1.5 + x, (floats((3, 4)),)),
    Row("subtract", tt.subtract, np.subtract, PAIR, dtypes=NUMERIC, torch="torch.sub", also=SPREAD),
    Row("subtract:scalar", lambda x: 2 - x, lambda x: 2 - x, (floats((3, 4)),)),
    Row("multiply", tt.multiply, np.multiply, PAIR, dtypes=ALL, torch="torch.mul", also=SPREAD),
    Row("divide", tt.divide, lambda a, b: np.divide(whole(a), whole(b)),
        (numbers((3, 4)), numbers((3, 4), nonzero=True)), dtypes=ALL, torch="torch.div", also=SPREAD),
    Row("divide:scalar", lambda x: 2 / x, lambda x: 2 / x, (positive((3, 4)),)),
    Row("floor_divide", tt.floor_divide, np.floor_divide,
        (numbers((3, 4), -9, 9), numbers((3, 4), nonzero=True)), dtypes=REAL_NUMERIC, grad=False,
        torch="torch.floor_divide", also=SPREAD),
    Row("floor_divide:flat", lambda x: x // 0.7, lambda x: x // 0.7, (floats((3, 4), 0.1, 0.6),)),
    Row("remainder", tt.remainder, np.remainder,
        (numbers((3, 4), -9, 9), numbers((3, 4), nonzero=True)), dtypes=REAL_NUMERIC, grad=False,
        torch="torch.remainder", also=SPREAD),
    Row("remainder:slope", lambda a, b: a % b, lambda a, b: a % b,
        (floats((3, 4), 1.2, 1.9), floats((3, 4), -0.59, -0.41)), torch="torch.remainder", tol=4.0,
        dtypes=("float64", "float32")),  # the quotient multiplies the rounding of b
    Row("negative", tt.negative, np.negative, (numbers((3, 4)),), dtypes=NUMERIC, torch="torch.neg"),
    Row("positive", tt.positive, np.positive, (numbers((3, 4)),), dtypes=NUMERIC, torch="torch.positive"),
    Row("maximum", tt.maximum, np.maximum, APART, torch="torch.maximum", also=SPREAD),
    Row("maximum:numbers", tt.maximum, np.maximum, PAIR, dtypes=REAL, grad=False),
    Row("minimum", tt.minimum, np.minimum, APART, torch="torch.minimum", also=SPREAD),
    Row("minimum:numbers", tt.minimum, np.minimum, PAIR, dtypes=REAL, grad=False),
    Row("clip", lambda x: tt.clip(x, -0.9, 0.9), lambda x: np.clip(x, -0.9, 0.9),
        (away_from(0.9, (3, 4), -0.7),),
        torch=lambda torch, x: torch.clip(x, -0.9, 0.9), also=(((),), ((0, 3),))),
    Row("clip:tensors", lambda x, a, b: x.clip(a, b), lambda x, a, b: np.clip(x, a, b),
        (floats((3, 4), -9, 9), floats((4,), -3, -2), floats((3, 1), 2, 3)),
        torch=lambda torch, x, a, b: torch.clip(x, a, b)),
    Row("clip:below", lambda x: x.clip(min=0), lambda x: np.maximum(x, 0), (numbers((3, 4)),),
        dtypes=REAL_NUMERIC, grad=False),
    Row("clip:above", lambda x: x.clip(max=2), lambda x: np.minimum(x, 2), (numbers((3, 4)),),
        dtypes=REAL_NUMERIC, grad=False),
    Row("clip:none", lambda x: x.clip(), lambda x: x, (numbers((3, 4)),), dtypes=REAL_NUMERIC),
    Row("where", tt.where, np.where, (bools((3, 4)), numbers((3, 4)), numbers((3, 4))), dtypes=ALL,
        torch="torch.where", also=(((3, 1), (4,), ()), ((0,), (1,), (1,)), ((), (), ()))),
    Row("where:long", tt.where, np.where, (bools((40, 30)), numbers((40, 30)), numbers((30,))), dtypes=ALL),
    Row("where:long,0", lambda c, x: tt.where(c, x, 0), lambda c, x: np.where(c, x, 0 * x),
        (bools((40, 30)), numbers((40, 30))), dtypes=NUMERIC),
    Row("where:0,long", lambda c, x: tt.where(c, 0, x), lambda c, x: np.where(c, 0 * x, x),
        (bools((40, 30)), numbers((40, 30))), dtypes=NUMERIC),
    Row("where:scalar", lambda c, x: tt.where(c, x, 0.0), lambda c, x: np.where(c, x, 0.0),
        (bools((3, 4)), floats((3, 4))), torch=lambda torch, c, x: torch.where(c, x, 0.0)),
    Row("where:first", lambda c, x: tt.where(c, 0.0, x), lambda c, x: np.where(c, 0.0, x),
        (bools((3, 4)), floats((3, 4)))),
]  # fmt: skip
