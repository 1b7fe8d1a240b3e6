"""Rows of tinytensor/ops/matmul/linear_gelu.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.gelu import NORMAL
from tests.op_table.row import Row, Shape, floats


def gelu(z: Any, approximate: str) -> Any:
    """The two formulas."""
    if approximate == "none":
        return z * NORMAL(z)
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def row(
    name: str, weight: Shape, *, bias: bool = True, transposed: bool = False, approximate: str = "tanh",
    x: Shape = (2, 3, 4), also: tuple[Shape, ...] = ((0, 4), (4,)),
) -> Row:  # fmt: skip
    """A row for gelu(x @ weight + bias)."""
    n = weight[0 if transposed else 1]
    inputs = (floats(x), floats(weight), *([floats((n,))] if bias else []))
    return Row(
        f"linear_gelu:{name}" if name else "linear_gelu",
        lambda *tensors: tt.linear_gelu(*tensors, approximate=approximate, transposed=transposed),
        lambda x, w, b=0.0: gelu(x @ (w.T if transposed else w) + b, approximate),
        inputs,
        ops=("linear_gelu", "linear", "linear_backward"),
        torch=lambda torch, x, w, b=0.0: torch.nn.functional.gelu(
            x @ (w.T if transposed else w) + b, approximate=approximate
        ),
        roundings=2,
        also=tuple((lead, *[i.shape for i in inputs[1:]]) for lead in also),
    )


ROWS = [
    row("", (4, 5)),
    row("no bias", (4, 5), bias=False),
    row("transposed", (5, 4), transposed=True),
    row("none", (4, 5), approximate="none"),
    row("one row", (4, 7), x=(1, 4), also=()),
    row("many rows", (2, 2), x=(5, 14, 2), also=((1, 2), (70_000, 2))),
]
