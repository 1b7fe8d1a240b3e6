"""NumPy code on several threads of Python: pieces of one job side by side, with one thread of BLAS in each.

NumPy releases the interpreter's lock while it computes, and takes it again after each call. So pieces must be
large: where a call takes a few microseconds, threads only hand the lock to each other.
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

__all__ = ["in_ranks"]

WORTH = 1 << 19  # elements: below, waking a thread and handing the lock around cost more than they save
NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


Piece = TypeVar("Piece")


def in_ranks(work: Callable[[Piece], object], pieces: Sequence[Piece], size: int) -> None:
    """Call work(piece) for each piece, on up to `get_num_threads()` threads, the calling one among them.

    Which thread takes which piece, and when, is open; so pieces write to memory of their own. Where another
    call has the threads, the threads of BLAS cannot be set, or the job is small, the caller does all pieces
    in their order.

    Args:
        work: computes one piece; floating-point warnings are off in it.
        pieces: what it is called with.
        size: elements of the whole job.

    Raises:
        What `work` raised first; pieces that had not begun by then are left out.
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
    """A thread that waits for jobs until the process ends."""

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
                self.job = None  # nothing of it stays alive
            self.done.release()


class _Team:
    """The threads beside the caller, made when they are first needed."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        self.ranks: list[_Rank] = []

    def run(self, work: Callable[[Any], object], pieces: deque[Any], helpers: int) -> None:
        """Let the caller and so many helpers take pieces until none is left."""
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
        while waiting:  # also after Ctrl-C: the others write to memory that the caller would give away
            try:
                waiting[-1].done.acquire()
                waiting.pop()
            except KeyboardInterrupt as error:
                interrupt = error
        if errors or interrupt is not None:
            raise errors[0] if interrupt is None else interrupt


def _next(pieces: deque[Any]) -> Any:
    """One that nobody else takes; None where there is none left."""
    try:
        return pieces.popleft()
    except IndexError:
        return None


_team = _Team()


def _after_fork() -> None:
    """A child has none of the threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---- BLAS --------------------------------------------------------------------------------------------------


@contextmanager
def _one_thread_of_blas() -> Iterator[bool]:
    """Whether NumPy's BLAS has one thread inside."""
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
    """Functions of the OpenBLAS that NumPy has loaded: its number of threads, and to set it."""
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
    """Libraries called OpenBLAS in this process, or where NumPy's packages keep theirs."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return sorted({Path(line.split(maxsplit=5)[5]) for line in lines if "openblas" in line.lower()})
    except OSError:  # not Linux
        package = Path(np.__file__).parent
        folders = (package.parent / "numpy.libs", package / ".dylibs")
        return [path for folder in folders for path in sorted(folder.glob("*openblas*"))]
