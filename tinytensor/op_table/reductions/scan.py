"""Rows of tinytensor/ops/reductions/scan.py."""

import numpy as np

from tinytensor.op_table.row import (
    ALL,
    FLOATS,
    NUMERIC,
    Array,
    Input,
    Row,
    Shape,
    both,
    floats,
    near_one,
    numbers,
)

FACTORS = numbers((2, 5), low=-3, high=3)


def with_zeros(shape: Shape) -> Input:
    """Floats of which about a third is exactly zero."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        return rng.uniform(-2, 2, s) * (rng.random(s) < 0.66)

    return Input(shape, "float", draw)


ROWS = [
    Row("cumulative_sum", (numbers((2, 5, 2)),), lambda xp, x: xp.cumulative_sum(x, axis=1), dtypes=ALL,
        torch=lambda torch, x: x.cumsum(1), also=(((2, 0),), ((0, 2),), ((1, 1),)), large="r c",
        timed="cumulative sum"),
    Row("cumulative_sum:columns", (floats((3, 4)),), lambda xp, x: xp.cumulative_sum(x, axis=0), large="r c"),
    Row("cumulative_sum:initial", (numbers((5,)),), lambda xp, x: xp.cumulative_sum(x, include_initial=True),
        ops=("cumulative_sum", "pad"), dtypes=ALL, also=(((0,),), ((1,),))),
    Row("cumulative_sum:dtype", (numbers((3, 2)),),
        lambda xp, x: xp.cumulative_sum(x, axis=0, dtype=xp.float64),
        torch=lambda torch, x: x.cumsum(0, dtype=torch.float64), ops=("cumulative_sum", "cast"),
        dtypes=(*FLOATS, "uint8"), result="float64"),
    Row("cumulative_prod", (FACTORS,), lambda xp, x: xp.cumulative_prod(x, axis=-1), dtypes=ALL,
        torch=lambda torch, x: x.cumprod(-1), ops=("cumulative_prod", "recurrence"),
        also=(((2, 0),), ((0, 2),), ((1, 1),)), large="r 9"),
    Row("cumulative_prod:rows", (near_one((3, 4)),), lambda xp, x: xp.cumulative_prod(x, axis=1),
        torch=lambda torch, x: x.cumprod(1), ops=("cumulative_prod", "recurrence"), large="r c",
        timed=both("cumulative product")),
    Row("cumulative_prod:zeros", (with_zeros((6, 3)),), lambda xp, x: xp.cumulative_prod(x, axis=0),
        torch=lambda torch, x: x.cumprod(0), ops=("cumulative_prod", "recurrence")),
    Row("cumulative_prod:initial", (numbers((2, 3), low=-3, high=3),),
        lambda xp, x: xp.cumulative_prod(x, axis=1, include_initial=True), ops=("cumulative_prod", "pad"),
        dtypes=ALL, also=(((2, 0),),)),
    Row("diff", (numbers((4, 3)),), lambda xp, x: xp.diff(x, axis=0), torch=lambda torch, x: x.diff(dim=0),
        ops=("index", "subtract"), dtypes=NUMERIC, also=(((1, 2),), ((0, 2),))),
    Row("diff:twice", (floats((2, 4)), floats((2, 1)), floats((2, 2))),
        lambda xp, x, a, b: xp.diff(x, 2, prepend=a, append=b), torch=True,
        ops=("index", "subtract", "join")),
]  # fmt: skip
