"""Rows of tinytensor/ops/nn/layer_norm.py."""

from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats, positive

OPS = ("layer_norm", "layer_norm_backward")
# a row of equal numbers has no scale: what is left after centering is rounding, divided by sqrt(eps)
X = replace(floats((2, 3, 5)), repeats=False)


def layer_norm(x: Any, weight: Any = 1.0, bias: Any = 0.0, eps: float = 1e-5) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


ROWS = [
    Row("layer_norm", tt.layer_norm, layer_norm, (X, positive((5,)), floats((5,))), ops=OPS,
        torch=lambda torch, x, w, b: torch.nn.functional.layer_norm(x, (5,), w, b),
        also=(((0, 5), (5,), (5,)), ((5,), (5,), (5,)), ((2, 1), (1,), (1,)), ((9000, 16), (16,), (16,)))),
    Row("layer_norm:weight", lambda x, w: tt.layer_norm(x, w, eps=1e-3),
        lambda x, w: layer_norm(x, w, eps=1e-3), (X, positive((5,))), ops=OPS,
        torch=lambda torch, x, w: torch.nn.functional.layer_norm(x, (5,), w, eps=1e-3)),
    Row("layer_norm:bias", lambda x, b: tt.layer_norm(x, None, b), lambda x, b: layer_norm(x, 1.0, b),
        (X, floats((5,))), ops=OPS,
        # without a weight PyTorch's fused version cannot be differentiated twice
        torch=lambda torch, x, b: torch.nn.functional.layer_norm(x, (5,), torch.ones_like(b), b)),
    Row("layer_norm:plain", tt.layer_norm, layer_norm, (X,), ops=OPS,
        torch=lambda torch, x: torch.nn.functional.layer_norm(x, (5,))),
]  # fmt: skip
