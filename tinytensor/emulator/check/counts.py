"""Counters of a checked run, by kernel and by source line: accesses, bytes, operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinytensor.emulator.check.flops import KINDS, operations_of
from tinytensor.emulator.check.recording import Recording
from tinytensor.emulator.check.source_lines import Code, is_own, places_of, resolve
from tinytensor.emulator.run.runtime import EmulatedKernel

AccessKey = tuple[Code, str, str, int]  # code location, then space, way and bytes per lane, as in LineCount
NUMBERS = ("requests", "lanes", "bytes", "sectors", "wavefronts", "ideal")  # as the core prints them
TENSOR_KINDS = {"float16": "half", "bfloat16": "half", "tf32": "tf32"}


@dataclass(slots=True)
class LineCount:
    """Memory accesses of one source line, summed over the counted blocks.

    Attributes:
        kernel, place: the instance, and file:line.
        space: "global", "shared", "constant", or "local": variables of a thread that are passed by address;
            the compiler of a GPU may still keep them in registers.
        way: "load", "store" or "atomic".
        size: bytes per lane.
        requests: accesses of warps.
        lanes: accesses of lanes.
        bytes: requested bytes; for global memory, repeated addresses of a request count once.
        sectors: 32-byte sectors transferred from or to global memory.
        wavefronts, ideal: shared-memory wavefronts, and their number without bank conflicts.
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
        """Sectors per request; 4 for 32 lanes that access neighboring 4-byte elements."""
        return self.sectors / self.requests if self.requests else 0.0

    @property
    def bank_conflict_ways(self) -> float:
        """Ways of bank conflicts; 1 without conflicts."""
        return self.wavefronts / self.ideal if self.ideal else 0.0

    @property
    def active_lanes(self) -> float:
        """Mean number of active lanes, of 32; fewer in divergent warps and at the end of the block."""
        return self.lanes / self.requests if self.requests else 0.0

    @property
    def efficiency(self) -> float:
        """Requested bytes as a share of the transferred bytes (global memory)."""
        return self.bytes / (32 * self.sectors) if self.sectors else 0.0

    def add(self, numbers: Sequence[int]) -> None:
        """Add the counters of another address of the same line."""
        for name, number in zip(NUMBERS, numbers, strict=True):
            setattr(self, name, getattr(self, name) + number)


@dataclass(slots=True)
class LineWork:
    """Floating-point operations of one source line in the counted blocks.

    Attributes:
        kernel, place: the instance, and file:line.
        single, double: operations on float and on double; a fused multiply-add is two, a function is one.
        half, tf32: operations of tensor cores, by the precision of the factors.
    """

    kernel: str
    place: str
    single: int = 0
    double: int = 0
    half: int = 0
    tf32: int = 0

    @property
    def flops(self) -> int:
        """Total number of operations."""
        return self.single + self.double + self.half + self.tf32


@dataclass(slots=True)
class KernelCount:
    """Launches of one kernel with one configuration.

    Attributes:
        kernel: the instance.
        grid, block, shared: the configuration.
        library: the compiled unit.
        launched: the instance, with its source, signature and template arguments; None of a CUDA program.
        times: number of launches.
        blocks: number of blocks of all these launches.
        counted: blocks whose accesses and operations were counted.
        cut: whether a block exceeded the capacity of the counters, so that counting stopped.
        read_bytes, written_bytes: bytes of global memory, over all blocks, each byte once per launch.
        accesses: counters by code location in the unit.
        passes: number of executions of each basic block.
        products: operations of tensor cores, by code location and kind.
        recording: of the counted blocks of the first launch, or of the first one with findings, if the check
            records.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    library: Path
    launched: EmulatedKernel | None = None
    times: int = 0
    blocks: int = 0
    counted: int = 0
    cut: bool = False
    read_bytes: int = 0
    written_bytes: int = 0
    accesses: dict[AccessKey, list[int]] = field(default_factory=dict)
    passes: Counter[int] = field(default_factory=Counter)
    products: Counter[tuple[Code, str]] = field(default_factory=Counter)
    recording: Recording | None = None

    @property
    def bytes(self) -> int:
        """Minimum global memory traffic in bytes: each byte read once and written once."""
        return self.read_bytes + self.written_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes transferred by the caches for the counted blocks: 32 per sector."""
        return 32 * sum(numbers[3] for key, numbers in self.accesses.items() if key[1] == "global")

    @property
    def wavefronts(self) -> int:
        """Shared-memory wavefronts of the counted blocks."""
        return sum(numbers[4] for numbers in self.accesses.values())

    @property
    def flops(self) -> int | None:
        """Floating-point operations of the counted blocks; None if they cannot be counted."""
        by_kind = self.flops_by_kind()
        return None if by_kind is None else sum(by_kind.values())

    def flops_by_kind(self) -> dict[str, int] | None:
        """`flops` by precision: single, double, and half and tf32 on tensor cores."""
        operations = operations_of(self.library)
        if operations is None:
            return None
        found = dict.fromkeys(KINDS, 0)
        for code, times in self.passes.items():
            for operation in operations.get(code, ()):
                found[operation.kind] += operation.count * times
        for (_, kind), count in self.products.items():
            found[kind] += count
        return found

    @property
    def configuration(self) -> tuple[object, ...]:
        """Key by which launches are grouped."""
        return self.kernel, self.grid, self.block, self.shared, self.library

    def add(self, other: KernelCount) -> None:
        """Add another launch of the same kernel and configuration."""
        self.times += other.times
        self.blocks += other.blocks
        self.counted += other.counted
        self.cut |= other.cut
        self.read_bytes += other.read_bytes
        self.written_bytes += other.written_bytes
        for key, numbers in other.accesses.items():
            _add(self.accesses, key, numbers)
        self.passes.update(other.passes)
        self.products.update(other.products)
        if other.recording and (
            not self.recording or (other.recording.findings and not self.recording.findings)
        ):
            self.recording = other.recording


