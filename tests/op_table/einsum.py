"""Rows of tinytensor/ops/matmul/einsum.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import COMPLEX, FLOATS, INTS, Row, floats, numbers

ROWS = [
    Row(
        "einsum",
        lambda a, b: tt.einsum("bij,bkj->bki", a, b),
        lambda a, b: np.einsum("bij,bkj->bki", a, b),
        (numbers((2, 3, 4)), numbers((2, 5, 4))),
        ops=("matmul", "permute"),
        dtypes=FLOATS + INTS + COMPLEX,
        contiguous=False,
        torch=lambda torch, a, b: torch.einsum("bij,bkj->bki", a, b),
        also=(((0, 3, 4), (0, 5, 4)), ((2, 3, 0), (2, 5, 0)), ((1, 1, 1), (1, 1, 1))),
    ),
    Row(
        "einsum:three",
        lambda a, b, c: tt.einsum("...ij,jk,ikk->k...", a, b, c),
        lambda a, b, c: np.einsum("...ij,jk,ikk->k...", a, b, c),
        (floats((2, 3, 4)), floats((4, 5)), floats((3, 5, 5))),
        ops=("matmul", "diagonal", "permute"),
        roundings=2,  # after each product
        contiguous=False,
        torch=lambda torch, a, b, c: torch.einsum("...ij,jk,ikk->k...", a, b, c),
    ),
    Row(
        "tensordot",
        lambda a, b: tt.tensordot(a, b, ([1, 2], [1, 0])),
        lambda a, b: np.tensordot(a, b, ([1, 2], [1, 0])),
        (numbers((2, 3, 4)), numbers((4, 3, 5))),
        ops=("matmul",),
        dtypes=FLOATS + INTS + COMPLEX,
        torch=lambda torch, a, b: torch.tensordot(a, b, ([1, 2], [1, 0])),
        also=(((0, 3, 4), (4, 3, 5)), ((2, 3, 0), (0, 3, 5))),
    ),
    Row(
        "vecdot",
        lambda a, b: tt.vecdot(a, b, axis=-2),
        lambda a, b: np.vecdot(a, b, axis=-2),
        (numbers((3, 4, 2)), numbers((4, 1))),
        ops=("matmul",),
        dtypes=FLOATS + INTS,
        torch=lambda torch, a, b: torch.linalg.vecdot(a, b, dim=-2),
        also=(((3, 0, 2), (0, 1)),),
    ),
    Row(
        "trace",
        lambda x: tt.trace(x, 1),
        lambda x: np.trace(x, 1),
        (floats((4, 5, 2)),),
        ops=("diagonal", "sum"),
        torch=lambda torch, x: x.diagonal(1, 0, 1).sum(-1),
    ),
]
