"""Writes profiles in Chrome's Trace Event Format, readable by Perfetto.

Complete events ("ph": "X", with `ts` and `dur` in microseconds) nest by their times within one `pid` and
`tid`; metadata events ("M") name processes and threads. Each device other than the CPU is a separate process;
the process of an emulated device is labeled as such.
Source: "Trace Event Format", Google, the specification for chrome://tracing; https://ui.perfetto.dev.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from tinytensor.files import PathLike, atomic_write
from tinytensor.lab.profiler.calls import Call, Span

Event = dict[str, Any]


def write_trace(path: PathLike, calls: Iterable[Call], spans: Iterable[Span], begun: float) -> None:
    """Write the file; see `Profile.save_trace`."""
    text = json.dumps({"traceEvents": trace_events(calls, spans, begun), "displayTimeUnit": "ns"}, indent=0)
    with atomic_write(path) as file:
        file.write(text.encode())


def trace_events(calls: Iterable[Call], spans: Iterable[Span], begun: float) -> list[Event]:
    """Trace events, metadata events first.

    Args:
        calls, spans: the recorded calls and spans.
        begun: time origin of the file, in seconds of `time.perf_counter`.
    """
    places = _Places()
    found = [
        _event(span.kind, span.name, span.begin - begun, span.seconds, *places.host(span.thread))
        for span in spans
    ]
    for call in calls:
        start = call.begin - begun
        about = _about(call)
        category = "backward" if call.backward else "forward"
        if call.is_emulated:
            place = places.device(f"{call.device} (time of the emulator)", call.thread, "thread")
            found.append(_event(category, call.op, start, call.seconds, *place, **about))
            continue
        found.append(_event(category, call.op, start, call.seconds, *places.host(call.thread), **about))
        if call.device_seconds is not None and call.device_begin is not None:
            place = places.device(call.device, call.thread, "stream of thread")
            start = call.device_begin - begun
            found.append(_event(category, call.op, start, call.device_seconds, *place, **about))
    return [*places.names, *found]


def _event(category: str, name: str, begin: float, seconds: float, pid: int, tid: int, **about: Any) -> Event:
    event: Event = {"name": name, "cat": category, "ph": "X", "pid": pid, "tid": tid}
    event |= {"ts": round(begin * 1e6, 3), "dur": round(seconds * 1e6, 3)}
    return event | {"args": about} if about else event


def _about(call: Call) -> dict[str, Any]:
    """Event arguments, which the viewer shows for a selected event."""
    about: dict[str, Any] = {
        "inputs": [list(shape) if shape is not None else None for shape in call.ins],
        "outputs": [list(shape) if shape is not None else None for shape in call.outs],
        "dtype": call.dtype,
        "bytes": call.nbytes,
    }
    if call.flops is not None:
        about["FLOPs"] = call.flops
    if call.path:
        about["module"] = "/".join(call.path)
    if call.lines:
        about["line"] = "{}:{}".format(*call.lines[-1])
    return about


class _Places:
    """Assigns process and thread ids, with the metadata events that name them."""

    def __init__(self) -> None:
        self.names: list[Event] = []
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, int], int] = {}

    def host(self, thread: int) -> tuple[int, int]:
        """Process and thread id of a host thread."""
        return self.device(f"host (process {os.getpid()})", thread, "thread")

    def device(self, name: str, thread: int, what: str) -> tuple[int, int]:
        """Process id of a device, and the thread id in it for a host thread."""
        pid = self._processes.get(name)
        if pid is None:
            pid = self._processes[name] = len(self._processes) + 1
            self._name("process_name", pid, 0, name)
        tid = self._threads.get((pid, thread))
        if tid is None:
            tid = self._threads[pid, thread] = sum(p == pid for p, _ in self._threads) + 1
            self._name("thread_name", pid, tid, f"{what} {tid}")
        return pid, tid

    def _name(self, kind: str, pid: int, tid: int, name: str) -> None:
        self.names.append({"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}})
