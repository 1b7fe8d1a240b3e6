"""Rows of tinytensor/ops/nn/softmax.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.op_table.row import Row, Shape, both, floats


def softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def row(
    f: Callable[..., Any], word: str = "", axis: int = -1, shape: Shape = (3, 4, 5), **more: Any
) -> Row:  # fmt: skip
    """A row of softmax or log_softmax along an axis."""
    name = f.__name__
    return Row(f"{name}{word}", (floats(shape),),
        lambda xp, x: getattr(xp, name)(x, axis=axis), lambda x: f(x, axis),
        lambda torch, x: getattr(torch, name)(x, axis), ops=(name, f"{name}_backward"), **more)  # fmt: skip


ALSO = (((0, 3),), ((3, 0),), ((1,),), ((3, 1),))
BLOCKS: Any = {"shape": (40, 65), "also": (((1100, 65),),), "second": False}  # enough for the blocks of rows
ROWS = [
    row(softmax, also=ALSO, timed=both("softmax")),
    row(softmax, ":axis", 1, also=(((2, 0, 3),), ((1, 1),))),
    row(softmax, ":columns", 0, (4, 3), large="r c"),
    row(softmax, ":blocks", **BLOCKS),
    row(log_softmax, also=ALSO, timed=both("log softmax")),
    row(log_softmax, ":axis", 0),
    row(log_softmax, ":blocks", **BLOCKS),
]  # fmt: skip
