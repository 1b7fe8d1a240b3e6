"""What a checked run found and counted, by launch and by source line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .check_findings import Finding
from .check_lines import Code, places_of

__all__ = ["CheckReport", "Finding", "KernelCount", "LineCount"]

AccessKey = tuple[Code, str, str, int]  # place, "global" or "shared", "load" or "store", bytes per lane


@dataclass(slots=True)
class LineCount:
    """What the accesses of one source line cost, added up over the counted blocks.

    Attributes:
        kernel, place: the instance, and file:line.
        space: "global" or "shared".
        way: "load" or "store".
        size: bytes per lane.
        requests: accesses of warps.
        lanes: accesses of lanes.
        bytes: bytes that were asked for; of global memory, repeated addresses of a request count once.
        sectors: pieces of 32 bytes that global memory moves.
        wavefronts, ideal: turns that shared memory takes, and how many there would be without bank conflicts.
    """

    kernel: str
    place: str
    space: str
    way: str
    size: int
    requests: int = 0
    lanes: int = 0
    bytes: int = 0
    sectors: int = 0
    wavefronts: int = 0
    ideal: int = 0

    @property
    def sectors_per_request(self) -> float:
        """For 32 lanes of 4 bytes side by side it is 4."""
        return self.sectors / self.requests if self.requests else 0.0

    @property
    def bank_conflict_ways(self) -> float:
        """1 without conflicts."""
        return self.wavefronts / self.ideal if self.ideal else 0.0

    @property
    def active_lanes(self) -> float:
        """Of 32; fewer where branches part the warp, or where the block ends."""
        return self.lanes / self.requests if self.requests else 0.0

    @property
    def efficiency(self) -> float:
        """Share of the moved bytes that were asked for (global memory)."""
        return self.bytes / (32 * self.sectors) if self.sectors else 0.0

    def add(self, numbers: Sequence[int]) -> None:
        """Add what another address of the same line counted."""
        self.requests += numbers[0]
        self.lanes += numbers[1]
        self.bytes += numbers[2]
        self.sectors += numbers[3]
        self.wavefronts += numbers[4]
        self.ideal += numbers[5]


@dataclass(slots=True)
class KernelCount:
    """Launches of one kernel with one configuration.

    Attributes:
        kernel: the instance.
        grid, block, shared: the configuration.
        times: how many launches.
        blocks: of all these launches.
        counted: blocks whose accesses and operations were counted.
        cut: whether a block asked for more than can be counted, so that counting ended.
        read_bytes, written_bytes: of global memory, by all blocks, each byte once in a launch.
        library: the compiled unit.
        accesses: counters by place in the unit.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    library: Path
    times: int = 0
    blocks: int = 0
    counted: int = 0
    cut: bool = False
    read_bytes: int = 0
    written_bytes: int = 0
    accesses: dict[AccessKey, list[int]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes that global memory must move at least: each byte that is read, each one that is written."""
        return self.read_bytes + self.written_bytes

    @property
    def sectors(self) -> int:
        """Of global memory, in the counted blocks."""
        return sum(numbers[3] for numbers in self.accesses.values())

    @property
    def wavefronts(self) -> int:
        """Of shared memory, in the counted blocks."""
        return sum(numbers[4] for numbers in self.accesses.values())

    def add(self, other: KernelCount) -> None:
        """Add another launch of the same kernel and configuration."""
        self.times += other.times
        self.blocks += other.blocks
        self.counted += other.counted
        self.cut |= other.cut
        self.read_bytes += other.read_bytes
        self.written_bytes += other.written_bytes
        for key, numbers in other.accesses.items():
            have = self.accesses.setdefault(key, [0] * len(numbers))
            for i, number in enumerate(numbers):
                have[i] += number


@dataclass(slots=True)
class CheckReport:
    """All that was found and counted while a check was on.

    Attributes:
        findings: defects; empty is good.
        kernels: what was checked, by kernel and configuration.
    """

    findings: list[Finding] = field(default_factory=list)
    kernels: list[KernelCount] = field(default_factory=list)

    @property
    def launches(self) -> int:
        """How many launches were checked."""
        return sum(kernel.times for kernel in self.kernels)

    @property
    def lines(self) -> list[LineCount]:
        """Counters of the accesses of each source line."""
        found: dict[tuple[str, str, str, str, int], LineCount] = {}
        for launch in self.kernels:
            places = places_of(launch.library, [key[0] for key in launch.accesses])
            for (code, space, way, size), numbers in launch.accesses.items():
                key = launch.kernel, places[code], space, way, size
                found.setdefault(key, LineCount(*key)).add(numbers)
        return sorted(found.values(), key=lambda x: (x.kernel, _natural(x.place)))

    @property
    def global_bytes(self) -> int:
        """Bytes that global memory moves in the counted blocks: 32 per sector."""
        return 32 * sum(launch.sectors for launch in self.kernels)

    def add(self, findings: Iterable[Finding], launch: KernelCount) -> None:
        """Add what one launch gave."""
        self.findings += findings
        for known in self.kernels:
            if _same(known, launch):
                known.add(launch)
                return
        self.kernels.append(launch)

    def __str__(self) -> str:
        parts = [f"{self.launches:,} launches, {len(self.findings)} findings"]
        parts += [f"  {finding}" for finding in self.findings]
        rows = [_row(line) for line in self.lines]
        if rows:
            parts += [
                "",
                *_table(("line", "access", "requests", "lanes", "sectors/request", "bank ways"), rows),
            ]
        return "\n".join(parts)


def _same(a: KernelCount, b: KernelCount) -> bool:
    return (a.kernel, a.grid, a.block, a.shared, a.library) == (
        b.kernel,
        b.grid,
        b.block,
        b.shared,
        b.library,
    )


def _natural(place: str) -> tuple[str, int]:
    name, _, number = place.partition(" ")[0].rpartition(":")
    return name, int(number) if number.isdigit() else 0


def _row(line: LineCount) -> tuple[str, ...]:
    is_global = line.space == "global"
    return (
        line.place,
        f"{line.space} {line.way} {line.size} B",
        f"{line.requests:,}",
        f"{line.active_lanes:.1f}",
        f"{line.sectors_per_request:.2f}  ({line.efficiency:.0%} used)" if is_global else "",
        "" if is_global else f"{line.bank_conflict_ways:.2f}",
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def read_accesses(text: str) -> dict[AccessKey, list[int]]:
    """The counters that the core printed."""
    found: dict[AccessKey, list[int]] = {}
    for row in text.splitlines():
        space, way, size, code, file, line, *numbers = row.split("\t")
        have = found.setdefault(((code, file, line), space, way, int(size)), [0] * len(numbers))
        for i, number in enumerate(numbers):
            have[i] += int(number)
    return found
