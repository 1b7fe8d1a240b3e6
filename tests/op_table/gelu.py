"""Rows of tinytensor/ops/elementwise/gelu.py."""

import math

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats

OPS = ("gated", "gated_backward")
NORMAL = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[np.float64])

ROWS = [
    Row("gelu", tt.gelu,
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        (floats((3, 4), -4, 4),), ops=OPS,
        torch=lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        also=(((),), ((0, 3),), ((5, 14000),))),
    Row("gelu:none", lambda x: tt.gelu(x, approximate="none"), lambda x: x * NORMAL(x),
        (floats((3, 4), -4, 4),), ops=OPS, torch=lambda torch, x: torch.nn.functional.gelu(x),
        also=(((),), ((0, 3),))),
    Row("silu", tt.silu, lambda x: x / (1 + np.exp(-x)), (floats((3, 4), -4, 4),), ops=OPS,
        torch=lambda torch, x: torch.nn.functional.silu(x), also=(((),), ((0, 3),), ((5, 14000),))),
]  # fmt: skip
