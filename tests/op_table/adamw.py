"""Rows of tinytensor/ops/optim/adamw.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats, positive

LR, BETAS, EPS, DECAY, STEP = 0.01, (0.9, 0.99), 1e-8, 0.1, 3


def adamw_step(p: tt.Tensor, g: tt.Tensor, m: tt.Tensor, v: tt.Tensor) -> tuple[tt.Tensor, ...]:
    """The step writes to its tensors; here to copies."""
    p, m, v = p.clone(), m.clone(), v.clone()
    hyper = tt.adamw_hyper(lr=LR, step=STEP, betas=BETAS, eps=EPS, weight_decay=DECAY, device=p.device)
    tt.adamw_step([p], [g], [m], [v], hyper)
    return p, m, v


def reference(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, ...]:
    m = BETAS[0] * m + (1 - BETAS[0]) * g
    v = BETAS[1] * v + (1 - BETAS[1]) * g * g
    move = (m / (1 - BETAS[0] ** STEP)) / (np.sqrt(v / (1 - BETAS[1] ** STEP)) + EPS)
    return p - LR * DECAY * p - LR * move, m, v


def hyper(scale: Any) -> Any:
    return np.array([0.1, 0.9, 0.1, 0.999, 0.001, 1 - 0.9**3, 1 - 0.999**3, 1e-8, 0.01, scale])


ROWS = [
    Row("adamw_step", adamw_step, reference,
        (floats((3, 4)), floats((3, 4)), floats((3, 4)), positive((3, 4))),
        ops=("adamw",), dtypes=("float64", "float32"), grad=False,
        tol=1e8,  # the numbers of a step are float32: 2**-24 in place of 2**-53 for the row in float64
        also=(((0,),) * 4, ((),) * 4, ((2, 40_000),) * 4)),
    Row("adamw_hyper", lambda s: tt.adamw_hyper(lr=0.1, step=3, scale=s), hyper, (positive(()),), ops=(),
        result="float32", grad=False),
    Row("grad_norm", lambda x, y: tt.grad_norm([x, y]), lambda x, y: np.sqrt((x * x).sum() + (y * y).sum()),
        (floats((3, 4)), floats((5,))), ops=("sum_of_squares",),
        result=lambda dtype: "float64" if dtype == "float64" else "float32",
        torch=lambda torch, x, y: torch.cat([x.flatten(), y]).norm(),
        also=(((0, 3), ()), ((300, 300), (1,)))),
]  # fmt: skip
