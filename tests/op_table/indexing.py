"""Rows of tinytensor/ops/indexing/indexing.py, slicing.py and gathering.py: reading and writing by index.

Rows that walk back, or write one place twice, have no `torch`: it has no negative steps, and leaves the
second undefined.
"""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, FLOATS, Input, Row, Shape, bools, floats, ints, numbers

PICK = ("pick", "select", "select_transpose")
MASK = ("select", "select_transpose")


def beside(x: tt.Tensor, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key with its index tensors on the device of x."""
    return tuple(p.to(x.device) if isinstance(p, tt.Tensor) else p for p in parts)


def read(name: str, key: Any, shape: Shape, ops: tuple[str, ...], *, contiguous: bool = True) -> Row:
    """A row for `x[key]` with a fixed key; NumPy arrays in it become tensors."""
    parts = key if isinstance(key, tuple) else (key,)
    ours = tuple(tt.tensor(k) if isinstance(k, np.ndarray) else k for k in parts)
    return Row(
        f"getitem:{name}",
        lambda x: x[beside(x, ours)],
        lambda x: x[parts],
        (numbers(shape),),
        ops=ops,
        dtypes=ALL,
        contiguous=contiguous,
        torch=None if "back" in name else of_torch(parts),
    )


def of_torch(parts: tuple[Any, ...]) -> Any:
    """The same key for PyTorch."""
    return lambda torch, x: x[tuple(torch.tensor(k) if isinstance(k, np.ndarray) else k for k in parts)]


def write(name: str, key: Any, shape: Shape, value: Shape, ops: tuple[str, ...]) -> Row:
    """A row for `x[key] = value`, on a copy of x."""
    parts = key if isinstance(key, tuple) else (key,)
    ours = tuple(tt.tensor(k) if isinstance(k, np.ndarray) else k for k in parts)

    def call(x: tt.Tensor, v: tt.Tensor) -> tt.Tensor:
        y = tt.clone(x)
        y[beside(y, ours)] = v
        return y

    def reference(x: Any, v: Any) -> Any:
        y = x.copy()
        y[parts] = v
        return y

    def torch_version(torch: Any, x: Any, v: Any) -> Any:
        y = x.clone()
        y[tuple(torch.tensor(k) if isinstance(k, np.ndarray) else k for k in parts)] = v
        return y

    return Row(
        f"setitem:{name}",
        call,
        reference,
        (numbers(shape), numbers(value)),
        ops=ops,
        dtypes=ALL,
        torch=None if "back" in name or "repeated" in name else torch_version,
    )


def scatter_add(x: Any, index: Any, values: Any) -> Any:
    """Along axis 1, one addition after the other."""
    y = x.copy()
    for i, j in np.ndindex(index.shape):
        y[i, index[i, j]] += values[i, j]
    return y


def places(shape: Shape, high: int) -> Input:
    """Indices into an axis, counted from either end."""
    return ints(shape, -high, high)


ROWS = [
    read("slices", (slice(1, None), None, ..., slice(None, None, 2)), (3, 4, 5), ("index", "scatter"),
         contiguous=False),
    read("integers", (1, -1), (3, 4, 2), ("index",), contiguous=False),
    read("walking back", (slice(None, None, -1), slice(None, None, -2)), (3, 4), ("index",),
         contiguous=False),
    read("index", np.array([2, 0, 2]), (3, 4), PICK),
    read("index behind", (slice(None), np.array([[1, -1], [0, 1]])), (3, 2, 4), PICK),
    read("two indices", (np.array([[0], [2]]), np.array([1, 0, 1])), (3, 2, 4), PICK),
    read("indices apart", (np.array([0, 2]), slice(1, 3), np.array([1, 0])), (3, 4, 2), PICK),
    read("mask", np.array([[True, False], [False, True], [True, True]]), (3, 2, 2), MASK),
    read("mask of all", np.array([[True, False], [False, True], [True, True]]), (3, 2),
         ("compress", "compress_transpose")),
    read("mask behind", (slice(None), np.array([True, False, True])), (2, 3), MASK),
    read("integer and index", (slice(None), 1, np.array([3, 0])), (2, 3, 4), PICK),
    read("walking back by index", (slice(None, None, -1), np.array([1, 1, 0]), None), (3, 2, 2), PICK),
    read("index under dots", (..., None, np.array([[2, -1]])), (2, 1, 3), PICK),
    read("mask and index", (np.array([True, False, True]), np.array([1, 1])), (3, 2), PICK),
    read("bools", (True, slice(1, None), False), (3, 2), PICK),
    read("empty index", np.zeros(0, np.int64), (3, 4), PICK),
    write("slices", (slice(1, None), slice(None, None, 2)), (3, 4), (2,), ("assign", "mask", "reframe")),
    write("walking back", slice(None, None, -1), (3, 4), (3, 1), ("assign", "mask", "reframe")),
    write("index", np.array([2, 0]), (3, 4), (2, 4), ("put",)),
    write("two indices", (np.array([[0], [2]]), np.array([1, 0])), (3, 2, 4), (2, 1, 4), ("places", "put")),
    write("mask", np.array([True, False, True]), (3, 4), (4,), ("put",)),
    write("mask of elements", np.array([[True, False], [True, True]]), (2, 2), (), ("put",)),
    write("walking back by index", (slice(None, None, -2), np.array([1, 0])), (4, 3), (2,),
          ("put", "assign")),
    write("empty index", np.zeros(0, np.int64), (3, 4), (4,), ("put",)),
    write("repeated index", np.array([1, 1, 0]), (3, 4), (3, 4), ("put", "kept")),
    Row("take", lambda x, i: tt.take(x, i, 1), lambda x, i: np.take(x, i, 1),
        (numbers((3, 4)), places((2, 2), 4)), ops=PICK, dtypes=ALL, torch=lambda torch, x, i: x[:, i % 4]),
    Row("take:vector", tt.take, np.take, (numbers((5,)), places((2, 3), 5)), ops=PICK, dtypes=ALL,
        torch=lambda torch, x, i: x[i], also=(((5,), (0,)), ((5,), ()))),
    Row("gather", lambda x, i: tt.gather(x, i, 1), lambda x, i: np.take_along_axis(x[:2], i, 1),
        (numbers((3, 4)), ints((2, 6), 0, 4)), ops=("gather", "gather_transpose"), dtypes=ALL,
        torch=lambda torch, x, i: torch.gather(x, 1, i)),
    Row("take_along_axis", tt.take_along_axis, lambda x, i: np.take_along_axis(x, i, -1),
        (numbers((3, 4)), ints((1, 2), 0, 4)), ops=("gather", "gather_transpose"), dtypes=ALL,
        torch=lambda torch, x, i: torch.take_along_dim(x, i, -1)),
    Row("scatter_add", lambda x, i, v: tt.scatter_add(x, i, v, 1), scatter_add,
        (floats((3, 4)), ints((2, 6), 0, 4), floats((2, 6))), ops=("gather_transpose",), dtypes=FLOATS,
        tol=2.0,  # the sum of the values is rounded once, and once more with x
        torch=lambda torch, x, i, v: torch.scatter_add(x, 1, i, v)),
    Row("nonzero", tt.nonzero, np.nonzero, (bools((3, 4)),), ops=(), dtypes=("float64",), grad=False,
        torch=lambda torch, x: torch.nonzero(x, as_tuple=True), also=(((0, 2),),)),
    Row("one_hot", lambda i: tt.one_hot(i, 4), lambda i: np.eye(4, dtype=np.int64)[i], (ints((2, 3), 0, 4),),
        dtypes=("float64",), grad=False, torch=lambda torch, i: torch.nn.functional.one_hot(i, 4),
        also=(((),), ((0, 2),))),
]  # fmt: skip
