"""Callbacks for the progress of kernel compilation; by default a line on standard error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["on_compile"]

_lock = threading.Lock()


class _Count:
    """Compiled files, and those that are expected, since a function hears of them."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report, self.done, self.total = report, 0, 0

    def add(self, done: int, total: int) -> None:
        with _lock:  # the numbers arrive in order
            self.done, self.total = self.done + done, self.total + total
            self.report(self.done, self.total)


_count: _Count | None = None


@contextmanager
def on_compile(report: Callable[[int, int], None]) -> Iterator[None]:
    """Context manager in which a function hears of the compilation of kernels, instead of standard error.

    Kernels are compiled at their first use, once per machine. The context holds for all threads; the
    innermost one counts.

    Args:
        report: called with how many files were compiled since the context began, and how many are expected
            so far, when one of both changes; by the threads that compile, one at a time.

    >>> with tt.on_compile(lambda done, total: print(f"{done} of {total}")):
    ...     _ = tt.ones(3) + 1  # prints nothing if its kernel was compiled before
    """
    global _count
    before, _count = _count, _Count(report)
    try:
        yield
    finally:
        _count = before


def is_reported() -> bool:
    """Whether a function hears of it."""
    return _count is not None


@contextmanager
def compiling(files: int) -> Iterator[Callable[[], None]]:
    """Context of the compilation of some files; its value is called after each but the last."""
    count, done = _count, 0

    def finished() -> None:
        nonlocal done
        done += 1
        if count is not None and done < files:
            count.add(1, 0)

    if count is not None:
        count.add(0, files)
    try:
        yield finished
    finally:
        if count is not None:
            count.add(files - min(done, files - 1), 0)
