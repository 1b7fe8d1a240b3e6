"""Temporary monkeypatching of functions.

For what has no hook of its own: calls of modules and backward nodes, creation of storages, launches on the
emulator. Ops are seen through `dispatch/watch.py`, graph nodes through `dispatch/record.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tinytensor.errors import ArgumentError

Replacement = tuple[Any, str, Any]  # class or module, attribute, temporary value

_INHERITED = object()


class _Watch:
    """The patching thread and its nesting depth: two threads could not restore the originals."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread, self._depth = 0, 0

    def enter(self) -> bool:
        """Count this thread in; True, so that an interrupted caller knows."""
        with self._lock:
            if self._depth and self._thread != threading.get_ident():
                raise ArgumentError(
                    "lab: another thread is watching the engine",
                    why="both would patch the same functions and restore each other's patches",
                    fix="end the other one first, or use one thread; lab.profile records all threads",
                )
            self._thread, self._depth = threading.get_ident(), self._depth + 1
            return True

    def leave(self) -> None:
        """Count this thread out."""
        with self._lock:
            self._depth -= 1


_watch = _Watch()


@contextmanager
def replaced(replacements: Iterable[Replacement]) -> Iterator[None]:
    """Set attributes while the block runs; inherited attributes of a class are set on the class itself.

    Raises:
        ArgumentError: another thread is inside such a block.
    """
    entered = False
    try:
        entered = _watch.enter()
        yield from _replaced(replacements)
    finally:
        if entered:
            _watch.leave()


def _replaced(replacements: Iterable[Replacement]) -> Iterator[None]:
    before: list[Replacement] = []
    try:
        for owner, attribute, value in list(replacements):
            before.append((owner, attribute, owner.__dict__.get(attribute, _INHERITED)))
            setattr(owner, attribute, value)
        yield
    finally:
        for owner, attribute, kept in reversed(before):
            if kept is _INHERITED:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, kept)
