"""Rows of tinytensor/ops/nn/cross_entropy.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, Shape, both, floats, ints
from tinytensor.ops.nn.cross_entropy import cross_entropy as op


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


def row(name: str, numpy: Any, params: Any = (), lead: Shape = (2, 4), **more: Any) -> Row:
    """A row with parameters that PyTorch has, too; it has the classes on axis 1."""
    given = dict(params)
    return Row(f"cross_entropy{name}", (floats((*lead, 5)), ints(lead, 0, 5)),
        lambda _, x, t: op(x, t, **given), numpy,
        lambda torch, x, t: torch.nn.functional.cross_entropy(x.movedim(-1, 1), t, **given),
        ops=("cross_entropy", "cross_entropy_backward"), large="r c, r < c", **more)  # fmt: skip


ROWS = [
    row("", cross_entropy, lead=(6,),
        also=(((5,), ()), ((2, 9), (2,)), ((1100, 65), (1100,)), ((0, 3), (0,))),
        timed=both("cross entropy")),
    row(":ignore", lambda x, t: cross_entropy(x, t, 2), {"ignore_index": 2}),
    row(":smooth", lambda x, t: cross_entropy(x, t, 0, 0.1), {"label_smoothing": 0.1, "ignore_index": 0}),
    row(":sum", lambda x, t: cross_entropy(x, t, -100, 0.2, "sum"),
        {"label_smoothing": 0.2, "reduction": "sum"}, (6,)),
    row(":none", lambda x, t: cross_entropy(x, t, 1, 0.0, "none"), {"ignore_index": 1, "reduction": "none"},
        also=(((0, 3), (0,)),)),
]  # fmt: skip
