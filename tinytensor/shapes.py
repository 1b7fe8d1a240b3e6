"""Validation and normalization of shapes, axes and index keys; broadcasting of shapes.

Each function takes `what`, the name of the public function that was called, for error messages.
"""

import operator
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, TypeGuard

from tinytensor.errors import DTypeError, IndexRangeError, ShapeError, shown

Shape = tuple[int, ...]
Key = tuple[int | slice | None, ...]

MAX_AXES = 64
MAX_SIZE = 2**63 - 1  # elements; offsets are 64-bit signed integers on every device
MAX_EMPTY = MAX_SIZE // 16  # product of the sizes other than 0 of an empty shape: NumPy counts their bytes


def as_int(value: object, what: str, noun: str = "a size") -> int:
    """Python int of an object with `__index__`; bools and other types raise DTypeError."""
    if type(value) is int:
        return value
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]  # raises TypeError if it is none
        except TypeError:
            pass
    raise DTypeError(
        f"{what}: {noun} of type {type(value).__name__}",
        why="an integer is required; bools and floats are not converted",
        fix="convert it with int(...)",
    )


def is_several(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value is iterable; 0-d arrays and tensors are not."""
    return hasattr(value, "__iter__") and getattr(value, "shape", None) != ()


def _sizes(shape: object, what: str) -> list[int]:
    """Sizes as a list of ints; a single integer means one axis."""
    if isinstance(shape, (tuple, list)) or (
        isinstance(shape, Sequence) and not isinstance(shape, str | bytes)
    ):
        return [as_int(length, what) for length in shape]
    return [as_int(shape, what, "a shape")]


def check_shape(shape: int | Sequence[int], what: str) -> Shape:
    """Shape as a tuple of ints; ShapeError if a size is negative or the product exceeds 2**63 - 1. For an
    empty shape the product of the other sizes counts: strides and array libraries multiply them.
    """
    sizes = tuple(_sizes(shape, what))
    if len(sizes) > MAX_AXES:
        raise ShapeError(
            f"{what}: a shape with {len(sizes)} axes",
            why=f"at most {MAX_AXES} are supported, as in NumPy",
            fix="join axes with reshape",
        )
    total = 1
    for length in sizes:
        total *= length or 1
        if length < 0:
            raise ShapeError(
                f"{what}: shape {shown(sizes)} has a negative size",
                why=f"an axis cannot have {shown(length)} elements",
                fix="give sizes of 0 or more",
            )
    if total > MAX_EMPTY and (0 in sizes or total > MAX_SIZE):
        raise ShapeError(
            f"{what}: shape {shown(sizes)} is too large",
            why=f"its sizes multiply to {shown(total)}, with 1 for 0; positions in elements and bytes are "
            f"64-bit integers, at most {MAX_SIZE}",
            fix="split the work into smaller tensors",
        )
    return sizes


def resolve_shape(shape: int | Sequence[int], size: int, what: str) -> Shape:
    """Shape for `size` elements, with at most one -1 replaced by the inferred size."""
    sizes = _sizes(shape, what)
    if -1 in sizes:
        axis = sizes.index(-1)
        others = prod(sizes[:axis] + sizes[axis + 1 :])
        if sizes.count(-1) > 1:
            raise ShapeError(
                f"{what}: shape {shown(sizes)} has -1 more than once",
                why="only one size can be computed from the others",
                fix="write out all sizes but one",
            )
        if others == 0:
            raise ShapeError(
                f"{what}: shape {shown(sizes)} has an ambiguous -1",
                why="the other sizes multiply to 0, so every size would fit",
                fix="write out all sizes",
            )
        if others < 0 or size % others:
            raise wrong_size(size, tuple(sizes), what)
        sizes[axis] = size // others
    resolved = check_shape(sizes, what)
    if prod(resolved) != size:
        raise wrong_size(size, resolved, what)
    return resolved


def normalize_axis(axis: object, ndim: int, what: str) -> int:
    """Axis as an int from 0 to ndim - 1; negative axes count from the end. Raises IndexRangeError."""
    number = as_int(axis, what, "an axis")
    if -ndim <= number < ndim:
        return number + ndim if number < 0 else number
    raise IndexRangeError(
        f"{what}: axis {shown(number)} is out of range for {ndim} axes",
        why=f"axes are numbered {-ndim} to {ndim - 1}" if ndim else "a 0-d tensor has no axes",
        fix=f"use an axis from {-ndim} to {ndim - 1}" if ndim else "leave the axis out",
    )


def normalize_axes(axes: object, ndim: int, what: str) -> tuple[int, ...]:
    """Axes as ints from 0 to ndim - 1, in the order given; None means all of them."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, Sequence) or isinstance(axes, str | bytes):
        return (normalize_axis(axes, ndim, what),)
    numbers = tuple([normalize_axis(axis, ndim, what) for axis in axes])
    if len(set(numbers)) != len(numbers):
        raise ShapeError(
            f"{what}: axes {tuple(axes)} contain an axis twice",
            why=f"with {ndim} axes they mean {numbers}",
            fix="name each axis once",
        )
    return numbers


def normalize_key(key: object, layout_shape: Shape, what: str = "index") -> Key:
    """Key of basic indexing as a tuple of int, slice and None: `...` is expanded, integers become int."""
    parts: list[int | slice | None] = []
    used, dots = 0, -1
    for part in key if isinstance(key, tuple) else (key,):
        if part is None:
            parts.append(None)
        elif part is Ellipsis:
            if dots >= 0:
                raise IndexRangeError(
                    f"{what}: '...' occurs twice in an index of shape {layout_shape}",
                    why="the axes that each of them covers are ambiguous",
                    fix="keep one '...' and write ':' for each axis of the other",
                )
            dots = len(parts)
        else:
            used += 1
            is_slice = isinstance(part, slice)
            parts.append(_int_slice(part, what) if is_slice else as_int(part, what, "an index"))
    if used > len(layout_shape):
        raise IndexRangeError(
            f"{what}: {used} indices for shape {layout_shape}",
            why=f"the shape has {len(layout_shape)} axes, one for each index",
            fix=f"give at most {len(layout_shape)} indices; None adds an axis",
        )
    if dots >= 0:
        parts[dots:dots] = [slice(None)] * (len(layout_shape) - used)
    return tuple(parts)


def _int_slice(part: slice, what: str) -> slice:
    """Slice with bounds and step converted to int or None."""
    bounds = (part.start, part.stop, part.step)
    return slice(*[None if b is None else as_int(b, what, "a slice bound") for b in bounds])


def broadcast_shapes(*shapes: Shape, what: str = "broadcast") -> Shape:
    """Broadcast shape: shapes are aligned at the last axis; sizes must be equal or 1."""
    first = shapes[0] if shapes else ()
    if shapes.count(first) == len(shapes):
        return first
    ndim = max([len(shape) for shape in shapes])
    result = [1] * ndim
    for shape in shapes:
        for axis, length in enumerate(shape, ndim - len(shape)):
            if length == 1 or length == result[axis]:
                continue
            if result[axis] != 1:
                raise ShapeError(
                    f"{what}: shapes {', '.join(map(str, shapes))} do not broadcast",
                    why=f"axis {axis - ndim} would need sizes {[result[axis], length]} at once",
                    fix="reshape one operand so that each axis is equal or 1",
                )
            result[axis] = length
    return tuple(result)


def wrong_size(size: int, shape: Shape, what: str) -> ShapeError:
    """ShapeError for a shape, perhaps with a -1, that does not have `size` elements."""
    known = prod(length for length in shape if length != -1)
    return ShapeError(
        f"{what}: {size} elements do not fit shape {shown(shape)}",
        why=f"the sizes {'other than -1 ' if -1 in shape else ''}multiply to {shown(known)}",
        fix=f"give sizes that multiply to {size}, or one -1 among sizes that divide {size}",
    )
