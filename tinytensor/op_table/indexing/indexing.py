"""Rows of tinytensor/ops/indexing and of slicing: reading and writing by index.

Rows that walk back, or write one place twice, have no `torch`: it has no negative steps, and leaves the
second undefined.
"""

from operator import setitem
from typing import Any

import numpy as np

from tinytensor.op_table.row import ALL, Array, Input, Row, Shape, both, floats, ints, numbers, order

PICK = ("pick", "select", "select_transpose")
GATHER = ("gather", "gather_transpose")
MATRIX = numbers((3, 4))


def key_in(xp: Any, key: Any, x: Any) -> tuple[Any, ...]:
    """A key whose NumPy arrays are those of a library, on the device of x."""
    parts = key if isinstance(key, tuple) else (key,)
    if xp is np:
        return parts
    return tuple(xp.tensor(k, device=x.device) if isinstance(k, np.ndarray) else k for k in parts)


def read(name: str, key: Any, shape: Shape, ops: tuple[str, ...] = PICK, **more: Any) -> Row:
    """A row for `x[key]` with a fixed key."""
    return Row(f"getitem:{name}", (numbers(shape),), lambda xp, x: x[key_in(xp, key, x)],
        torch="back" not in name, ops=ops, dtypes=ALL, **more)  # fmt: skip


def write(name: str, key: Any, shape: Shape, value: Shape, *ops: str) -> Row:
    """A row for `x[key] = value`."""
    return Row(f"setitem:{name}", (numbers(shape), numbers(value)),
        lambda xp, x, v: setitem(x, key_in(xp, key, x), v), writes=(0,), ops=ops, dtypes=ALL,
        torch="back" not in name and "repeated" not in name)  # fmt: skip


def scatter_add(x: Any, index: Any, values: Any) -> Any:
    """Along axis 1, one addition after the other."""
    y = x.copy()
    for i, j in np.ndindex(index.shape):
        y[i, index[i, j]] += values[i, j]
    return y


def places(shape: Shape, high: int) -> Input:
    """Indices into an axis, counted from either end."""
    return ints(shape, -high, high)


