"""Steps of a recorded block: requests of warps, warp operations and barriers, in the order of the program.

The emulator runs the threads of a block one after another. A step joins the accesses that a GPU issues
together: those that the counters join in a request. Where nothing was counted, as in a run with another
schedule, these are the lanes that execute an access for the n-th time since they last converged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tinytensor.emulator.check.recording import Event, Memory

LANES = 32
WHOLE_WARP = (1 << LANES) - 1
Key = tuple[object, ...]


@dataclass(slots=True)
class Step:
    """Events of one step.

    Attributes:
        what: as in Event.
        place: file:line.
        warp: number of the warp in the block; None for a barrier of the block.
        size: bytes per lane of a request; threads at a barrier; lanes of a warp operation, as bits.
        memory: what a request accesses.
        events: for each active thread the number of its event in the recording; of a barrier or warp
            operation only the first one.
    """

    what: str
    place: str
    warp: int | None
    size: int
    memory: Memory | None
    events: dict[int, int] = field(default_factory=dict)


def steps_of(events: Sequence[Event], block: int) -> list[Step]:
    """The steps of a block, warp after warp between two barriers; a refused access is the last one."""
    found: list[Step] = []
    part: list[tuple[int, Event]] = []  # since the last barrier
    for number, event in enumerate(events):
        if event.block != block:
            continue
        if event.what != "barrier" and not event.refused:
            part.append((number, event))
            continue
        found += _between_barriers(part)
        warp = event.thread // LANES if event.refused else None
        found.append(Step(event.what, event.place, warp, event.size, event.memory, {event.thread: number}))
        part = []
    return found + _between_barriers(part)


def _between_barriers(events: Sequence[tuple[int, Event]]) -> list[Step]:
    warps: defaultdict[int, list[tuple[int, Event]]] = defaultdict(list)
    for number, event in events:
        warps[event.thread // LANES].append((number, event))
    return [step for warp, own in warps.items() for step in _of_warp(warp, own)]


def _of_warp(warp: int, events: Sequence[tuple[int, Event]]) -> list[Step]:
    """Steps of one warp between two barriers."""
    made: dict[Key, Step] = {}
    paths: list[list[Key]] = [[] for _ in range(LANES)]  # the steps of each lane
    times: defaultdict[Key, int] = defaultdict(int)
    converged = 0
    for number, event in events:
        lane = event.thread % LANES
        if event.memory is None:  # a warp operation
            key: Key = (number,)
            for i in range(LANES):
                if event.size >> i & 1:
                    paths[i].append(key)
            converged += event.what == "__syncwarp" and event.size == WHOLE_WARP
        elif event.request:
            key = (event.request, "request")
            paths[lane].append(key)
        else:  # not counted: the n-th time since the lanes converged
            line: Key = converged, event.what, event.code, event.memory.space, event.size
            key = *line, times[*line, lane]
            times[*line, lane] += 1
            paths[lane].append(key)
        step = made.setdefault(key, Step(event.what, event.place, warp, event.size, event.memory))
        step.events[event.thread] = number
    return [made[key] for key in merged(paths)]


def merged(paths: Sequence[Sequence[Key]]) -> list[Key]:
    """One order for the steps of all lanes: what a lane adds comes before the step that it shares next.

    Example:
        >>> merged(["ac", "abc", "ad"])
        ['a', 'b', 'c', 'd']
    """
    order: list[Key] = []
    for path in paths:
        known, added, before = set(order), list[Key](), dict[Key, list[Key]]()
        for key in path:
            if key in known:
                before.setdefault(key, added)
                added = []
            else:
                added.append(key)
        order = [one for key in order for one in (*before.get(key, ()), key)] + added
    return order
