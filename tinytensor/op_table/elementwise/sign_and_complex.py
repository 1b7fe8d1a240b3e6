"""Rows of tinytensor/ops/elementwise/sign_and_complex.py."""

import numpy as np

from tinytensor.op_table.row import BOOL, COMPLEX, FLOATS, NUMERIC, SIGNED, Row, away_from, floats, numbers

ROWS = [
    Row("abs", (away_from(0.0, (3, 4)),), torch=True),
    Row("abs:numbers", (numbers((3, 4)),), dtypes=NUMERIC, grad=False),
    Row("sign", (numbers((3, 4), nonzero=True),), torch="torch.sgn", dtypes=NUMERIC),
    Row("copysign", (away_from(0.0, (3, 4)), away_from(0.0, (3, 4))), torch=True),
    Row("nextafter", (floats((3, 4)), floats((3, 4))), torch=True,
        numpy=lambda a, b: np.nextafter(a.astype(np.float32), b.astype(np.float32)), dtypes=("float32",),
        grad=False),
    Row("nextafter:float64", (floats((3, 4)), floats((3, 4))), dtypes=("float64",), large="r c, r c"),
    Row("real", (numbers((3, 4)),), torch=True, dtypes=COMPLEX, grad=False),
    Row("imag", (numbers((3, 4)),), torch=True, dtypes=COMPLEX, grad=False),
    Row("conj", (numbers((3, 4)),), torch="torch.conj_physical", dtypes=COMPLEX, grad=False),
    Row("conj:real", (numbers((3, 4)),), numpy=lambda x: x, dtypes=FLOATS + SIGNED + BOOL, grad=False, ops=(),
        contiguous=False),
]  # fmt: skip
