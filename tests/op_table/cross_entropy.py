"""Rows of tinytensor/ops/nn/cross_entropy.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats, ints

OPS = ("cross_entropy", "cross_entropy_backward")


def cross_entropy(
    x: Any, targets: Any, ignore: int = -100, smoothing: float = 0.0, reduction: str = "mean"
) -> Any:
    """The definition: the expected -log(softmax) under the smoothed target distribution."""
    log_p = (x - np.log(np.exp(x).sum(-1, keepdims=True))).reshape(-1, x.shape[-1])
    flat = targets.reshape(-1)
    counted = flat != ignore
    q = np.full(log_p.shape, smoothing / x.shape[-1])
    q[np.arange(flat.size), np.where(counted, flat, 0)] += 1 - smoothing
    loss = -(q * log_p).sum(-1) * counted
    if reduction == "none":
        return loss.reshape(targets.shape)
    return loss.sum() / (counted.sum() if reduction == "mean" else 1)


def oracle(**params: Any) -> Any:
    """PyTorch with the classes on axis 1."""
    return lambda torch, x, t: torch.nn.functional.cross_entropy(x.movedim(-1, 1), t, **params)


ROWS = [
    Row("cross_entropy", tt.cross_entropy, cross_entropy, (floats((6, 5)), ints((6,), 0, 5)), ops=OPS,
        torch=oracle(), also=(((5,), ()), ((2, 9), (2,)), ((1100, 65), (1100,)), ((0, 3), (0,)))),
    Row("cross_entropy:ignore", lambda x, t: tt.cross_entropy(x, t, ignore_index=2),
        lambda x, t: cross_entropy(x, t, 2), (floats((2, 4, 5)), ints((2, 4), 0, 5)), ops=OPS,
        torch=oracle(ignore_index=2)),
    Row("cross_entropy:smooth", lambda x, t: tt.cross_entropy(x, t, label_smoothing=0.1, ignore_index=0),
        lambda x, t: cross_entropy(x, t, 0, 0.1), (floats((2, 4, 5)), ints((2, 4), 0, 5)), ops=OPS,
        torch=oracle(label_smoothing=0.1, ignore_index=0)),
    Row("cross_entropy:sum", lambda x, t: tt.cross_entropy(x, t, label_smoothing=0.2, reduction="sum"),
        lambda x, t: cross_entropy(x, t, -100, 0.2, "sum"), (floats((6, 5)), ints((6,), 0, 5)), ops=OPS,
        torch=oracle(label_smoothing=0.2, reduction="sum")),
    Row("cross_entropy:none", lambda x, t: tt.cross_entropy(x, t, ignore_index=1, reduction="none"),
        lambda x, t: cross_entropy(x, t, 1, 0.0, "none"), (floats((2, 4, 5)), ints((2, 4), 0, 5)), ops=OPS,
        torch=oracle(ignore_index=1, reduction="none"), also=(((0, 3), (0,)),)),
]  # fmt: skip
