"""Device execution of ops: `View` is a tensor as a kernel argument, `Launch` launches an op's CUDA kernels.

There are three entry points: any op (`run`), elementwise ops (`elementwise`), and copies of one tensor's
elements into another (`write`). Independent of autograd.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from tinytensor import dtypes
from tinytensor.device import Device
from tinytensor.dispatch import copies
from tinytensor.dispatch.bounds import Describe, bounds, raise_reported
from tinytensor.dispatch.checks import without_kernel
from tinytensor.dtypes import DType
from tinytensor.errors import ShapeError
from tinytensor.events import fire, observers
from tinytensor.layout import Layout, contiguous
from tinytensor.op import Op, Tensor
from tinytensor.random_streams import Stream, stream
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Argument, Dim, Kernel, Runtime, TemplateArgument
from tinytensor.storage import alloc_on

BLOCK = 256  # default number of threads per block
RANKS = (1, 2, 3, 4, 8)  # numbers of axes that kernels are unrolled for
_INT_MAX = (1 << 31) - 1


class View:
    """A tensor as a kernel argument.

    Attributes:
        ptr: address of the first element, including the offset.
        layout: shape and strides; its offset is the position of `ptr` in the storage.
        dtype: stored dtype.
        storage: keeps the memory alive.
    """

    __slots__ = ("dtype", "layout", "ptr", "storage")

    def __init__(self, storage: Any, layout: Layout) -> None:
        self.storage = storage
        self.layout = layout
        self.dtype: DType = storage.dtype
        self.ptr: int = storage.buffer.ptr + layout.offset * self.dtype.itemsize
        if observers:
            fire("used", storage)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the axes, in elements."""
        return self.layout.strides

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.layout.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.layout.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements are contiguous in C order."""
        return self.layout.is_contiguous

    def read_through(self, layout: Layout) -> View:
        """The same memory through another layout."""
        return View(self.storage, layout)

    def as_bits(self) -> View:
        """The same elements as unsigned integers of their size, for kernels that only move them."""
        v = View(self.storage, self.layout)
        v.dtype = _BITS[self.dtype.itemsize]
        return v


_BITS = {1: dtypes.uint8, 2: dtypes.uint16, 4: dtypes.uint32, 8: dtypes.uint64}


def view_of(t: Tensor) -> View:
    """View of a device tensor."""
    return View(t.storage, t.layout)


class Launch:
    """Launches the kernels of one .cu file on one device: the first argument of an op's `cuda`.

    Attributes:
        runtime: the device's memory and kernels.
        stem: name of the .cu file, without its extension.
    """

    __slots__ = ("runtime", "stem")

    def __init__(self, runtime: Runtime, stem: str) -> None:
        self.runtime, self.stem = runtime, stem

    def __call__(
        self,
        name: str,
        *arguments: TemplateArgument,
        grid: Dim,
        block: Dim = BLOCK,
        args: Sequence[Argument],
        shared: int = 0,
        file: str | None = None,
    ) -> None:
        """Launch `name<arguments>`; an empty grid launches nothing."""
        if grid == 0 or (type(grid) is tuple and 0 in grid):
            return
        kernel = self.runtime.kernel(file or self.stem, name, *arguments)
        kernel(grid, block, args, shared)

    def scratch(self, shape: Sequence[int], dtype: DType) -> View:
        """Uninitialized scratch memory for this op's kernels; freed with the View."""
        layout = contiguous(tuple(shape))
        return View(alloc_on(self.runtime, layout.size, dtype), layout)

    def zero(self, view: View) -> None:
        """Set all bytes of a contiguous View to 0."""
        if view.nbytes:
            self.runtime.memset(view.ptr, 0, view.nbytes)

    def bounds(self, low: int, high: int, describe: Describe, *arguments: Any) -> bytes:
        """A `Bounds` argument (bounds.cuh): values outside low <= value < high raise `describe(value,
        *arguments)`, on a GPU at the next synchronization. See `bounds.py`.
        """
        return bounds(self.runtime, low, high, describe, *arguments)

    def stream(self, at: Stream) -> bytes:
        """A `Stream` argument (stream.cuh): seed and offset of random samples, also in a captured graph."""
        return stream(self.runtime, at)

    def dense(
        self, view: View, dtype: DType | None = None, *, op: str = "", operand: str = "an operand"
    ) -> View:
        """The View itself, or a C-contiguous copy if it is not contiguous or has another dtype.

        Raises:
            ShapeError: only its strides require the copy, and `tt.config.strict_layout` is on.
        """
        wanted = dtype or view.dtype
        if view.dtype is not wanted:
            if observers:
                nbytes = view.size * wanted.itemsize
                copies.note(op, "dtype", nbytes, f"the kernel reads {wanted}, {operand} is {view.dtype}")
        elif view.layout.is_contiguous:
            return view
        else:
            need = "the kernel reads it as one block"
            copies.hidden(op, operand, view.shape, view.strides, view.nbytes, need)
        return self.packed(view, wanted)

    def rows(self, view: View, *, op: str = "", operand: str = "an operand") -> View:
        """(..., C) as (rows, C), whose rows may have gaps between them; a copy unless the strides allow it.

        Raises:
            ShapeError: the strides require a copy, and `tt.config.strict_layout` is on.
        """
        shape = (prod(view.shape[:-1]), view.shape[-1])
        found = view.layout.reshape(shape)
        if found is None or (found.strides[1] != 1 and found.size):
            view, found = self.dense(view, op=op, operand=operand), contiguous(shape)
        return view.read_through(found)

    def packed(self, view: View, dtype: DType) -> View:
        """A C-contiguous copy of the View in a dtype."""
        copy = self.scratch(view.shape, dtype)
        write(self.runtime, copy, view)
        return copy


