"""Rows of tinytensor/ops/nn/dropout.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, both, floats
from tinytensor.ops.random import philox


def dropout(x: Any, p: float, seed: int) -> Any:
    """One uniform number for each element, in C order; it is kept where that number is at least p."""
    u = np.empty(x.shape, np.float32)
    philox.uniform_float32(seed, 0, u)
    return np.where(u >= p, x / (1 - p), 0.0)


ROWS = [
    Row("dropout", (floats((3, 4)),), lambda xp, x: xp.dropout(x, 0.25, generator=xp.Generator(3)),
        lambda x: dropout(x, 0.25, 3), torch=lambda torch, x: torch.nn.functional.dropout(x, 0.25),
        random=True, second=False, also=(((),), ((0, 3),), ((3, 20000),)), timed=both("dropout")),
    Row("dropout:all", (floats((3, 4)),), lambda xp, x: xp.dropout(x, 1.0, generator=xp.Generator(3)),
        lambda x: 0.0 * x, random=True, second=False),
]  # fmt: skip
