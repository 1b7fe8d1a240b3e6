"""Parsing of the key in x[key] into a view and index tensors or a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.transfer import constant, values
from tinytensor.dtypes import bool_, int64, uint64
from tinytensor.errors import DTypeError, IndexRangeError, ShapeError, shown
from tinytensor.events import observers
from tinytensor.ops.indexing.mask_select import true_indices
from tinytensor.ops.views.slicing import index_view
from tinytensor.shapes import Shape, as_int, normalize_key
from tinytensor.tensor import Tensor, is_tensor

Axes = tuple[int, ...]


def is_advanced(part: Any) -> bool:
    """Whether a part of a key is an advanced index, so that x[key] is a copy."""
    return is_tensor(part) or isinstance(part, (list, np.ndarray, bool, np.bool_))


def as_index(part: Any, what: str, device: Device = cpu) -> Tensor:
    """An integer or bool index tensor, from a tensor, list or array; the latter two are put on the device."""
    if is_tensor(part):
        t: Tensor = part
    else:
        try:
            array = np.asarray(part)
        except ValueError:  # ragged lists
            raise ShapeError(
                f"{what}: an index of type {type(part).__name__} is not rectangular",
                why="its lists differ in length",
                fix="index with each list separately",
            ) from None
        if array.size == 0 and array.dtype.kind == "f":  # np.asarray([]) is float64
            array = array.astype(np.int64)
        if array.dtype.kind not in "biu":
            raise _not_an_index(what, array.dtype)
        dtype = {"b": bool_, "i": int64, "u": uint64}[array.dtype.kind]
        if observers and isinstance(part, np.ndarray):
            copies.note(
                what, "index", array.size * dtype.itemsize, "a mutable array is copied into an index tensor"
            )
        t = constant(np.array(array, dtype.code), dtype, device)
    if t.storage.dtype is not bool_ and t.storage.dtype.kind not in ("int", "uint"):
        raise _not_an_index(what, t.storage.dtype)
    return t


def as_integers(index: Any, what: str, device: Device = cpu) -> Tensor:
    """An integer index tensor; raises DTypeError for a mask, which would be read as zeros and ones."""
    t = as_index(index, what, device)
    if t.storage.dtype is bool_:
        raise DTypeError(
            f"{what}: a mask of shape {t.layout.shape} is not an index",
            why="integer indices are needed here; a mask would be read as indices 0 and 1",
            fix="x[mask], or the indices of its True elements: tt.nonzero(mask)",
        )
    return t


def _not_an_index(what: str, dtype: object) -> DTypeError:
    return DTypeError(
        f"{what}: a tensor of dtype {dtype} is not an index",
        why="indices are integers, masks are bool",
        fix="cast it with .astype(tt.int64)",
    )


def _number(part: Any, shape: Shape, what: str, device: Device) -> Tensor:
    """An integer next to index tensors, as an index tensor."""
    index = as_int(part, what, "an index")
    if not -(2**63) <= index < 2**63:
        raise IndexRangeError(
            f"{what}: index {shown(index)} is out of range for shape {shape}",
            why="no axis is that long",
            fix="correct the index",
        )
    return constant(np.array(index), int64, device)


def check_mask(mask: Tensor, shape: Shape, axis: int, what: str) -> None:
    """Raise IndexRangeError if a mask does not have the sizes of the axes that it masks; 0 fits any size."""
    sizes = mask.layout.shape
    masked = shape[axis : axis + len(sizes)]
    fits = len(sizes) == len(masked) and all([a in (0, b) for a, b in zip(sizes, masked, strict=True)])
    if not fits:
        raise IndexRangeError(
            f"{what}: a mask of shape {mask.layout.shape} at axis {axis} of a tensor of shape {shape}",
            why=f"it must have the sizes of the axes that it masks, {masked}",
            fix="compute the mask from the tensor itself, or reshape it",
        )


def split_index(
    x: Tensor, key: tuple[Any, ...], what: str
) -> tuple[Tensor, list[Tensor], Tensor | None, Axes]:
    """Split a key with tensors into basic and advanced indexing.

    Returns:
        The view that the basic parts of the key make; the index tensors; or instead of them the mask, if the
        key has exactly one and no index; the axes of the view that are indexed.
    """
    shape = x.layout.shape
    normalize_key(tuple([part for part in key if part is Ellipsis]), shape, what)  # raises for a second one
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
        elif _is_mask(part) and not part.layout.shape:  # a bool adds an axis of size 1 or 0
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
    if len(basic) <= len(shape) and all([part == slice(None) for part in basic]):  # the view would equal x
        return x, indices, mask, tuple(axes)
    v = index_view(x, normalize_key(tuple(basic), shape, what))
    return v, indices, mask, tuple(axes)


def _is_mask(part: Any) -> bool:
    return is_tensor(part) and part.storage.dtype is bool_


def _bool_index(part: Tensor) -> Tensor:
    """A bool as an index tensor for an axis of size 1: (0,) if True, else empty."""
    return constant(np.zeros(int(values(part)), np.int64), int64, part.storage.device)
