"""Rows of tinytensor/ops/indexing/masking.py."""

import numpy as np

from tinytensor.op_table.row import ALL, REAL_NUMERIC, Row, bools, floats, numbers

ROWS = [
    Row("tril", (numbers((3, 4)),), torch=True, ops=("triangle",), dtypes=ALL,
        also=(((2, 0, 3),), ((2, 3, 3),), ((1, 1),)), large="r c", timed="tril"),
    Row("tril:k", (numbers((2, 4, 3)),), lambda xp, x: xp.tril(x, -1), torch=True, ops=("triangle",),
        dtypes=ALL),
    Row("triu", (numbers((3, 4)),), torch=True, ops=("triangle",), dtypes=ALL,
        also=(((2, 0, 3),), ((2, 3, 3),))),
    Row("triu:k", (numbers((2, 3, 5)),), lambda xp, x: xp.triu(x, 2), torch=True, ops=("triangle",),
        dtypes=ALL, large="2 r c"),
    Row("masked_fill", (numbers((3, 4)), bools((4,))), lambda xp, x, m: xp.masked_fill(x, m, 2),
        lambda x, m: np.where(m, x.dtype.type(2), x), torch=True, ops=("where",), dtypes=REAL_NUMERIC,
        also=(((0, 4), (4,)), ((), ())), large="r c, r c", timed="masked fill"),
    Row("masked_fill:tensor", (floats((3, 4)), bools((3, 4)), floats(())),
        numpy=lambda x, m, v: np.where(m, v, x), torch=lambda torch, x, m, v: x.masked_fill(m, v),
        ops=("where",)),
]  # fmt: skip
