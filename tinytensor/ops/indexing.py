"""Indexing: x[key] and x[key] = value for every kind of key.

Integers, slices, Ellipsis and None make a view. Integer tensors and boolean masks select elements and copy;
their gradient adds up where an element was selected more than once. A mixed key is taken apart: first the
slices and None, as a view whose axes are either kept or selected from; then the indices, merged into one
tensor of *places* (row-major positions on the selected axes); then one `Select`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Grads, Needs, Saved
from ..dispatch import Op, Spec, Specs, apply, arr, from_array, is_tensor, register, requires
from ..dtypes import DType, bool_, float32, int64, uint64
from ..errors import DTypeError, IndexRangeError, ShapeError
from ..grad_mode import grad_enabled
from ..inplace import check_target, check_value_dtype, copy_, has_history, rebase
from ..layout import Shape, as_int, broadcast_shapes, normalize_key
from ..runtime.host import Array
from .manipulation import broadcast_to, cast
from .slicing import basic_index, index_view, plain_question

if TYPE_CHECKING:
    from ..tensor import Tensor

Axes = tuple[int, ...]


# ---- places: many indices as one ---------------------------------------------------------------------------


def wrapped(index: Array, size: int, axis: int, shape: Shape, what: str) -> Array:
    """Indices from 0 to size - 1 as int64; negative ones count from the end, others raise."""
    if not index.size:
        return index
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        raise IndexRangeError(
            f"{what}: index {high if high >= size else low} is out of range for axis {axis} of shape {shape}",
            why=f"the axis has {size} elements, so indices run from {-size} to {size - 1}",
            fix="correct the index tensor",
        )
    index = index.astype(np.int64, copy=False)  # int8 may not hold index + size, and uint64 not add to int64
    return np.where(index < 0, index + size, index) if low < 0 else index


@register
class Places(Op):
    """Broadcast index tensors as row-major positions on the axes that they select from."""

    inputs = ("index",)  # one per axis
    outputs = ("places",)

    @staticmethod
    def infer(*indices: Spec, axes: Axes, shape: Shape, what: str) -> Specs:
        return (Spec(broadcast_shapes(*[i.shape for i in indices], what=what), int64),)

    @staticmethod
    def cpu(places: Array, *indices: Array, axes: Axes, shape: Shape, what: str) -> None:
        places[...] = 0
        for index, axis in zip(indices, axes, strict=True):
            places *= shape[axis]
            places += wrapped(index, shape[axis], axis, shape, what)


# ---- select, its transpose, and put ------------------------------------------------------------------------


def _selection(shape: Shape, axes: Axes, picked: Shape) -> tuple[Shape, int]:
    """Shape of a selection, and where the picked axes stand in it: in place of the selected axes if those are
    neighbors, else in front (NumPy's rule).
    """
    at = axes[0] if axes == tuple(range(axes[0], axes[0] + len(axes))) else 0
    rest = tuple([n for i, n in enumerate(shape) if i not in axes])
    return rest[:at] + picked + rest[at:], at


def _rows(x: Array, axes: Axes) -> Array:
    """x with the selected axes merged in front, (places, ...rest): a view where strides allow."""
    rest = [i for i in range(x.ndim) if i not in axes]
    merged = prod([x.shape[a] for a in axes])
    return x.transpose(*axes, *rest).reshape(merged, *[x.shape[i] for i in rest])


def _picked_first(y: Array, at: int, n: int) -> Array:
    """A selection with its n picked axes moved to the front: a view."""
    return y if at == 0 else np.moveaxis(y, range(at, at + n), range(n))


@register
class Select(Op):
    """The elements of x at the given places of the given axes."""

    inputs = ("x", "places")
    saves = ("places",)
    raw = True

    @staticmethod
    def infer(x: Spec, places: Spec, *, axes: Axes, shape_in: Shape) -> Specs:
        return (Spec(_selection(x.shape, axes, places.shape)[0], x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, places: Array, *, axes: Axes, shape_in: Shape) -> None:
        if not y.size:
            return
        out = _picked_first(
            y, _selection(x.shape, axes, places.shape)[1], places.ndim
        )  # (...picked, ...rest)
        if out.flags.c_contiguous:
            np.take(_rows(x, axes), places, axis=0, out=out, mode="clip")  # Places checked the range
        else:
            out[...] = _rows(x, axes)[places]

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, shape_in: Shape) -> Grads:
        return select_transpose(grads[0], saved.places, axes, shape_in), None


@register
class SelectTranspose(Op):
    """Zeros of x's shape, with grad added at the places: in a fixed order, so equal bits in every run."""

    inputs = ("grad", "places")
    saves = ("places",)

    @staticmethod
    def infer(grad: Spec, places: Spec, *, axes: Axes, shape_in: Shape) -> Specs:
        return (Spec(shape_in, grad.dtype),)

    @staticmethod
    def cpu(y: Array, grad: Array, places: Array, *, axes: Axes, shape_in: Shape) -> None:
        y[...] = 0
        if not grad.size:
            return
        picked = _picked_first(grad, _selection(shape_in, axes, places.shape)[1], places.ndim)
        rows = picked.reshape(places.size, -1)  # (picked, rest)
        if axes == tuple(range(len(axes))):  # the selected axes stand in front: add straight into y
            _add_rows(y.reshape(-1, rows.shape[1]), places.reshape(-1), rows)
            return
        sums = np.zeros((prod([shape_in[a] for a in axes]), rows.shape[1]), y.dtype)
        _add_rows(sums, places.reshape(-1), rows)
        target = y.transpose(*axes, *[i for i in range(y.ndim) if i not in axes])
        target[...] = sums.reshape(target.shape)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, axes: Axes, shape_in: Shape) -> Grads:
        return select(grads[0], saved.places, axes), None


