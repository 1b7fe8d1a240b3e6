"""Rows of tinytensor/ops/elementwise/exponential.py."""

import math

import numpy as np

import tinytensor as tt
from tests.op_table.arithmetic import whole
from tests.op_table.row import COMPLEX, INTS, Row, floats, numbers, positive

MATRIX = (3, 4)
ERF = np.vectorize(math.erf, otypes=[np.float64])
ALSO = (((),), ((0, 3),), ((3, 9000),))  # the last one is longer than a block


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


ROWS = [
    Row("exp", tt.exp, np.exp, (floats(MATRIX),), torch="torch.exp", also=ALSO),
    Row("expm1", tt.expm1, np.expm1, (floats(MATRIX),), torch="torch.expm1"),
    Row("log", tt.log, np.log, (positive(MATRIX),), torch="torch.log", also=ALSO),
    Row("log1p", tt.log1p, np.log1p, (floats(MATRIX, -0.9, 2.0),), torch="torch.log1p"),
    Row("log2", tt.log2, np.log2, (positive(MATRIX),), torch="torch.log2"),
    Row("log10", tt.log10, np.log10, (positive(MATRIX),), torch="torch.log10"),
    Row("logaddexp", tt.logaddexp, np.logaddexp, (floats(MATRIX), floats(MATRIX)), torch="torch.logaddexp",
        also=(((3, 1), (4,)), ((), ()))),
    Row("tanh", tt.tanh, np.tanh, (floats(MATRIX),), torch="torch.tanh", also=ALSO),
    Row("sigmoid", tt.sigmoid, sigmoid, (floats(MATRIX, -6, 6),), torch="torch.sigmoid", also=ALSO),
    Row("softplus", tt.softplus, lambda x: np.logaddexp(x, 0), (floats(MATRIX, -6, 6),), also=ALSO,
        torch=lambda torch, x: torch.nn.functional.softplus(x)),
    Row("erf", tt.erf, ERF, (floats(MATRIX, -3, 3),), torch="torch.erf", also=ALSO),
    *[  # integers and bools become float32; complex numbers where NumPy has them
        Row(f"{name}:numbers", getattr(tt, name), lambda x, f=reference: f(whole(x)),
            (numbers(MATRIX, 0, 2),), dtypes=(*INTS, "bool", *kinds), grad=False)
        for name, reference, kinds in [
            ("exp", np.exp, COMPLEX), ("expm1", np.expm1, COMPLEX), ("log", np.log, COMPLEX),
            ("log1p", np.log1p, COMPLEX), ("log2", np.log2, COMPLEX), ("log10", np.log10, COMPLEX),
            ("tanh", np.tanh, COMPLEX), ("sigmoid", sigmoid, ()), ("erf", ERF, ()),
            ("softplus", lambda x: np.logaddexp(x, 0), ()),
        ]
    ],
]  # fmt: skip
