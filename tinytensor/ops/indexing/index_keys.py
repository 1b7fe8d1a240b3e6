"""Keys: what stands in the brackets of x[key], taken apart into a view and index tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.transfer import constant, values
from tinytensor.dtypes import bool_, int64, uint64
from tinytensor.errors import DTypeError, IndexRangeError, ShapeError, shown
from tinytensor.ops.indexing.mask_select import true_indices
from tinytensor.ops.views.slicing import index_view
from tinytensor.shapes import Shape, as_int, normalize_key
from tinytensor.tensor import Tensor, is_tensor

Axes = tuple[int, ...]


def is_advanced(part: Any) -> bool:
    """Whether a part of a key selects elements, so that x[key] is a copy."""
    return is_tensor(part) or isinstance(part, (list, np.ndarray, bool, np.bool_))


def as_index(part: Any, what: str, device: Device = cpu) -> Tensor:
    """An index tensor of integers or bools from a tensor, or, on the device, from a list or array."""
    if is_tensor(part):
        t: Tensor = part
    else:
        try:
            array = np.asarray(part)
        except ValueError:  # lists of different lengths
            raise ShapeError(
                f"{what}: an index of type {type(part).__name__} is not rectangular",
                why="its lists differ in length",
                fix="index once for each list",
            ) from None
        if array.size == 0 and array.dtype.kind == "f":  # an empty list has no dtype of its own
            array = array.astype(np.int64)
        if array.dtype.kind not in "biu":
            raise _not_an_index(what, array.dtype)
        dtype = {"b": bool_, "i": int64, "u": uint64}[array.dtype.kind]
        if copies.listener is not None and isinstance(part, np.ndarray):
            copies.note(
                what, "index", array.size * dtype.itemsize, "an array that may change is no index tensor"
            )
        t = constant(np.array(array, dtype.code), dtype, device)
    if t.storage.dtype is not bool_ and t.storage.dtype.kind not in ("int", "uint"):
        raise _not_an_index(what, t.storage.dtype)
    return t


def as_integers(index: Any, what: str, device: Device = cpu) -> Tensor:
    """An index tensor of integers: where each number names a place, a mask would count as zeros and ones."""
    t = as_index(index, what, device)
    if t.storage.dtype is bool_:
        raise DTypeError(
            f"{what}: a mask of shape {t.layout.shape} is not an index",
            why="each number names a place here; a mask would be read as places 0 and 1",
            fix="x[mask], or the places of the mask: tt.nonzero(mask)",
        )
    return t


def _not_an_index(what: str, dtype: object) -> DTypeError:
    return DTypeError(
        f"{what}: a tensor of dtype {dtype} is not an index",
        why="indices are integers, masks are bool",
        fix="cast it with .astype(tt.int64)",
    )


def _number(part: Any, shape: Shape, what: str, device: Device) -> Tensor:
    """An integer among index tensors, as one of them."""
    index = as_int(part, what, "an index")
    if not -(2**63) <= index < 2**63:
        raise IndexRangeError(
            f"{what}: index {shown(index)} is out of range for shape {shape}",
            why="no axis has so many elements",
            fix="correct the index",
        )
    return constant(np.array(index), int64, device)


def check_mask(mask: Tensor, shape: Shape, axis: int, what: str) -> None:
    """IndexRangeError where a mask does not have the sizes of the axes that it masks."""
    n = len(mask.layout.shape)
    if mask.layout.shape != shape[axis : axis + n]:
        raise IndexRangeError(
            f"{what}: a mask of shape {mask.layout.shape} at axis {axis} of a tensor of shape {shape}",
            why=f"it must have the sizes of the axes that it masks, {shape[axis : axis + n]}",
            fix="compute the mask from the tensor itself, or reshape it",
        )


def take_apart(
    x: Tensor, key: tuple[Any, ...], what: str
) -> tuple[Tensor, list[Tensor], Tensor | None, Axes]:
    """What a key with tensors means.

    Returns:
        The view that the basic parts of the key make; the index tensors; in place of them the mask, if the
        key has just one and no index; the view's axes that are selected from.
    """
    shape = x.layout.shape
    normalize_key(tuple([part for part in key if part is Ellipsis]), shape, what)  # refuses a second one
    used = 0
    for part in key:
        if part is not None and part is not Ellipsis:
            used += len(part.layout.shape) if _is_mask(part) else 1
    alone = len([part for part in key if not (part is None or part is Ellipsis or isinstance(part, slice))])
    basic: list[Any] = []
    indices: list[Tensor] = []
    mask: Tensor | None = None
    axes: list[int] = []
    axis = 0  # of x
    for part in key:
        if part is Ellipsis:
            skipped = max(len(shape) - used, 0)
            basic += [slice(None)] * skipped
            axis += skipped
        elif part is None:
            basic.append(None)
        elif isinstance(part, slice):
            basic.append(part)
            axis += 1
        elif _is_mask(part) and not part.layout.shape:  # a bool adds an axis: all of x, or nothing of it
            indices.append(_bool_index(part))
            axes.append(len(basic))
            basic.append(None)
        else:
            n = len(part.layout.shape) if _is_mask(part) else 1
            if not _is_mask(part):
                indices.append(part if is_tensor(part) else _number(part, shape, what, x.storage.device))
            else:
                check_mask(part, shape, axis, what)
                if alone == 1:
                    mask = part
                else:
                    indices += true_indices(part)
            axes += range(len(basic), len(basic) + n)
            basic += [slice(None)] * n
            axis += n
    if len(basic) <= len(shape) and all([part == slice(None) for part in basic]):  # it would be x itself
        return x, indices, mask, tuple(axes)
    v = index_view(x, normalize_key(tuple(basic), shape, what))
    return v, indices, mask, tuple(axes)


def _is_mask(part: Any) -> bool:
    return is_tensor(part) and part.storage.dtype is bool_


def _bool_index(part: Tensor) -> Tensor:
    """A bool as an index into an axis of size 1: all of it, or nothing."""
    return constant(np.zeros(int(values(part)), np.int64), int64, part.storage.device)
