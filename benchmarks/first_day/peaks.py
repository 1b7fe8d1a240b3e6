"""Step 6: what the machine can do at most: memory, launches, the host, graphs, copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import statistics_of
from benchmarks.contest.gpu_clock import EngineClock
from benchmarks.first_day.day import EMULATED, Day
from tinytensor.runtime import runtime_of

SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 23, 1 << 26, 1 << 28)  # elements of float32: up to 1 GiB
SMALL = (1 << 10, 1 << 14)


def device_seconds(day: Day, call: Callable[[], Any], calls: int = 20, rounds: int = 7) -> float | None:
    """Median seconds of a call on the device, between events around a group; None on the emulator."""
    call()
    if day.rehearsal == EMULATED:
        return None
    clock, found = EngineClock(day.device), []
    for _ in range(rounds):
        begin = clock.mark()
        for _ in range(calls):
            call()
        found.append(clock.seconds(begin, clock.mark()) / calls)
    return statistics_of(found).median


def host_seconds(day: Day, call: Callable[[], Any], calls: int = 200, rounds: int = 7) -> float:
    """Median seconds in which the host enqueues a call."""
    found = []
    for _ in range(1 if day.small else rounds):
        tt.cuda.synchronize(day.device)
        before = time.perf_counter()
        for _ in range(2 if day.small else calls):
            call()
        found.append((time.perf_counter() - before) / calls)
    tt.cuda.synchronize(day.device)
    return median(found)


def run(day: Day) -> None:
    """Measure the peaks, the memory's first."""
    _memory(day)
    _latencies(day)
    _transfers(day)


def _memory(day: Day) -> None:
    for n in SMALL if day.small else SIZES:
        if not day.has(5, f"memory at {n} elements"):
            return
        x = tt.rand(n, device=day.device)
        y, narrow, turned = tt.empty_like(x), x.to(tt.bfloat16), x.reshape(-1, 32).T
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "copy (memcpy)": (lambda y=y, x=x: y.copy_(x), 8 * n),
            "add": (lambda x=x: x + x, 12 * n),
            "multiply in place": (lambda y=y: y.mul_(1.0), 8 * n),
            "cast to bfloat16": (lambda x=x: x.to(tt.bfloat16), 6 * n),
            "cast to float32": (lambda x=narrow: x.to(tt.float32), 6 * n),
            "sum": (lambda x=x: x.sum(), 4 * n),
            "transposed copy": (lambda x=turned: x.contiguous(), 8 * n),
        }
        for name, (call, nbytes) in calls.items():
            seconds = day.time(device_seconds(day, call))
            day.row("memory", call=name, **_rate(nbytes, seconds))


def _rate(nbytes: int, seconds: float | None) -> dict[str, Any]:
    rate = None if not seconds else nbytes / seconds
    return {"bytes": nbytes, "seconds": seconds, "bytes_per_second": rate}


def _latencies(day: Day) -> None:
    x = tt.ones(1, device=day.device)
    w = tt.ones(64, 64, device=day.device, requires_grad=True)
    a = tt.ones(1, 64, device=day.device)
    rows: dict[str, Callable[[], Any]] = {
        "x + x, one element": lambda: x + x,
        "x.mul_(1.0), one element": lambda: x.mul_(1.0),
        "x @ w, recorded": lambda: a @ w,
        "(x @ w).sum().backward()": lambda: (a @ w).sum().backward(),
    }
    for name, call in rows.items():
        call()
        host, device = host_seconds(day, call), device_seconds(day, call)
        day.row("latencies", what=name, host=day.time(host), device=day.time(device))
    for count in (10, 100, 500):

        def many(count: int = count) -> None:
            for _ in range(count):
                x.mul_(1.0)

        graph = tt.capture(many, device=day.device, warmup=1)
        host, device = host_seconds(day, graph.replay, 20), device_seconds(day, graph.replay, 5)
        each = None if device is None else device / count
        spent = {"host": day.time(host), "device": day.time(device), "for_each_kernel": day.time(each)}
        day.row("graphs", kernels=count, **spent)


def _transfers(day: Day) -> None:
    """Copies between host and device: through staging, and from pinned memory."""
    runtime: Any = runtime_of(tt.Device(day.device))
    for nbytes in (1 << 12, 1 << 16) if day.small else (1 << 12, 1 << 20, 1 << 26, 1 << 28):
        host = np.zeros(nbytes, np.uint8)
        buffer, pinned = runtime.alloc(nbytes), runtime.pinned(nbytes)
        calls: dict[str, Callable[[], Any]] = {
            "to the device": lambda b=buffer, h=host: runtime.copy_in(b.ptr, h),
            "to the host": lambda b=buffer, h=host: runtime.copy_out(h, b.ptr),
            "to the device, pinned": lambda b=buffer, p=pinned: runtime.send(b.ptr, p, None),
            "to the host, pinned": lambda b=buffer, p=pinned: runtime.receive(p, b.ptr, None),
        }
        for name, call in calls.items():
            seconds = []
            for _ in range(1 if day.small else 9):
                runtime.synchronize()
                before = time.perf_counter()
                call()
                runtime.synchronize()
                seconds.append(time.perf_counter() - before)
            spent = day.time(median(seconds))
            day.row("transfers", copy=name, **_rate(nbytes, spent))
        runtime.returned.append(buffer)
