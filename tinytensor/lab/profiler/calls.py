"""Runs of ops' code, with where they came from and what they were given. Knows no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tinytensor.dispatch.launch import View
from tinytensor.dtypes import ALL
from tinytensor.flops import flops_of
from tinytensor.lab.patching import Line

__all__ = ["EMULATED", "Call", "Span", "describe"]

EMULATED = ("emulated", "checked")  # devices whose seconds say nothing of a GPU
Shapes = tuple[tuple[int, ...] | None, ...]


@dataclass(slots=True)
class Span:
    """Something that ran from `begin` on for so many seconds: "module" or "backward" by its kind."""

    kind: str
    name: str
    thread: int
    begin: float
    seconds: float = 0.0


@dataclass(slots=True)
class Call:
    """One run of the code of an op.

    Attributes:
        op: its name; of a kernel that no op launched, the kernel's.
        device: where it ran, such as "cpu".
        thread: who called it.
        begin: when, in seconds of `time.perf_counter`.
        seconds: that the host spent in it.
        own: those without the ops that it called.
        parent: the op whose code called it.
        path, lines, node, backward: where it ran, as in `context.Place`.
        outs, ins: shapes; None for what was not there.
        dtype: of its first array.
        nbytes: of all its arrays, each once.
        flops: by the table of `costs.py`; None where it does not know.
        device_begin, device_seconds: on the clock of the host when the device began it, and how long it took
            there; None where no device but the host computes.
    """

    op: str
    device: str
    thread: int
    begin: float
    path: tuple[str, ...]
    lines: tuple[Line, ...]
    node: str
    backward: bool
    parent: Call | None
    seconds: float = 0.0
    own: float = 0.0
    outs: Shapes = ()
    ins: Shapes = ()
    dtype: str = ""
    nbytes: int = 0
    flops: float | None = None
    device_begin: float | None = None
    device_seconds: float | None = None
    marks: Any = None  # two events of the device, until they are read

    @property
    def is_emulated(self) -> bool:
        """Whether the device was only played by the CPU."""
        return self.device in EMULATED


def _shape(x: Any) -> tuple[int, ...] | None:
    """Of an array, a View or a number; of a list of arrays, how many elements they have together."""
    if x is None:
        return None
    if isinstance(x, list):
        return (sum([a.size for a in x]),)
    return tuple(x.shape) if isinstance(x, np.ndarray | View) else ()


_name = cache(str)  # of dtypes; NumPy takes microseconds for it
_INEXACT = {d.name for d in ALL if d.is_inexact}


def describe(
    call: Call, outs: Sequence[Any], ins: Sequence[Any], params: dict[str, Any] | None, dtype: str = ""
) -> None:
    """Shapes, bytes and work of what an op was given; `dtype` if the arrays do not say what they hold."""
    everything = [*outs, *ins, (params or {}).get("out")]
    lists = [a for x in everything if isinstance(x, list) for a in x]
    arrays = [x for x in (*everything, *lists) if isinstance(x, np.ndarray | View)]
    distinct = {(x.ptr, x.shape, x.strides) if isinstance(x, View) else id(x): x for x in arrays}
    call.outs, call.ins = tuple([_shape(x) for x in outs]), tuple([_shape(x) for x in ins])
    call.nbytes = sum([x.nbytes for x in distinct.values()])
    call.dtype = dtype or (_name(arrays[0].dtype) if arrays else "")
    if params is not None:
        floats = any([x in _INEXACT for x in {dtype, *[_name(x.dtype) for x in arrays]}])
        call.flops = flops_of(call.op, call.outs, call.ins, params) if floats else 0.0
