"""Rows of tinytensor/ops/elementwise/sign_and_complex.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import (
    BOOL,
    COMPLEX,
    FLOATS,
    NUMERIC,
    SIGNED,
    Row,
    away_from,
    floats,
    numbers,
)

ROWS = [
    Row("abs", tt.abs, np.abs, (away_from(0.0, (3, 4)),), torch="torch.abs"),
    Row("abs:numbers", tt.abs, np.abs, (numbers((3, 4)),), dtypes=NUMERIC, grad=False),
    Row("sign", tt.sign, np.sign, (numbers((3, 4), nonzero=True),), dtypes=NUMERIC, torch="torch.sgn"),
    Row("copysign", tt.copysign, np.copysign, (away_from(0.0, (3, 4)), away_from(0.0, (3, 4))),
        torch="torch.copysign"),
    Row("nextafter", tt.nextafter, lambda a, b: np.nextafter(a.astype(np.float32), b.astype(np.float32)),
        (floats((3, 4)), floats((3, 4))), dtypes=("float32",), grad=False, torch="torch.nextafter"),
    Row("nextafter:float64", tt.nextafter, np.nextafter, (floats((3, 4)), floats((3, 4))),
        dtypes=("float64",)),
    Row("real", tt.real, np.real, (numbers((3, 4)),), dtypes=COMPLEX, grad=False, torch="torch.real"),
    Row("imag", tt.imag, np.imag, (numbers((3, 4)),), dtypes=COMPLEX, grad=False, torch="torch.imag"),
    Row("conj", tt.conj, np.conj, (numbers((3, 4)),), dtypes=COMPLEX, grad=False),
    Row("conj:real", tt.conj, lambda x: x, (numbers((3, 4)),), dtypes=FLOATS + SIGNED + BOOL, grad=False,
        ops=(), contiguous=False),
]  # fmt: skip