def _add_rows(out: Array, places: Array, rows: Array) -> None:
    """out[places[i]] += rows[i]; out is zero. Sorting and adding runs beats np.add.at several times over."""
    if rows.shape[1] == 1 and out.dtype.kind == "f":
        out[:, 0] = np.bincount(places, rows[:, 0], len(out))  # summed in float64
        return
    order = np.argsort(places, kind="stable")
    where = places[order]
    first = np.flatnonzero(np.concatenate(([True], where[1:] != where[:-1])))
    if len(first) == len(where):
        out[places] = rows
    else:
        out[where[first]] = np.add.reduceat(rows[order], first, axis=0)


@register
class Put(Op):
    """x with value written at the places; where a place repeats, the last one stays."""

    inputs = ("x", "value", "places")
    saves = ("places",)
    raw = True

    @staticmethod
    def infer(x: Spec, value: Spec, places: Spec, *, axes: Axes) -> Specs:
        return (Spec(x.shape, x.dtype),)

    @staticmethod
    def cpu(y: Array, x: Array, value: Array, places: Array, *, axes: Axes) -> None:
        np.copyto(y, x)
        shape, at = _selection(x.shape, axes, places.shape)
        indices = np.unravel_index(places, [x.shape[a] for a in axes])
        target = y.transpose(*axes, *[i for i in range(y.ndim) if i not in axes])
        target[indices] = _picked_first(np.broadcast_to(value, shape), at, places.ndim)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, axes: Axes) -> Grads:
        g, places = grads[0], saved.places
        zero = from_array(np.zeros((), arr(g).dtype), g.storage.dtype)
        dx = apply(Put, g, zero, places, axes=axes) if needs[0] else None
        if not needs[1]:
            return dx, None, None
        dvalue = select(g, places, axes)
        lost = _overwritten(arr(places))
        if lost.size:
            at, picked = _selection(g.layout.shape, axes, places.layout.shape)[1], len(places.layout.shape)
            dvalue = apply(Put, dvalue, zero, from_array(lost, int64), axes=tuple(range(at, at + picked)))
        return dx, dvalue, None


