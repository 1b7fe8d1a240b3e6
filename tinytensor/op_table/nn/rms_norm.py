"""Rows of rms_norm in tinytensor/ops/nn/layer_norm.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, both, floats, positive
from tinytensor.ops.nn.layer_norm import rms_norm as op

OPS = ("rms_norm", "rms_norm_backward")


def rms_norm(x: Any, weight: Any = 1.0, eps: float = 1e-6) -> Any:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


ROWS = [
    Row("rms_norm", (floats((2, 3, 5)), positive((5,))), lambda _, *xs: op(*xs), rms_norm, ops=OPS,
        torch=lambda torch, x, w: torch.nn.functional.rms_norm(x, w.shape, w, 1e-6),
        also=(((0, 5), (5,)), ((5,), (5,)), ((2, 1), (1,)), ((9000, 16), (16,))), large="r c, c",
        timed=both("rms norm")),
    Row("rms_norm:plain", (floats((4, 8)),), lambda _, x: op(x, eps=1e-3),
        lambda x: rms_norm(x, eps=1e-3),
        torch=lambda torch, x: torch.nn.functional.rms_norm(x, (8,), None, 1e-3), ops=OPS),
]  # fmt: skip
