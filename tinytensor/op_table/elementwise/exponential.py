"""Rows of tinytensor/ops/elementwise/exponential.py."""

import math

import numpy as np

from tinytensor.op_table.row import COMPLEX, INTS, Array, Row, floats, numbers, positive, whole

MATRIX = (3, 4)
ERF = np.vectorize(math.erf, otypes=[np.float64])
ERFC = np.vectorize(math.erfc, otypes=[np.float64])
ALSO = (((),), ((0, 3),), ((3, 9000),))  # the last one is longer than a block


def sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


ROWS = [
    Row("exp", (floats(MATRIX),), torch=True, also=ALSO),
    Row("expm1", (floats(MATRIX),), torch=True),
    Row("log", (positive(MATRIX),), torch=True, also=ALSO),
    Row("log1p", (floats(MATRIX, -0.9, 2.0),), torch=True),
    Row("log2", (positive(MATRIX),), torch=True),
    Row("log10", (positive(MATRIX),), torch=True),
    Row("logaddexp", (floats(MATRIX), floats(MATRIX)), torch=True, also=(((3, 1), (4,)), ((), ()))),
    Row("tanh", (floats(MATRIX),), torch=True, also=ALSO),
    Row("sigmoid", (floats(MATRIX, -6, 6),), numpy=sigmoid, torch=True, also=ALSO),
    Row("softplus", (floats(MATRIX, -6, 6),), numpy=softplus, torch="torch.nn.functional.softplus",
        also=ALSO),
    Row("erf", (floats(MATRIX, -3, 3),), numpy=ERF, torch=True, also=ALSO),
    Row("erfc", (floats(MATRIX, -3, 3),), numpy=ERFC, torch=True, also=ALSO),
    *[  # integers and bools become float32; complex numbers where NumPy has them
        Row(f"{name}:numbers", (numbers(MATRIX, 0, 2),), numpy=lambda x, f=reference: f(whole(x)),
            dtypes=(*INTS, "bool", *kinds), grad=False)
        for name, reference, kinds in [
            ("exp", np.exp, COMPLEX), ("expm1", np.expm1, COMPLEX), ("log", np.log, COMPLEX),
            ("log1p", np.log1p, COMPLEX), ("log2", np.log2, COMPLEX), ("log10", np.log10, COMPLEX),
            ("tanh", np.tanh, COMPLEX), ("sigmoid", sigmoid, ()), ("erf", ERF, ()),
            ("softplus", softplus, ()), ("erfc", ERFC, ()),
        ]
    ],
]  # fmt: skip