def _overwritten(places: Array) -> Array:
    """Where, in row-major order, a place stands that a later one repeats."""
    flat = places.reshape(-1)
    kept = flat.size - 1 - np.unique(flat[::-1], return_index=True)[1]
    lost = np.ones(flat.size, np.bool_)
    lost[kept] = False
    return np.flatnonzero(lost)


def places_on(indices: Sequence[Tensor], axes: Axes, shape: Shape, what: str) -> Tensor:
    """Index tensors, one per axis of a tensor of this shape, as one tensor of places."""
    return apply(Places, *indices, axes=axes, shape=shape, what=what)


def select(x: Tensor, places: Tensor, axes: Axes) -> Tensor:
    """The elements of x at the places, which stand for all of `axes`."""
    return apply(Select, x, places, axes=axes, shape_in=x.layout.shape)


def select_transpose(values: Tensor, places: Tensor, axes: Axes, shape: Shape) -> Tensor:
    """Zeros of this shape with values added at the places: the transpose of `select`."""
    return apply(SelectTranspose, values, places, axes=axes, shape_in=shape)


# ---- keys --------------------------------------------------------------------------------------------------


def _is_advanced(part: Any) -> bool:
    return is_tensor(part) or isinstance(part, (list, np.ndarray, bool, np.bool_))


def as_index(part: Any, what: str) -> Tensor:
    """An index tensor of integers or bools from a tensor, list or array."""
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
        t = from_array(np.array(array, dtype.code), dtype)
    if t.storage.dtype is not bool_ and t.storage.dtype.kind not in ("int", "uint"):
        raise _not_an_index(what, t.storage.dtype)
    return t


def as_integers(index: Any, what: str) -> Tensor:
    """An index tensor of integers: where each number names a place, a mask would count as zeros and ones."""
    t = as_index(index, what)
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


def _number(part: Any, shape: Shape, what: str) -> Tensor:
    """An integer among index tensors, as one of them."""
    index = as_int(part, what, "an index")
    if not -(2**63) <= index < 2**63:
        raise IndexRangeError(
            f"{what}: index {index} is out of range for shape {shape}",
            why="no axis has so many elements",
            fix="correct the index",
        )
    return from_array(np.array(index), int64)


def _mask_indices(mask: Tensor, shape: Shape, axis: int, what: str) -> list[Tensor]:
    """A mask over k axes as k index tensors."""
    n = len(mask.layout.shape)
    if mask.layout.shape != shape[axis : axis + n]:
        raise IndexRangeError(
            f"{what}: a mask of shape {mask.layout.shape} at axis {axis} of a tensor of shape {shape}",
            why=f"it must have the sizes of the axes that it masks, {shape[axis : axis + n]}",
            fix="compute the mask from the tensor itself, or reshape it",
        )
    return [from_array(np.ascontiguousarray(i), int64) for i in np.nonzero(arr(mask))]


def _take_apart(x: Tensor, key: tuple[Any, ...], what: str) -> tuple[Tensor, list[Tensor], Axes]:
    """The view that the basic parts of a key make, the index tensors, and the view's axes that they select
    from.
    """
    shape = x.layout.shape
    normalize_key(tuple([part for part in key if part is Ellipsis]), shape, what)  # refuses a second one
    used = 0
    for part in key:
        if part is not None and part is not Ellipsis:
            used += len(part.layout.shape) if is_tensor(part) and part.storage.dtype is bool_ else 1
    basic: list[Any] = []
    indices: list[Tensor] = []
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
        else:
            if is_tensor(part) and part.storage.dtype is bool_:
                if not part.layout.shape:  # a bool adds an axis: all of x, or nothing of it
                    basic.append(None)
                    found = [from_array(np.zeros(int(bool(arr(part))), np.int64), int64)]
                    axis -= 1
                else:
                    found = _mask_indices(part, shape, axis, what)
                    basic += [slice(None)] * len(found)
            else:
                basic.append(slice(None))
                found = [part if is_tensor(part) else _number(part, shape, what)]
            axes += range(len(basic) - len(found), len(basic))
            indices += found
            axis += len(found)
    v = index_view(x, normalize_key(tuple(basic), shape, what))
    return v, indices, tuple(axes)


