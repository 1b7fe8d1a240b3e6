"""Rows of tinytensor/ops/indexing/mask_select.py: what a mask finds."""

from operator import setitem

import numpy as np

from tinytensor.op_table.indexing.indexing import read
from tinytensor.op_table.row import ALL, Row, bools, both, numbers

COMPRESS = ("compress", "compress_transpose")
SELECT = ("select", "select_transpose")
MASK = np.array([[True, False], [False, True], [True, True]])

ROWS = [
    read("mask", MASK, (3, 2, 2), SELECT),
    read("mask of all", MASK, (3, 2), COMPRESS),
    read("mask behind", (slice(None), np.array([True, False, True])), (2, 3), SELECT),
    Row("getitem:elements by mask", (numbers((3, 4)), bools((3, 4))), lambda _, x, m: x[m], torch=True,
        ops=COMPRESS, dtypes=ALL, large="r c, r c", timed=both("x[mask]")),
    Row("getitem:columns by mask", (numbers((3, 4)), bools((4,))), lambda _, x, m: x[:, m], torch=True,
        ops=SELECT, dtypes=ALL, large="r c, c"),
    Row("setitem:elements by mask", (numbers((3, 4)), bools((3, 4))), lambda _, x, m: setitem(x, m, 3),
        torch=True, writes=(0,), ops=(), large="r c, r c"),
    Row("nonzero", (bools((3, 4)),), torch=lambda torch, x: torch.nonzero(x, as_tuple=True), ops=(),
        dtypes=("float64",), grad=False, also=(((0, 2),),), large="r c", timed="nonzero"),
]  # fmt: skip
