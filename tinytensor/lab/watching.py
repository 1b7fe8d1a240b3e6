"""What all watchers need: to take the place of functions while a block runs, and to know the user's lines.

The engine has no hook that would cost time when nobody looks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

__all__ = ["Line", "Replacement", "opener", "replaced", "user_lines"]

Line = tuple[str, int]  # file and line
Replacement = tuple[Any, str, Any]  # a class or module, an attribute, what it is meanwhile

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_of_user: dict[CodeType, bool] = {}
_INHERITED = object()


@contextmanager
def replaced(replacements: Iterable[Replacement]) -> Iterator[None]:
    """Set attributes while the block runs; those that a class inherits become its own meanwhile."""
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
