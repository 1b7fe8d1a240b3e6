"""Rows of tinytensor/ops/matmul/matmul.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import COMPLEX, FLOATS, INTS, Input, Row, Shape, floats, numbers

ARITHMETIC = FLOATS + INTS + COMPLEX


def product(name: str, a: Shape, b: Shape, *also: tuple[Shape, Shape]) -> Row:
    """A row for `a @ b`; more pairs of shapes are tried for values only."""
    inputs = (numbers(a), numbers(b))
    return Row(f"matmul:{name}" if name else "matmul", tt.matmul, np.matmul, inputs, dtypes=ARITHMETIC,
               torch="torch.matmul", also=also)  # fmt: skip


def of_transposes(name: str, a: Shape, b: Shape) -> Row:
    """A row for `a.mT @ b.mT`: gradients flow through views of both operands."""
    return Row(
        f"matmul:{name}",
        lambda x, y: x.mT @ y.mT,
        lambda x, y: x.swapaxes(-1, -2) @ y.swapaxes(-1, -2),
        (numbers(a), numbers(b)),
        ops=("matmul", "permute"),
        dtypes=ARITHMETIC,
        torch=lambda torch, x, y: x.mT @ y.mT,
    )


def linear(name: str, weight: Shape, *, bias: bool, transposed: bool, x: Shape = (2, 3, 4)) -> Row:
    """A row for the affine map of the last axis."""
    n = weight[0 if transposed else 1]
    inputs: tuple[Input, ...] = (floats(x), floats(weight), *([floats((n,))] if bias else []))

    def reference(x: Any, w: Any, b: Any = 0.0) -> Any:
        return x @ (w.T if transposed else w) + b

    return Row(
        f"linear:{name}" if name else "linear",
        lambda *tensors: tt.linear(*tensors, transposed=transposed),
        reference,
        inputs,
        ops=("linear", "linear_backward"),
        torch=lambda torch, x, w, b=0.0: x @ (w.T if transposed else w) + b,
        also=tuple((lead, *[i.shape for i in inputs[1:]]) for lead in [(x[-1],), (0, x[-1])]),
    )


ROWS = [
    product("", (3, 4), (4, 5), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((1, 1), (1, 1))),
    product("batch", (2, 1, 3, 4), (5, 4, 2), ((0, 3, 4), (4, 2)), ((1, 3, 4), (7, 4, 1))),
    product("batch by matrix", (2, 3, 4), (4, 2)),
    product("matrix by batch", (3, 4), (2, 4, 5)),
    product("matrix by vector", (2, 3, 4), (4,), ((3, 0), (0,))),
    product("vector by matrix", (3,), (2, 3, 4), ((3,), (3, 4))),
    product("vectors", (4,), (4,), ((0,), (0,))),
    product("vector by batch", (3,), (2, 1, 3, 2)),
    of_transposes("of transposes", (4, 3), (5, 4)),
    of_transposes("of transposed batches", (2, 4, 3), (1, 2, 4)),
    linear("", (4, 5), bias=True, transposed=False),
    linear("no bias", (4, 5), bias=False, transposed=False),
    linear("transposed", (5, 4), bias=True, transposed=True),
    linear("transposed, no bias", (5, 4), bias=False, transposed=True),
    linear("vector", (4, 5), bias=True, transposed=False, x=(4,)),
    linear("many rows", (2, 2), bias=True, transposed=False, x=(5, 14, 2)),
    Row("outer", tt.outer, np.outer, (numbers((3,)), numbers((4,))), ops=("multiply",), dtypes=ARITHMETIC,
        torch="torch.outer", also=(((0,), (4,)),)),
]  # fmt: skip
