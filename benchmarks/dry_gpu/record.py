"""What a device was asked for, as a list of events, and its totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.dry_gpu.traffic import Measured
from tinytensor.runtime.cuda.occupancy import Resources

# Fields of `totals`. Launches, copies and fills are those that the device executes, those of replayed graphs
# included; the others are calls of the host.
TOTALS = (
    *("launches", "launch_calls", "h2d", "h2d_bytes", "d2h", "d2h_bytes", "d2d", "d2d_bytes"),
    *(
        "memset",
        "memset_bytes",
        "waits",
        "events",
        "allocations",
        "allocated_bytes",
        "pinned",
        "pinned_bytes",
    ),
    *("compilations", "instances", "captures", "replays"),
)


_NOTHING, _UNKNOWN = Measured(0.0), Resources()


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        name: the instance, such as `layer_norm_forward<float>`.
        grid, block: three sizes each.
        shared: bytes of dynamic shared memory.
        measured: bytes and FLOPs, if they are measured.
        resources: registers and static shared memory, if it is compiled.
    """

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    measured: Measured = _NOTHING
    resources: Resources = _UNKNOWN

    @property
    def kernel(self) -> str:
        """Name without template arguments."""
        return self.name.partition("<")[0]

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        x, y, z = self.grid
        return x * y * z

    @property
    def threads(self) -> int:
        """Threads of a block."""
        x, y, z = self.block
        return x * y * z


@dataclass(frozen=True, slots=True)
class Event:
    """One call.

    Attributes:
        kind: "launch", "h2d", "d2h", "d2d", "memset", "wait", "event", "allocation", "pinned", "compilation",
            "capture" or "replay".
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
        peak: most bytes that were allocated at once.
        held: bytes that were allocated at the end.
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
        """Numbers of calls and bytes; see TOTALS, and `peak_bytes`, `held_bytes`."""
        found = dict.fromkeys(TOTALS, 0)
        for event in self.executed():
            if event.kind == "launch":
                found["launches"] += 1
            elif event.kind in ("h2d", "d2h", "d2d", "memset", "pinned"):
                found[event.kind] += 1
                found[f"{event.kind}_bytes"] += event.nbytes
        for event in self.events:
            if event.kind == "launch":
                found["launch_calls"] += 1
            elif event.kind in ("wait", "event", "capture", "replay"):
                found[f"{event.kind}s"] += 1
            elif event.kind == "allocation":
                found["allocations"] += 1
                found["allocated_bytes"] += event.nbytes
            elif event.kind == "compilation":
                found["compilations"] += 1
                found["instances"] += event.nbytes
        return found | {"peak_bytes": self.peak, "held_bytes": self.held}
