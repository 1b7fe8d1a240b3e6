"""Rows of tinytensor/ops/matmul.py."""

from typing import Any

import numpy as np

import tinytensor as tt

from .row import COMPLEX, FLOATS, INTS, Input, Row, Shape, floats, numbers

ARITHMETIC = FLOATS + INTS + COMPLEX


def product(name: str, a: Shape, b: Shape, *also: tuple[Shape, Shape]) -> Row:
    """A row for `a @ b`; more pairs of shapes are tried for values only."""
    inputs = (numbers(a), numbers(b))
    return Row(f"matmul:{name}" if name else "matmul", tt.matmul, np.matmul, inputs, dtypes=ARITHMETIC,
               torch="torch.matmul", also=also)  # fmt: skip


def linear(name: str, weight: Shape, *, bias: bool, transposed: bool) -> Row:
    """A row for the affine map of an input of shape (2, 3, 4)."""
    inputs: tuple[Input, ...] = (floats((2, 3, 4)), floats(weight), *([floats((5,))] if bias else []))

    def reference(x: Any, w: Any, b: Any = 0.0) -> Any:
        return x @ (w.T if transposed else w) + b

    return Row(
        f"linear:{name}" if name else "linear",
        lambda *tensors: tt.linear(*tensors, transposed=transposed),
        reference,
        inputs,
        ops=("linear", "linear_backward"),
        torch=lambda torch, x, w, b=0.0: x @ (w.T if transposed else w) + b,
        also=(((4,), *[i.shape for i in inputs[1:]]), ((0, 4), *[i.shape for i in inputs[1:]])),
    )


ROWS = [
    product("", (3, 4), (4, 5), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((1, 1), (1, 1))),
    product("batch", (2, 1, 3, 4), (5, 4, 2), ((0, 3, 4), (4, 2)), ((1, 3, 4), (7, 4, 1))),
    product("batch by matrix", (2, 3, 4), (4, 2)),
    product("matrix by batch", (3, 4), (2, 4, 5)),
    product("matrix by vector", (2, 3, 4), (4,), ((3, 0), (0,))),
    product("vector by matrix", (3,), (2, 3, 4), ((3,), (3, 4))),
    product("vectors", (4,), (4,), ((0,), (0,))),
    linear("", (4, 5), bias=True, transposed=False),
    linear("no bias", (4, 5), bias=False, transposed=False),
    linear("transposed", (5, 4), bias=True, transposed=True),
    linear("transposed, no bias", (5, 4), bias=False, transposed=True),
    Row("outer", tt.outer, np.outer, (numbers((3,)), numbers((4,))), ops=("matmul",), dtypes=ARITHMETIC,
        torch="torch.outer", also=(((0,), (4,)),)),
]  # fmt: skip
