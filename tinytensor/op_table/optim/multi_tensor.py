"""Rows of tinytensor/ops/optim/multi_tensor.py."""

import numpy as np

from tinytensor.op_table.row import Row, floats, positive

PAIR = (floats((3, 4)), floats((5,)))

ROWS = [
    Row("scale_all_", (*PAIR, positive(())), lambda xp, x, y, f: xp.scale_all_([x, y], f),
        lambda x, y, f: (x * f, y * f), writes=(0, 1), ops=(), grad=False,
        also=(((0, 3), (), ()), ((2, 20_000), (7,), ())), large="r c, c, "),
    Row("zero_all_", PAIR, lambda xp, x, y: xp.zero_all_([x, y]),
        lambda x, y: (np.zeros_like(x), np.zeros_like(y)), writes=(0, 1), ops=(), grad=False,
        also=(((0, 3), ()), ((2, 20_000), (7,))), large="r c, c"),
]  # fmt: skip
