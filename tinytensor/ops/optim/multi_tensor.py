"""Multi-tensor launches through a device table of addresses (multi_tensor.cuh): scaling, zeroing, casts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinytensor.autograd.modes import grad_enabled
from tinytensor.config import config
from tinytensor.device import cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.cpu import do
from tinytensor.dispatch.launch import Launch, View, view_of
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import DType, float32, float64, int32, int64
from tinytensor.errors import GradError, ShapeError
from tinytensor.events import observers
from tinytensor.kernels.rows import require_tensors
from tinytensor.op import Array, Spec
from tinytensor.ops.inplace import check_target, copy_
from tinytensor.ops.views.manipulation import cast, cast_by, record_cast
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor, arr, empty, is_tensor

__all__ = ["scale_all_", "zero_all_"]

kernels = HostKernels("multi_tensor")
CHUNK = 8192  # elements per block: `chunk` of multi_tensor.cuh
_MAX_TABLES = 64


class Table(NamedTuple):
    """Device table of tensors of one dtype, and the assignment of their elements to blocks.

    Attributes:
        entries: (n, 6) int64: four addresses, number of elements, group; `Entry` of multi_tensor.cuh.
        chunks: (blocks, 2) int32: index of the entry, index of the chunk in it; `Chunk` of multi_tensor.cuh.
        blocks: the grid.
    """

    entries: View
    chunks: View
    blocks: int


_tables: dict[Any, Table] = {}  # the most recently used last
_chunks: dict[Any, View] = {}


def addresses(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Addresses of the first elements of tensors on a device."""
    return tuple([t.storage.buffer.ptr + t.layout.offset * t.storage.dtype.itemsize for t in tensors])


def table_of(
    launch: Launch,
    sizes: tuple[int, ...],
    columns: Sequence[tuple[int, ...]],
    groups: tuple[int, ...] | None = None,
    *,
    kept: bool = True,
) -> Table:
    """Table of tensors, or of pairs, triples or quadruples of tensors of one shape; cached.

    It is copied to the device only if an address has changed since the last call. A captured graph has its
    own tables, and copies them at each replay.

    Args:
        columns: up to four times the addresses of contiguous tensors.
        groups: one integer per entry, passed to the kernel.
        kept: False for results of the launch, which are elsewhere at the next call.
    """
    if launch.runtime.capturing:
        return _written(launch, sizes, columns, groups, _shared_out(launch, sizes))
    key = launch.runtime, sizes, *columns, groups
    found = _tables.pop(key, None)
    if found is None:
        chunks = _chunks.get((launch.runtime, sizes))
        if chunks is None:
            if len(_chunks) >= _MAX_TABLES:
                _chunks.clear()
            chunks = _chunks[launch.runtime, sizes] = _shared_out(launch, sizes)
        if len(_tables) >= _MAX_TABLES:
            del _tables[next(iter(_tables))]
        found = _written(launch, sizes, columns, groups, chunks)
    if kept:
        _tables[key] = found
    return found


def _written(
    launch: Launch,
    sizes: tuple[int, ...],
    columns: Sequence[tuple[int, ...]],
    groups: tuple[int, ...] | None,
    chunks: View,
) -> Table:
    entries: Array = np.zeros((len(sizes), 6), np.int64)
    for k, column in enumerate(columns):
        entries[:, k] = np.array(column, np.uint64).view(np.int64)
    entries[:, 4] = sizes
    if groups is not None:
        entries[:, 5] = groups
    return Table(_uploaded(launch, entries, int64), chunks, chunks.shape[0])


