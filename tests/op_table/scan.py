"""Rows of tinytensor/ops/reductions/scan.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, FLOATS, NUMERIC, Input, Row, floats, numbers


def with_zeros(shape: tuple[int, ...]) -> Input:
    """Floats of which about a third is exactly zero."""

    def draw(rng: np.random.Generator, s: tuple[int, ...], _: str) -> Any:
        return rng.uniform(-2, 2, s) * (rng.random(s) < 0.66)

    return Input(shape, "float", draw)


ROWS = [
    Row(
        "cumulative_sum",
        lambda x: tt.cumulative_sum(x, axis=1),
        lambda x: np.cumulative_sum(x, axis=1),
        (numbers((2, 5, 2)),),
        dtypes=ALL,
        torch=lambda torch, x: x.cumsum(1),
        also=(((2, 0),), ((0, 2),), ((1, 1),)),
    ),
    Row(
        "cumulative_sum:initial",
        lambda x: tt.cumulative_sum(x, include_initial=True),
        lambda x: np.cumulative_sum(x, include_initial=True),
        (numbers((5,)),),
        ops=("cumulative_sum", "pad"),
        dtypes=ALL,
        also=(((0,),), ((1,),)),
    ),
    Row(
        "cumulative_sum:dtype",
        lambda x: tt.cumulative_sum(x, axis=0, dtype=tt.float64),
        lambda x: np.cumulative_sum(x, axis=0, dtype=np.float64),
        (numbers((3, 2)),),
        ops=("cumulative_sum", "cast"),
        dtypes=(*FLOATS, "uint8"),
        result="float64",
        torch=lambda torch, x: x.cumsum(0, dtype=torch.float64),
    ),
    Row(
        "cumulative_prod",
        lambda x: tt.cumulative_prod(x, axis=-1),
        lambda x: np.cumulative_prod(x, axis=-1),
        (numbers((2, 5), low=-3, high=3),),
        ops=("cumulative_prod", "recurrence"),
        dtypes=ALL,
        torch=lambda torch, x: x.cumprod(-1),
        also=(((2, 0),), ((0, 2),), ((1, 1),)),
    ),
    Row(
        "cumulative_prod:zeros",
        lambda x: tt.cumulative_prod(x, axis=0),
        lambda x: np.cumulative_prod(x, axis=0),
        (with_zeros((6, 3)),),
        ops=("cumulative_prod", "recurrence"),
        torch=lambda torch, x: x.cumprod(0),
    ),
    Row(
        "cumulative_prod:initial",
        lambda x: tt.cumulative_prod(x, axis=1, include_initial=True),
        lambda x: np.cumulative_prod(x, axis=1, include_initial=True),
        (numbers((2, 3), low=-3, high=3),),
        ops=("cumulative_prod", "pad"),
        dtypes=ALL,
        also=(((2, 0),),),
    ),
    Row(
        "diff",
        lambda x: tt.diff(x, axis=0),
        lambda x: np.diff(x, axis=0),
        (numbers((4, 3)),),
        ops=("index", "subtract"),
        dtypes=NUMERIC,
        torch=lambda torch, x: x.diff(dim=0),
        also=(((1, 2),), ((0, 2),)),
    ),
    Row(
        "diff:twice",
        lambda x, a, b: tt.diff(x, 2, prepend=a, append=b),
        lambda x, a, b: np.diff(x, n=2, prepend=a, append=b),
        (floats((2, 4)), floats((2, 1)), floats((2, 2))),
        ops=("index", "subtract", "join"),
        torch=lambda torch, x, a, b: x.diff(2, prepend=a, append=b),
    ),
]
