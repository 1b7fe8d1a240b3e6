"""Rows of tinytensor/ops/elementwise/bitwise.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import BOOL, INTS, Row, numbers

WHOLE = INTS + BOOL
SPREAD = (((3, 1), (4,)), ((), ()), ((0,), (1,)))

ROWS = [
    *[
        Row(name, getattr(tt, name), getattr(np, name), (numbers((3, 4), -99, 99), numbers((3, 4), -99, 99)),
            dtypes=WHOLE, grad=False, torch=f"torch.{name}", also=SPREAD)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ],
    Row("bitwise_invert", tt.bitwise_invert, np.bitwise_not, (numbers((3, 4), -99, 99),), dtypes=WHOLE,
        grad=False, torch="torch.bitwise_not"),
    Row("bitwise_left_shift", tt.bitwise_left_shift, np.left_shift,
        (numbers((3, 4), -9, 9), numbers((3, 4), 0, 3)), dtypes=INTS, grad=False,
        torch="torch.bitwise_left_shift", also=SPREAD),
    Row("bitwise_right_shift", tt.bitwise_right_shift, np.right_shift,
        (numbers((3, 4), -99, 99), numbers((3, 4), 0, 7)), dtypes=INTS, grad=False,
        torch="torch.bitwise_right_shift", also=SPREAD),
]  # fmt: skip