def elsewhere(axis: int) -> Input:
    """A random permutation of the indices of a matrix: those of rows (axis 0) or columns."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        at = np.random.default_rng(0).permutation(int(np.prod(s))).reshape(s)  # the same for both axes
        return np.asarray(np.unravel_index(at, s)[axis])

    return Input((3, 4), "int", draw)


def along() -> Input:
    """The columns of each row, each once, in random order."""
    return Input((3, 4), "int", lambda rng, s, _: rng.permuted(np.tile(np.arange(s[1]), (s[0], 1)), axis=1))


PART = (slice(1, None), slice(None, None, 2))
ROWS = [
    read("slices", (slice(1, None), None, ..., slice(None, None, 2)), (3, 4, 5), ("index", "scatter"),
         contiguous=False),
    read("integers", (1, -1), (3, 4, 2), ("index",), contiguous=False),
    read("walking back", (slice(None, None, -1), slice(None, None, -2)), (3, 4), ("index",),
        contiguous=False),
    read("index", np.array([2, 0, 2]), (3, 4)),
    read("index behind", (slice(None), np.array([[1, -1], [0, 1]])), (3, 2, 4), large="r c k"),
    read("two indices", (np.array([[0], [2]]), np.array([1, 0, 1])), (3, 2, 4), large="r c k"),
    read("indices apart", (np.array([0, 2]), slice(1, 3), np.array([1, 0])), (3, 4, 2)),
    read("integer and index", (slice(None), 1, np.array([3, 0])), (2, 3, 4)),
    read("walking back by index", (slice(None, None, -1), np.array([1, 1, 0]), None), (3, 2, 2)),
    read("index under dots", (..., None, np.array([[2, -1]])), (2, 1, 3)),
    read("mask and index", (np.array([True, False, True]), np.array([1, 1])), (3, 2)),
    read("bools", (True, slice(1, None), False), (3, 2)),
    read("empty index", np.zeros(0, np.int64), (3, 4)),
    Row("getitem:columns", (MATRIX,), lambda _, x: x[:, ::2], torch=True, ops=("index", "scatter"),
        dtypes=ALL, contiguous=False, large="r c", timed="x[:, ::2], backward"),
    Row("getitem:block", (MATRIX,), lambda _, x: x[2:30, ::3], torch=True, ops=("index", "scatter"),
        contiguous=False, large="r c"),
    Row("getitem:rows", (MATRIX, order((3,), 3)), lambda _, x, i: x[i], torch=True, ops=PICK, dtypes=ALL,
        large="r c, r < r", timed=both("x[i]")),
    Row("getitem:elements", (MATRIX, elsewhere(0), elsewhere(1)), lambda _, x, i, j: x[i, j], torch=True,
        ops=PICK, dtypes=ALL, large="r c, r c, r c", timed=both("x[i, j]")),
    write("slices", PART, (3, 4), (2,), "assign", "mask", "reframe"),
    write("walking back", slice(None, None, -1), (3, 4), (3, 1), "assign", "mask", "reframe"),
    write("index", np.array([2, 0]), (3, 4), (2, 4), "put"),
    write("two indices", (np.array([[0], [2]]), np.array([1, 0])), (3, 2, 4), (2, 1, 4), "places", "put"),
    write("mask", np.array([True, False, True]), (3, 4), (2, 4), "put"),
    write("mask of elements", np.array([[True, False], [True, True]]), (2, 2), (), "where"),
    write("walking back by index", (slice(None, None, -2), np.array([1, 0])), (4, 3), (2,), "put", "assign"),
    write("empty index", np.zeros(0, np.int64), (3, 4), (4,), "put"),
    write("repeated index", np.array([1, 1, 0]), (3, 4), (3, 4), "put", "is_last_write"),
    Row("setitem:row", (MATRIX, numbers((4,)), order((2,), 3)), lambda _, x, v, i: setitem(x, i, v),
        torch=True, writes=(0,), ops=("put",), dtypes=ALL, large="r c, c, r < r", timed="x[i] = row"),
    Row("setitem:row, repeated", (MATRIX, numbers((4,)), ints((4,), 0, 3)),
        lambda _, x, v, i: setitem(x, i, v), writes=(0,), ops=("put",), dtypes=ALL, large="r c, c, r < r",
        timed="x[i] = row, i repeats, backward"),
    Row("setitem:of itself", (floats((3, 4)),), lambda _, x: setitem(x, PART, 0.5 * x[PART]), torch=True,
        writes=(0,), ops=("assign", "mask", "reframe"), large="r c", timed="x[1:, ::2] = 0.5 x, backward"),
    Row("setitem:part of rows", (MATRIX, ints((1,), 0, 3)), lambda _, x, i: setitem(x, (i, slice(2, 40)), 1),
        torch=True, writes=(0,), ops=("put", "full"), large="r c, 1 < r"),
    Row("take", (MATRIX, places((2, 2), 4)), lambda xp, x, i: xp.take(x, i, 1), ops=PICK, dtypes=ALL,
        torch=lambda torch, x, i: x[:, i % 4], large="r c, 9 < c"),
    Row("take:vector", (numbers((5,)), places((2, 3), 5)), torch=lambda torch, x, i: x[i], ops=PICK,
        dtypes=ALL, also=(((5,), (0,)), ((5,), ()))),
    Row("take:rows", (MATRIX, ints((5,), 0, 3)), lambda xp, x, i: xp.take(x, i, axis=0), ops=PICK,
        torch=lambda torch, x, i: x[i], large="r c, 150 < r"),
    Row("gather", (MATRIX, ints((2, 6), 0, 4)), lambda xp, x, i: xp.gather(x, 1, i),
        lambda x, i: np.take_along_axis(x[: len(i)], i, 1), torch=lambda torch, x, i: torch.gather(x, 1, i),
        ops=GATHER, dtypes=ALL, large="r c, r 20 < c"),
    Row("take_along_axis", (MATRIX, ints((1, 2), 0, 4)), lambda xp, x, i: xp.take_along_axis(x, i, axis=-1),
        torch=lambda torch, x, i: torch.take_along_dim(x, i, -1), ops=GATHER, dtypes=ALL),
    Row("take_along_axis:columns", (MATRIX, ints((2, 4), 0, 3)),
        lambda xp, x, i: xp.take_along_axis(x, i, axis=0), torch=lambda torch, x, i: torch.gather(x, 0, i),
        ops=GATHER, large="r c, 20 c < r"),
    Row("gather:rows", (MATRIX, along()), lambda xp, x, i: xp.gather(x, 1, i),
        lambda x, i: np.take_along_axis(x, i, 1), torch=lambda torch, x, i: torch.gather(x, 1, i), ops=GATHER,
        large="r c, r c", timed=both("gather")),
    Row("scatter_add", (floats((3, 4)), ints((2, 6), 0, 4), floats((2, 6))),
        lambda xp, x, i, v: xp.scatter_add(x, 1, i, v), scatter_add, ops=("gather_transpose",),
        tol=2.0,  # the sum of the values is rounded once, and once more with x
        torch=lambda torch, x, i, v: torch.scatter_add(x, 1, i, v), large="r c, r c < c, r c",
        timed="scatter_add"),
    Row("one_hot", (ints((2, 3), 0, 4),), lambda xp, i: xp.one_hot(i, 4),
        lambda i: np.eye(4, dtype=np.int64)[i], torch=lambda torch, i: torch.nn.functional.one_hot(i, 4),
        dtypes=("float64",), grad=False, also=(((),), ((0, 2),)), large=""),
    Row("one_hot:square", (ints((4,), 0, 4),), lambda xp, i: xp.one_hot(i, i.shape[0]),
        lambda i: np.eye(len(i), dtype=np.int64)[i],
        torch=lambda torch, i: torch.nn.functional.one_hot(i, len(i)), dtypes=("float64",), grad=False,
        large="r < r", timed="one-hot"),
]  # fmt: skip
