"""Where kernels find their place in a stream of random numbers.

A draw is a seed and an offset, and outside of a captured graph a kernel gets both as numbers. A graph would
repeat those at every replay. So the kernels of a graph read {seed, offset} of the generator from a small
buffer that the host writes before each replay, and get the distance of their draw from there. So each replay
draws what the same calls would have drawn without a graph. Knows nothing of tensors.
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
    """A `Stream` (kernels/stream.cuh) for the draw that starts at this offset of the stream of a seed."""
    for streams in _capturing:
        if streams.runtime is runtime and (found := streams.draws.get((seed, offset))) is not None:
            slot, distance = found
            return _STREAM.pack(streams.buffer.ptr + 16 * slot, 0, distance)
    return _STREAM.pack(0, seed, offset)


class GraphStreams:
    """The generators that one captured graph draws from. A context manager around the capture, which runs
    nothing: at its end the generators stand where they stood before.

    Args:
        runtime: the device of the graph; it gives memory here, so make this before the capture begins.
    """

    __slots__ = ("_before", "_drawn", "_generators", "_thread", "buffer", "draws", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._thread = threading.get_ident()
        self.buffer = runtime.alloc(16 * _MAX_GENERATORS)
        self.draws: dict[tuple[int, int], tuple[int, int]] = {}  # (seed, offset) → slot, distance
        self._generators: list[Generator] = []  # by slot
        self._before: list[dict[str, int]] = []  # their states before the capture
        self._drawn: list[int] = []  # blocks that one replay draws

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
                    f"capture: the graph draws from more than {_MAX_GENERATORS} generators",
                    why="it has room for the states of so many",
                    fix="share generators between the draws",
                )
            self._generators.append(generator)
            self._before.append({"seed": generator.seed, "offset": before})
            self._drawn.append(0)
        slot = self._generators.index(generator)
        start = self._before[slot]
        if generator.seed != start["seed"] or before != (start["offset"] + self._drawn[slot]) % (1 << 64):
            raise DeviceError(
                f"capture: {generator} was set to another state while a graph was captured",
                why="a replay continues where the generator stands; a graph cannot set it back",
                fix="seed the generator before the capture",
            )
        self.draws[start["seed"], before] = slot, self._drawn[slot]
        self._drawn[slot] += count

    def advance(self) -> None:
        """Before a replay: reserve its draws, and tell the device where they start."""
        if not self._generators:
            return
        state = np.empty((len(self._generators), 2), np.uint64)
        for slot, generator in enumerate(self._generators):
            state[slot] = generator.seed, generator.advance(self._drawn[slot])
        self.runtime.copy_in(self.buffer.ptr, state)


_capturing: list[GraphStreams] = []
