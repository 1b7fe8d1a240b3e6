"""Numbers that a kernel refuses: an index outside its axis, a class that does not exist.

The host cannot see them without waiting for the device. So a kernel writes the first bad number into a small
report of its device, and computes on with a harmless one; the host looks at the report where it waits anyway:
at the next read-back on a GPU, at the end of the call on a device that works while the host waits. Then it
raises what the CPU would have raised. Knows nothing of tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.errors import IndexRangeError, TinyTensorError
from tinytensor.runtime.base import Buffer, Runtime

Describe = Callable[..., TinyTensorError]  # (number, *arguments) → the error that names it

_BOUNDS = struct.Struct("@PqqQ")  # Bounds of kernels/bounds.cuh
_MAX_CHECKS = 65_536  # kinds of checks that are remembered: an older one is reported without its name


class _Report:
    """What kernels of one device write to, and whether one was started that might have."""

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
    """A `Bounds` (kernels/bounds.cuh) for one launch: numbers from low to high - 1 are fine.

    Args:
        runtime: the device.
        low, high: what is fine.
        describe: makes the error from the number that is not, and the arguments. A function at the top of a
            module, since equal checks share a place in a table.
        arguments: can be hashed.
    """
    report = _report(runtime)
    report.expected = True
    return _BOUNDS.pack(report.buffer.ptr, low, high, _number(describe, arguments))


def expect(runtime: Runtime) -> None:
    """Look at the report at the next read-back: a captured graph with checks was replayed."""
    _report(runtime).expected = True


def is_expected(runtime: Runtime) -> bool:
    """Whether a kernel with checks was started since the host last looked."""
    report = _reports.get(runtime)
    return report is not None and report.expected


def raise_reported(runtime: Runtime) -> None:
    """Raise what kernels reported since the last call, if anything; waits for the device. The report is then
    empty again.
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
    """The number of a check, from 1; equal checks have one number."""
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
        why="the check that found it was made too long ago to be named",
        fix="run the same step on the CPU, which names the op",
    )
