"""Rows of tinytensor/ops/nn/embedding.py."""

from functools import partial

import numpy as np

from tinytensor.op_table.row import Row, both, floats, ints, order
from tinytensor.ops.nn.embedding import embedding as op

OPS = ("embedding", "embedding_backward")
OF_ROWS = partial(np.take, axis=0)

ROWS = [
    Row("embedding", (floats((5, 3)), ints((2, 4), 0, 5)), lambda _, *xs: op(*xs), OF_ROWS,
        ops=OPS, second=False,
        torch=lambda torch, w, i: torch.nn.functional.embedding(i, w),
        also=(((5, 3), ()), ((5, 3), (0,)), ((5, 0), (2,))), large="k c, 3 r < k"),
    Row("embedding:once", (floats((5, 3)), order((4,), 5)), lambda _, *xs: op(*xs), OF_ROWS,
        ops=OPS, second=False,
        torch=lambda torch, w, i: torch.nn.functional.embedding(i, w), large="k c, r < k",
        timed=both("embedding")),
]  # fmt: skip
