"""Raises KeyboardInterrupt in front of any chosen line of the engine, as Ctrl-C can.

Python looks for signals at calls and jumps, so in front of nearly every line, but not between the end of a
`with` block and the call of `__exit__`; nor does an exception get out of a finaliser. None is raised there.
"""

import dis
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import tinytensor

ENGINE = str(Path(tinytensor.__file__).parent) + "/"
Place = tuple[str, int]  # file below the package, line
UNREACHED = {"__del__", "_ended"}  # finalisers


@cache
def with_ends(code: CodeType) -> frozenset[int]:
    """Offsets of what calls `__exit__(None, None, None)` at the end of a block, or in a return out of it."""
    steps = list(dis.get_instructions(code))
    ends = [
        i
        for i in range(1, len(steps) - 2)
        if all(s.opname == "LOAD_CONST" and s.argval is None for s in steps[i : i + 3])
    ]
    return frozenset(steps[j].offset for i in ends for j in (i - (steps[i - 1].opname == "SWAP"), i))


class Lines:
    """Calls `at(number, place, function)` in front of each line of the engine that runs, until it raises."""

    def __init__(self, at: Callable[[int, Place, str], None]) -> None:
        self.at, self.number = at, 0

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        ours = code.co_filename.startswith(ENGINE) and code.co_name not in UNREACHED
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lasti not in with_ends(frame.f_code):
            code, self.number = frame.f_code, self.number + 1
            self.at(self.number - 1, (code.co_filename[len(ENGINE) :], frame.f_lineno), code.co_name)
        return self._line

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


def places(function: Callable[[], object]) -> list[tuple[Place, str]]:
    """The lines of the engine that a call runs, in their order, with the functions that they stand in."""
    found: list[tuple[Place, str]] = []
    with Lines(lambda number, place, name: found.append((place, name))):
        function()
    return found


def interrupt_raises(function: Callable[[], object], at: int) -> None:
    """Call a function, and raise KeyboardInterrupt in front of line number `at`."""

    def raise_there(number: int, place: Place, name: str) -> None:
        if number == at:
            raise KeyboardInterrupt

    with Lines(raise_there):
        function()


def interrupt(function: Callable[[], object], at: int) -> bool:
    """Whether the interrupt came out of the call."""
    try:
        interrupt_raises(function, at)
    except KeyboardInterrupt:
        return True
    return False


def spread(ran: list[tuple[Place, str]], step: int, start: int, always: set[str]) -> Iterator[int]:
    """Numbers of lines: every `step`-th of those that differ, and all that stand in functions in `always`."""
    seen: dict[Place, int] = {}
    for number, (place, name) in enumerate(ran):
        if place in seen:
            continue
        seen[place] = number
        if name in always or (len(seen) + start) % step == 0:
            yield number
