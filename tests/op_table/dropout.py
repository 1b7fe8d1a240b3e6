"""Rows of tinytensor/ops/nn/dropout.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats
from tinytensor.ops.random import philox


def dropout(x: Any, p: float, seed: int) -> Any:
    """One uniform number for each element, in C order; it is kept where that number is at least p."""
    u = np.empty(x.shape, np.float32)
    philox.uniform_float32(seed, 0, u)
    return np.where(u >= p, x / (1 - p), 0.0)


ROWS = [
    Row("dropout", lambda x: tt.dropout(x, 0.25, generator=tt.Generator(3)), lambda x: dropout(x, 0.25, 3),
        (floats((3, 4)),), second=False, also=(((),), ((0, 3),), ((3, 20000),))),
    Row("dropout:all", lambda x: tt.dropout(x, 1.0, generator=tt.Generator(3)), lambda x: 0.0 * x,
        (floats((3, 4)),), second=False),
]  # fmt: skip