_most_blocks = 65_535 * 16
plan_caches: list[Callable[[], None]] = []  # empty caches of modules whose plans hold grids of `blocks_for`


def blocks_for(n: int, per_block: int, at_most: int = 65_535 * 16) -> int:
    """Number of blocks for n elements, `per_block` each, limited to `at_most`: for kernels that loop over
    what is left (grid-stride loops), whose grid may have any size. See `limited_blocks`.
    """
    return min(-(-n // per_block), at_most, _most_blocks)


@contextmanager
def limited_blocks(most: int) -> Iterator[None]:
    """Let the grids of `blocks_for` have at most so many blocks, on all devices and in all threads.

    Kernels give the same results then, after more turns of their loops: so small tensors show what else only
    those of many millions of elements do, such as a missing barrier at the end of a turn.

    Example:
        >>> with limited_blocks(2):
        ...     blocks_for(1000, 256)
        2
    """
    before = _most_blocks
    _limit_blocks(most)
    try:
        yield
    finally:
        _limit_blocks(before)


def _limit_blocks(most: int) -> None:
    global _most_blocks
    _most_blocks = most
    for forget in plan_caches:
        forget()


def index_type(*views: View) -> str:
    """The C++ index type ("int" if it suffices) for all flat indices that these views reach."""
    for view in views:
        low, high = view.layout.extent
        if max(view.layout.size, high - low + 1) > _INT_MAX:
            return "long long"
    return "int"


_launches: dict[tuple[Device, str], Launch] = {}


def launch_for(op: Op | type[Op], device: Device) -> Launch:
    """The Launch for the .cu file of the op."""
    key = device, op.__module__
    found = _launches.get(key)
    if found is None:
        found = _launches[key] = Launch(runtime_of(device), op.__module__.rpartition(".")[2])
    return found


# ---- any op ------------------------------------------------------------------------------------------------


def run(op: Op, device: Device, outs: Sequence[Any], ins: Sequence[Any]) -> None:
    """Compute the outputs (tensors or None) with the op's CUDA kernels."""
    cuda = getattr(op, "cuda", None)
    if cuda is None:
        if not op.library:
            raise without_kernel(op.name, device)
        runtime = runtime_of(device)
        with runtime.library(op.name):
            op.cpu(*[_lent(runtime, t) for t in (*outs, *ins)])
        return
    launch = launch_for(op, device)
    places = [None if t is None else View(t.storage, t.layout) for t in outs]
    views: list[Any] = [View(t.storage, t.layout) if isinstance(t, Tensor) else t for t in ins]
    if op.dense:
        for i, name in enumerate(op.inputs):
            v = views[i]
            if (
                isinstance(v, View)
                and not v.layout.is_contiguous
                and (name in op.dense or op.dense == ("*",))
            ):
                views[i] = launch.dense(v, op=op.name, operand=f"the input {name!r}")
    copies.run_as(op.name, cuda, launch, *places, *views)
    if device.type != "cuda":  # synchronous: raise reported errors now
        raise_reported(launch.runtime)


def _lent(runtime: Runtime, t: Any) -> Any:
    """An array on the memory of a tensor; anything else as it is."""
    if not isinstance(t, Tensor):
        return t
    layout, storage = t.layout, t.storage
    buffer, dtype = storage.buffer, storage.dtype
    return runtime.lend(buffer, dtype, layout.shape, layout.strides, layout.offset, storage)


# ---- elementwise -------------------------------------------------------------------------------------------


class Launched(NamedTuple):
    """An elementwise kernel, and what it gets beside addresses and numbers: kept by the plan of an op."""

    runtime: Runtime
    kernel: Kernel
    grid: int
    form: struct.Struct  # `Operands` of elementwise.cuh
    tail: tuple[int, ...]  # its last fields: sizes and strides
    n: int


def elementwise(
    runtime: Runtime,
    stem: str,
    functor: str,
    out: View,
    operands: Sequence[View | bytes],
    dtype: DType,
    first: DType,
    known: Launched | None = None,
) -> Launched | None:
    """out = functor(*operands), broadcast to out's shape.

    Args:
        runtime: the device.
        stem: the .cu file of the functor.
        functor: name of the functor.
        out: any layout that does not overlap itself; one of the operands may be exactly the same memory.
        operands: Views, or Python numbers as 8 bytes of the stored dtype (16-bit floats as float32).
        dtype: stored dtype of the operands after the first.
        first: stored dtype of the first operand.
        known: what an earlier call with these layouts and dtypes returned.
    """
    if out.layout.size == 0:
        return known
    if known is None or known.runtime is not runtime:
        layouts = [v.layout if type(v) is View else None for v in operands]
        known = _plan(runtime, stem, functor, (out.dtype, first, dtype), out.layout, *layouts)  # type: ignore[arg-type]
    _, kernel, grid, form, tail, n = known
    pointers = [v.ptr if type(v) is View else 0 for v in operands]
    numbers = [_ZERO if type(v) is View else v for v in operands]
    kernel(grid, BLOCK, (form.pack(out.ptr, *pointers, *numbers, *tail), n))
    return known


_ZERO = bytes(8)
Instance = tuple[str, tuple[TemplateArgument, ...]]


@lru_cache(maxsize=10_000)
def _plan(
    runtime: Runtime,
    stem: str,
    functor: str,
    dtypes: tuple[DType, DType, DType],
    out: Layout,
    *layouts: Layout | None,
) -> Launched:
    shape = out.shape
    given = [out, *[layout and layout.expand(shape) for layout in layouts]]
    sizes, strides = merge(shape, [(0,) * len(shape) if g is None else g.strides for g in given])
    n, count = out.size, len(layouts)
    reach = max([n, *[1 + _span(sizes, s) for s in strides]])
    index, code = ("int", "i") if reach <= _INT_MAX else ("long long", "q")
    types = (functor, *dtypes, count)
    contiguous_instance: Instance = ("elementwise_contiguous", (*types, index))
    strided: list[Instance] = [("elementwise_strided", (*types, rank, index)) for rank in RANKS]
    if len(sizes) <= 1 and all(
        s == (1,) * len(sizes) or g is None for s, g in zip(strides, given, strict=True)
    ):
        rank, chosen, per_block = 1, contiguous_instance, BLOCK * 16
        sizes, strides = (n,), [(1,)] * (count + 1)
    else:
        if len(sizes) > RANKS[-1]:
            raise ShapeError(
                f"{functor}: operands of shape {shape} have {len(sizes)} axes that do not merge",
                why=f"kernels walk at most {RANKS[-1]} axes that do not merge",
                fix="make the operands contiguous first: x.contiguous()",
            )
        rank = next(r for r in RANKS if r >= len(sizes))
        chosen, per_block = strided[RANKS.index(rank)], BLOCK * 4
        missing = rank - len(sizes)
        sizes, strides = (1,) * missing + sizes, [(0,) * missing + s for s in strides]
    together = [contiguous_instance, *strided[:4]] if index == "int" else []
    kernel = runtime.kernel(stem, chosen[0], *chosen[1], together=together)
    form = struct.Struct("@" + "P" * (count + 1) + "8s" * count + code * rank * (count + 2) + "0q")
    tail = (*sizes, *[step for s in strides for step in s])
    return Launched(runtime, kernel, blocks_for(n, per_block), form, tail, n)


plan_caches.append(_plan.cache_clear)


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    return sum([(n - 1) * abs(s) for n, s in zip(shape, strides, strict=True)])


def merge(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Merge axes that are contiguous with each other in all operands, and drop axes of size 1: (sizes,
    strides of each operand).
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        here = [s[axis] for s in strides]
        if sizes and all(s[-1] == length * h for s, h in zip(steps, here, strict=True)):
            sizes[-1] *= length
            for s, h in zip(steps, here, strict=True):
                s[-1] = h
        else:
            sizes.append(length)
            for s, h in zip(steps, here, strict=True):
                s.append(h)
    return tuple(sizes), [tuple(s) for s in steps]


# ---- copies ------------------------------------------------------------------------------------------------


def write(runtime: Runtime, target: View, source: View | bytes) -> None:
    """target = source, broadcast and cast; a scalar source as in `elementwise`. The two must not overlap."""
    if type(source) is View and source.dtype is target.dtype:
        if source.is_contiguous and target.is_contiguous and source.shape == target.shape:
            if source.nbytes:
                runtime.copy(target.ptr, source.ptr, source.nbytes)
            return
        source, target = source.as_bits(), target.as_bits()
        if source.shape == target.shape and _copy_transposed(runtime, target, source):
            return
    kind = source.dtype if type(source) is View else target.dtype
    elementwise(runtime, "manipulation", "Cast", target, (source,), kind, kind)


_LEAST = 8  # tiles do not pay for shorter rows and columns


def _copy_transposed(runtime: Runtime, target: View, source: View) -> bool:
    """Tiled transpose copy if target and source have stride 1 on different axes; returns False if not."""
    sizes, (to, of) = merge(target.shape, (target.strides, source.strides))
    if not 2 <= len(sizes) <= 4 or 1 not in to or 1 not in of:
        return False
    column, row = to.index(1), of.index(1)  # the axes of stride 1 in target and source
    if column == row or min(sizes[column], sizes[row]) < _LEAST:
        return False
    others = [axis for axis in range(len(sizes)) if axis not in (row, column)]
    outer, inner = [(1, 0, 0)] * (2 - len(others)) + [(sizes[a], to[a], of[a]) for a in others]
    batches = outer[0] * inner[0]
    grid = (-(-sizes[column] // 32), -(-sizes[row] // 32), blocks_for(batches, 1, 65_535))
    if grid[1] > 65_535:
        return False
    kernel = runtime.kernel("manipulation", "copy_transposed", target.dtype, index_type(target, source))
    steps = (outer[1], outer[2], inner[1], inner[2])
    shape = (sizes[row], sizes[column], to[row], of[column], batches, inner[0])
    kernel(grid, (32, 8), (target, source, *shape, *steps))
    return True


def dense(t: Tensor) -> View:
    """C-contiguous View of a tensor's elements; a copy if the tensor is not contiguous."""
    return Launch(runtime_of(t.storage.device), "manipulation").dense(view_of(t))


def dense_for_transfer(t: Tensor) -> View:
    """`dense` before an explicit transfer off the device, which `strict_layout` does not restrict."""
    view = view_of(t)
    if view.is_contiguous:
        return view
    if observers:
        lies = copies.describe(view.shape, view.strides)
        copies.note("to", "layout", view.nbytes, f"elements travel as one block: x is {lies}")
    return Launch(runtime_of(t.storage.device), "manipulation").packed(view, view.dtype)
