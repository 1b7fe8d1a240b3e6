"""Rows of tinytensor/ops/elementwise/activation.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import REAL_NUMERIC, Row, away_from, floats, numbers

ROWS = [
    Row("relu", tt.relu, lambda x: np.maximum(x, 0), (away_from(0.0, (3, 4)),), torch="torch.relu",
        ops=("relu", "relu_backward"), also=(((),), ((0, 3),))),
    Row("relu:numbers", tt.relu, lambda x: np.maximum(x, 0), (numbers((3, 4)),), dtypes=REAL_NUMERIC,
        grad=False),
    Row("heaviside", tt.heaviside, np.heaviside, (away_from(0.0, (3, 4)), floats((3, 4))),
        also=(((3, 1), (4,)), ((), ()))),
    Row("heaviside:at", lambda x, v: tt.heaviside(x * 0.0, v), lambda x, v: np.heaviside(x * 0.0, v),
        (floats((3, 4)), floats((4,))), grad=False),
]  # fmt: skip
