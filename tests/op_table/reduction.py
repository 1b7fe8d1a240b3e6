"""Rows of tinytensor/ops/reduction.py."""

import numpy as np

import tinytensor as tt

from .row import ALL, COMPLEX, FLOATS, Row, floats, numbers

ROWS = [
    Row("sum", tt.sum, np.sum, (numbers((3, 4)),), dtypes=ALL, torch="torch.sum", also=(((),), ((0, 3),))),
    Row(
        "sum:axis",
        lambda x: tt.sum(x, axis=1),
        lambda x: np.sum(x, axis=1),
        (numbers((3, 4, 2)),),
        dtypes=ALL,
        torch=lambda torch, x: x.sum(1),
        also=(((2, 0, 3),), ((0, 2, 3),), ((1, 1, 1),)),
    ),
    Row(
        "sum:keepdims",
        lambda x: tt.sum(x, axis=(0, -1), keepdims=True),
        lambda x: np.sum(x, axis=(0, -1), keepdims=True),
        (floats((3, 4, 2)),),
        torch=lambda torch, x: x.sum((0, -1), keepdim=True),
    ),
    Row(
        "mean",
        tt.mean,
        np.mean,
        (numbers((3, 4)),),
        dtypes=FLOATS + COMPLEX,
        torch="torch.mean",
        also=(((),), ((1, 1),)),
    ),
    Row(
        "mean:axis",
        lambda x: tt.mean(x, axis=-1, keepdims=True),
        lambda x: np.mean(x, axis=-1, keepdims=True),
        (floats((2, 3, 4)),),
        torch=lambda torch, x: x.mean(-1, keepdim=True),
        also=(((0, 3),),),
    ),
]
