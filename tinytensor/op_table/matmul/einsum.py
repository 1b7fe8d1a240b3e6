"""Rows of tinytensor/ops/matmul/einsum.py."""

from tinytensor.op_table.row import COMPLEX, FLOATS, INTS, Row, floats, numbers

ROWS = [
    Row("einsum", (numbers((2, 3, 4)), numbers((2, 5, 4))), lambda xp, a, b: xp.einsum("bij,bkj->bki", a, b),
        torch=True, ops=("matmul", "permute"), dtypes=FLOATS + INTS + COMPLEX, contiguous=False,
        also=(((0, 3, 4), (0, 5, 4)), ((2, 3, 0), (2, 5, 0)), ((1, 1, 1), (1, 1, 1)))),
    Row("einsum:three", (floats((2, 3, 4)), floats((4, 5)), floats((3, 5, 5))),
        lambda xp, a, b, c: xp.einsum("...ij,jk,ikk->k...", a, b, c), torch=True,
        ops=("matmul", "diagonal", "permute"), contiguous=False, roundings=2),  # after each product
    Row("tensordot", (numbers((2, 3, 4)), numbers((4, 3, 5))),
        lambda xp, a, b: xp.tensordot(a, b, ([1, 2], [1, 0])), torch=True, ops=("matmul",),
        dtypes=FLOATS + INTS + COMPLEX, also=(((0, 3, 4), (4, 3, 5)), ((2, 3, 0), (0, 3, 5)))),
    Row("vecdot", (numbers((3, 4, 2)), numbers((4, 1))), lambda xp, a, b: xp.vecdot(a, b, axis=-2),
        torch=lambda torch, a, b: torch.linalg.vecdot(a, b, dim=-2), ops=("matmul",), dtypes=FLOATS + INTS,
        also=(((3, 0, 2), (0, 1)),)),
    Row("trace", (floats((4, 5, 2)),), lambda xp, x: xp.trace(x, 1), ops=("diagonal", "sum"),
        torch=lambda torch, x: x.diagonal(1, 0, 1).sum(-1)),
]  # fmt: skip
