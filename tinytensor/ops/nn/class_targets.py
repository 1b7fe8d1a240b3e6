"""Validation and flattening of integer class targets and indices, for losses and embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, unwrapped, vmap_batched
from tinytensor.dispatch.launch import Launch, View, write
from tinytensor.dtypes import float64, int64
from tinytensor.errors import ArgumentError, DTypeError, IndexRangeError
from tinytensor.events import observers
from tinytensor.kernels.rows import one_block, reshaped
from tinytensor.op import Array, Spec
from tinytensor.ops.elementwise.comparison import not_equal
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.views.manipulation import cast

REDUCTIONS = ("mean", "sum", "none")


def check_integers(what: str, name: str, indices: Spec) -> None:
    """DTypeError unless the indices are integers."""
    if indices.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"{what}: {name} of shape {indices.shape} and dtype {indices.dtype}",
            why=f"{name} are integers, the numbers of rows or classes",
            fix=f"{name}.astype(tt.int64)",
        )


def check_reduction(what: str, reduction: str) -> None:
    """ArgumentError for an unknown reduction."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(
            f"{what}: reduction is {reduction!r}",
            why=f"it is one of {', '.join(map(repr, REDUCTIONS))}",
            fix='leave it out for the mean, or pass reduction="none" for one loss per position',
        )


def each_loss(call: VmapCall) -> Any:
    """The rule of an op of (scores, targets) for batched operands: the losses of rows, summed per sample."""
    if call.op.reduction == "none":
        return vmap_batched(call)
    losses, targets = apply(call.op.replace(reduction="none"), *call.given), call.given[1]
    total = sum(losses)
    if call.op.reduction == "mean":
        total = total / sum(cast(not_equal(targets, call.op.ignore_index), losses.storage.dtype))
    return unwrapped(total, call.level)


def sum_of_rows(rows: Array, counted: Array, reduction: str) -> Any:
    """The sum of the losses of rows, or their mean over those that are counted, in float64."""
    total = np.add.reduce(rows, dtype=np.float64)
    return total / np.count_nonzero(counted) if reduction == "mean" else total


def reduce_on_device(launch: Launch, op: Any, loss: View, rows: View, labels: View) -> None:
    """The same on a device, by the kernel of the op."""
    if op.reduction == "none":
        write(launch.runtime, loss, rows)
        return
    args = (loss, rows, labels, labels.size, op.ignore_index, op.reduction == "mean")
    launch(f"{op.name}_forward_reduce", loss.dtype, grid=1, block=one_block(labels.size), args=args)


def factor_on_device(launch: Launch, what: str, op: Any, labels: View) -> View | None:
    """1 / the number of rows that are not ignored, in float64; None if the losses are not averaged."""
    if op.reduction != "mean":
        return None
    factor = launch.scratch((), float64)
    args = (factor, labels, labels.size, op.ignore_index)
    launch(f"{what}_backward_factor", grid=1, block=one_block(labels.size), args=args)
    return factor


def flat_indices(what: str, name: str, indices: Array, size: int, ignore: int | None = None) -> Array:
    """The indices, flat (N,), as intp; IndexRangeError if one is outside 0 … size - 1 and is not `ignore`."""
    flat = reshaped(indices, -1)
    if flat.dtype != np.intp:
        _note_cast(flat, np.intp)
        flat = flat.astype(np.intp)
    if not flat.size or (np.minimum.reduce(flat) >= 0 and np.maximum.reduce(flat) < size):
        return flat
    wrong = (flat < 0) | (flat >= size)
    if ignore is not None:
        wrong &= flat != ignore
    if not wrong.any():
        return flat
    at = np.unravel_index(int(wrong.argmax()), indices.shape)
    position = f"[{', '.join([str(int(i)) for i in at])}]" if at else ""
    raise _outside(int(indices[at]), what, name + position, name, size, ignore)


def as_int64(indices: Array) -> Array:
    """The indices as C++ kernels read them: int64, C-contiguous."""
    if indices.dtype != np.int64:
        _note_cast(indices, np.int64)
    elif not indices.flags.c_contiguous:
        copies.hidden_in(indices, "the kernel reads indices as one block")
    return np.ascontiguousarray(indices, np.int64)


def _note_cast(indices: Array, kind: type[np.signedinteger[Any]]) -> None:
    if observers:
        nbytes = indices.size * np.dtype(kind).itemsize
        copies.note("", "dtype", nbytes, f"indices become {np.dtype(kind)}")


def on_device(
    launch: Launch, what: str, name: str, indices: View, size: int, ignore: int | None = None
) -> tuple[View, bytes]:
    """(the indices, contiguous int64; `Bounds` for the kernel that checks each one)."""
    bounds = launch.bounds(0, size, _outside, what, f"one of {name}", name, size, ignore)
    return launch.dense(indices, int64), bounds


def _outside(number: int, what: str, which: str, name: str, size: int, ignore: int | None) -> IndexRangeError:
    """The error for an index outside 0 … size - 1 that is not `ignore`."""
    ignored = "" if ignore is None else f", and {ignore} marks ignored positions"
    return IndexRangeError(
        f"{what}: {which} is {number}",
        why=f"there are {size} rows or classes, numbered 0 to {size - 1}{ignored}",
        fix=f"correct {name}, or make room for {number + 1}"
        if number >= size
        else f"correct {name}: negative numbers do not count from the end here",
    )