def _parse(x: Tensor, key: Any, what: str) -> tuple[Tensor, Tensor | None, Axes]:
    """A key as a view of x, and (for keys with tensors) the places to select from it on some axes."""
    parts = key if type(key) is tuple else (key,)
    asked = plain_question(parts)
    if asked is not None or not any([_is_advanced(p) for p in parts]):
        return basic_index(x, parts, asked, what), None, ()
    parts = tuple([as_index(p, what) if _is_advanced(p) else p for p in parts])
    v, indices, axes = _take_apart(x, parts, what)
    return v, places_on(indices, axes, v.layout.shape, what), axes


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key], as NumPy defines it.

    Integers, slices (negative steps too), Ellipsis and None give a view. Integer tensors (or lists) and
    boolean masks select elements and give a copy; index tensors broadcast together, and their axes stand
    where they stood if they were neighbors, else in front.

    Args:
        x: any shape.
        key: what stands in the brackets.

    Returns:
        The selected elements; shares memory with x unless the key has tensors. The gradient of an element
        adds up over all its selections.

    Raises:
        IndexRangeError: an index is out of range, a mask does not fit, or there are too many indices.
        DTypeError: an index is neither integer nor bool.

    Differs from: NumPy only where an Ellipsis that stands for no axis lies between two index tensors: it does
        not count as separating them (as in PyTorch).

    Example:
        >>> x = tt.arange(6).reshape(2, 3)
        >>> x[:, ::-1].tolist(), x[x > 3].tolist()
        ([[2, 1, 0], [5, 4, 3]], [4, 5])
    """
    v, places, axes = _parse(x, key, "index")
    return v if places is None else select(v, places, axes)


def _write_number(x: Tensor, v: Tensor, value: Any) -> bool:
    """The short road of x[…] = 1.0: a number into float32 memory, nothing to record. False for all else."""
    if type(value) is not float and type(value) is not int:
        return False
    if v.storage.dtype is not float32 or not x.layout.is_contiguous or not -1e38 < value < 1e38:
        return False
    target = arr(v)
    if not target.flags.writeable or (grad_enabled() and has_history(v)):
        return False
    target[...] = value
    v.storage.bump("copy_")
    return True


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, in place and recorded.

    Args:
        x: the target.
        key: any key that `getitem` takes; where it names an element twice, the last value stays.
        value: tensor or number that broadcasts to the selection.

    Raises:
        IndexRangeError, ShapeError, DTypeError: the key or the value does not fit.
        GradError: x may not be written to (a leaf that requires grad, a view that overlaps itself).

    Example:
        >>> x = tt.zeros(2, 3)
        >>> x[0, 1:] = 5.0
        >>> x.tolist()
        [[0.0, 5.0, 5.0], [0.0, 0.0, 0.0]]
    """
    v, places, axes = _parse(x, key, "index")
    if places is None:
        if not _write_number(x, v, value):
            copy_(v, value)
        return
    dtype = x.storage.dtype
    shape = _selection(v.layout.shape, axes, places.layout.shape)[0]
    value = _as_value(value, dtype, shape)
    needs = grad_enabled() and (has_history(v) or requires(value))
    check_target(v, needs, "setitem")
    result = apply(Put, v, value, places, axes=axes)
    np.copyto(arr(v), arr(result))
    if needs:
        rebase(v, result, "setitem")
    else:
        v.storage.bump("setitem")


def _as_value(value: Any, dtype: DType, shape: Shape) -> Tensor:
    if not is_tensor(value):
        scratch = from_array(np.zeros((), np.bool_), bool_)
        value = copy_(cast(scratch, dtype), value)  # checks that the number fits the dtype
    check_value_dtype(dtype, value.storage.dtype, "setitem")
    return broadcast_to(cast(value, dtype), shape)


class IndexingMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    __getitem__ = getitem
    __setitem__ = setitem
