"""Profiler: time, bytes and FLOPs per op: `with lab.profile() as p: …; print(p)`.

While a profile is open, the implementations of all ops are wrapped by timers; otherwise the engine has no
hooks and no overhead. `recorder.py` records the calls; this module aggregates them. Pictures are in
`flame.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from tinytensor.device import as_device
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import Html, tag
from tinytensor.lab.profiler.flame import flame
from tinytensor.lab.profiler.peaks import Peaks, measure_peaks
from tinytensor.lab.profiler.recorder import EMULATED, Call, Recorder
from tinytensor.lab.report import Report, Shown, Table, block, check_counts
from tinytensor.runtime.user_lines import caller_frame

WIDEST = 56  # maximum characters of a name in a table


def shapes_of(call: Call) -> str:
    """Name of the op with its input shapes, such as "add 2×3, ()"."""
    shapes = ["×".join(map(str, shape)) or "()" for shape in call.ins if shape is not None]
    return f"{call.op} {', '.join(shapes)}".rstrip()


def line_of(call: Call) -> str:
    """User source line of the call."""
    file, line = call.lines[-1] if call.lines else ("?", 0)
    return f"{os.path.basename(file)}:{line}"


GROUPS: dict[str, Callable[[Call], str]] = {
    "op": lambda call: call.op,
    "shape": shapes_of,
    "line": line_of,
    "module": lambda call: "/".join(call.path) or "(in no module)",
}


@dataclass
class OpTime:
    """Aggregated times of one op or another group.

    Attributes:
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


@dataclass(repr=False)
class Profile(Shown):
    """Result of `profile`, complete when the block has ended.

    Attributes:
        seconds: wall time of the block, on the thread that opened it.
        overhead: part of it spent in the profiler itself.
        given: peaks passed by the user, by device.
    """

    calls: list[Call] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    overhead: float = 0.0
    thread: int = 0
    given: dict[str, Peaks] = field(default_factory=dict)

    # ---- aggregation

    def groups(self, by: str = "op", device: str | None = None) -> list[OpTime]:
        """Totals per group of calls, one for each name and device, longest first.

        Args:
            by: "op", "shape" (op and input shapes), "line" (of the user's code) or "module".
                A backward op counts for the line and module of its forward.
            device: only this device; None for all real ones. Times of `emulated` and `checked` are never
                combined with others.
        """
        if by not in GROUPS:
            raise ArgumentError(
                f"profile: by={by!r}", why=f"calls are grouped by {', '.join(GROUPS)}", fix='by="op"'
            )
        name = GROUPS[by]
        found: dict[tuple[str, str], OpTime] = {}
        for call in self._of(device):
            key = name(call), call.device
            found.setdefault(key, OpTime(key[0], device=key[1])).add(call)
        return sorted(found.values(), key=lambda op: -op.busy)

    def _of(self, device: str | None) -> list[Call]:
        """The calls on one device, or on all real ones."""
        if device is None:
            return [c for c in self.calls if not c.is_emulated]
        name = str(as_device(device))
        return [c for c in self.calls if c.device == name]

    @property
    def ops(self) -> dict[str, OpTime]:
        """Totals by op name; ops of other devices than the CPU are named like "softmax on emulated"."""
        everywhere = [op for device in self.devices for op in self.groups(device=device)]
        return {op.name if op.device == "cpu" else f"{op.name} on {op.device}": op for op in everywhere}

    @property
    def devices(self) -> list[str]:
        """Devices of the ops, real devices first."""
        return sorted({call.device for call in self.calls}, key=lambda d: (d in EMULATED, d != "cpu", d))

    @property
    def in_ops(self) -> float:
        """Seconds of the opening thread in op code; the remainder went to the engine and the program."""
        return sum(call.own for call in self.calls if call.thread == self.thread)

    @property
    def peaks(self) -> dict[str, Peaks]:
        """Peak rates of each real device: as given, or measured on first use."""
        for device in self.devices:
            if device not in EMULATED and device not in self.given:
                self.given[device] = measure_peaks(device)
        return self.given

    # ---- text

    def table(
        self, rows: int = 20, per: int = 1, *, by: str = "op", peaks: bool = False, device: str | None = None
    ) -> Table:
        """Table of the longest ops: time, share, calls, memory traffic and FLOPs.

        Args:
            per: divisor, the number of steps in the block.
            by: as in `groups`.
            peaks: also show bytes and operations per second as shares of the machine's peaks in a copy and in
                a matrix product; these are measured now if they were not given, which takes a second.
            device: only this device; None for all real ones. A table of `emulated` or `checked` shows the
                time of the emulator, which says nothing about a GPU.
        """
        check_counts("table", rows=rows, per=per)
        device = None if device is None else str(as_device(device, "table"))
        groups = self.groups(by, device)
        of = self.peaks if peaks else {}
        if peaks and device in EMULATED:
            measure_peaks(str(device))  # raises
        emulated = device in EMULATED
        whole = sum(g.seconds for g in groups) if emulated else self.seconds
        lines = [_row(g, per, whole or 1.0, of.get(g.device)) for g in groups[:rows]]
        rests = [("other ops", sum(g.seconds for g in groups[rows:]))]
        if not emulated:
            rests += self._rests(device)
        lines += [
            (name, _ms(seconds, per), f"{seconds / (whole or 1.0):.1%}", *[""] * (len(HEAD) - 3))
            for name, seconds in (*rests, ("whole", whole))
        ]
        note = f"device {device}: seconds of the emulator, which say nothing about a GPU" * emulated
        return Table((by, *HEAD[1:]), "l" + "r" * (len(HEAD) - 1), lines, note)

    def _rests(self, device: str | None) -> list[tuple[str, float]]:
        """Times not in the rows, and the share of backward passes."""
        shown = self._of(device)
        apart = sum(c.own for c in self.calls if c.is_emulated and c.thread == self.thread)
        others = sum(c.own for c in shown if c.thread != self.thread)
        rests = [("of all ops: in backward passes", sum(c.own for c in shown if c.backward))]
        rests += [("of all ops: on other threads", others)] if others else []
        rests += [("in the emulator", apart)] if apart else []
        if self.overhead:
            rests.append(("in the profiler", self.overhead))
        return [*rests, ("outside of ops", self.seconds - self.in_ops - self.overhead)]

    def __repr__(self) -> str:
        return f"profile of {len(self.calls):,} calls of ops in {self.seconds:.3g} s: print it for its table"

    def __str__(self) -> str:
        apart = [str(self.table(device=device)) for device in self.devices if device in EMULATED]
        return "\n\n".join([str(self.table()), *apart])

    def _repr_html_(self) -> str:
        """Notebook representation: the table and the flame graph of real devices."""
        return Report("", (self.table(), self.flame())).fragment()

    # ---- pictures and files

    def flame(self, by: str = "module", device: str | None = None) -> Html:
        """Flame graph, as one `svg` element: the call hierarchy, as boxes whose width is their time.

        Args:
            by: "module": ops grouped by modules; "line": ops grouped by lines of the user's code. Gradients
                are placed under the module or line of their forward, in another color.
            device: only this device; None for all real ones.
        """
        return flame(self._of(device), by)

    def report(self) -> Report:
        """Table and flame graphs of each device, for `lab.page`."""
        body: list[Table | str] = []
        for device in self.devices:
            apart = device in EMULATED
            body.append(tag("h2", f"Device {device}" + (", emulated: no times of a GPU" if apart else "")))
            body.append(self.table(by="shape", device=device, peaks=not apart))
            body += [tag("div", self.flame(by, device), class_="scroll") for by in ("module", "line")]
        return Report("Where the time went", body)


