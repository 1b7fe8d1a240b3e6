"""Rows of tinytensor/ops/reductions/min_max.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, REAL, Input, Row, distinct, numbers


def ties(shape: tuple[int, ...]) -> Input:
    """Numbers of any real dtype of which many are equal."""
    return Input(shape, "number", lambda rng, s, dtype: rng.integers(0, 2 if dtype == "bool" else 3, s))


def extreme(name: str, **more: Any) -> list[Row]:
    """Values without ties, where the gradient exists, and with ties."""
    ours: Callable[..., Any] = getattr(tt, name)
    theirs: Callable[..., Any] = getattr(np, name)
    amax = {"max": "amax", "min": "amin"}[name]
    return [
        Row(
            name,
            ours,
            theirs,
            (distinct((3, 4)),),
            ops=(name, "tie_share"),
            torch=lambda torch, x: getattr(torch, amax)(x),
            also=(((),), ((1, 1),)),
        ),
        Row(
            f"{name}:axis",
            lambda x: ours(x, axis=1),
            lambda x: theirs(x, axis=1),
            (distinct((3, 4, 2)),),
            ops=(name, "tie_share"),
            torch=lambda torch, x: getattr(x, amax)(1),
            also=(((0, 2),), ((2, 3, 0),)),
        ),
        Row(
            f"{name}:keepdims",
            lambda x: ours(x, axis=(0, -1), keepdims=True),
            lambda x: theirs(x, axis=(0, -1), keepdims=True),
            (distinct((3, 2, 4)),),
            ops=(name, "tie_share"),
        ),
        Row(
            f"{name}:ties",
            lambda x: ours(x, axis=0),
            lambda x: theirs(x, axis=0),
            (ties((5, 4)),),
            ops=(name,),
            dtypes=REAL,
            grad=False,
            torch=lambda torch, x: getattr(x, amax)(0),
        ),
    ]


def place(name: str) -> list[Row]:
    """argmax and argmin, with ties."""
    ours: Callable[..., Any] = getattr(tt, name)
    theirs: Callable[..., Any] = getattr(np, name)
    return [
        Row(name, ours, theirs, (ties((3, 4)),), dtypes=REAL, grad=False, also=(((),), ((1,),))),
        Row(
            f"{name}:axis",
            lambda x: ours(x, axis=1),
            lambda x: theirs(x, axis=1),
            (ties((3, 4, 2)),),
            dtypes=REAL,
            grad=False,
            also=(((0, 3),), ((2, 3, 0),)),
        ),
        Row(
            f"{name}:keepdims",
            lambda x: ours(x, axis=-1, keepdims=True),
            lambda x: theirs(x, axis=-1, keepdims=True),
            (ties((3, 4)),),
            dtypes=REAL,
            grad=False,
        ),
        Row(
            f"{name}:keepdims_all",
            lambda x: ours(x, keepdims=True),
            lambda x: theirs(x, keepdims=True),
            (ties((3, 4)),),
            dtypes=REAL,
            grad=False,
        ),
    ]


def truth(name: str, op: str) -> list[Row]:
    """any, all and count_nonzero."""
    ours: Callable[..., Any] = getattr(tt, name)
    theirs: Callable[..., Any] = getattr(np, name)
    result = "int64" if name == "count_nonzero" else "bool"
    return [
        Row(
            name,
            ours,
            theirs,
            (numbers((3, 4)),),
            ops=(op,),
            dtypes=ALL,
            grad=False,
            result=result,
            also=(((),), ((0, 3),)),
        ),
        Row(
            f"{name}:axis",
            lambda x: ours(x, axis=1),
            lambda x: theirs(x, axis=1),
            (ties((5, 2)),),
            ops=(op,),
            dtypes=REAL,
            grad=False,
            result=result,
            also=(((2, 0),), ((0, 2),)),
        ),
        Row(
            f"{name}:keepdims",
            lambda x: ours(x, axis=(0, 2), keepdims=True),
            lambda x: theirs(x, axis=(0, 2), keepdims=True),
            (ties((2, 3, 2)),),
            ops=(op,),
            dtypes=REAL,
            grad=False,
            result=result,
        ),
    ]


ROWS = [
    *extreme("max"),
    *extreme("min"),
    *place("argmax"),
    *place("argmin"),
    *truth("any", "any_true"),
    *truth("all", "all_true"),
    *truth("count_nonzero", "count_nonzero"),
]