def _shared_out(launch: Launch, sizes: tuple[int, ...]) -> View:
    """The chunks of tensors of these sizes, on the device; cached."""
    counts = -(-np.array(sizes, np.int64) // CHUNK)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    pairs = np.stack([np.repeat(np.arange(len(sizes)), counts), numbers], 1).astype(np.int32)
    return _uploaded(launch, pairs, int32)


def _uploaded(launch: Launch, array: Array, dtype: DType) -> View:
    view = launch.scratch(array.shape, dtype)
    if array.size:
        launch.runtime.copy_in(view.ptr, np.ascontiguousarray(array))
    return view


def by_dtype(tensors: Sequence[Tensor]) -> dict[DType, list[int]]:
    """Indices into the list, by dtype: a kernel takes tensors of one dtype."""
    places: dict[DType, list[int]] = {}
    for i, t in enumerate(tensors):
        places.setdefault(t.storage.dtype, []).append(i)
    return places


def _writable(what: str, tensors: Sequence[Tensor]) -> Iterator[tuple[Launch | None, list[Tensor]]]:
    """Check the tensors; yield (launch, tensors of one dtype and device); launch None: general path."""
    require_tensors(what, *tensors)
    apart: list[Tensor] = []
    together: dict[Any, list[Tensor]] = {}
    for t in tensors:
        floating(what, Spec(t.layout.shape, t.storage.dtype))
        check_target(t, False, what)
        if grad_enabled() and edge_of(t) is not None:
            raise GradError(
                f"{what}: a tensor of shape {t.layout.shape} requires grad",
                why="these writes are not recorded",
                fix="call it under tt.no_grad(), or on .grad",
            )
        if t.storage.device is not cpu and t.layout.is_contiguous:
            together.setdefault((t.storage.device, t.storage.dtype), []).append(t)
        else:
            apart.append(t)
    if apart:
        yield None, apart
    for (device, _), members in together.items():
        yield Launch(runtime_of(device), "multi_tensor"), members
    for t in tensors:
        t.storage.bump(what)


def scale_all_(tensors: Sequence[Tensor], factor: Tensor | float) -> None:
    """Multiply many tensors by one number, in place; on a device in one launch per dtype.

    Args:
        factor: a number, or a 0-d tensor on their device, which is not read back.

    Raises:
        GradError: a tensor requires grad, in grad mode: the writes are not recorded.

    Accuracy: 16-bit floats are multiplied in float32.

    >>> x, y = tt.ones(2), tt.ones(3)
    >>> tt.scale_all_([x, y], 0.5)
    >>> x.tolist(), y.tolist()
    ([0.5, 0.5], [0.5, 0.5, 0.5])
    """
    if is_tensor(factor) and factor.layout.shape:
        raise ShapeError(
            f"scale_all_: factor has shape {factor.layout.shape}",
            why="all tensors are multiplied by one number",
            fix="pass a number or a 0-d tensor, for example factor.sum()",
        )
    for launch, members in _writable("scale_all_", tensors):
        if launch is None:
            do(_scale_on_host, factor, *members, writes=members)
            continue
        number: Tensor
        if is_tensor(factor):
            number = cast(factor, float64)
        else:
            number = constant(np.array(factor, np.float64), float64, launch.runtime.device)
        _scale(launch, members, view_of(number))


def zero_all_(tensors: Sequence[Tensor]) -> None:
    """Set all elements of many tensors to 0, in place; on a device in one launch per dtype.

    Raises:
        GradError: a tensor requires grad, in grad mode: the writes are not recorded.

    >>> x, y = tt.ones(2), tt.ones(3)
    >>> tt.zero_all_([x, y])
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0], [0.0, 0.0, 0.0])
    """
    for launch, members in _writable("zero_all_", tensors):
        if launch is None:
            do(_scale_on_host, None, *members, writes=members)
        else:
            _scale(launch, members, None)


def _scale_on_host(factor: Tensor | float | None, *members: Tensor) -> None:
    """Scale by one call of a C++ kernel, if it supports them; None: set to 0."""
    if config.host_kernels == "auto" and all([t.storage.device is cpu for t in members]):
        number = 0.0 if factor is None else float(arr(factor)) if is_tensor(factor) else factor
        if kernels.scale_many([arr(t) for t in members], number, factor is None):
            return
    for t in members:
        if factor is None:
            copy_(t, 0.0)
        else:
            t.mul_(factor)


def _scale(launch: Launch, members: list[Tensor], factor: View | None) -> None:
    table = table_of(launch, tuple([t.layout.size for t in members]), [addresses(members)])
    args = (table.entries, table.chunks, factor)
    launch("scale_many", members[0].storage.dtype, grid=table.blocks, args=args)


def cast_all(tensors: Sequence[Tensor], dtype: DType) -> list[Tensor]:
    """`cast` of many tensors, in one launch of one kernel if they are contiguous float32 on a device."""
    device = tensors[0].storage.device
    same = all([x.storage.device is device and x.storage.dtype is float32 for x in tensors])
    if device is cpu or not same or not all([x.layout.is_contiguous for x in tensors]):
        return [cast(x, dtype) for x in tensors]
    if observers:
        nbytes = sum([x.layout.size * dtype.itemsize for x in tensors])
        copies.note("cast", "dtype", nbytes, f"{len(tensors)} tensors become {dtype}")
    made = [empty(x.layout.shape, dtype, device) for x in tensors]
    launch = Launch(runtime_of(device), "multi_tensor")

    def run() -> Sequence[Tensor]:
        sizes = tuple([x.layout.size for x in tensors])
        table = table_of(launch, sizes, [addresses(tensors), addresses(made)], kept=False)
        launch("cast_many", float32, dtype, grid=table.blocks, args=(table.entries, table.chunks))
        return made

    cast_by(run, device, tensors, dtype, float32)
    if grad_enabled():
        for x, y in zip(tensors, made, strict=True):
            record_cast(x, y)
    return made
