"""Records of op calls: context, shapes, bytes, FLOPs and times. Independent of the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinytensor.op import AnyOp, flops_of
from tinytensor.random_streams import Stream
from tinytensor.runtime.user_lines import Line
from tinytensor.tensor import Tensor

EMULATED = ("emulated", "checked")  # devices whose times are unrelated to those of a GPU
Shapes = tuple[tuple[int, ...] | None, ...]


@dataclass(slots=True)
class Call:
    """One execution of an op's implementation; `path` to `backward` are those of `context.Place`.

    Attributes:
        op: its name, or that of a kernel that no op launched.
        begin: in seconds of `time.perf_counter`.
        seconds, own: host time, and without that of nested ops.
        outs, ins: shapes; None for absent arguments.
        nbytes: bytes of all its arrays, each once.
        flops: None if the op does not say.
        device_seconds: None if the host computes.
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
    device_seconds: float | None = None
    marks: Any = None  # two device events, until they are read

    @property
    def is_emulated(self) -> bool:
        """Whether the CPU emulates the device."""
        return self.device in EMULATED


@dataclass
class OpTime:
    """Aggregated times of one op or another group.

    Attributes:
        name: name of the op; ops that end in `_backward` compute gradients.
        seconds: host time, excluding nested ops.
        nbytes: bytes of its arrays, including results, each once per call.
        flops: None if one of the ops does not say.
        device_seconds: GPU time, from an event before an op's first kernel to one after its last; None if the
            host computes.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    nbytes: int = 0
    device: str = "cpu"
    flops: float | None = 0.0
    device_seconds: float | None = None

    @property
    def busy(self) -> float:
        """Compute time in seconds: that of the GPU, otherwise of the host."""
        return self.seconds if self.device_seconds is None else self.device_seconds

    def add(self, call: Call) -> None:
        """Add a call."""
        self.calls += 1
        self.seconds += call.own
        self.nbytes += call.nbytes
        self.flops = None if self.flops is None or call.flops is None else self.flops + call.flops
        if call.device_seconds is not None:
            self.device_seconds = (self.device_seconds or 0.0) + call.device_seconds


def _shape(x: Any) -> tuple[int, ...] | None:
    """Shape of an operand, () for a number; for several tensors, their total number of elements."""
    if x is None:
        return None
    if isinstance(x, list | tuple):
        return (sum([a.size for a in x if isinstance(a, Tensor)]),)
    return x.shape if isinstance(x, Tensor) else ()


def describe(call: Call, outs: Sequence[Any], ins: Sequence[Any], op: AnyOp | None) -> None:
    """Shapes, bytes and FLOPs of an op call."""
    ins = [x for x in ins if not isinstance(x, Stream)]
    everything = [a for x in (*outs, *ins) for a in (x if isinstance(x, list | tuple) else (x,))]
    tensors = [x for x in everything if isinstance(x, Tensor)]
    distinct = {(id(x.storage), x.layout): x for x in tensors}
    call.outs, call.ins = tuple([_shape(x) for x in outs]), tuple([_shape(x) for x in ins])
    call.nbytes = sum([x.nbytes for x in distinct.values()])
    call.dtype = tensors[0].dtype.name if tensors else ""
    if op is not None:
        inexact = any([x.dtype.is_inexact for x in tensors])
        call.flops = flops_of(op, call.outs, call.ins) if inexact else 0.0
