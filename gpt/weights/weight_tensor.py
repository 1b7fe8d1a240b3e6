"""Tensors of weight files, and conversion to and from float32. BF16 is held as uint16 bits in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from tinytensor.errors import DTypeError
from tinytensor.interop.safetensors_file import Array, Entry, WeightFile

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # our name → name in weight files


@dataclass(frozen=True, eq=False)
class Stored:
    """A memory-mapped tensor of a weight file."""

    dtype: str  # name in the file
    shape: tuple[int, ...]  # shape of the tensor
    array: Array  # contents of the file: values, their bits, or blocks of quantised values
    read: Callable[[], NDArray[np.float32]]  # function that returns the values as float32

    @property
    def strides(self) -> tuple[int, ...] | None:
        """Strides in elements; None for quantised blocks."""
        if self.array.shape != self.shape:
            return None
        return tuple(step // self.array.itemsize for step in self.array.strides)


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Rows of a matrix (out, in) in quantised blocks."""

    kind: str  # a key of `tt.QUANTIZED`
    rows: Array  # uint8, (out, bytes of a row)

    def is_finite(self) -> bool:
        """Whether no scale is NaN or infinity: its exponent has other bits than ones."""
        kind = tt.QUANTIZED[self.kind]
        blocks = self.rows.reshape(-1, kind.nbytes)
        return all([bool((blocks[:, at + 1] & 0x7C != 0x7C).all()) for at in kind.floats])


def joined(parts: list[PackedRows]) -> list[PackedRows]:
    """The same rows in as few parts as possible: one for each run of equal kinds."""
    found: list[list[PackedRows]] = []
    for part in parts:
        if found and found[-1][0].kind == part.kind:
            found[-1].append(part)
        else:
            found.append([part])
    return [
        run[0] if len(run) == 1 else PackedRows(run[0].kind, np.concatenate([p.rows for p in run]))
        for run in found
    ]


def tensors_of(file: WeightFile) -> dict[str, Stored]:
    """Tensors of a safetensors file."""
    return {name: stored(entry, name) for name, entry in file.entries.items()}


def stored(entry: Entry, name: str) -> Stored:
    """Tensor from an entry of a safetensors file."""
    return Stored(entry.dtype, entry.shape, entry.array, partial(as_float32, entry, name))


def as_float32(entry: Entry, name: str) -> NDArray[np.float32]:
    """Values of an entry as float32; the array itself if it is float32."""
    if entry.dtype == "BF16":  # upper half of a float32
        return (entry.array.astype(np.uint32) << 16).view(np.float32)
    if entry.dtype not in ("F16", "F32", "F64"):
        raise DTypeError(
            f"{name} is stored as {entry.dtype}",
            why="supported dtypes are F32, BF16, F16 and F64",
            fix="export the weights again as floats",
        )
    return entry.array.astype(np.float32, copy=False)


def as_stored(array: NDArray[Any], dtype: str) -> Entry:
    """Convert an array to a dtype of weight files, rounding to nearest, ties to even.

    Example:
        >>> as_stored(np.array([1.5, 1 + 2**-8], np.float32), "bfloat16").array.tolist()
        [16320, 16256]
    """
    values = np.asarray(array, np.float32)
    if dtype != "bfloat16":
        return Entry(DTYPES[dtype], values.astype(dtype, copy=False))
    bits = np.ascontiguousarray(values).reshape(values.shape).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40  # NaN stays NaN: rounding up its bits would carry into the sign
    return Entry("BF16", np.where(np.isnan(values), quiet, nearest).astype(np.uint16))
