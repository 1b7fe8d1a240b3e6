"""What a checked run found and counted, by source line: read from the checked core, printed as a report."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["CheckReport", "Finding", "LineCount"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of a kernel, at one place.

    Attributes:
        kind: out of bounds, misaligned access, uninitialized shared read, uninitialized global read, shared
            race, global race, or launch failed (deadlock, divergent barrier, assertion, …).
        kernel: the instance.
        place: file:line of the access.
        other: file:line of the access that it collides with; "" if there is none.
        text: what, in which block and thread.
        count: how often.
    """

    kind: str
    kernel: str
    place: str
    other: str
    text: str
    count: int

    def __str__(self) -> str:
        at = f"{self.place} and {self.other}" if self.other else self.place
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.kind} at {at}: {self.text}{times}" if at else f"{self.kind}: {self.text}"


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


@dataclass(slots=True)
class CheckReport:
    """All that was found and counted while a check was on.

    Attributes:
        findings: defects; empty is good.
        lines: counters per source line.
        launches: launches that were checked.
    """

    findings: list[Finding] = field(default_factory=list)
    lines: list[LineCount] = field(default_factory=list)
    launches: int = 0

    @property
    def global_bytes(self) -> int:
        """Bytes that global memory moves in the counted blocks: 32 per sector."""
        return 32 * sum(line.sectors for line in self.lines)

    def add_lines(self, counted: Iterable[LineCount]) -> None:
        """Add counters to those of the same line."""
        known = {_key(line): line for line in self.lines}
        for line in counted:
            have = known.get(_key(line))
            if have is None:
                known[_key(line)] = line
                self.lines.append(line)
                continue
            for name in ("requests", "lanes", "bytes", "sectors", "wavefronts", "ideal"):
                setattr(have, name, getattr(have, name) + getattr(line, name))

    def __str__(self) -> str:
        head = f"{self.launches} launches, {len(self.findings)} findings"
        rows = [_row(line) for line in sorted(self.lines, key=lambda x: (x.kernel, _natural(x.place)))]
        parts = [head, *[f"  {finding}" for finding in self.findings]]
        if rows:
            parts += [
                "",
                *_table(("line", "access", "requests", "lanes", "sectors/request", "bank ways"), rows),
            ]
        return "\n".join(parts)


def _key(line: LineCount) -> tuple[str, str, str, str, int]:
    return line.kernel, line.place, line.space, line.way, line.size


def _natural(place: str) -> tuple[str, int]:
    name, _, number = place.rpartition(":")
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


# ---- from the core's words ---------------------------------------------------------------------------------


def read_findings(text: str, kernel: str, library: Path, names: dict[int, str]) -> list[Finding]:
    """The findings that the core printed; `names` of the buffers by address."""
    found = []
    for row in text.splitlines():
        kind, count, buffer, code, file, line, code2, file2, line2, words = row.split("\t", 9)
        name = names.get(int(buffer, 16))
        if name is not None:
            words = re.sub(r"\ba buffer\b", f"`{name}`, a buffer", words, count=1)
        places = [_place(library, *at) for at in ((code, file, line), (code2, file2, line2))]
        found.append(Finding(kind, kernel, places[0], places[1], words, int(count)))
    return found


def read_lines(text: str, kernel: str, library: Path) -> list[LineCount]:
    """The counters that the core printed."""
    found = []
    for row in text.splitlines():
        space, way, size, code, file, line, *numbers = row.split("\t")
        place = _place(library, code, file, line)
        found.append(LineCount(kernel, place, space, way, int(size), *[int(n) for n in numbers]))
    return found


def _place(library: Path, code: str, file: str, line: str) -> str:
    if file:
        return f"{file}:{line}"
    return source_line(library, int(code, 16)) if int(code, 16) else ""


@cache
def source_line(library: Path, code: int) -> str:
    """file:line of an address in a compiled unit, in the kernel's own text."""
    tool = shutil.which("addr2line") or shutil.which("llvm-symbolizer")
    if tool is None:
        return f"{library.name}+{code:#x}"
    command = [tool, "-i", "-e", str(library), hex(code - 1)]
    if tool.endswith("llvm-symbolizer"):
        command = [tool, "--inlining", "--functions=none", f"--obj={library}", hex(code - 1)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    frames = re.findall(r"([^\s/]+):(\d+)", said)
    own = [f"{file}:{line}" for file, line in frames if file.endswith((".cu", ".cuh"))]
    if not own:
        return f"{library.name}+{code:#x}"
    inside = own[0].partition(":")[0].endswith(".cuh") and len(own) > 1  # a shared function: say who calls it
    return f"{own[0]} from {own[1]}" if inside else own[0]
