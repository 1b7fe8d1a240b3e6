"""Steps of a captured CPU graph: consecutive C++ functions are replayed in one call, without Python.

A step is a function without arguments. Its first run reveals the C++ kernels that it calls. If that is one
kernel, which got all operands of the step and filled its outputs, replays call the kernel directly.
Elementwise steps become generated loops (`fused.py`).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from tinytensor.runtime.cpu.fused import Formula, compiled, fuse
from tinytensor.runtime.cpu.kernels import KernelCall, watched
from tinytensor.runtime.cpu.library import NATIVE, load

_FORMS = {
    "Array": "P",
    "Arrays": "P",
    "bool": "?7x",
    "int": "i4x",
    "Index": "q",
    "double": "d",
}  # 8 bytes each


class Step(NamedTuple):
    """One step of a captured graph.

    Attributes:
        run: executes the step.
        operands: the arrays that an op writes and reads; None if the step is not an op with a kernel.
        direct: executes the step as one call of a NumPy function, without a C++ kernel; None if it is none.
        formula: the step as an elementwise expression, for a generated loop; None if it is none.
    """

    run: Callable[[], object]
    operands: Sequence[Any] | None = None
    direct: Callable[[], object] | None = None
    formula: Formula | None = None


class Native(NamedTuple):
    """Some steps as one call of a C++ function.

    Attributes:
        address: of the function, bool (const void* arguments).
        arguments: memory that it gets.
        kept: what must live as long.
        run: the same steps in Python, for a function that declines.
        steps: number of steps.
    """

    address: int
    arguments: Any
    kept: Any
    run: Callable[[], object]
    steps: int = 1


def run_steps(steps: Sequence[Step]) -> dict[int, Native]:
    """Run all steps in order; returns those that are one call of a C++ kernel, by their index."""
    found: dict[int, Native] = {}
    with watched() as seen:
        for i, step in enumerate(steps):
            seen.clear()
            step.run()
            if step.operands is not None and len(seen) == 1 and _is_all(seen[0], step.operands):
                call = seen[0]
                found[i] = Native(call.kernel.step, _packed(call), call, step.run)
    return found


def loops_of(steps: Sequence[Step]) -> dict[int, Native]:
    """Consecutive steps with formulas as generated loops, by the index of the first step.

    Raises:
        KernelError: there is no compiler.
    """
    found = fuse([step.formula for step in steps])
    functions = compiled(list(found.values()))
    return {
        i: Native(address, table, loops, partial(_run_all, steps[i : i + loops.steps]), loops.steps)
        for (i, loops), (address, table) in zip(found.items(), functions, strict=True)
    }


def _run_all(steps: Sequence[Step]) -> None:
    for step in steps:
        step.run()


def chained(steps: Sequence[Step], natives: Mapping[int, Native]) -> list[Callable[[], object]]:
    """The functions that replay the steps: consecutive C++ functions are called by one."""
    again: list[Callable[[], object]] = []
    group: list[Native] = []
    i = 0
    while i < len(steps):
        native = natives.get(i)
        if native is not None:
            group.append(native)
            i += native.steps
            continue
        if group:
            again.append(_chain(group))
            group = []
        again.append(steps[i].direct or steps[i].run)
        i += 1
    return [*again, _chain(group)] if group else again


def _is_all(call: KernelCall, operands: Sequence[Any]) -> bool:
    """Whether the call is the whole step: it got these arrays, and no others such as copies."""
    got: set[int] = set()
    for a, kind in zip(call.arguments, call.kernel.types, strict=True):
        if kind == "Arrays":
            got |= {id(each) for each in a}
        elif kind == "Array" and a is not None:
            got.add(id(a))
    return call.filled and got == {id(a) for a in operands}


def _chain(group: Sequence[Native]) -> Callable[[], None]:
    """A function that calls all functions natively; if one declines, its steps run in Python."""
    table = b"".join([struct.pack("PP", n.address, ctypes.addressof(n.arguments)) for n in group])
    memory = ctypes.create_string_buffer(table, len(table))
    replay, count, kept = _replay(), len(group), tuple(group)

    def chain(kept: Sequence[Native] = kept) -> None:  # keeps the arguments alive
        at = replay(memory, 0, count)
        while at < count:
            kept[at].run()
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
