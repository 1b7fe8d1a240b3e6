"""Steps of a captured CPU graph: consecutive C++ functions are replayed in one call, without Python.

A step is a function without arguments. If its op has a C++ kernel, and the kernel computed the step at the
first replay, the others call it directly. Elementwise steps become generated loops (`fused.py`).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from tinytensor.config import config
from tinytensor.runtime.cpu.fused import Formula, compiled, fuse
from tinytensor.runtime.cpu.library import REPLAY, load

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
        host: `Op.host` or one like it, with its arguments: says which call of a C++ kernel is the step.
        direct: executes the step as one call of a NumPy function, without a C++ kernel; None if it is none.
        formula: the step as an elementwise expression, for a generated loop; None if it is none.
    """

    run: Callable[[], object]
    host: partial[partial[bool] | None] | None = None
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
    for i, step in enumerate(steps):
        call = None if step.host is None or config.host_kernels == "off" else step.host()
        if call is not None and _takes_operands(call, step.host) and call():
            kernel: Any = call.func
            found[i] = Native(kernel.step, _packed(call), call, step.run)
        else:
            step.run()
    return found


def loops_of(steps: Sequence[Step]) -> dict[int, Native]:
    """Consecutive steps with formulas as generated loops, by the index of the first step."""
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


def _takes_operands(call: partial[bool], host: Any) -> bool:
    """Whether the kernel gets the arrays that `host` got and no copies, which would be old."""
    return _arrays(call.args) == _arrays((*host.args, *host.keywords.values()))


def _arrays(arguments: Sequence[Any]) -> set[int]:
    found: set[int] = set()
    for each in arguments:
        if isinstance(each, np.ndarray):
            found.add(id(each))
        elif isinstance(each, list):
            found |= _arrays(each)
    return found


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


def _packed(call: Any) -> Any:
    """The arguments as `Slot`s of steps.h."""
    pairs = zip(call.args, call.func.types, strict=True)
    values = [id(value) if _FORMS[kind] == "P" else value for value, kind in pairs]
    slots = struct.pack("@" + "".join([_FORMS[kind] for kind in call.func.types]), *values)
    return ctypes.create_string_buffer(slots, len(slots))


@cache
def _replay() -> Any:
    function = load(REPLAY).tt_replay
    function.restype = ctypes.c_longlong
    function.argtypes = [ctypes.c_char_p, ctypes.c_longlong, ctypes.c_longlong]
    return function
