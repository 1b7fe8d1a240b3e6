"""Rows of tinytensor/ops/reductions/reduction.py."""

from tinytensor.op_table.row import ALL, COMPLEX, FLOATS, Row, both, floats, near_one, numbers

MATRIX, FACTORS = numbers((3, 4)), numbers((3, 4, 2), low=-3, high=3)

ROWS = [
    Row("sum", (MATRIX,), torch=True, ops=("sum", "spread"), dtypes=ALL,
        also=(((),), ((0, 3),), ((2, 3, 5000),)), timed=both("sum")),
    Row("sum:axis", (numbers((3, 4, 2)),), lambda xp, x: xp.sum(x, axis=1), torch=True, dtypes=ALL,
        also=(((2, 0, 3),), ((0, 2, 3),), ((1, 1, 1),))),
    Row("sum:last", (MATRIX,), lambda xp, x: xp.sum(x, axis=-1), torch=True, dtypes=ALL,
        also=(((2, 0),), ((3,),), ((0,),), ((2, 3, 4),), ((3, 2000),)), large="r c", timed="sum of rows"),
    Row("sum:first", (MATRIX,), lambda xp, x: xp.sum(x, axis=0), torch=True, dtypes=ALL,
        also=(((2, 0),), ((0, 2),), ((3,),), ((2, 3, 4),), ((9000, 2),)), large="r c",
        timed="sum of columns"),
    Row("sum:transposed", (MATRIX,), lambda xp, x: xp.sum(x.T, axis=0), torch=True, large="r c"),
    Row("sum:keepdims", (floats((3, 4, 2)),), lambda xp, x: xp.sum(x, axis=(-1, 0), keepdims=True),
        torch=True, large="4 r c"),
    Row("sum:none", (MATRIX,), lambda xp, x: xp.sum(x, axis=()), dtypes=ALL),
    Row("sum:dtype", (MATRIX,), lambda xp, x: xp.sum(x, axis=0, dtype=xp.float64), torch=True,
        ops=("sum", "cast"), dtypes=(*FLOATS, "int8", "bool"), result="float64"),
    Row("mean", (MATRIX,), torch=True, dtypes=FLOATS + COMPLEX, also=(((),), ((1, 1),), ((2, 5000),))),
    Row("mean:axis", (floats((2, 3, 4)),), lambda xp, x: xp.mean(x, axis=-1, keepdims=True), torch=True,
        also=(((0, 3),),)),
    Row("mean:last", (floats((3, 4)),), lambda xp, x: xp.mean(x, axis=-1), torch=True,
        also=(((0, 3),), ((3,),)), large="r c", timed="mean of rows"),
    Row("mean:first", (floats((3, 4)),), lambda xp, x: xp.mean(x, axis=0), torch=True, large="r c"),
    Row("prod", (numbers((2, 3), low=-3, high=3),), torch=True, dtypes=ALL,
        also=(((),), ((0, 3),), ((1, 1),)), large=""),
    Row("prod:axis", (FACTORS,), lambda xp, x: xp.prod(x, axis=1), torch=True, dtypes=ALL,
        also=(((2, 0, 3),), ((0, 2, 3),)), large="4 5 6"),
    Row("prod:last", (near_one((3, 4)),), lambda xp, x: xp.prod(x, axis=1), torch=True, large="r c",
        timed="prod of rows"),
    Row("prod:keepdims", (floats((2, 2, 3)),), lambda xp, x: xp.prod(x, axis=(2, 0), keepdims=True)),
]  # fmt: skip