def _add(to: dict[AccessKey, list[int]], key: AccessKey, numbers: Sequence[int]) -> None:
    have = to.get(key)
    to[key] = list(numbers) if have is None else [a + b for a, b in zip(have, numbers, strict=True)]


def lines_of(kernels: Iterable[KernelCount]) -> list[LineCount]:
    """Accesses of each source line, sorted by kernel and line."""
    found: dict[tuple[str, str, str, str, int], LineCount] = {}
    for count in kernels:
        places = places_of(count.library, [key[0] for key in count.accesses])
        for (code, space, way, size), numbers in count.accesses.items():
            key = count.kernel, places[code], space, way, size
            if space == "local" and not is_own(places[code]):
                continue  # the emulator's own variables
            found.setdefault(key, LineCount(*key)).add(numbers)
    return sorted(found.values(), key=lambda line: (line.kernel, natural(line.place)))


def work_of(kernels: Iterable[KernelCount]) -> list[LineWork] | None:
    """Operations of each source line, sorted by kernel and line; None if they cannot be counted."""
    found: dict[tuple[str, str], LineWork] = {}
    for count in kernels:
        operations = operations_of(count.library)
        if operations is None:
            return None
        ran = [(o, times) for code, times in count.passes.items() for o in operations.get(code, ())]
        places = resolve(count.library, [o.offset for o, _ in ran])
        work = [(places[o.offset], o.kind, o.count * times) for o, times in ran]
        codes = places_of(count.library, [code for code, _ in count.products])
        work += [(codes[code], kind, operations) for (code, kind), operations in count.products.items()]
        for place, kind, flops in work:
            line = found.setdefault((count.kernel, place), LineWork(count.kernel, place))
            setattr(line, kind, getattr(line, kind) + flops)
    return sorted(found.values(), key=lambda line: (line.kernel, natural(line.place)))


def natural(place: str) -> tuple[str, int]:
    """Sort key of file:line that orders lines by number."""
    name, _, number = place.partition(" from ")[0].rpartition(":")
    return name, int(number) if number.isdigit() else 0


# ---- parsing the output of the core -----------------------------------------------------------------------

REFUSED = 4  # index in the totals: whether a finding ended the launch


def read_count(launch: KernelCount, totals: Sequence[int], accesses: str, work: str) -> KernelCount:
    """Counters of one launch, whose kernel and configuration are given."""
    gx, gy, gz = launch.grid
    launch.times, launch.blocks = 1, gx * gy * gz
    launch.counted, cut, launch.read_bytes, launch.written_bytes, _ = totals
    launch.cut = bool(cut)
    launch.accesses = read_accesses(accesses)
    launch.passes, launch.products = read_work(work)
    return launch


def read_accesses(text: str) -> dict[AccessKey, list[int]]:
    """Parse the access counters."""
    found: dict[AccessKey, list[int]] = {}
    for row in text.splitlines():
        space, way, size, code, file, line, *numbers = row.split("\t")
        _add(found, ((code, file, line), space, way, int(size)), list(map(int, numbers)))
    return found


def read_work(text: str) -> tuple[Counter[int], Counter[tuple[Code, str]]]:
    """Parse the execution counts of basic blocks, and the operations of tensor cores."""
    passes: Counter[int] = Counter()
    products: Counter[tuple[Code, str]] = Counter()
    for row in text.splitlines():
        first, *rest = row.split("\t")
        if first in TENSOR_KINDS:
            code, file, line, count = rest
            products[(code, file, line), TENSOR_KINDS[first]] += int(count)
        else:
            passes[int(first, 16)] = int(rest[0])
    return passes, products
