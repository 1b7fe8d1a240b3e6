"""Rows of tinytensor/ops/elementwise/rounding.py. The gradient is 0 away from the steps."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import FLOATS, INTS, REAL_NUMERIC, Row, floats, numbers

REFERENCES = [("ceil", np.ceil), ("floor", np.floor), ("trunc", np.trunc), ("round", np.round)]

ROWS = [
    *[
        Row(name, getattr(tt, name), lambda x, f=f: f(x) if x.dtype.kind == "f" else x,
            (numbers((3, 4), -3, 3),), dtypes=REAL_NUMERIC, grad=False, torch=f"torch.{name}",
            also=(((),), ((0, 3),)))
        for name, f in REFERENCES
    ],
    *[
        Row(f"{name}:flat", getattr(tt, name), f, (floats((3, 4), 1.1, 1.4),), dtypes=FLOATS)
        for name, f in REFERENCES
    ],
    Row("round:halves", lambda x: tt.round(x * 0.5), lambda x: np.round(x * 0.5), (numbers((3, 4), -9, 9),),
        dtypes=("int64",), grad=False, ops=("round", "multiply")),
    Row("floor:whole", tt.floor, lambda x: x, (numbers((3, 4), -9, 9),), dtypes=INTS, grad=False),
]  # fmt: skip
