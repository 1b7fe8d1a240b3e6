"""Temporary monkeypatching of functions, and the source lines of the user's code.

For what has no hook of its own: calls of modules and backward nodes, creation of storages, launches on the
emulator. Ops are seen through `dispatch/watch.py`, graph nodes through `dispatch/record.py`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from tinytensor.errors import ArgumentError

Line = tuple[str, int]  # file and line
Replacement = tuple[Any, str, Any]  # class or module, attribute, temporary value

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_of_user: dict[CodeType, bool] = {}
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


def is_users(code: CodeType) -> bool:
    """Whether the code belongs to the user, not to the engine or Python's standard library."""
    found = _of_user.get(code)
    if found is None:
        name = code.co_filename
        own = name.startswith(_HERE) or (name.startswith(_LIBRARY) and "site-packages" not in name)
        found = _of_user[code] = not own and not name.startswith("<frozen")
    return found


def user_lines(until: FrameType | None = None) -> tuple[Line, ...]:
    """User source lines on this thread's stack, outermost first, from the frame `until` on."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    known = _of_user.get  # saves a call per frame
    while frame is not None:
        code = frame.f_code
        if known(code) or (code not in _of_user and is_users(code)):
            found.append((code.co_filename, frame.f_lineno))
        if frame is until:
            break
        frame = frame.f_back
    return tuple(reversed(found))


def opener() -> FrameType | None:
    """Innermost user frame: the one that called a function of the lab."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code):
        frame = frame.f_back
    return frame
