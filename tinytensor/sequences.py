"""Tensors of numbers that a formula gives: evenly spaced ones, and the identity matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytensor.creation import check_range, full, place_of, stored
from tinytensor.dispatch.transfer import wrap
from tinytensor.dtypes import DType, as_dtype, float32, int64
from tinytensor.errors import ArgumentError, NumberRangeError, shown
from tinytensor.layout import as_int, check_shape
from tinytensor.ops.inplace import store
from tinytensor.runtime.cpu.memory import NUMPY, Array, allocating
from tinytensor.tensor import Tensor


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Evenly spaced numbers: start, start + step, … below stop.

    Args:
        start: first number; if stop is left out, 0 is the first and this is the stop.
        stop: end, not included.
        step: distance; may be negative, not zero.
        dtype: default int64 if all are integers, else float32.
        device: where the bytes go; default "cpu".

    Returns:
        shape (ceil((stop - start) / step),).

    Raises:
        ArgumentError: step is zero, or a bound is not finite.
        NumberRangeError: a number does not fit into the dtype.
        ShapeError, AllocationError: too many numbers.

    Example:
        >>> tt.arange(1, 7, 2).tolist()
        [1, 3, 5]
    """
    place = place_of(device, "arange")
    if stop is None:
        start, stop = 0, start
    bounds = [x.item() if isinstance(x, (Tensor, np.generic)) else x for x in (start, stop, step)]
    whole = all(isinstance(x, int) for x in bounds)
    wanted = as_dtype(dtype, "arange") if dtype is not None else int64 if whole else float32
    count = _count(*bounds)
    check_shape(count, "arange")
    with allocating("arange", count * 8):
        numbers = _whole_steps(bounds[0], bounds[2], count, wanted) if whole else np.arange(*bounds)
        return stored(numbers, wanted, place, "arange")


def _count(start: Any, stop: Any, step: Any) -> int:
    """How many numbers `arange` gives."""
    try:
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return max(0, -((start - stop) // step))
        count: int = math.ceil((stop - start) / step)
        return max(0, count)
    except (TypeError, ArithmeticError, ValueError):  # no number, step 0, inf or nan
        raise ArgumentError(
            f"arange: start {shown(start)}, stop {shown(stop)}, step {shown(step)}",
            why="the bounds and (stop - start) / step must be finite numbers and the step not zero",
            fix="for example tt.arange(0, 10, 2)",
        ) from None


def _whole_steps(start: int, step: int, count: int, dtype: DType) -> Array:
    """Integers start, start + step, …, exact, whatever the size of Python integers allows."""
    last = start + max(0, count - 1) * step
    kind = dtype if dtype.rank == 1 else int64
    if count:
        check_range([start, last], kind, "arange")
    numbers = np.arange(count, dtype=np.uint64)  # in arithmetic modulo 2**64, where the ends come out right
    numbers *= np.uint64(step % 2**64)
    numbers += np.uint64(start % 2**64)
    return numbers.astype(NUMPY[kind], copy=False) if kind.kind == "uint" else numbers.view(np.int64)


def linspace(
    start: float, stop: float, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """num evenly spaced numbers from start to stop.

    Args:
        start, stop: the ends.
        num: how many.
        dtype: default float32.
        device: where the bytes go; default "cpu".
        endpoint: whether stop is the last one.

    Returns:
        shape (num,).

    Raises:
        ShapeError: num is negative or too large.
        NumberRangeError: a number does not fit into the dtype.
        AllocationError: there is not enough memory.

    Example:
        >>> tt.linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    place = place_of(device, "linspace")
    (count,) = check_shape(num, "linspace")
    wanted = float32 if dtype is None else as_dtype(dtype, "linspace")
    first, last = _as_float(start, "linspace"), _as_float(stop, "linspace")
    with allocating("linspace", count * 8):
        if math.isinf(last - first) and math.isfinite(first) and math.isfinite(last):
            numbers = 2 * np.linspace(
                first / 2, last / 2, count, endpoint=endpoint
            )  # their distance is finite
        else:
            numbers = np.linspace(first, last, count, endpoint=endpoint)
        return stored(numbers, wanted, place, "linspace")


def _as_float(x: Any, what: str) -> float:
    try:
        return float(x)
    except OverflowError:
        raise NumberRangeError(
            f"{what}: the number {shown(x)} does not fit into float64",
            why="the numbers are computed in float64",
            fix="use ends between -1.7e308 and 1.7e308",
        ) from None


def eye(
    n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """Ones on a diagonal, zeros elsewhere.

    Args:
        n_rows, n_cols: sizes; square by default.
        k: which diagonal; positive lies above the main one.
        dtype: default float32.
        device: where the bytes go; default "cpu".

    Returns:
        shape (n_rows, n_cols).

    Raises:
        ShapeError: a size is negative or too large.
        AllocationError: there is not enough memory.

    Example:
        >>> tt.eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    place = place_of(device, "eye")
    shape = check_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    wanted = float32 if dtype is None else as_dtype(dtype, "eye")
    made = full(shape, 0, dtype=wanted, device=place)
    store(wrap(None, made.layout.diagonal(as_int(k, "eye", "a diagonal"), 0, 1), made.storage), 1)
    return made
