"""Many tensors in one launch: a table on the device holds their addresses (multi_tensor.cuh); and what needs
nothing but that: to scale or clear them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinytensor.autograd.modes import grad_enabled
from tinytensor.config import config
from tinytensor.device import cpu
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.launch import Launch, View, view_of
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import DType, float64, int32, int64
from tinytensor.errors import GradError, ShapeError
from tinytensor.kernels.rows import need_tensors
from tinytensor.op import Spec
from tinytensor.ops.inplace import check_target, copy_
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor, arr, is_tensor

__all__ = ["scale_all_", "zero_all_"]

kernels = HostKernels("multi_tensor", common=True)
CHUNK = 8192  # elements that a block takes: `chunk` of many.cuh
_MAX_TABLES = 64


class Table(NamedTuple):
    """Tensors of one dtype, and how their elements are shared out among blocks.

    Attributes:
        entries: (n, 6) int64: four addresses, number of elements, group; `Entry` of many.cuh.
        chunks: (blocks, 2) int32: number of the entry, number of the chunk in it; `Chunk` of many.cuh.
        blocks: the grid.
    """

    entries: View
    chunks: View
    blocks: int


_tables: dict[Any, Table] = {}  # the most recently used last
_chunks: dict[Any, View] = {}


def addresses(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Of the first elements of tensors on a device."""
    return tuple([t.storage.buffer.ptr + t.layout.offset * t.storage.dtype.itemsize for t in tensors])


def table_of(
    launch: Launch,
    sizes: tuple[int, ...],
    columns: Sequence[tuple[int, ...]],
    groups: tuple[int, ...] | None = None,
) -> Table:
    """The table of some tensors, or of as many pairs, triples or quadruples of tensors of one shape.

    It is copied to the device when an address has changed since the last time, else found again. A captured
    graph gets tables of its own, and copies them at each replay.

    Args:
        launch: of the device.
        sizes: numbers of elements.
        columns: up to four times the addresses of contiguous tensors.
        groups: one number for each place, for the kernel.
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
    """The chunks of tensors of these sizes."""
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
    """The places in the list, for each dtype: a kernel takes one."""
    places: dict[DType, list[int]] = {}
    for i, t in enumerate(tensors):
        places.setdefault(t.storage.dtype, []).append(i)
    return places


def _writable(what: str, tensors: Sequence[Tensor]) -> Iterator[tuple[Launch | None, list[Tensor]]]:
    """Check the tensors; (launch, those of one dtype on one device), (None, those for the general road)."""
    need_tensors(what, *tensors)
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
    """Multiply many tensors by one number, each in its memory; on a device in one launch for each dtype.

    Args:
        tensors: floating, any shapes; written to.
        factor: a number, or a tensor without axes on their device, which is not read back.

    Returns:
        None.

    Raises:
        DTypeError: a tensor is not floating.
        GradError: a tensor requires grad, in grad mode: the writes are not recorded.
        ShapeError: factor has axes.

    Accuracy: 16-bit floats are multiplied in float32.

    Example:
        >>> x, y = tt.ones(2), tt.ones(3)
        >>> tt.scale_all_([x, y], 0.5)
        >>> x.tolist(), y.tolist()
        ([0.5, 0.5], [0.5, 0.5, 0.5])
    """
    if is_tensor(factor) and factor.layout.shape:
        raise ShapeError(
            f"scale_all_: factor has shape {factor.layout.shape}",
            why="all tensors are multiplied by one number",
            fix="pass a number, or reduce it to one: factor.sum()",
        )
    for launch, members in _writable("scale_all_", tensors):
        if launch is None:
            if not _scale_on_host(members, factor):
                for t in members:
                    t.mul_(factor)
            continue
        number: Tensor
        if is_tensor(factor):
            number = cast(factor, float64)
        else:
            number = constant(np.array(factor, np.float64), float64, launch.runtime.device)
        _scale(launch, members, view_of(number))


def zero_all_(tensors: Sequence[Tensor]) -> None:
    """Set all elements of many tensors to 0, in their memory; on a device in one launch for each dtype.

    Args:
        tensors: floating, any shapes; written to.

    Returns:
        None.

    Raises:
        DTypeError: a tensor is not floating.
        GradError: a tensor requires grad, in grad mode: the writes are not recorded.

    Example:
        >>> x, y = tt.ones(2), tt.ones(3)
        >>> tt.zero_all_([x, y])
        >>> x.tolist(), y.tolist()
        ([0.0, 0.0], [0.0, 0.0, 0.0])
    """
    for launch, members in _writable("zero_all_", tensors):
        if launch is None:
            if not _scale_on_host(members, None):
                for t in members:
                    copy_(t, 0.0)
        else:
            _scale(launch, members, None)


def _scale_on_host(members: list[Tensor], factor: Tensor | float | None) -> bool:
    """One call of a kernel of the host, if it takes them."""
    if config.host_kernels == "off" or any([t.storage.device is not cpu for t in members]):
        return False
    number = 0.0 if factor is None else float(arr(factor)) if is_tensor(factor) else factor
    return kernels.scale_many([arr(t) for t in members], number, factor is None)


def _scale(launch: Launch, members: list[Tensor], factor: View | None) -> None:
    table = table_of(launch, tuple([t.layout.size for t in members]), [addresses(members)])
    args = (table.entries, table.chunks, factor)
    launch("scale_many", members[0].storage.dtype, grid=table.blocks, args=args)
