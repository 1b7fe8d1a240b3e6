"""A window of measurement: how long one call takes, and how much CPU time others took meanwhile.

Knows one process and nothing of contests. What Linux tells is read from /proc; elsewhere it is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, Protocol

TICK = 0.01  # seconds: the grain of the times in /proc/stat
_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL = 0, 1, 2, 5, 6, 7


@dataclass(frozen=True)
class Window:
    """Several calls in a row.

    Attributes:
        seconds: of one call, the median over the window.
        calls: how many there were.
        wall: seconds that the window took.
        foreign: seconds of CPU time that other processes took on our CPUs; None where unknown.
        host: where a device does the work: seconds in which the host queued one call.
        device: the same: seconds that the device took for one call, by its own clock.
    """

    seconds: float
    calls: int
    wall: float
    foreign: float | None
    host: float | None = None
    device: float | None = None

    def clean(self, limit: float) -> bool:
        """Whether others took less than `limit` of a CPU, give or take the grain of the clock."""
        return self.foreign is None or self.foreign <= limit * self.wall + 2 * TICK


def cpus() -> set[int]:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def busy_seconds(stat: str, which: set[int]) -> float:
    """CPU time that was not idle since the machine started, from the text of /proc/stat.

    Steal counts as busy: it is what other guests of the same host took from us.
    """
    ticks = 0
    for line in stat.splitlines():
        name, _, numbers = line.partition(" ")
        if name[3:].isdigit() and name.startswith("cpu") and int(name[3:]) in which:
            t = [int(n) for n in numbers.split()]
            ticks += t[_USER] + t[_NICE] + t[_SYSTEM] + t[_IRQ] + t[_SOFTIRQ] + t[_STEAL]
    return ticks * TICK


class Load:
    """CPU time of other processes on the CPUs of this one, since the object was made."""

    def __init__(self) -> None:
        self._cpus = cpus()
        self._begun = self._others()

    def _others(self) -> float | None:
        try:
            stat = Path("/proc/stat").read_text()
        except OSError:
            return None
        return busy_seconds(stat, self._cpus) - time.process_time()

    def seconds(self) -> float | None:
        """What others took so far; None where the machine does not say."""
        now = self._others()
        return None if now is None or self._begun is None else max(0.0, now - self._begun)


class DeviceClock(Protocol):
    """The clock of a device that works on while the host goes on."""

    def mark(self) -> Any:
        """A mark behind what is queued so far."""
        ...

    def seconds(self, begin: Any, end: Any) -> float:
        """Time of the device between two marks; waits for the second one."""
        ...

    def wait(self) -> None:
        """Wait for all that is queued."""
        ...


def measure(
    call: Callable[[], Any],
    *,
    seconds: float = 0.0,
    calls: int | None = None,
    group: int = 1,
    clock: DeviceClock | None = None,
) -> Window:
    """Call again and again for some seconds, or exactly `calls` times.

    Args:
        call: what is measured.
        seconds: how long, at least; there is always one group.
        calls: this many calls, whatever they take.
        group: calls between two looks at the clock, where one call is too short to be timed.
        clock: of the device that does the work, if it is not the host; each group is waited for.
    """
    if clock is not None:
        clock.wait()
    times: list[tuple[float, float, float]] = []  # whole, host, device
    load, begun = Load(), time.perf_counter()
    while True:
        before = time.perf_counter()
        first = clock.mark() if clock is not None else None
        for _ in repeat(None, group):
            call()
        queued = after = time.perf_counter()
        device = 0.0
        if clock is not None:
            device = clock.seconds(first, clock.mark())
            after = time.perf_counter()
        times.append(((after - before) / group, (queued - before) / group, device / group))
        if len(times) * group >= calls if calls is not None else after - begun >= seconds:
            break
    whole, host, on_device = (median(column) for column in zip(*times, strict=True))
    both = () if clock is None else (host, on_device)
    return Window(whole, len(times) * group, after - begun, load.seconds(), *both)


def group_for(call: Callable[[], Any], seconds: float = 0.0005) -> int:
    """How many calls take about `seconds`, found by trying.

    Groups are shorter than the time slices of the system: those that are interrupted are then few, and the
    median of a window does not see them.
    """
    n = 1
    while True:
        before = time.perf_counter()
        for _ in repeat(None, n):
            call()
        took = time.perf_counter() - before
        if took >= seconds / 4:
            return max(1, round(n * seconds / took))
        n *= 4


# ---- memory ------------------------------------------------------------------------------------------------


def memory() -> dict[str, float | None]:
    """Resident memory of this process in MiB: now, and at most since `reset_peak`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {"now": None, "peak": None}
    kib = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": int(kib["VmRSS"]) / 1024, "peak": int(kib["VmHWM"]) / 1024}


def reset_peak() -> None:
    """Let the peak start again from what is resident now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak then includes what came before
