"""What a device was asked for, as a list of events, and its totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.dry_gpu.traffic import Measured

# Of launches, copies and fills the totals have those that the device executes, those of replayed graphs
# included; of all else the calls of the host.
MOVED = ("h2d", "d2h", "d2d", "memset", "pinned")
CALLED = ("wait", "event", "capture", "replay")


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        name: the instance, such as `layer_norm_forward<float>`.
        measured: bytes and FLOPs, if they are measured.
    """

    name: str
    measured: Measured

    @property
    def kernel(self) -> str:
        """Name without template arguments."""
        return self.name.partition("<")[0]


@dataclass(frozen=True, slots=True)
class Event:
    """One call.

    Attributes:
        kind: "launch", "allocation", "compilation", or one of MOVED and CALLED.
        nbytes: its bytes; of a compilation, the number of instances.
        launch: of a launch.
        graph: what a replay executes.
    """

    kind: str
    nbytes: int = 0
    launch: Launch | None = None
    graph: tuple[Event, ...] = ()


@dataclass
class Record:
    """Events in order.

    Attributes:
        events: calls of the host.
        peak, held: most bytes that were allocated at once, and those at the end.
    """

    events: list[Event] = field(default_factory=list)
    peak: int = 0
    held: int = 0

    def executed(self) -> Iterator[Event]:
        """The events, with those of replayed graphs in the place of the replays."""
        for event in self.events:
            yield from event.graph or (event,)

    @property
    def launches(self) -> list[Launch]:
        """All launches that the device executes, in order."""
        return [event.launch for event in self.executed() if event.launch is not None]

    def kernels(self) -> dict[str, int]:
        """Launches of each instance, the most frequent one first."""
        return dict(Counter(launch.name for launch in self.launches).most_common())

    def totals(self) -> dict[str, int]:
        def of(kind: str, events: list[Event]) -> tuple[int, int]:
            return sum(e.kind == kind for e in events), sum(e.nbytes for e in events if e.kind == kind)

        executed = list(self.executed())
        found = {"launches": of("launch", executed)[0], "launch_calls": of("launch", self.events)[0]}
        for kind in MOVED:
            found[kind], found[f"{kind}_bytes"] = of(kind, executed)
        for kind in CALLED:
            found[f"{kind}s"] = of(kind, self.events)[0]
        found["allocations"], found["allocated_bytes"] = of("allocation", self.events)
        found["compilations"], found["instances"] = of("compilation", self.events)
        return found | {"peak_bytes": self.peak, "held_bytes": self.held}
