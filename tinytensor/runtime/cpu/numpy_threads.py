"""Multi-threaded NumPy: runs chunks of one job in Python threads, with single-threaded BLAS in each.

NumPy releases the GIL while it computes, and acquires it again after each call. So chunks must be large: if a
call takes a few microseconds, threads mostly wait for the GIL.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tinytensor.runtime.cpu.arrays import silent
from tinytensor.runtime.cpu.threads import get_num_threads

WORTH = 1 << 19  # elements: below, waking threads and GIL contention cost more than they save
NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")
Piece = TypeVar("Piece")


def in_ranks(work: Callable[[Piece], object], pieces: Sequence[Piece], size: int) -> None:
    """Call work(piece) for each chunk (`piece`), on up to `get_num_threads()` threads including the caller.

    The assignment of chunks to threads is not deterministic, so chunks must write to disjoint memory. If the
    threads are busy with another call, the number of BLAS threads cannot be set, or the job is small, the
    caller runs all chunks in order.

    Args:
        work: computes one chunk; floating-point warnings are disabled in it.
        pieces: the chunks, its arguments.
        size: number of elements of the whole job.

    Raises:
        The first exception of `work`; chunks that have not started by then are skipped.
    """
    helpers = min(get_num_threads(), len(pieces)) - 1
    if helpers < 1 or size < WORTH or not _team.free.acquire(blocking=False):
        for piece in pieces:
            work(piece)
        return
    try:
        with _one_thread_of_blas() as possible:
            _team.run(work, deque(pieces), helpers if possible else 0)
    finally:
        _team.free.release()


class _Rank(threading.Thread):
    """A worker thread that waits for jobs until the process ends."""

    def __init__(self) -> None:
        super().__init__(name="tinytensor rank", daemon=True)
        self.job: Callable[[], None] | None = None
        self.begin, self.done = threading.Lock(), threading.Lock()
        self.begin.acquire()
        self.done.acquire()

    def run(self) -> None:
        while True:
            self.begin.acquire()
            if self.job is not None:
                self.job()
                self.job = None  # release its references
            self.done.release()


class _Team:
    """The worker threads in addition to the caller, created on first use."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        self.ranks: list[_Rank] = []

    def run(self, work: Callable[[Any], object], pieces: deque[Any], helpers: int) -> None:
        """Run the chunks on the caller and `helpers` workers until none is left."""
        errors: list[BaseException] = []

        def take() -> None:
            try:
                while (piece := _next(pieces)) is not None:
                    work(piece)
            except BaseException as error:
                errors.append(error)
                pieces.clear()

        while len(self.ranks) < helpers:
            self.ranks.append(_Rank())
            self.ranks[-1].start()
        for rank in self.ranks[:helpers]:
            rank.job = lambda: silent().run(take)
            rank.begin.release()
        waiting = self.ranks[:helpers]
        interrupt: BaseException | None = None
        take()
        while waiting:  # also after Ctrl-C: the workers write to memory that the caller would free
            try:
                waiting[-1].done.acquire()
                waiting.pop()
            except KeyboardInterrupt as error:
                interrupt = error
        if errors or interrupt is not None:
            raise errors[0] if interrupt is None else interrupt


def _next(pieces: deque[Any]) -> Any:
    """Pop the next chunk; None if there is none left."""
    try:
        return pieces.popleft()
    except IndexError:
        return None


_team = _Team()


def _after_fork() -> None:
    """Reset the threads in a forked child, which has none of them."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---- BLAS --------------------------------------------------------------------------------------------------


@contextmanager
def _one_thread_of_blas() -> Iterator[bool]:
    """Context manager that sets NumPy's BLAS to one thread; yields whether that was possible."""
    found = _blas()
    if found is None:
        yield False
        return
    get, put = found
    before = get()
    if before == 1:
        yield True
        return
    put(1)
    try:
        yield True
    finally:
        put(before)


@cache
def _blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Getter and setter of the number of threads of NumPy's OpenBLAS."""
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in NAMES:
            if hasattr(library, name.format("set")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    logging.getLogger("tinytensor").info(
        "NumPy's BLAS is not OpenBLAS, so NumPy code of one op stays on one thread"
    )
    return None


def _libraries() -> list[Path]:
    """OpenBLAS libraries that are loaded in this process, or in NumPy's packages."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return sorted({Path(line.split(maxsplit=5)[5]) for line in lines if "openblas" in line.lower()})
    except OSError:  # not Linux
        package = Path(np.__file__).parent
        folders = (package.parent / "numpy.libs", package / ".dylibs")
        return [path for folder in folders for path in sorted(folder.glob("*openblas*"))]
