"""What a GPU can do at most under this engine: memory, launches, graphs, copies.

On "emulated" and "dry" sizes are small, and times are left out.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import PRETENDED, Report
from benchmarks.contest.gpu_clock import clock_of
from benchmarks.dry_gpu.gpu import installed_device
from tinytensor.runtime import runtime_of

SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 23, 1 << 26, 1 << 28)  # elements of float32: up to 1 GiB
COPIES = (1 << 12, 1 << 20, 1 << 26, 1 << 28)  # bytes
SMALL = (1 << 10, 1 << 14)
Call = Callable[[], Any]


class Peaks:
    """Measurements on one device; `device` is its name in the engine, `timed` whether it has a clock."""

    def __init__(self, device: str) -> None:
        self.clock, self.timed = clock_of(device), device not in PRETENDED
        self.device = installed_device(device)

    def device_time(self, call: Call, calls: int = 20, rounds: int = 7) -> float | None:
        """Median time of a call on the device, between events around a group."""
        call()
        if self.clock is None:
            return None
        found = []
        for _ in range(rounds):
            begin = self.clock.mark()
            for _ in range(calls):
                call()
            found.append(self.clock.seconds(begin, self.clock.mark()) / calls)
        return median(found) * 1e6

    def host_time(self, call: Call, calls: int = 200, *, wait: bool = False) -> float | None:
        """Median time in which the host enqueues a call, or has waited for it."""
        found = []
        for _ in range(7 if self.timed else 1):
            tt.cuda.synchronize(self.device)
            before = time.perf_counter()
            for _ in range(calls if self.timed else 2):
                call()
            if wait:
                tt.cuda.synchronize(self.device)
            found.append((time.perf_counter() - before) / calls)
        tt.cuda.synchronize(self.device)
        return median(found) * 1e6 if self.timed else None

    def memory(self, n: int) -> dict[str, Any]:
        """Rates of ops that are limited by memory, in GB/s."""
        x = tt.rand(n, device=self.device)
        y, narrow, turned = tt.empty_like(x), x.to(tt.bfloat16), x.reshape(-1, 32).T
        calls: dict[str, tuple[Call, int]] = {
            "copy (memcpy)": (lambda: y.copy_(x), 8),
            "add": (lambda: x + x, 12),
            "multiply in place": (lambda: y.mul_(1.0), 8),
            "cast to bfloat16": (lambda: x.to(tt.bfloat16), 6),
            "cast to float32": (lambda: narrow.to(tt.float32), 6),
            "sum": (lambda: x.sum(), 4),
            "transposed copy": (lambda: turned.contiguous(), 8),
        }
        rates = {name: _rate(nbytes * n, self.device_time(call)) for name, (call, nbytes) in calls.items()}
        return {"elements": n, **rates}

    def latencies(self) -> list[dict[str, Any]]:
        """Small calls, and graphs of many kernels: µs of the host and of the device."""
        x = tt.ones(1, device=self.device)
        w = tt.ones(64, 64, device=self.device, requires_grad=True)
        a = tt.ones(1, 64, device=self.device)
        calls: dict[str, tuple[Call, int]] = {
            "x + x, one element": (lambda: x + x, 1),
            "x.mul_(1.0), one element": (lambda: x.mul_(1.0), 1),
            "x @ w, recorded": (lambda: a @ w, 1),
            "(x @ w).sum().backward()": (lambda: (a @ w).sum().backward(), 1),
        }
        for count in (10, 100, 500):
            many = lambda count=count: [x.mul_(1.0) for _ in range(count)]  # noqa: E731
            graph = tt.capture(many, device=self.device, warmup=1)
            calls[f"graph of {count} kernels, each"] = graph.replay, count
        found = []
        for name, (call, count) in calls.items():
            call()
            host, device = self.host_time(call, 20 if count > 1 else 200), self.device_time(call, 5)
            each = {key: None if t is None else t / count for key, t in (("host", host), ("device", device))}
            found.append({"call": name, **each})
        return found

    def copies(self, nbytes: int) -> dict[str, Any]:
        """Rates of copies between host and device in GB/s: through staging, and from pinned memory."""
        runtime: Any = runtime_of(tt.Device(self.device))
        host, buffer, pinned = np.zeros(nbytes, np.uint8), runtime.alloc(nbytes), runtime.pinned(nbytes)
        calls: dict[str, Call] = {
            "to the device": lambda: runtime.copy_in(buffer.ptr, host),
            "to the host": lambda: runtime.copy_out(host, buffer.ptr),
            "to the device, pinned": lambda: runtime.send(buffer.ptr, pinned, None),
            "to the host, pinned": lambda: runtime.receive(pinned, buffer.ptr, None),
        }
        rates = {name: _rate(nbytes, self.host_time(call, 1, wait=True)) for name, call in calls.items()}
        runtime.returned.append(buffer)
        return {"bytes": nbytes, **rates}


def _rate(nbytes: int, microseconds: float | None) -> float | None:
    return None if not microseconds else nbytes / microseconds / 1e3


def run(device: str = "cuda") -> Report:
    """Measure the peaks, the memory's first."""
    peaks, report = Peaks(device), Report("gpu_peaks")
    small = device in PRETENDED
    report.findings["memory, GB/s"] = [peaks.memory(n) for n in (SMALL if small else SIZES)]
    report.findings["latencies, µs"] = peaks.latencies()
    report.findings["copies, GB/s"] = [peaks.copies(n) for n in (SMALL if small else COPIES)]
    return report
