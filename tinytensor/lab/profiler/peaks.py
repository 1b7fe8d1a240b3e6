"""Measured peak memory bandwidth and matmul throughput of a device.

The peaks are measured, not taken from a data sheet: the best of several copies of a large tensor and of
several matrix products, by NumPy or the engine, whichever is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinytensor.autograd.modes import no_grad
from tinytensor.creation import asarray
from tinytensor.device import as_device
from tinytensor.errors import ArgumentError
from tinytensor.ops.matmul.matmul import matmul
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.threads import get_num_threads

COPY = 1 << 24  # floats, 64 MiB: far more than the caches hold
MATMUL = 1024
SECONDS = 0.3  # per probe, and at least 5 runs


@dataclass(frozen=True, slots=True)
class Peaks:
    """Bytes per second, read plus written, in a copy; float32 operations per second in a matrix product."""

    copy: float
    matmul: float

    def __post_init__(self) -> None:
        if not (self.copy > 0 and self.matmul > 0):
            raise ArgumentError(
                f"Peaks: copy is {self.copy}, matmul is {self.matmul}",
                why="both are rates above 0, by which other rates are divided",
                fix="for example Peaks(copy=2e10, matmul=1e11), or lab.measure_peaks()",
            )


_known: dict[tuple[str, int], Peaks] = {}


def measure_peaks(device: str = "cpu") -> Peaks:
    """Measure copy and matmul rates of the CPU or a GPU; takes about a second, cached per process and thread
    count.

    Example:
        >>> from tinytensor import lab
        >>> lab.measure_peaks("emulated")
        Traceback (most recent call last):
            ...
        tinytensor.errors.ArgumentError: peaks of emulated
        ...
    """
    place = as_device(device)
    if place.type not in ("cpu", "cuda"):
        raise ArgumentError(
            f"peaks of {place}",
            why="the CPU emulates this device; its times say nothing about a GPU",
            fix='measure "cpu" or "cuda"',
        )
    key = str(place), get_num_threads()
    if key not in _known:
        seconds = _on_host if place.type == "cpu" else _on_gpu(runtime_of(place))
        a, b, source, target = (
            asarray(np.ones(shape, np.float32)).to(place)
            for shape in ((MATMUL, MATMUL), (MATMUL, MATMUL), (COPY,), (COPY,))
        )
        with no_grad():
            products: list[Callable[[], Any]] = [lambda: matmul(a, b)]
            copies: list[Callable[[], Any]] = [lambda: target.copy_(source)]
            if place.type == "cpu":
                x, y, to, of = (t.numpy() for t in (a, b, target, source))
                z = np.empty_like(x)
                products.append(lambda: np.matmul(x, y, out=z))
                copies.append(lambda: np.copyto(to, of))
            product, copy = (min(_best(f, seconds) for f in each) for each in (products, copies))
        _known[key] = Peaks(copy=8.0 * COPY / copy, matmul=2.0 * MATMUL**3 / product)
    return _known[key]


def _on_host(work: Callable[[], Any]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def _on_gpu(runtime: Any) -> Callable[[Callable[[], Any]], float]:
    def seconds(work: Callable[[], Any]) -> float:
        first = runtime.event()
        work()
        return float(runtime.event().seconds_since(first))

    return seconds


def _best(work: Callable[[], Any], seconds: Callable[[Callable[[], Any]], float]) -> float:
    """Fastest of several runs, after a warm-up run."""
    work()
    found: list[float] = []
    end = perf_counter() + SECONDS
    while len(found) < 5 or perf_counter() < end:
        found.append(seconds(work))
    return min(found)
