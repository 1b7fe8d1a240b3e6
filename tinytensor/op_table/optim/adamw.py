"""Rows of tinytensor/ops/optim/adamw.py."""

from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.op_table.row import Row, floats, positive

LR, BETAS, EPS, DECAY, STEP = 0.01, (0.9, 0.99), 1e-8, 0.1, 3
MATRIX, SQUARE = floats((3, 4)), positive((3, 4))
MOMENTS = replace(MATRIX, kind="wide"), replace(SQUARE, kind="wide")


def step(_: Any, p: tt.Tensor, g: tt.Tensor, m: tt.Tensor, v: tt.Tensor) -> None:
    """One step of one parameter."""
    hyper = tt.adamw_hyper(lr=LR, step=STEP, betas=BETAS, eps=EPS, weight_decay=DECAY, device=p.device)
    tt.adamw_step([p], [g], [m], [v], hyper)


def reference(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, ...]:
    m = BETAS[0] * m + (1 - BETAS[0]) * g
    v = BETAS[1] * v + (1 - BETAS[1]) * g * g
    move = (m / (1 - BETAS[0] ** STEP)) / (np.sqrt(v / (1 - BETAS[1] ** STEP)) + EPS)
    return p - LR * DECAY * p - LR * move, m, v


def theirs(torch: Any, p: Any, g: Any, m: Any, v: Any) -> None:
    options = {"lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": DECAY, "eps": EPS}
    at = torch.full((), STEP, dtype=torch.float32, device=p.device)
    torch._fused_adamw_([p], [g], [m], [v], [], [at], amsgrad=False, maximize=False, **options)


def wide(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def hyper(scale: Any) -> Any:
    return np.array([0.1, 0.9, 0.1, 0.999, 0.001, 1 - 0.9**3, 1 - 0.999**3, 1e-8, 0.01, scale])


ROWS = [
    Row("adamw_step", (MATRIX, MATRIX, MATRIX, SQUARE), step, reference, torch=theirs, writes=(0, 2, 3),
        ops=("adamw",), dtypes=("float64", "float32"), grad=False,
        tol=1e8,  # the numbers of a step are float32: 2**-24 in place of 2**-53 for the row in float64
        also=(((0,),) * 4, ((),) * 4, ((2, 40_000),) * 4), large="r c, r c, r c, r c", timed="adamw"),
    Row("adamw_step:narrow", (MATRIX, MATRIX, *MOMENTS), step, reference, writes=(0, 2, 3), ops=("adamw",),
        dtypes=("float16", "bfloat16"), grad=False, result=lambda dtype: (dtype, "float32", "float32"),
        large="r c, r c, r c, r c"),
    Row("adamw_hyper", (positive(()),), lambda xp, s: xp.adamw_hyper(lr=0.1, step=3, scale=s), hyper, ops=(),
        result="float32", grad=False),
    Row("grad_norm", (MATRIX, floats((5,))), lambda xp, x, y: xp.grad_norm([x, y]),
        lambda x, y: np.sqrt((x * x).sum() + (y * y).sum()), ops=("sum_of_squares",),
        result=wide,
        torch=lambda torch, x, y: torch.cat([x.flatten(), y]).norm(),
        also=(((0, 3), ()), ((300, 300), (1,))), large="r c, c"),
    Row("grad_norm:three", (MATRIX, floats((5,)), SQUARE), lambda xp, x, y, z: xp.grad_norm([x, y, z]),
        lambda *xs: np.sqrt(sum((x * x).sum() for x in xs)), ops=(), grad=False, result=wide,
        large="r c, c, r c"),
    Row("grad_norm:one", (MATRIX,), lambda xp, x: xp.grad_norm([x]), np.linalg.norm,
        torch="torch.linalg.norm", ops=("sum_of_squares",),
        result=wide, large="r c",
        timed="norm of gradients"),
]  # fmt: skip
