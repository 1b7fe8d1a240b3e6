"""Rows of tinytensor/ops/reductions/sorting.py."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import ALL, REAL, Input, Row, Shape, distinct, numbers, ties

TIES = ties((3, 6), 4)
SECOND: Any = {"result": lambda dtype: (dtype, "int64")}
UNIQUE: Any = {"ops": (), "dtypes": REAL, "grad": False}


def ascending(shape: Shape) -> Input:
    """Sorted floats."""
    return Input(shape, "float", lambda rng, s, _: np.sort(rng.uniform(-2, 2, s)), repeats=False)


def descending(x: Any, axis: int) -> Any:
    """Stable descending order: among equal elements, those that came first stay first."""
    return np.lexsort((np.broadcast_to(np.arange(x.shape[axis]), x.shape), -x.astype(float)), axis)


def best(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    """topk by sorting everything."""
    order = np.take(np.argsort(-x if largest else x, axis, kind="stable"), np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


ROWS = [
    Row("sort", (distinct((3, 5)),), torch=lambda torch, x: x.sort(-1).values,
        also=(((0, 3),), ((3, 0),), ((1,),)), timed="sort of rows"),
    Row("sort:descending", (distinct((5, 3)),),
        lambda xp, x: xp.sort(x, axis=0, descending=True, stable=False), lambda x: -np.sort(-x, axis=0),
        torch=lambda torch, x: x.sort(0, descending=True).values),
    Row("sort:columns", (distinct((5, 3)),), lambda xp, x: xp.sort(x, axis=0), large="r c"),
    Row("sort:ties", (TIES,), lambda xp, x: xp.sort(x, axis=1, descending=True),
        lambda x: np.sort(x, axis=1)[:, ::-1], dtypes=REAL, grad=False, large="2 5000"),
    Row("argsort", (TIES,), numpy=lambda x: np.argsort(x, kind="stable"), dtypes=REAL, grad=False),
    Row("argsort:distinct", (distinct((3, 5)),), torch=True, grad=False, large="r c",
        timed="argsort of rows"),
    Row("argsort:descending", (TIES,), lambda xp, x: xp.argsort(x, axis=1, descending=True),
        lambda x: descending(x, 1), dtypes=REAL, grad=False, also=(((2, 0),), ((0, 2),))),
    Row("argsort:unstable", (distinct((5, 2)),), lambda xp, x: xp.argsort(x, axis=0, stable=False),
        lambda x: np.argsort(x, axis=0), grad=False),
    Row("topk", (distinct((3, 5)),), lambda xp, x: xp.topk(x, 2), lambda x: best(x, 2), torch=True, **SECOND,
        also=(((0, 4),), ((2,),)), large=""),
    Row("topk:8", (distinct((3, 9)),), lambda xp, x: xp.topk(x, 8), lambda x: best(x, 8), torch=True,
        **SECOND, large="r c", timed="top 8 of rows"),
    Row("topk:long", (distinct((2, 9)),), lambda xp, x: xp.topk(x, 3)[0],
        lambda x: best(x, 3)[0], grad=False, large="2 5000"),
    Row("topk:smallest", (distinct((4, 2, 3)),), lambda xp, x: xp.topk(x, 3, axis=0, largest=False),
        lambda x: best(x, 3, 0, False), torch=lambda torch, x: x.topk(3, 0, largest=False), **SECOND),
    Row("topk:values", (TIES,), lambda xp, x: xp.topk(x, 4, axis=1)[0],
        lambda x: np.sort(x, axis=1)[:, :-5:-1], dtypes=REAL, grad=False),
    Row("searchsorted", (ties((7,), 4), numbers((2, 3))),
        lambda xp, a, v: xp.searchsorted(xp.sort(xp.reshape(a, (-1,))), v), dtypes=REAL, grad=False,
        result="int64", also=(((0,), (3,)), ((4,), ())), large=""),
    Row("searchsorted:sorted", (ascending((7,)), numbers((4,))), torch=True, grad=False, result="int64",
        large="n, n", timed="searchsorted"),
    Row("searchsorted:sorter", (ties((7,), 4), numbers((4,))),
        lambda xp, a, v: xp.searchsorted(a, v, side="right", sorter=xp.argsort(a)), dtypes=REAL, grad=False,
        result="int64"),
    *[
        Row(name, (ties((3, 4), 4),), numpy=np.unique, ops=(), dtypes=ALL, grad=False, also=(((),), ((0,),)))
        for name in ("unique_values", "unique")
    ],
    Row("unique:distinct", (distinct((3, 4)),), torch=True, ops=(), grad=False, large="r c", timed="unique"),
    Row("unique_all", (ties((3, 4), 4),), lambda xp, x: tuple(xp.unique_all(x)),
        lambda x: np.unique(x, return_index=True, return_inverse=True, return_counts=True), **UNIQUE,
        result=lambda dtype: (dtype, "int64", "int64", "int64"), also=(((),), ((0, 2),))),
    Row("unique_counts", (ties((3, 4), 4),), lambda xp, x: tuple(xp.unique_counts(x)),
        lambda x: np.unique(x, return_counts=True), **UNIQUE, **SECOND),
    Row("unique_inverse", (ties((3, 4), 4),), lambda xp, x: tuple(xp.unique_inverse(x)),
        lambda x: np.unique(x, return_inverse=True), **UNIQUE, **SECOND),
]  # fmt: skip
