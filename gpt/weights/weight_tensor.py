"""A tensor as it lies in a weight file, and its values. NumPy has no bfloat16: its bits come as uint16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.weights.safetensors_file import Array, Entry, WeightFile
from tinytensor.errors import DTypeError

__all__ = ["DTYPES", "Stored", "as_float32", "as_stored", "stored", "tensors_of"]

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # name of ours → its name in a weight file


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor of a weight file, mapped and not read.

    Args:
        dtype: its name in the file.
        shape: of the tensor.
        array: what lies in the file: the values, their bits, or blocks of quantised values.
        read: gives the values as float32.
    """

    dtype: str
    shape: tuple[int, ...]
    array: Array
    read: Callable[[], NDArray[np.float32]]

    @property
    def strides(self) -> tuple[int, ...] | None:
        """Steps in elements; None where quantised blocks have none."""
        if self.array.shape != self.shape:
            return None
        return tuple(step // self.array.itemsize for step in self.array.strides)


def tensors_of(file: WeightFile) -> dict[str, Stored]:
    """The tensors of a safetensors file.

    Args:
        file: as `read_safetensors` gives it.

    Returns:
        Name → tensor.
    """
    return {name: stored(entry, name) for name, entry in file.entries.items()}


def stored(entry: Entry, name: str) -> Stored:
    """A tensor of a safetensors file.

    Args:
        entry: as `read_safetensors` gives it.
        name: for errors.

    Returns:
        The same, with a way to read it.

    Example:
        >>> stored(Entry("BF16", np.array([0x3FC0], np.uint16)), "w").read().tolist()
        [1.5]
    """
    return Stored(entry.dtype, entry.shape, entry.array, partial(as_float32, entry, name))


def as_float32(entry: Entry, name: str) -> NDArray[np.float32]:
    """The values of a stored tensor as float32; the stored array itself if that is what it is.

    Args:
        entry: the tensor.
        name: for errors.

    Returns:
        An array of the same shape.

    Raises:
        DTypeError: it holds no real floats.

    Example:
        >>> as_float32(Entry("BF16", np.array([0x3FC0], np.uint16)), "w").tolist()
        [1.5]
    """
    if entry.dtype == "BF16":  # the upper half of a float32
        return (entry.array.astype(np.uint32) << 16).view(np.float32)
    if entry.dtype not in ("F16", "F32", "F64"):
        raise DTypeError(
            f"{name} is stored as {entry.dtype}",
            why="weights are read from F32, BF16, F16 and F64",
            fix="export the weights again as floats",
        )
    return entry.array.astype(np.float32, copy=False)


def as_stored(array: NDArray[Any], dtype: str) -> Entry:
    """Round an array to a dtype of weight files: to the nearest, ties to even.

    Args:
        array: floating.
        dtype: a key of DTYPES.

    Returns:
        What `write_safetensors` takes.

    Example:
        >>> as_stored(np.array([1.5, 1 + 2**-8], np.float32), "bfloat16").array.tolist()
        [16320, 16256]
    """
    values = np.asarray(array, np.float32)
    if dtype != "bfloat16":
        return Entry(DTYPES[dtype], values.astype(dtype, copy=False))
    bits = np.ascontiguousarray(values).reshape(values.shape).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40  # a NaN stays one: rounding up its bits would carry into the sign
    return Entry("BF16", np.where(np.isnan(values), quiet, nearest).astype(np.uint16))
