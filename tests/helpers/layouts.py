"""Tensors with given values in every memory layout that an op must be able to read.

`LAYOUTS` names them. Some change the values first: along an expanded axis all elements are one.
Memory that the tensor does not show holds `JUNK`, so that an op that reads too much is seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import tinytensor as tt
from tinytensor.op_table.row import Row
from tinytensor.tensor import arr

Array = np.ndarray[Any, Any]
JUNK = 77


class Variant(NamedTuple):
    """One layout: whether an array can have it, what must happen to the values, and how it is made."""

    fits: Callable[[Array], bool]
    make: Callable[[Array, str], tt.Tensor]
    prepare: Callable[[Array], Array] = lambda values: values


def new(values: Array, dtype: str) -> tt.Tensor:
    return tt.tensor(values, dtype=dtype)


def transposed(values: Array, dtype: str) -> tt.Tensor:
    """Axes lie in memory in the opposite order: column-major."""
    return new(np.ascontiguousarray(values.T), dtype).T


def offset(values: Array, dtype: str) -> tt.Tensor:
    """A slice out of the middle of something larger, on the first and on the last axis."""
    room = np.full([n + 2 for n in values.shape], JUNK).astype(values.dtype)
    inner = tuple(slice(1, -1) for _ in values.shape)
    room[inner] = values
    return new(room, dtype)[inner]


def step(values: Array, dtype: str) -> tt.Tensor:
    """Every second element along the last axis."""
    room = np.full((*values.shape[:-1], 2 * values.shape[-1]), JUNK).astype(values.dtype)
    room[..., ::2] = values
    return new(room, dtype)[..., ::2]


def negative(values: Array, dtype: str) -> tt.Tensor:
    """All axes walk backwards."""
    return new(np.flip(values).copy(), dtype).flip()


def widest(values: Array) -> int:
    """The axis with the most elements."""
    return int(np.argmax(values.shape))


def repeated(values: Array) -> Array:
    """The values of the first slice everywhere along the widest axis."""
    axis = widest(values)
    return np.repeat(np.take(values, [0], axis), values.shape[axis], axis)


def expanded(values: Array, dtype: str) -> tt.Tensor:
    """Stride 0 along the widest axis."""
    return new(np.take(values, [0], widest(values)), dtype).expand(*values.shape)


def unit_axes(values: Array, dtype: str) -> tt.Tensor:
    """Axes of size 1 with strides that mean nothing: they must not be looked at."""
    room = new(np.concatenate([np.full(1, JUNK).astype(values.dtype), values.ravel()]), dtype)
    packed = np.empty(values.shape, np.int8).strides
    return room.as_strided(values.shape, [9 if n == 1 else s for n, s in zip(values.shape, packed)], 1)


LAYOUTS: dict[str, Variant] = {
    "packed": Variant(lambda a: True, new),
    "transposed": Variant(lambda a: a.ndim > 1, transposed),
    "offset": Variant(lambda a: a.ndim > 0, offset),
    "step": Variant(lambda a: a.ndim > 0, step),
    "negative": Variant(lambda a: a.ndim > 0, negative),
    "expanded": Variant(lambda a: a.size > 1, expanded, repeated),
    "unit_axes": Variant(lambda a: 1 in a.shape and a.size > 0, unit_axes),
}
MIXED = "mixed"  # each input in another layout
NAMES = (*LAYOUTS, MIXED)


def choose(row: Row, values: list[Array], layout: str) -> list[str]:
    """The layout of each input: the one asked for where it fits, else packed."""
    cycle = list(LAYOUTS)
    wanted = [cycle[(i + 1) % len(cycle)] if layout == MIXED else layout for i in range(len(values))]
    return [
        name if LAYOUTS[name].fits(a) and (name != "expanded" or x.repeats) else "packed"
        for name, a, x in zip(wanted, values, row.inputs)
    ]


def layouts_of(row: Row) -> list[str]:
    """The layouts that make a difference for a row."""
    values = row.sample(row.dtypes[0])
    found = ["packed"]
    for name in NAMES[1:]:
        chosen = choose(row, values, name)
        if set(chosen) != {"packed"} and (name != MIXED or len(values) > 1):
            found.append(name)
    return found


def prepared(row: Row, dtype: str, layout: str) -> list[Array]:
    """Values for the inputs of a row, such that they can have a layout."""
    values = row.sample(dtype)
    return [LAYOUTS[n].prepare(a) for n, a in zip(choose(row, values, layout), values)]


def tensors(row: Row, values: list[Array], dtype: str, layout: str) -> list[tt.Tensor]:
    """The inputs of a row as tensors of a dtype in a layout."""
    chosen = choose(row, values, layout)
    return [LAYOUTS[n].make(a, x.dtype(dtype)) for n, a, x in zip(chosen, values, row.inputs)]


@contextmanager
def noted(what: object) -> Iterator[None]:
    """One of the cases of a test: an error says which."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {what}")
        raise


def read(t: tt.Tensor) -> Array:
    """The values of a tensor, from its stored bytes; 16-bit floats as float64."""
    stored = np.array(arr(t.detach()))
    if t.dtype is tt.bfloat16:
        wide = np.left_shift(stored.astype(np.uint32), 16, dtype=np.uint32)
        return np.asarray(wide).view(np.float32).astype(np.float64)
    return stored.astype(np.float64) if t.dtype is tt.float16 else stored


def bits(t: tt.Tensor) -> bytes:
    """The elements of a tensor in C order, as bytes."""
    return np.ascontiguousarray(arr(t.detach())).tobytes()


def storage_bytes(t: tt.Tensor) -> bytes:
    """All bytes of the storage behind a tensor, those that it does not show included."""
    return t.storage.buffer.tobytes()
