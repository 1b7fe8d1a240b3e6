"""Layout: shape, strides and offset of a view into a flat buffer. Pure integer arithmetic.

Shape, strides and offset are counted in elements. The element at index (i, j, ...) is at flat index
`offset + i * strides[0] + j * strides[1] + ...`. A stride of 0 repeats an axis, a negative stride reverses
it. Every view operation is a function from Layout to Layout; no data is accessed.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

from tinytensor.errors import ArgumentError, IndexRangeError, ShapeError, shown
from tinytensor.shapes import Key, Shape, as_int, check_shape, normalize_axes, wrong_size

__all__ = ["Layout"]

SMALL = 4096  # elements; NumPy allocates the memory of smaller results, and ops take shorter paths
EXACT_OVERLAP = 65_536  # elements; above, `overlaps` does not enumerate
MAX_INTERNED = 10_000  # layouts
LONG_ROW, ROW_UNIT = (
    512,
    64,
)  # elements: of rows that may have a gap after them, and what it rounds them up to


class Layout:
    """Shape, strides and offset of a view, in elements. Treat as immutable.

    Attributes:
        shape: sizes of the axes.
        strides: distance between neighbors along each axis.
        offset: flat index of the element at index (0, 0, ...).
        size: number of elements, the product of the sizes.
        is_contiguous: the elements are contiguous in C order (last axis fastest); true if empty.

    The constructor does not check its arguments, because every view and every result passes through it;
    `as_strided` and `validate` check user input.
    """

    __slots__ = ("_overlaps", "is_contiguous", "offset", "shape", "size", "strides")

    def __init__(self, shape: Shape, strides: Shape, offset: int) -> None:
        size, dense = 1, True
        for length, stride in zip(shape[::-1], strides[::-1], strict=False):
            if stride != size and length != 1:
                dense = False
            size *= length
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.size = size
        self.is_contiguous = dense or size == 0
        self._overlaps: bool | None = None  # not known yet

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self is other or (
            self.shape == other.shape and self.strides == other.strides and self.offset == other.offset
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.strides, self.offset))

    def __repr__(self) -> str:
        return f"Layout(shape={self.shape}, strides={self.strides}, offset={self.offset})"

    @classmethod
    def as_strided(
        cls, shape: Sequence[int], strides: Sequence[int], offset: int = 0, what: str = "as_strided"
    ) -> "Layout":
        """Layout from user-given sizes, strides and offset; call `validate` before reading through it."""
        sizes = check_shape(shape, what)
        steps = tuple([as_int(s, what, "a stride") for s in strides])
        if len(steps) != len(sizes):
            raise _lengths_differ(sizes, steps, what)
        return cls(sizes, steps, as_int(offset, what, "the offset"))

    # -- properties ----------------------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def extent(self) -> tuple[int, int]:
        """Lowest and highest reachable flat index, inclusive; (offset, offset - 1) if there is no element."""
        low = high = self.offset
        if self.size == 0:
            return low, low - 1
        for length, stride in zip(self.shape, self.strides, strict=True):
            if stride < 0:
                low += stride * (length - 1)
            else:
                high += stride * (length - 1)
        return low, high

    def overlaps(self) -> bool:
        """Whether two indices reach the same element.

        Exact up to 65,536 elements. Above, True may also mean undecided: the strides interleave in a way
        that only enumeration could settle.
        """
        if self._overlaps is None:
            self._overlaps = not self.is_contiguous and self._has_overlap()
        return self._overlaps

    def _has_overlap(self) -> bool:
        axes = sorted((abs(s), n) for n, s in zip(self.shape, self.strides, strict=True) if n > 1)
        reach = 0  # largest flat index that the axes so far can reach from their start
        for stride, length in axes:
            if stride <= reach:
                break
            reach += stride * (length - 1)
        else:
            return False  # the stride of each axis exceeds the reach of all faster axes
        if axes[0][0] == 0 or self.size > EXACT_OVERLAP:
            return True
        seen = {0}
        for stride, length in axes:
            seen = {start + i * stride for start in seen for i in range(length)}
        return len(seen) != self.size

    def validate(self, storage_size: int, what: str = "layout") -> None:
        """Raise ShapeError unless every index reaches an element of a storage of `storage_size` elements."""
        if len(self.shape) != len(self.strides):
            raise _lengths_differ(self.shape, self.strides, what)
        check_shape(self.shape, what)
        low, high = self.extent
        # The offset of an empty layout counts, too: NumPy gets a pointer to it.
        if low < 0 or high >= storage_size:
            raise ShapeError(
                f"{what}: shape {self.shape}, strides {self.strides}, offset {self.offset} leave the storage",
                why=f"they reach positions {low} to {high}, the storage has {storage_size} elements",
                fix="choose sizes, strides and offset so that all positions lie inside the storage",
            )

    def merge_dims(self) -> "Layout":
        """Layout with as few axes as possible that visits the same elements in the same order.

        Axes of size 1 are dropped; neighboring axes with compatible strides are merged.
        """
        if self.is_contiguous:
            many = self.size != 1
            return Layout((self.size,) if many else (), (1,) if many else (), self.offset)
        shape: list[int] = []
        strides: list[int] = []
        for length, stride in zip(self.shape, self.strides, strict=True):
            if length == 1:
                continue
            if strides and strides[-1] == length * stride:
                shape[-1] *= length
                strides[-1] = stride
            else:
                shape.append(length)
                strides.append(stride)
        return Layout(tuple(shape), tuple(strides), self.offset)

    def blocking_axes(self) -> tuple[tuple[int, int], ...]:
        """Pairs of neighboring axes that do not merge, ignoring axes of size 1; empty for an empty layout."""
        if self.is_contiguous:
            return ()
        shape, strides = self.shape, self.strides
        pairs = pairwise([axis for axis, length in enumerate(shape) if length != 1])
        return tuple([(a, b) for a, b in pairs if strides[a] != shape[b] * strides[b]])

    # -- views ---------------------------------------------------------------------------------------------

    def permute(self, axes: Sequence[int], what: str = "permute") -> "Layout":
        """Axes in another order: axis i of the result is axis axes[i] of this layout."""
        shape, strides = self.shape, self.strides
        if sorted(axes) != list(range(len(shape))):
            axes = normalize_axes(axes, len(shape), what)
            if len(axes) != len(shape):
                raise ShapeError(
                    f"{what}: {len(axes)} axes {axes} for shape {shape}",
                    why="each axis must be named exactly once",
                    fix=f"give an order of the axes 0 to {len(shape) - 1}",
                )
        return Layout(tuple([shape[a] for a in axes]), tuple([strides[a] for a in axes]), self.offset)

    def expand(self, shape: Sequence[int], what: str = "expand") -> "Layout":
        """Broadcast axes of size 1 and add leading axes, with stride 0; -1 keeps a size."""
        lead = len(shape) - len(self.shape)
        if lead < 0:
            raise ShapeError(
                f"{what}: shape {self.shape} to {shown(shape)}",
                why=f"the new shape has {len(shape)} axes, fewer than {len(self.shape)}",
                fix=f"give at least {len(self.shape)} sizes, or use reshape or squeeze to drop axes",
            )
        sizes, strides = list(shape), [0] * lead
        for axis, length, stride in zip(range(lead, len(shape)), self.shape, self.strides, strict=True):
            want = sizes[axis]
            if want == length or want == -1:
                sizes[axis] = length
                strides.append(stride)
            elif length == 1:
                strides.append(0)
            else:
                raise ShapeError(
                    f"{what}: shape {self.shape} to {shown(shape)}",
                    why=f"axis {axis - lead} of size {length} cannot become {shown(want)}",
                    fix="only axes of size 1 can be repeated; give the present size or -1 for the others",
                )
        return Layout(check_shape(sizes, what), tuple(strides), self.offset)

    def index(self, key: Key, what: str = "index") -> "Layout":
        """Basic indexing with a key from `normalize_key`: an int drops its axis, None adds one of size 1."""
        shape: list[int] = []
        strides: list[int] = []
        offset, axis = self.offset, 0
        for part in key:
            if part is None:
                shape.append(1)
                strides.append(0)
                continue
            length, stride = self.shape[axis], self.strides[axis]
            if isinstance(part, slice):
                if part.step == 0:
                    raise IndexRangeError(
                        f"{what}: slice step 0 on axis {axis} of shape {self.shape}",
                        why="a step of 0 never reaches the end",
                        fix="use a step of 1, or expand to repeat an element",
                    )
                start, stop, step = part.indices(length)
                count = len(range(start, stop, step))
                shape.append(count)
                strides.append(stride * step)
                if count:
                    offset += start * stride
            else:
                if not -length <= part < length:
                    raise _index_out_of_range(part, axis, self.shape, what)
                offset += (part + length if part < 0 else part) * stride
            axis += 1
        if self.size == 0:
            offset = self.offset  # no element to point at: keep an offset that is inside the storage
        return Layout((*shape, *self.shape[axis:]), (*strides, *self.strides[axis:]), offset)

    def flip(self, axes: Iterable[int]) -> "Layout":
        """Reverse the given axes, which are normalized and distinct."""
        strides, offset = list(self.strides), self.offset
        for axis in axes:
            if self.size:
                offset += (self.shape[axis] - 1) * strides[axis]
            strides[axis] = -strides[axis]
        return Layout(self.shape, tuple(strides), offset)

    def diagonal(self, k: int, a: int, b: int, what: str = "diagonal") -> "Layout":
        """Elements whose index on axis b is k more than on axis a, as a new last axis."""
        if a == b:
            raise ShapeError(
                f"{what}: axes {a} and {b} of shape {self.shape} are the same",
                why="a diagonal runs through a plane of two different axes",
                fix="name two different axes",
            )
        rows, columns = self.shape[a], self.shape[b]
        count = max(0, min(rows, columns - k) if k >= 0 else min(rows + k, columns))
        offset = self.offset
        if count and self.size:
            offset += k * self.strides[b] if k >= 0 else -k * self.strides[a]
        keep = [axis for axis in range(len(self.shape)) if axis not in (a, b)]
        shape = (*[self.shape[axis] for axis in keep], count)
        strides = (*[self.strides[axis] for axis in keep], self.strides[a] + self.strides[b])
        return Layout(shape, strides, offset)

    def unfold(self, axis: int, size: int, step: int, what: str = "unfold") -> "Layout":
        """Windows of `size` elements every `step` along an axis; the window becomes a new last axis."""
        length = self.shape[axis]
        if size < 0 or step < 1:
            raise ArgumentError(
                f"{what}: size {size} and step {step}",
                why="a window has at least 0 elements and the next one starts at least 1 further",
                fix="give size >= 0 and step >= 1",
            )
        if size > length:
            raise ShapeError(
                f"{what}: window of size {size} on axis {axis} of shape {self.shape}",
                why=f"the window is longer than the axis, which has size {length}",
                fix=f"use a window of at most {length}, or pad the axis first",
            )
        shape, strides = list(self.shape), list(self.strides)
        shape[axis] = (length - size) // step + 1
        strides[axis] *= step
        return Layout((*shape, size), (*strides, self.strides[axis]), self.offset)

    def reshape(self, shape: Shape) -> "Layout | None":
        """View of the same elements, in C order, in another shape; None if that needs a copy.

        The shape comes from `resolve_shape`.
        """
        if prod(shape) != self.size:
            raise wrong_size(self.size, shape, "reshape")
        if self.is_contiguous:
            return Layout(shape, contiguous_strides(shape), self.offset)
        merged = self.merge_dims()
        group = len(merged.shape) - 1  # runs of evenly spaced elements, filled from the last
        left, step = merged.shape[group], merged.strides[group]
        strides = []
        for length in reversed(shape):
            if length != 1 and left == 1:
                group -= 1
                left, step = merged.shape[group], merged.strides[group]
            if left % length:
                return None  # this axis would run across two groups
            strides.append(step)
            step *= length
            left //= length
        return Layout(shape, tuple(strides[::-1]), self.offset)

    def squeeze(self, axes: Iterable[int], what: str = "squeeze") -> "Layout":
        """Drop the given axes, which have size 1. The axes are normalized."""
        drop = set(axes)
        for axis in drop:
            if self.shape[axis] != 1:
                raise ShapeError(
                    f"{what}: axis {axis} of shape {self.shape} cannot be dropped",
                    why=f"it has size {self.shape[axis]}; only axes of size 1 hold no information",
                    fix="name axes of size 1, or index the axis, x[0] for example, to choose one element",
                )
        shape, strides = self.shape, self.strides
        keep = [axis for axis in range(len(shape)) if axis not in drop]
        return Layout(tuple([shape[a] for a in keep]), tuple([strides[a] for a in keep]), self.offset)

    def unsqueeze(self, axis: int) -> "Layout":
        """Add an axis of size 1 before `axis`, 0 <= axis <= ndim."""
        shape, strides = self.shape, self.strides
        # The stride with which other libraries, too, treat the layout as contiguous.
        step = shape[axis] * strides[axis] if axis < len(shape) else 1
        strides = (*strides[:axis], step, *strides[axis:])
        return Layout((*shape[:axis], 1, *shape[axis:]), strides, self.offset)


# -- layouts of new memory -----------------------------------------------------------------------------------


def contiguous_strides(shape: Shape) -> Shape:
    """Strides of a C-contiguous array; a size of 0 counts as 1, as in PyTorch."""
    strides, step = [], 1
    for length in shape[::-1]:
        strides.append(step)
        step *= length or 1
    return tuple(strides[::-1])


_interned: dict[Shape, Layout] = {}


def contiguous(shape: Shape) -> Layout:
    """C-contiguous layout with offset 0, interned: looked up faster than made."""
    layout = _interned.get(shape)
    if layout is None:
        shape = check_shape(shape, "contiguous")
        layout = Layout(shape, contiguous_strides(shape), 0)
        if len(_interned) >= MAX_INTERNED:
            _interned.clear()
        layout = _interned.setdefault(shape, layout)
    return layout


def ordered(shape: Shape, order: Sequence[int]) -> Layout:
    """Contiguous layout with the axes in memory order `order`, slowest first."""
    steps = contiguous_strides(tuple([shape[axis] for axis in order]))
    strides = [0] * len(shape)
    for axis, step in zip(order, steps, strict=True):
        strides[axis] = step
    return Layout(check_shape(shape, "ordered"), tuple(strides), 0)


def with_aligned_rows(shape: Shape, itemsize: int) -> Layout:
    """C-contiguous layout, but with a gap after each row (the last axis) where long rows would otherwise
    begin at addresses that are no multiple of 16 bytes, as vector accesses need them.

    >>> with_aligned_rows((2, 1001), 2).strides, with_aligned_rows((2, 1008), 2).strides
    ((1024, 1), (1008, 1))
    """
    rows, row = prod(shape[:-1]), shape[-1] if shape else 0
    if rows < 2 or row < LONG_ROW or row * itemsize % 16 == 0:
        return contiguous(shape)
    step = -(-row // ROW_UNIT) * ROW_UNIT
    strides = [step * s for s in contiguous_strides(shape[:-1])]
    return Layout(check_shape(shape, "with_aligned_rows"), (*strides, 1), 0)


# -- errors that several methods raise -----------------------------------------------------------------------


def _lengths_differ(shape: Shape, strides: Shape, what: str) -> ShapeError:
    return ShapeError(
        f"{what}: {len(shape)} sizes {shape} but {len(strides)} strides {strides}",
        why="each axis has one size and one stride",
        fix="give as many strides as sizes",
    )


def _index_out_of_range(index: int, axis: int, shape: Shape, what: str) -> IndexRangeError:
    length = shape[axis]
    return IndexRangeError(
        f"{what}: index {shown(index)} is outside axis {axis} of size {length}",
        why=f"axis {axis} of shape {shape} "
        + (f"has indices {-length} to {length - 1}" if length else "has no elements"),
        fix="use an index inside this range, or a slice, which is clipped to the axis",
    )
