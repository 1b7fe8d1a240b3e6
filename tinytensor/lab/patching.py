"""What all watchers need: to take the place of functions while a block runs, and to know the user's lines.

The engine has no hook that would cost time when nobody looks.
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

__all__ = ["Line", "Replacement", "opener", "replaced", "user_lines"]

Line = tuple[str, int]  # file and line
Replacement = tuple[Any, str, Any]  # a class or module, an attribute, what it is meanwhile

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_of_user: dict[CodeType, bool] = {}
_INHERITED = object()


class _Watch:
    """Which thread watches, and how many blocks deep: two at once could not put back what they found."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread, self._depth = 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if self._depth and self._thread != threading.get_ident():
                raise ArgumentError(
                    "lab: another thread is watching the engine",
                    why="both would take the place of the same functions, and put back each other's",
                    fix="end the other one first, or watch from one thread; lab.profile sees all threads",
                )
            self._thread, self._depth = threading.get_ident(), self._depth + 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1


_watch = _Watch()


@contextmanager
def replaced(replacements: Iterable[Replacement]) -> Iterator[None]:
    """Set attributes while the block runs; those that a class inherits become its own meanwhile.

    Raises:
        ArgumentError: another thread is in such a block.
    """
    with _watch:
        yield from _replaced(replacements)


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
    """Whether it is neither the engine's code nor Python's own."""
    found = _of_user.get(code)
    if found is None:
        name = code.co_filename
        own = name.startswith(_HERE) or (name.startswith(_LIBRARY) and "site-packages" not in name)
        found = _of_user[code] = not own and not name.startswith("<frozen")
    return found


def user_lines(until: FrameType | None = None) -> tuple[Line, ...]:
    """The user's lines that are running on this thread, outermost first, from the frame `until` on."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    known = _of_user.get  # a call less for each frame
    while frame is not None:
        code = frame.f_code
        if known(code) or (code not in _of_user and is_users(code)):
            found.append((code.co_filename, frame.f_lineno))
        if frame is until:
            break
        frame = frame.f_back
    return tuple(reversed(found))


def opener() -> FrameType | None:
    """The innermost frame of the user: the one that called a function of the lab."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code):
        frame = frame.f_back
    return frame
