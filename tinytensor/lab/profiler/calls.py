"""Records of op calls: context, shapes, bytes, FLOPs and times. Independent of the clock."""

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

EMULATED = ("emulated", "checked")  # devices whose times are unrelated to those of a GPU
Shapes = tuple[tuple[int, ...] | None, ...]


@dataclass(slots=True)
class Span:
    """Timed interval of a module call or a backward node, by its kind."""

    kind: str
    name: str
    thread: int
    begin: float
    seconds: float = 0.0


@dataclass(slots=True)
class Call:
    """One execution of an op's implementation.

    Attributes:
        op: name of the op; for a kernel that no op launched, the kernel's name.
        device: its device, such as "cpu".
        thread: the calling thread.
        begin: start time, in seconds of `time.perf_counter`.
        seconds: host time.
        own: host time without nested ops.
        parent: the enclosing op.
        path, lines, node, backward: call context, as in `context.Place`.
        outs, ins: shapes; None for absent arguments.
        dtype: dtype of its first array.
        nbytes: bytes of all its arrays, each once.
        flops: from the table of `flops.py`; None if the table has no entry.
        device_begin, device_seconds: start on the device, on the host's clock, and duration there; None if
            the host computes.
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
    marks: Any = None  # two device events, until they are read

    @property
    def is_emulated(self) -> bool:
        """Whether the CPU emulates the device."""
        return self.device in EMULATED


def _shape(x: Any) -> tuple[int, ...] | None:
    """Shape of an array, View or scalar; for a list of arrays, their total number of elements."""
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
    """Shapes, bytes and FLOPs of an op call; `dtype` overrides that of the arrays."""
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
