"""Rows of tinytensor/ops/reductions/reduction.py."""

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, COMPLEX, FLOATS, Row, floats, numbers

ROWS = [
    Row(
        "sum",
        tt.sum,
        np.sum,
        (numbers((3, 4)),),
        ops=("sum", "spread"),
        dtypes=ALL,
        torch="torch.sum",
        also=(((),), ((0, 3),), ((2, 3, 5000),)),
    ),
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
        "sum:last",
        lambda x: tt.sum(x, axis=-1),
        lambda x: np.sum(x, axis=-1),
        (numbers((3, 4)),),
        dtypes=ALL,
        torch=lambda torch, x: x.sum(-1),
        also=(((2, 0),), ((3,),), ((0,),), ((2, 3, 4),), ((3, 2000),)),
    ),
    Row(
        "sum:first",
        lambda x: tt.sum(x, axis=0),
        lambda x: np.sum(x, axis=0),
        (numbers((3, 4)),),
        dtypes=ALL,
        torch=lambda torch, x: x.sum(0),
        also=(((2, 0),), ((0, 2),), ((3,),), ((2, 3, 4),), ((9000, 2),)),
    ),
    Row(
        "sum:keepdims",
        lambda x: tt.sum(x, axis=(-1, 0), keepdims=True),
        lambda x: np.sum(x, axis=(-1, 0), keepdims=True),
        (floats((3, 4, 2)),),
        torch=lambda torch, x: x.sum((0, -1), keepdim=True),
    ),
    Row(
        "sum:none", lambda x: tt.sum(x, axis=()), lambda x: np.sum(x, axis=()), (numbers((3, 4)),), dtypes=ALL
    ),
    Row(
        "sum:dtype",
        lambda x: tt.sum(x, axis=0, dtype=tt.float64),
        lambda x: np.sum(x, axis=0, dtype=np.float64),
        (numbers((3, 4)),),
        ops=("sum", "cast"),
        dtypes=(*FLOATS, "int8", "bool"),
        result="float64",
        torch=lambda torch, x: x.sum(0, dtype=torch.float64),
    ),
    Row(
        "mean",
        tt.mean,
        np.mean,
        (numbers((3, 4)),),
        dtypes=FLOATS + COMPLEX,
        torch="torch.mean",
        also=(((),), ((1, 1),), ((2, 5000),)),
    ),
    Row(
        "mean:axis",
        lambda x: tt.mean(x, axis=-1, keepdims=True),
        lambda x: np.mean(x, axis=-1, keepdims=True),
        (floats((2, 3, 4)),),
        torch=lambda torch, x: x.mean(-1, keepdim=True),
        also=(((0, 3),),),
    ),
    Row(
        "mean:last",
        lambda x: tt.mean(x, axis=-1),
        lambda x: np.mean(x, axis=-1),
        (floats((3, 4)),),
        torch=lambda torch, x: x.mean(-1),
        also=(((0, 3),), ((3,),)),
    ),
    Row(
        "prod",
        tt.prod,
        np.prod,
        (numbers((2, 3), low=-3, high=3),),
        dtypes=ALL,
        torch="torch.prod",
        also=(((),), ((0, 3),), ((1, 1),)),
    ),
    Row(
        "prod:axis",
        lambda x: tt.prod(x, axis=1),
        lambda x: np.prod(x, axis=1),
        (numbers((3, 4, 2), low=-3, high=3),),
        dtypes=ALL,
        torch=lambda torch, x: x.prod(1),
        also=(((2, 0, 3),), ((0, 2, 3),)),
    ),
    Row(
        "prod:keepdims",
        lambda x: tt.prod(x, axis=(2, 0), keepdims=True),
        lambda x: np.prod(x, axis=(2, 0), keepdims=True),
        (floats((2, 2, 3)),),
    ),
]
