"""Rows of tinytensor/ops/nn/loss.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, both, floats, ints
from tinytensor.ops.nn import loss

X, UNIT = floats((3, 4)), floats((3, 4), 0, 1)


def picked(x: Any, targets: Any) -> Any:
    return -np.take_along_axis(x, targets[..., None], -1)[..., 0]


def nll(name: str, numpy: Any, params: Any = (), **more: Any) -> Row:
    """A row of nll_loss; PyTorch has the classes on axis 1."""
    given = dict(params)
    return Row(f"nll_loss{name}", (floats((2, 4, 5)), ints((2, 4), 0, 5)),
        lambda _, x, t: loss.nll_loss(x, t, **given), numpy,
        lambda torch, x, t: torch.nn.functional.nll_loss(x.movedim(-1, 1), t, **given),
        ops=("nll_loss", "nll_loss_backward"), second=False, large="r c, r < c", **more)  # fmt: skip


ROWS = [
    nll("", lambda x, t: picked(x, t).mean(), also=(((5,), ()),), timed=both("nll loss")),
    nll(":ignore", lambda x, t: (picked(x, t) * (t != 3)).sum(), {"ignore_index": 3, "reduction": "sum"}),
    nll(":none", lambda x, t: picked(x, t) * (t != 3), {"ignore_index": 3, "reduction": "none"},
        also=(((0, 3), (0,)),)),
    Row("mse_loss", (X, X), lambda _, *xs: loss.mse_loss(*xs), lambda x, y: ((x - y) ** 2).mean(),
        torch="torch.nn.functional.mse_loss",
        ops=(), also=(((), ()),), large="r c, r c"),
    Row("mse_loss:sum", (X, X), lambda _, x, y: loss.mse_loss(x, y, reduction="sum"),
        lambda x, y: ((x - y) ** 2).sum(), ops=(),
        torch=lambda torch, x, y: torch.nn.functional.mse_loss(x, y, reduction="sum")),
    Row("bce_with_logits", (X, UNIT), lambda _, *xs: loss.bce_with_logits(*xs),
        lambda x, t: (np.log1p(np.exp(x)) - x * t).mean(), ops=(),
        torch="torch.nn.functional.binary_cross_entropy_with_logits", also=(((), ()),), large="r c, r c"),
    Row("bce_with_logits:none", (X, UNIT), lambda _, x, t: loss.bce_with_logits(x, t, reduction="none"),
        lambda x, t: np.log1p(np.exp(x)) - x * t, ops=(),
        torch=lambda torch, x, t: torch.nn.functional.binary_cross_entropy_with_logits(
            x, t, reduction="none"), tol=3.0),  # 16-bit floats are rounded after each of three ops
]  # fmt: skip
