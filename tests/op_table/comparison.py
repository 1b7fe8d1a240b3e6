"""Rows of tinytensor/ops/elementwise/comparison.py; those of `where` are among the arithmetic."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, FLOATS, REAL, Row, bools, floats, numbers

ROWS = [
    *[
        Row(name, getattr(tt, name), getattr(np, name), (numbers((3, 4), -2, 2), numbers((3, 4), -2, 2)),
            dtypes=ALL if "equal" in (name, name[4:]) else REAL, grad=False,
            torch=f"torch.{short}", also=(((3, 1), (4,)), ((), ()), ((0,), (1,))))
        for name, short in [("equal", "eq"), ("not_equal", "ne"), ("less", "lt"), ("less_equal", "le"),
                            ("greater", "gt"), ("greater_equal", "ge")]
    ],
    *[
        Row(name, getattr(tt, name), getattr(np, name), (numbers((3, 4), -1, 1), numbers((3, 4), -1, 1)),
            dtypes=ALL, grad=False, torch=f"torch.{name}", also=(((3, 1), (4,)), ((), ())))
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    Row("logical_not", tt.logical_not, np.logical_not, (numbers((3, 4), -1, 1),), dtypes=ALL, grad=False,
        torch="torch.logical_not"),
    *[
        Row(name, lambda x, f=ours: f(1.0 / x), lambda x, f=numpys: f(1.0 / x), (numbers((3, 4), -1, 1),),
            dtypes=REAL, grad=False, ops=(name, "divide"))
        for name, ours, numpys in [
            ("isfinite", tt.isfinite, np.isfinite), ("isinf", tt.isinf, np.isinf),
            ("isnan", tt.isnan, np.isnan),
        ]
    ],
    Row("isnan:zero", lambda x: tt.isnan((x - x) / (x - x)), lambda x: np.isnan((x - x) / (x - x)),
        (floats((3, 4)),), grad=False),
    Row("signbit", tt.signbit, np.signbit, (numbers((3, 4)),), dtypes=REAL, grad=False,
        torch="torch.signbit"),
    Row("isclose", lambda a, b: tt.isclose(a, a + b * 1e-3, rtol=1e-3, atol=0.0),
        lambda a, b: np.isclose(a, a + b * 1e-3, rtol=1e-3, atol=0.0),
        (floats((3, 4), 0.3, 1.0), floats((3, 4), -2, 2)), dtypes=("float64", "float32"), grad=False),
    Row("isclose:numbers", lambda a, b: tt.isclose(a, b, atol=0.5), lambda a, b: np.isclose(a, b, atol=0.5),
        (numbers((3, 4)), numbers((4,))), dtypes=ALL, grad=False),
    Row("logical_not:mask", lambda m: tt.logical_not(m), lambda m: ~m, (bools((3, 4)),), dtypes=FLOATS,
        grad=False),
]  # fmt: skip
