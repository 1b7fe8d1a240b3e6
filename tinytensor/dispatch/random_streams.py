"""Philox seed and offset for kernels, including during graph capture.

Outside of a captured graph a kernel gets seed and offset of its samples by value. A graph would repeat those
at every replay. So the kernels of a graph read the generator's {seed, offset} from a small buffer that the
host writes before each replay, and get the distance of their samples from there by value. Each replay then
generates the samples of the same calls without a graph. Independent of tensors.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np

from tinytensor import generator as random
from tinytensor.errors import DeviceError
from tinytensor.generator import Generator
from tinytensor.runtime.base import Runtime

_STREAM = struct.Struct("@PQQ")  # Stream of kernels/stream.cuh
_MAX_GENERATORS = 16


def stream(runtime: Runtime, seed: int, offset: int) -> bytes:
    """A `Stream` argument (kernels/stream.cuh) for samples of this seed from this offset on."""
    for streams in _capturing:
        if streams.runtime is runtime and (found := streams.draws.get((seed, offset))) is not None:
            slot, distance = found
            return _STREAM.pack(streams.buffer.ptr + 16 * slot, 0, distance)
    return _STREAM.pack(0, seed, offset)


class GraphStreams:
    """The generators that one captured graph samples from. A context manager around the capture, which runs
    nothing: it restores the states of the generators at its end.

    Args:
        runtime: the device of the graph; allocates memory, so create this object before the capture begins.
    """

    __slots__ = ("_before", "_drawn", "_generators", "_thread", "buffer", "draws", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._thread = threading.get_ident()
        self.buffer = runtime.alloc(16 * _MAX_GENERATORS)
        self.draws: dict[tuple[int, int], tuple[int, int]] = {}  # (seed, offset) → slot, distance
        self._generators: list[Generator] = []  # by slot
        self._before: list[dict[str, int]] = []  # their states before the capture
        self._drawn: list[int] = []  # counter blocks that one replay consumes

    def __enter__(self) -> GraphStreams:
        random.observers.append(self._observe)
        _capturing.append(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        _capturing.remove(self)
        random.observers.remove(self._observe)
        for generator, before in zip(self._generators, self._before, strict=True):
            generator.set_state(before)

    def __del__(self) -> None:
        self.runtime.returned.append(self.buffer)

    def _observe(self, generator: Generator, before: int, count: int) -> None:
        """Called by `Generator.advance`."""
        if threading.get_ident() != self._thread:
            return
        if generator not in self._generators:
            if len(self._generators) == _MAX_GENERATORS:
                raise DeviceError(
                    f"capture: the graph samples from more than {_MAX_GENERATORS} generators",
                    why="a graph stores the states of at most that many",
                    fix="share generators between the random ops",
                )
            self._generators.append(generator)
            self._before.append({"seed": generator.seed, "offset": before})
            self._drawn.append(0)
        slot = self._generators.index(generator)
        start = self._before[slot]
        if generator.seed != start["seed"] or before != (start["offset"] + self._drawn[slot]) % (1 << 64):
            raise DeviceError(
                f"capture: {generator} was set to another state while a graph was captured",
                why="a replay continues from the current state of the generator; a graph cannot reset it",
                fix="seed the generator before the capture",
            )
        self.draws[start["seed"], before] = slot, self._drawn[slot]
        self._drawn[slot] += count

    def advance(self) -> None:
        """Before a replay: reserve its samples in each generator, and write their offsets to the device."""
        if not self._generators:
            return
        state = np.empty((len(self._generators), 2), np.uint64)
        for slot, generator in enumerate(self._generators):
            state[slot] = generator.seed, generator.advance(self._drawn[slot])
        self.runtime.copy_in(self.buffer.ptr, state)


_capturing: list[GraphStreams] = []
