"""Philox seed and offset for kernels, including during graph capture.

Outside of a captured graph a kernel gets seed and offset of its samples by value. A graph would repeat those
at every replay. So the kernels of a graph read the generator's {seed, offset} from a small buffer that the
host writes before each replay, and get the distance of their samples from there by value. Each replay then
generates the samples of the same calls without a graph. Independent of tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import numpy as np

from tinytensor.errors import DeviceError
from tinytensor.events import OfThread, observers
from tinytensor.generator import Generator
from tinytensor.runtime.base import Runtime

_STREAM = struct.Struct("@PQQ")  # Stream of kernels/stream.cuh
_MAX_GENERATORS = 16


class Stream(NamedTuple):
    """Position of the samples of one call: an operand of random ops; the default is for calls without any."""

    seed: int = -1
    offset: int = 0


def stream(runtime: Runtime, at: Stream) -> bytes:
    """A `Stream` argument (kernels/stream.cuh) for the samples from there on."""
    for streams in observers:
        if not isinstance(streams, DeviceStreams) or streams.runtime is not runtime:
            continue
        if (found := streams.draws.get(at)) is not None:
            slot, distance = found
            return _STREAM.pack(streams.buffer.ptr + 16 * slot, 0, distance)
    return _STREAM.pack(0, *at)


def moving(at: Stream) -> Callable[[], Stream] | None:
    """Function that returns the position of the next samples, for an op in a captured function on the CPU."""
    for streams in observers:
        if isinstance(streams, HostStreams) and streams.is_ours and at in streams.draws:
            streams.unread.discard(at)
            return partial(_moved, streams, *streams.draws[at])
    return None


def _moved(streams: HostStreams, slot: int, distance: int) -> Stream:
    seed, offset = streams.states[slot]
    return Stream(seed, (offset + distance) % (1 << 64))


class Streams(OfThread):
    """The generators of one captured graph. A context manager around the capture, which restores them."""

    __slots__ = ("_before", "_drawn", "_generators", "draws")

    def __init__(self) -> None:
        super().__init__()
        self.draws: dict[tuple[int, int], tuple[int, int]] = {}  # (seed, offset) → slot, distance
        self._generators: list[Generator] = []  # by slot
        self._before: list[dict[str, int]] = []  # their states before the capture
        self._drawn: list[int] = []  # counter blocks that one replay consumes

    def __enter__(self) -> Self:
        observers.append(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        observers.remove(self)
        for generator, before, count in zip(self._generators, self._before, self._drawn, strict=False):
            after, end = generator.get_state(), (before["offset"] + count) % (1 << 64)
            generator.set_state(before)
            if kind is None and after != {**before, "offset": end}:
                raise _was_set(generator)

    def drawn(self, generator: Generator, before: int, count: int) -> None:
        """Note which samples a replay draws."""
        if not (self.is_ours and count):
            return
        if count < 0:
            raise _was_set(generator)
        if generator not in self._generators:
            if len(self._generators) == _MAX_GENERATORS:
                raise DeviceError(
                    f"capture: the graph samples from more than {_MAX_GENERATORS} generators",
                    why="a graph stores the states of at most that many",
                    fix="share generators between the random ops",
                )
            self._before.append({"seed": generator.seed, "offset": before})
            self._drawn.append(0)
            self._generators.append(generator)
        slot = self._generators.index(generator)
        start = self._before[slot]
        if (known := self.draws.get((generator.seed, before))) is not None:
            if known[0] == slot:
                return  # a checkpoint draws the samples of its forward pass again
            raise DeviceError(
                f"capture: {generator} is in the same state as another generator of the graph",
                why="a graph tells generators apart by seed and offset",
                fix="seed them differently before the capture",
            )
        if generator.seed != start["seed"] or before != (start["offset"] + self._drawn[slot]) % (1 << 64):
            raise _was_set(generator)
        self.draws[start["seed"], before] = slot, self._drawn[slot]
        self._drawn[slot] += count

    def advance(self) -> list[tuple[int, int]]:
        """Reserve the samples of a replay in each generator; returns their seeds and offsets."""
        return [(g.seed, g.advance(n)) for g, n in zip(self._generators, self._drawn, strict=True)]


class DeviceStreams(Streams):
    """The streams of a graph on a device, in a small buffer there.

    Args:
        runtime: the device of the graph; allocates memory, so create this object before the capture begins.
    """

    __slots__ = ("buffer", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.buffer = runtime.alloc(16 * _MAX_GENERATORS)

    def __del__(self) -> None:
        self.runtime.returned.append(self.buffer)

    def begin(self) -> None:
        """Before a replay: write its seeds and offsets to the device."""
        if states := self.advance():
            self.runtime.copy_in(self.buffer.ptr, np.array(states, np.uint64))


class HostStreams(Streams):
    """The streams of a graph on the CPU.

    Attributes:
        states: (seed, offset) of each generator in this replay.
        unread: samples that were reserved in the capture and that no op has read.
    """

    __slots__ = ("states", "unread")

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[int, int]] = []
        self.unread: set[tuple[int, int]] = set()

    def drawn(self, generator: Generator, before: int, count: int) -> None:
        """Note which samples a replay draws, until an op reads them."""
        super().drawn(generator, before, count)
        if self.is_ours and count:
            self.unread.add((generator.seed, before))

    def begin(self) -> None:
        """Before a replay: set its seeds and offsets."""
        self.states = self.advance()


def _was_set(generator: Generator) -> DeviceError:
    return DeviceError(
        f"capture: {generator} was set to another state while a graph was captured",
        why="a replay continues from the current state of the generator; a graph cannot reset it",
        fix="seed the generator before the capture",
    )
