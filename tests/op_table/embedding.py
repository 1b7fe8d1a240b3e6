"""Rows of tinytensor/ops/nn/embedding.py."""

import tinytensor as tt
from tests.op_table.row import Row, floats, ints

ROWS = [
    Row("embedding", tt.embedding, lambda w, i: w[i], (floats((5, 3)), ints((2, 4), 0, 5)),
        ops=("embedding", "embedding_backward"), second=False,
        torch=lambda torch, w, i: torch.nn.functional.embedding(i, w),
        also=(((5, 3), ()), ((5, 3), (0,)), ((5, 0), (2,)))),
]  # fmt: skip
