"""Rows of tinytensor/ops/optim/multi_tensor.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats, positive


def scale_all_(x: tt.Tensor, y: tt.Tensor, factor: tt.Tensor) -> tuple[tt.Tensor, ...]:
    """The op writes to its tensors; here to copies."""
    x, y = x.clone(), y.clone()
    tt.scale_all_([x, y], factor)
    return x, y


def zero_all_(x: tt.Tensor, y: tt.Tensor) -> tuple[tt.Tensor, ...]:
    """The same."""
    x, y = x.clone(), y.clone()
    tt.zero_all_([x, y])
    return x, y


ROWS = [
    Row("scale_all_", scale_all_, lambda x, y, f: (x * f, y * f),
        (floats((3, 4)), floats((5,)), positive(())),
        ops=(), grad=False, also=(((0, 3), (), ()), ((2, 20_000), (7,), ()))),
    Row("zero_all_", zero_all_, lambda x, y: (np.zeros_like(x), np.zeros_like(y)),
        (floats((3, 4)), floats((5,))), ops=(), grad=False, also=(((0, 3), ()), ((2, 20_000), (7,)))),
]  # fmt: skip
