"""Rows of tinytensor/ops/nn/loss.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats, ints

OPS = ("nll_loss", "nll_loss_backward")
NLL = (floats((2, 4, 5)), ints((2, 4), 0, 5))


def picked(x: Any, targets: Any) -> Any:
    return -np.take_along_axis(x, targets[..., None], -1)[..., 0]


ROWS = [
    Row("nll_loss", tt.nll_loss, lambda x, t: picked(x, t).mean(), NLL, ops=OPS, second=False,
        torch=lambda torch, x, t: torch.nn.functional.nll_loss(x.movedim(-1, 1), t), also=(((5,), ()),)),
    Row("nll_loss:ignore", lambda x, t: tt.nll_loss(x, t, ignore_index=3, reduction="sum"),
        lambda x, t: (picked(x, t) * (t != 3)).sum(), NLL, ops=OPS, second=False,
        torch=lambda torch, x, t: torch.nn.functional.nll_loss(
            x.movedim(-1, 1), t, ignore_index=3, reduction="sum")),
    Row("nll_loss:none", lambda x, t: tt.nll_loss(x, t, ignore_index=3, reduction="none"),
        lambda x, t: picked(x, t) * (t != 3), NLL, ops=OPS, second=False,
        torch=lambda torch, x, t: torch.nn.functional.nll_loss(
            x.movedim(-1, 1), t, ignore_index=3, reduction="none"), also=(((0, 3), (0,)),)),
    Row("mse_loss", tt.mse_loss, lambda x, y: ((x - y) ** 2).mean(), (floats((3, 4)), floats((3, 4))),
        ops=(), torch="torch.nn.functional.mse_loss", also=(((), ()),)),
    Row("mse_loss:sum", lambda x, y: tt.mse_loss(x, y, reduction="sum"), lambda x, y: ((x - y) ** 2).sum(),
        (floats((3, 4)), floats((3, 4))), ops=(),
        torch=lambda torch, x, y: torch.nn.functional.mse_loss(x, y, reduction="sum")),
    Row("bce_with_logits", tt.bce_with_logits, lambda x, t: (np.log1p(np.exp(x)) - x * t).mean(),
        (floats((3, 4)), floats((3, 4), 0, 1)), ops=(),
        torch="torch.nn.functional.binary_cross_entropy_with_logits", also=(((), ()),)),
    Row("bce_with_logits:none", lambda x, t: tt.bce_with_logits(x, t, reduction="none"),
        lambda x, t: np.log1p(np.exp(x)) - x * t, (floats((3, 4)), floats((3, 4), 0, 1)), ops=(),
        torch=lambda torch, x, t: torch.nn.functional.binary_cross_entropy_with_logits(
            x, t, reduction="none"), tol=3.0),  # 16-bit floats are rounded after each of three ops
]  # fmt: skip
