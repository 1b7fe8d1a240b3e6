"""Measurement windows: time per call, and CPU time used by other processes meanwhile.

Limited to this process, independent of contests. The load is read from /proc on Linux; elsewhere it is None.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, Protocol

TICK = 0.01  # seconds: resolution of the times in /proc/stat
_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL = 0, 1, 2, 5, 6, 7


@dataclass(frozen=True)
class Window:
    """Consecutive calls.

    Attributes:
        seconds: median seconds per call.
        calls: number of calls.
        wall: wall time in seconds.
        foreign: CPU seconds used by other processes on our CPUs; None if unknown.
        host: for work on a device: host seconds to enqueue one call.
        device: for work on a device: device seconds per call, by the device clock.
    """

    seconds: float
    calls: int
    wall: float
    foreign: float | None
    host: float | None = None
    device: float | None = None

    def clean(self, limit: float) -> bool:
        """Whether other processes used less than `limit` of a CPU, within the clock's resolution."""
        return self.foreign is None or self.foreign <= limit * self.wall + 2 * TICK


def cpus() -> set[int]:
    """CPUs in the affinity mask of this process."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def busy_seconds(stat: str, which: set[int]) -> float:
    """Non-idle CPU seconds since boot, from the text of /proc/stat.

    Steal time counts as busy: other guests of the same host used it.
    """
    ticks = 0
    for line in stat.splitlines():
        name, _, numbers = line.partition(" ")
        if name[3:].isdigit() and name.startswith("cpu") and int(name[3:]) in which:
            t = [int(n) for n in numbers.split()]
            ticks += t[_USER] + t[_NICE] + t[_SYSTEM] + t[_IRQ] + t[_SOFTIRQ] + t[_STEAL]
    return ticks * TICK


class Load:
    """CPU time of other processes on this process's CPUs since construction."""

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
        """CPU seconds of other processes so far; None if not available."""
        now = self._others()
        return None if now is None or self._begun is None else max(0.0, now - self._begun)


class DeviceClock(Protocol):
    """Clock of an asynchronous device."""

    def mark(self) -> Any:
        """Record an event after the queued work."""

    def seconds(self, begin: Any, end: Any) -> float:
        """Device time between two events; synchronizes with the second one."""

    def wait(self) -> None:
        """Wait for all queued work."""


def measure(
    call: Callable[[], Any],
    *,
    seconds: float = 0.0,
    calls: int | None = None,
    group: int = 1,
    clock: DeviceClock | None = None,
) -> Window:
    """Call repeatedly for some seconds, or exactly `calls` times.

    Args:
        call: the measured function.
        seconds: minimum duration; at least one group is run.
        calls: exact number of calls, instead of a duration.
        group: calls per clock reading, if one call is too short to be timed.
        clock: clock of the device if the work is asynchronous; synchronizes after each group.
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
    """Number of calls that take about `seconds`, determined by timing.

    Groups are shorter than the scheduler's time slices: few of them are interrupted, and these do not affect
    the median of a window.
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
    """Resident memory of this process in MiB: current, and peak since `reset_peak`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {"now": None, "peak": None}
    kib = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": int(kib["VmRSS"]) / 1024, "peak": int(kib["VmHWM"]) / 1024}


def reset_peak() -> None:
    """Reset the peak to the current resident memory."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not permitted: the peak then includes earlier usage