# ---- rows of the table -------------------------------------------------------------------------------------

HEAD = ("op", "ms", "share", "calls", "us/call", "GB/s", "GFLOP/s", "device ms", "of copy", "of matmul")


def _ms(seconds: float, per: int) -> str:
    return f"{seconds / per * 1e3:.3f}"


def _row(group: OpTime, per: int, whole: float, peaks: Peaks | None) -> tuple[str, ...]:
    busy, device_seconds = group.busy, group.device_seconds
    bytes_rate = group.nbytes / busy if busy else 0.0
    flops_rate = None if group.flops is None or not busy else group.flops / busy
    name = group.name + (f" on {group.device}" if group.device != "cpu" else "")
    return (
        name if len(name) <= WIDEST else name[: WIDEST - 1] + "…",
        _ms(group.seconds, per),
        f"{group.seconds / whole:.1%}",
        f"{group.calls / per:.4g}",
        f"{group.seconds / group.calls * 1e6:.2f}",
        f"{bytes_rate / 1e9:.1f}",
        "–" if flops_rate is None else f"{flops_rate / 1e9:.1f}",
        "" if device_seconds is None else _ms(device_seconds, per),
        "" if peaks is None else f"{bytes_rate / peaks.copy:.0%}",
        "" if peaks is None else f"{(flops_rate or 0.0) / peaks.matmul:.0%}",
    )


# ---- opening one -------------------------------------------------------------------------------------------


@block
def profile(*, peaks: Mapping[str, Peaks] | None = None) -> Iterator[Profile]:
    """Profile the ops of the code inside, on all threads and devices.

    Host time is the time in op code, excluding the engine's overhead. On a GPU the time of each op is
    measured by events in its stream: it is an upper bound if the GPU waits for the next kernel. Times of the
    devices `emulated` and `checked` are reported separately and never combined with others. A captured graph
    replays kernels without ops, so it is not recorded.

    Args:
        peaks: peak rates by device name, such as {"cpu": lab.Peaks(copy=2e10, matmul=1e11)} in bytes and
            operations per second; default: measured when a table or picture needs them.

    Memory: 1 to 2 KB per executed op, for its shapes and lines.

    Example:
        >>> from tinytensor import lab
        >>> x = tt.ones(4)
        >>> with lab.profile() as p:
        ...     y = (x + x) * x
        >>> sorted((op.name, op.calls) for op in p.ops.values())
        [('add', 1), ('multiply', 1)]
    """
    recorder = Recorder()
    found = Profile(recorder.calls, thread=recorder.thread, given=dict(peaks or {}))
    with recorder.recording(caller_frame()):
        begun = perf_counter()
        try:
            yield found
        finally:
            found.seconds = perf_counter() - begun
            found.overhead = recorder.overhead
