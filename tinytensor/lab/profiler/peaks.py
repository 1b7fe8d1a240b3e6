"""How fast a device can copy memory and multiply matrices: what other numbers are a share of.

Measured, not taken from a data sheet: the best of some copies of a large tensor and of some products of
matrices, as NumPy or the engine does them, whoever is faster.
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
from tinytensor.runtime.cpu.numpy_threads import in_ranks
from tinytensor.runtime.cpu.threads import get_num_threads

__all__ = ["Peaks", "measure_peaks"]

COPY = 1 << 24  # floats, 64 MiB: far more than the caches hold
MATMUL = 1024
SECONDS = 0.3  # for each of the probes, and at least 5 runs


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a device reached: bytes a second, read and written, in a copy; float32 operations a second in a
    product of matrices.
    """

    copy: float
    matmul: float

    def __post_init__(self) -> None:
        if not (self.copy > 0 and self.matmul > 0):
            raise ArgumentError(
                f"Peaks: copy is {self.copy}, matmul is {self.matmul}",
                why="both are rates, and others are shares of them",
                fix="for example Peaks(copy=2e10, matmul=1e11), or lab.measure_peaks()",
            )


_known: dict[tuple[str, int], Peaks] = {}


def measure_peaks(device: str = "cpu") -> Peaks:
    """Copy and multiply on a device, once in a process and for each number of threads; about a second.

    Args:
        device: "cpu" or a GPU.

    Returns:
        The peaks.

    Raises:
        ArgumentError: the device is emulated.
        DeviceError: it is not there.

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
            why="the CPU plays this device; its seconds say nothing about a GPU",
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
                parts = [slice(i, i + (COPY >> 4)) for i in range(0, COPY, COPY >> 4)]
                products.append(lambda: np.matmul(x, y, out=z))
                copies.append(lambda: in_ranks(lambda r: np.copyto(to[r], of[r]), parts, COPY))
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
    """The fastest of several runs, after one to warm up."""
    work()
    found: list[float] = []
    end = perf_counter() + SECONDS
    while len(found) < 5 or perf_counter() < end:
        found.append(seconds(work))
    return min(found)
