"""Rows of tinytensor/ops/indexing/masking.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, FLOATS, REAL_NUMERIC, Row, bools, floats, numbers

ROWS = [
    Row(
        "tril",
        tt.tril,
        np.tril,
        (numbers((3, 4)),),
        ops=("triangle",),
        dtypes=ALL,
        torch="torch.tril",
        also=(((2, 0, 3),), ((2, 3, 3),), ((1, 1),)),
    ),
    Row(
        "tril:k",
        lambda x: tt.tril(x, -1),
        lambda x: np.tril(x, -1),
        (numbers((2, 4, 3)),),
        ops=("triangle",),
        dtypes=ALL,
        torch=lambda torch, x: x.tril(-1),
    ),
    Row(
        "triu",
        tt.triu,
        np.triu,
        (numbers((3, 4)),),
        ops=("triangle",),
        dtypes=ALL,
        torch="torch.triu",
        also=(((2, 0, 3),), ((2, 3, 3),)),
    ),
    Row(
        "triu:k",
        lambda x: tt.triu(x, 2),
        lambda x: np.triu(x, 2),
        (numbers((2, 3, 5)),),
        ops=("triangle",),
        dtypes=ALL,
        torch=lambda torch, x: x.triu(2),
    ),
    Row(
        "masked_fill",
        lambda x, m: tt.masked_fill(x, m, 2),
        lambda x, m: np.where(m, x.dtype.type(2), x),
        (numbers((3, 4)), bools((4,))),
        ops=("where",),
        dtypes=REAL_NUMERIC,
        torch=lambda torch, x, m: x.masked_fill(m, 2),
        also=(((0, 4), (4,)), ((), ())),
    ),
    Row(
        "masked_fill:tensor",
        lambda x, m, v: tt.masked_fill(x, m, v),
        lambda x, m, v: np.where(m, v, x),
        (floats((3, 4)), bools((3, 4)), floats(())),
        ops=("where",),
        dtypes=FLOATS,
        torch=lambda torch, x, m, v: x.masked_fill(m, v),
    ),
]
