"""Deferred out-of-range errors from device kernels, such as an index outside its axis.

The host cannot detect them without synchronizing. So a kernel writes the first invalid value to a small
report buffer on its device and continues with a valid one; the host reads the report where it synchronizes
anyway: at the next read-back on a GPU, at the end of the call on a synchronous device. Then it raises the
same error as the CPU implementation. Independent of tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.errors import IndexRangeError, TinyTensorError
from tinytensor.runtime.base import Buffer, Runtime

Describe = Callable[..., TinyTensorError]  # (value, *arguments) → the error to raise

_BOUNDS = struct.Struct("@PqqQ")  # Bounds of kernels/bounds.cuh
_MAX_CHECKS = 65_536  # registered checks; an evicted one is reported without the name of its op


class _Report:
    """Report buffer of one device; `expected`: a kernel that may write to it was launched."""

    __slots__ = ("buffer", "expected")

    def __init__(self, runtime: Runtime) -> None:
        self.buffer: Buffer = runtime.alloc(24)
        runtime.memset(self.buffer.ptr, 0, 24)
        self.expected = False


_reports: dict[Runtime, _Report] = {}
_checks: dict[int, tuple[Describe, tuple[Any, ...]]] = {}
_numbers: dict[tuple[Describe, tuple[Any, ...]], int] = {}
_made = 0


def bounds(runtime: Runtime, low: int, high: int, describe: Describe, *arguments: Any) -> bytes:
    """A `Bounds` argument (kernels/bounds.cuh) for one launch: valid values are low to high - 1.

    Args:
        runtime: the device.
        low, high: the valid range, high excluded.
        describe: makes the error from the invalid value and the arguments. Must be a module-level function,
            since equal checks share a table entry.
        arguments: hashable.
    """
    report = _report(runtime)
    report.expected = True
    return _BOUNDS.pack(report.buffer.ptr, low, high, _number(describe, arguments))


def expect(runtime: Runtime) -> None:
    """Read the report at the next read-back: a captured graph with checks was replayed."""
    _report(runtime).expected = True


def is_expected(runtime: Runtime) -> bool:
    """Whether a kernel with checks was launched since the host last read the report."""
    report = _reports.get(runtime)
    return report is not None and report.expected


def raise_reported(runtime: Runtime) -> None:
    """Raise the error that kernels reported since the last call, if any, and clear the report. Synchronizes
    the device.
    """
    report = _reports.get(runtime)
    if report is None or not report.expected or runtime.capturing:
        return
    report.expected = False
    words = np.empty(3, np.uint64)
    runtime.copy_out(words, report.buffer.ptr)
    check, bits, negative = words.tolist()
    if not check:
        return
    runtime.memset(report.buffer.ptr, 0, 24)
    number = bits - (1 << 64) if negative else bits
    describe, arguments = _checks.get(check, (_nameless, ()))
    raise describe(number, *arguments)


def _report(runtime: Runtime) -> _Report:
    found = _reports.get(runtime)
    if found is None:
        found = _reports[runtime] = _Report(runtime)
    return found


def _number(describe: Describe, arguments: tuple[Any, ...]) -> int:
    """Id of a check, from 1; equal checks share an id."""
    global _made
    key = describe, arguments
    number = _numbers.get(key)
    if number is None:
        if len(_checks) >= _MAX_CHECKS:
            oldest = next(iter(_checks))
            del _numbers[_checks.pop(oldest)]
        _made += 1
        number = _numbers[key] = _made
        _checks[number] = key
    return number


def _nameless(number: int) -> IndexRangeError:
    return IndexRangeError(
        f"a kernel: index {number} is out of range",
        why="the check that found it is too old: its op is no longer known",
        fix="run the same step on the CPU, where the error names the op",
    )
