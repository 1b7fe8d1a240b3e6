"""Recording of a checked launch: accesses of the first blocks in the order of the run, barriers, warp
operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinytensor.dtypes import DType
from tinytensor.emulator.check.findings import Finding, Named
from tinytensor.emulator.check.source_lines import Code, places_of

MOST_EVENTS = 1 << 16  # of a launch, as in record.h


@dataclass(frozen=True, slots=True)
class Memory:
    """A shared variable, or the buffer of a tensor.

    Attributes:
        space: "global" or "shared".
        name: of the variable, or of the first parameter that points into the buffer; "" if there is no memory
            near the address of a refused access.
        start: address of the variable, or the one that the parameter points to.
        dtype, shape: of the tensor that was passed; None of others, () if it is not contiguous.
    """

    space: str
    name: str
    start: int
    dtype: DType | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An access of a thread, a barrier, or a warp operation.

    Attributes:
        what: "load", "store", "atomic", "barrier", the name of a warp operation, or "array index": one beyond
            an array of which the compiler knows the size, refused without an address.
        block: number of the block in the grid, x first.
        thread: number of the thread in the block; of a barrier or warp operation, the first one there.
        place: file:line.
        code: location in the unit: a line may have several accesses.
        size: bytes of an access; threads at a barrier; lanes of a warp operation or index, as bits.
        refused: whether the launch was stopped there, and the access not executed: the last event.
        memory: what an access touches; None for others.
        offset: bytes from its start; of an array index, the index.
        value: the first 16 bytes at most, as read or written; b"" of a refused access.
        request: number of the request that it is part of; 0 if it was not counted.
        column: of an array index, where the compiler says that it is in the line, from 1.
    """

    what: str
    block: int
    thread: int
    place: str
    code: Code
    size: int
    refused: bool = False
    memory: Memory | None = None
    offset: int = 0
    value: bytes = b""
    request: int = 0
    column: int = 0

    def overlaps(self, other: Event) -> bool:
        """Whether both access a common byte."""
        if self.memory is None or self.memory != other.memory:
            return False
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded events of one launch.

    Attributes:
        events: in the order of the run.
        findings: of this launch.
    """

    events: tuple[Event, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether the launch had more events in these blocks than MOST_EVENTS: the last ones are missing."""
        return len(self.events) >= MOST_EVENTS

    @property
    def blocks(self) -> list[int]:
        """Numbers of the recorded blocks, in the order of the run."""
        return list(dict.fromkeys([event.block for event in self.events]))


def read_recording(
    text: str, library: Path, names: Mapping[int, Named], findings: Iterable[Finding]
) -> Recording:
    """Parse the events that the core printed; `names`: pointer arguments by buffer address."""
    rows = [row.split("\t") for row in text.splitlines()]
    places = places_of(library, {(row[3], row[4], row[5]) for row in rows})
    memories: dict[tuple[str, ...], tuple[Memory, int]] = {}
    events = []
    for row in rows:
        code = row[3], row[4], row[5]
        about = row[0], int(row[1]), int(row[2]), places[code], code, int(row[6]), row[7] == "1"
        if len(access := row[8:]) == 2:
            events.append(Event(*about, offset=int(access[0]), column=int(access[1])))
        elif access:
            space, name, start, offset, *words, request = access
            if (space, name, start) not in memories:
                memories[space, name, start] = _memory(space, name, start, names)
            memory, shift = memories[space, name, start]
            value = b"".join([int(word, 16).to_bytes(8, "little") for word in words])
            size = 0 if about[-1] else about[-2]
            events.append(Event(*about, memory, int(offset) - shift, value[:size], int(request)))
        else:
            events.append(Event(*about))
    return Recording(tuple(events), tuple(findings))


def _memory(space: str, name: str, start: str, names: Mapping[int, Named]) -> tuple[Memory, int]:
    """Memory by its own name, and the distance of its start from that of the buffer."""
    at = int(start, 16)
    named = names.get(at) if space == "global" else None
    if named is None:
        return Memory(space, name.strip("`"), at), 0
    return Memory(space, named.name, at + named.offset, named.dtype, named.shape), named.offset
