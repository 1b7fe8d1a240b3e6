"""Rows of tinytensor/ops/nn/layer_norm.py."""

from dataclasses import replace
from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, both, floats, positive
from tinytensor.ops.nn.layer_norm import layer_norm as op

OPS = ("layer_norm", "layer_norm_backward")
# a row of equal numbers has no scale: what is left after centering is rounding, divided by sqrt(eps)
X = replace(floats((2, 3, 5)), repeats=False)


def layer_norm(x: Any, weight: Any = 1.0, bias: Any = 0.0, eps: float = 1e-5) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def theirs(torch: Any, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


ROWS = [
    Row("layer_norm", (X, positive((5,)), floats((5,))), lambda _, *xs: op(*xs), layer_norm,
        torch=theirs, ops=OPS,
        also=(((0, 5), (5,), (5,)), ((5,), (5,), (5,)), ((2, 1), (1,), (1,)), ((9000, 16), (16,), (16,))),
        large="r c, c, c", timed=both("layer norm")),
    Row("layer_norm:weight", (X, positive((5,))), lambda _, x, w: op(x, w, eps=1e-3),
        lambda x, w: layer_norm(x, w, eps=1e-3), torch=lambda torch, x, w: theirs(torch, x, w, eps=1e-3),
        ops=OPS),
    # without a weight PyTorch's fused version cannot be differentiated twice
    Row("layer_norm:bias", (X, floats((5,))), lambda _, x, b: op(x, None, b),
        lambda x, b: layer_norm(x, 1.0, b), torch=lambda torch, x, b: theirs(torch, x, torch.ones_like(b), b),
        ops=OPS),
    Row("layer_norm:plain", (X,), lambda _, x: op(x), numpy=layer_norm, torch=theirs, ops=OPS),
]  # fmt: skip
