"""Source lines of the user's code on the stack of the running thread."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType

Line = tuple[str, int]  # file and line

_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_of_user: dict[CodeType, bool] = {}


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


def caller_frame() -> FrameType | None:
    """Innermost user frame: the one that called a function of the engine."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code):
        frame = frame.f_back
    return frame
