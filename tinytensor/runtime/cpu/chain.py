"""Steps of a captured CPU graph: consecutive C++ kernels are replayed in one call, without Python.

A step is a function without arguments. Its first run reveals the C++ kernels that it calls. If that is one
kernel, which got all operands of the step and filled its outputs, replays call the kernel directly.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from tinytensor.runtime.cpu.kernels import KernelCall, watched
from tinytensor.runtime.cpu.library import NATIVE, load

_FORMS = {"Array": "P", "bool": "?7x", "int": "i4x", "Index": "q", "double": "d"}  # 8 bytes each


class Step(NamedTuple):
    """One step of a captured graph.

    Attributes:
        run: executes the step.
        operands: the arrays that an op writes and reads; None if the step is not an op with a kernel.
        direct: executes the step as one call of a NumPy function, without a C++ kernel; None if it is none.
    """

    run: Callable[[], object]
    operands: Sequence[Any] | None = None
    direct: Callable[[], object] | None = None


def run_and_chain(steps: Sequence[Step]) -> list[Callable[[], object]]:
    """Run all steps; returns the functions that replay them."""
    again: list[Callable[[], object]] = []
    calls: list[KernelCall] = []
    runs: list[Callable[[], object]] = []  # the same steps in Python

    def end_chain() -> None:
        if calls:
            again.append(_chain(list(calls), list(runs)))
            calls.clear()
            runs.clear()

    with watched() as seen:
        for step in steps:
            seen.clear()
            step.run()
            if step.operands is not None and len(seen) == 1 and _is_all(seen[0], step.operands):
                calls.append(seen[0])
                runs.append(step.run)
            else:
                end_chain()
                again.append(step.run if seen or step.direct is None else step.direct)
    end_chain()
    return again


def _is_all(call: KernelCall, operands: Sequence[Any]) -> bool:
    """Whether the call is the whole step: it got these arrays, and no others such as copies."""
    pairs = zip(call.arguments, call.kernel.types, strict=True)
    got = {id(a) for a, kind in pairs if kind == "Array" and a is not None}
    return call.filled and "Arrays" not in call.kernel.types and got == {id(a) for a in operands}


def _chain(calls: Sequence[KernelCall], runs: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """A function that makes all calls natively; if a kernel declines, the step runs in Python."""
    slots = [_packed(call) for call in calls]
    table = b"".join(
        [
            struct.pack("PP", call.kernel.step, ctypes.addressof(each))
            for call, each in zip(calls, slots, strict=True)
        ]
    )
    memory = ctypes.create_string_buffer(table, len(table))
    replay, count, kept = _replay(), len(calls), (slots, calls)

    def chain(kept: object = kept) -> None:  # keeps the arguments alive
        at = replay(memory, 0, count)
        while at < count:
            runs[at]()
            at = replay(memory, at + 1, count)

    return chain


def _packed(call: KernelCall) -> Any:
    """The arguments as `Slot`s of steps.h."""
    pairs = zip(call.arguments, call.kernel.types, strict=True)
    values = [id(value) if _FORMS[kind] == "P" else value for value, kind in pairs]
    slots = struct.pack("@" + "".join([_FORMS[kind] for kind in call.kernel.types]), *values)
    return ctypes.create_string_buffer(slots, len(slots))


@cache
def _replay() -> Any:
    function = load(NATIVE / "replay.cpp").tt_replay
    function.restype = ctypes.c_longlong
    function.argtypes = [ctypes.c_char_p, ctypes.c_longlong, ctypes.c_longlong]
    return function
