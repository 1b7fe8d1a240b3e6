"""Rows of tinytensor/ops/reductions/sorting.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, REAL, Input, Row, distinct, numbers


def ties(shape: tuple[int, ...]) -> Input:
    """Numbers of any real dtype of which many are equal."""
    return Input(shape, "number", lambda rng, s, dtype: rng.integers(0, 2 if dtype == "bool" else 4, s))


def descending(x: Any, axis: int) -> Any:
    """Stable descending order: among equal elements, those that came first stay first."""
    return np.lexsort((np.broadcast_to(np.arange(x.shape[axis]), x.shape), -x.astype(float)), axis)


def best(x: Any, k: int, axis: int, largest: bool) -> tuple[Any, Any]:
    """topk by sorting everything."""
    order = np.take(np.argsort(-x if largest else x, axis, kind="stable"), np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


def sorted_first(x: Any) -> Any:
    return tt.sort(tt.reshape(x, -1))


ROWS = [
    Row(
        "sort",
        tt.sort,
        np.sort,
        (distinct((3, 5)),),
        torch=lambda torch, x: x.sort(-1).values,
        also=(((0, 3),), ((3, 0),), ((1,),)),
    ),
    Row(
        "sort:descending",
        lambda x: tt.sort(x, axis=0, descending=True, stable=False),
        lambda x: -np.sort(-x, axis=0),
        (distinct((5, 3)),),
        torch=lambda torch, x: x.sort(0, descending=True).values,
    ),
    Row(
        "sort:ties",
        lambda x: tt.sort(x, axis=1, descending=True),
        lambda x: np.sort(x, axis=1)[:, ::-1],
        (ties((3, 6)),),
        dtypes=REAL,
        grad=False,
    ),
    Row(
        "argsort",
        tt.argsort,
        lambda x: np.argsort(x, kind="stable"),
        (ties((3, 6)),),
        dtypes=REAL,
        grad=False,
    ),
    Row(
        "argsort:descending",
        lambda x: tt.argsort(x, axis=1, descending=True),
        lambda x: descending(x, 1),
        (ties((3, 6)),),
        dtypes=REAL,
        grad=False,
        also=(((2, 0),), ((0, 2),)),
    ),
    Row(
        "argsort:unstable",
        lambda x: tt.argsort(x, axis=0, stable=False),
        lambda x: np.argsort(x, axis=0),
        (distinct((5, 2)),),
        grad=False,
    ),
    Row(
        "topk",
        lambda x: tt.topk(x, 2),
        lambda x: best(x, 2, -1, True),
        (distinct((3, 5)),),
        result=lambda dtype: (dtype, "int64"),
        torch=lambda torch, x: x.topk(2),
        also=(((0, 4),), ((2,),)),
    ),
    Row(
        "topk:smallest",
        lambda x: tt.topk(x, 3, axis=0, largest=False),
        lambda x: best(x, 3, 0, False),
        (distinct((4, 2, 3)),),
        result=lambda dtype: (dtype, "int64"),
        torch=lambda torch, x: x.topk(3, 0, largest=False),
    ),
    Row(
        "topk:values",
        lambda x: tt.topk(x, 4, axis=1)[0],
        lambda x: np.sort(x, axis=1)[:, :-5:-1],
        (ties((3, 6)),),
        dtypes=REAL,
        grad=False,
    ),
    Row(
        "searchsorted",
        lambda a, v: tt.searchsorted(sorted_first(a), v),
        lambda a, v: np.searchsorted(np.sort(a, axis=None), v),
        (ties((7,)), numbers((2, 3))),
        dtypes=REAL,
        grad=False,
        result="int64",
        also=(((0,), (3,)), ((4,), ())),
    ),
    Row(
        "searchsorted:sorter",
        lambda a, v: tt.searchsorted(a, v, side="right", sorter=tt.argsort(a)),
        lambda a, v: np.searchsorted(np.sort(a), v, side="right"),
        (ties((7,)), numbers((4,))),
        dtypes=REAL,
        grad=False,
        result="int64",
    ),
    *[
        Row(
            name,
            getattr(tt, name),
            np.unique,
            (ties((3, 4)),),
            ops=(),
            dtypes=ALL,
            grad=False,
            also=(((),), ((0,),)),
        )
        for name in ("unique_values", "unique")
    ],
    Row(
        "unique_all",
        lambda x: tuple(tt.unique_all(x)),
        lambda x: np.unique(x, return_index=True, return_inverse=True, return_counts=True),
        (ties((3, 4)),),
        ops=(),
        dtypes=REAL,
        grad=False,
        result=lambda dtype: (dtype, "int64", "int64", "int64"),
        also=(((),), ((0, 2),)),
    ),
    Row(
        "unique_counts",
        lambda x: tuple(tt.unique_counts(x)),
        lambda x: np.unique(x, return_counts=True),
        (ties((3, 4)),),
        ops=(),
        dtypes=REAL,
        grad=False,
        result=lambda dtype: (dtype, "int64"),
    ),
    Row(
        "unique_inverse",
        lambda x: tuple(tt.unique_inverse(x)),
        lambda x: np.unique(x, return_inverse=True),
        (ties((3, 4)),),
        ops=(),
        dtypes=REAL,
        grad=False,
        result=lambda dtype: (dtype, "int64"),
    ),
]
