"""Rows of tinytensor/ops/elementwise/bitwise.py."""

from tinytensor.op_table.row import BOOL, INTS, Row, numbers

WHOLE = INTS + BOOL
SPREAD = (((3, 1), (4,)), ((), ()), ((0,), (1,)))
ANY = numbers((3, 4), -99, 99)

ROWS = [
    *[
        Row(name, (ANY, ANY), torch=True, dtypes=WHOLE, grad=False, also=SPREAD)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ],
    Row("bitwise_invert", (ANY,), torch="torch.bitwise_not", dtypes=WHOLE, grad=False),
    Row("bitwise_left_shift", (numbers((3, 4), -9, 9), numbers((3, 4), 0, 3)), torch=True, dtypes=INTS,
        grad=False, also=SPREAD),
    Row("bitwise_right_shift", (ANY, numbers((3, 4), 0, 7)), torch=True, dtypes=INTS, grad=False,
        also=SPREAD),
]  # fmt: skip
