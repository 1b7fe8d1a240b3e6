"""Rows of tinytensor/ops/elementwise/gelu.py."""

import math
from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, both, floats

GELU, SILU = ("gelu", "gelu_backward"), ("silu", "silu_backward")
NORMAL = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[np.float64])
X = (floats((3, 4), -4, 4),)


def gelu(x: Any, approximate: str = "tanh") -> Any:
    """The two formulas."""
    if approximate == "none":
        return x * NORMAL(x)
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ROWS = [
    Row("gelu", X, lambda xp, x: xp.gelu(x, approximate="tanh"), gelu,
        torch=lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        ops=GELU, also=(((),), ((0, 3),), ((5, 14000),)), large="r c", timed=both("gelu")),
    Row("gelu:none", X, lambda xp, x: xp.gelu(x, approximate="none"), lambda x: gelu(x, "none"),
        torch="torch.nn.functional.gelu", ops=GELU, also=(((),), ((0, 3),)), large="r c"),
    Row("silu", X, numpy=lambda x: x / (1 + np.exp(-x)), torch="torch.nn.functional.silu", ops=SILU,
        also=(((),), ((0, 3),), ((5, 14000),)), large="r c", timed=both("silu")),
]  # fmt: skip
