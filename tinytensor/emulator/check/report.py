"""Report of a checked run: findings, and a table of counters for each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tinytensor.emulator.check.counts import (
    KernelCount,
    LineCount,
    LineWork,
    lines_of,
    natural,
    work_of,
)
from tinytensor.emulator.check.findings import Finding, sizes
from tinytensor.emulator.check.lower_bounds import bounds_of
from tinytensor.emulator.check.schedules import Schedule


@dataclass(slots=True, repr=False)
class CheckReport:
    """Findings and counters of one check.

    Attributes:
        findings: defects; empty if there are none.
        warnings: what may be no defect (`Finding.is_warning`).
        schedules: of launches whose result depends on the order of threads, if the check has `schedules`.
        kernels: launches, by kernel and configuration.
    """

    findings: list[Finding] = field(default_factory=list)
    kernels: list[KernelCount] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)

    @property
    def launches(self) -> int:
        """Number of checked launches."""
        return sum(kernel.times for kernel in self.kernels)

    @property
    def lines(self) -> list[LineCount]:
        """Memory accesses of each source line."""
        return lines_of(self.kernels)

    @property
    def work(self) -> list[LineWork] | None:
        """Floating-point operations of each source line; None if objdump or addr2line is missing, or the
        processor is not x86-64.
        """
        return work_of(self.kernels)

    @property
    def global_bytes(self) -> int:
        """Bytes transferred by the caches for the counted blocks: 32 per sector of global memory."""
        return sum(kernel.moved_bytes for kernel in self.kernels)

    def add(self, findings: Iterable[Finding], launch: KernelCount) -> None:
        """Add the findings and counters of one launch."""
        number = self.launches + 1
        for found in findings:
            finding = replace(found, launch=number, grid=launch.grid, block=launch.block)
            (self.warnings if finding.is_warning else self.findings).append(finding)
        for known in self.kernels:
            if known.configuration == launch.configuration:
                known.add(launch)
                return
        self.kernels.append(launch)

    def __repr__(self) -> str:
        return f"checked run: {self._numbers}; print it for its counters"

    @property
    def _numbers(self) -> str:
        return f"{_number(self.launches, 'launch', 'es')}, {_number(len(self.findings), 'finding')}"

    @property
    def summary(self) -> str:
        """Numbers of launches, of findings, and of warnings if there are any."""
        warnings = f", {_number(len(self.warnings), 'warning')}" if self.warnings else ""
        return f"{self._numbers}{warnings}"

    def __str__(self) -> str:
        counted = [kernel for kernel in self.kernels if kernel.counted]
        parts = [line for kernel in counted for line in (*_described(kernel), "")]
        for finding in self.findings + self.warnings:
            about = [*self._quoted(finding), *filter(None, [finding.launched])]
            parts += [f"  {finding}", *[f"    {line}" for line in about]]
        parts += [f"  {line}" for schedule in self.schedules for line in str(schedule).splitlines()]
        return "\n".join([*parts, self.summary])

    def _quoted(self, finding: Finding) -> list[str]:
        """The source lines of a finding, with their numbers."""
        files = {
            path.name: path
            for count in self.kernels
            if count.launched and count.kernel == finding.kernel
            for path in count.launched.source.modified
        }
        found: dict[str, None] = {}
        for place in (finding.place, finding.other):
            name, _, number = place.partition(" from ")[0].rpartition(":")
            if name in files and number.isdigit():
                line = files[name].read_text(encoding="utf-8").splitlines()[int(number) - 1]
                found[f"{number} | {line.strip()}"] = None
        return list(found)


def _number(n: int, noun: str, plural: str = "s") -> str:
    return f"{n:,} {noun}{'' if n == 1 else plural}"


LAUNCH = 1e-6  # seconds; a GPU takes longer to start a kernel
HEAD = ("line", "what", "requests", "lanes", "sectors/request", "bank ways", "FLOPs")


def _described(kernel: KernelCount) -> list[str]:
    """Counters of one kernel, as lines of text."""
    launched = f"{kernel.kernel}: grid {sizes(kernel.grid)}, block {sizes(kernel.block)}"
    launched += f", {kernel.shared:,} bytes of shared memory" if kernel.shared else ""
    counted = f"{_number(kernel.times, 'launch', 'es')}, "
    counted += f"{kernel.counted:,} of {_number(kernel.blocks, 'block')} counted"
    bytes_once = f"{kernel.read_bytes:,} bytes read and {kernel.written_bytes:,} written"
    flops = kernel.flops
    work = "FLOPs not counted: that takes objdump and addr2line, and an x86-64 processor"
    if flops is not None:
        per_byte = f", {flops / kernel.moved_bytes:.2f} per byte moved" if kernel.moved_bytes else ""
        work = f"{_number(flops, 'FLOP')}{per_byte}"
    parts = [
        launched,
        f"  {counted}" + (" (the others ask for too much without a barrier)" if kernel.cut else ""),
        f"  {bytes_once} by all blocks, each byte once",
        f"  counted blocks: {kernel.moved_bytes:,} bytes moved; {work}",
    ]
    bounds = bounds_of(kernel)
    if bounds and all(b.seconds < LAUNCH for b in bounds):
        least = "less than 1 µs; starting a kernel takes longer"
    else:
        least = ", ".join(f"{b.card.name} {_time(b.seconds)} ({b.limit})" for b in bounds)
    parts.append(f"  a launch takes at least (a model, not a measurement): {least}")
    rows = [(natural(line.place), _row(line)) for line in lines_of([kernel])]
    for w in work_of([kernel]) or ():
        rows.append((natural(w.place), (w.place, "arithmetic", "", "", "", "", f"{w.flops:,}")))
    return parts + [
        f"  {line}" for line in _table(HEAD, [row for _, row in sorted(rows, key=lambda r: r[0])])
    ]


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def _row(line: LineCount) -> tuple[str, ...]:
    is_shared = line.space == "shared"
    return (
        line.place,
        f"{line.space} {line.way} {line.size} B",
        f"{line.requests:,}",
        f"{line.active_lanes:.1f}",
        f"{line.sectors_per_request:.2f}  ({line.efficiency:.0%} used)" if not is_shared else "",
        f"{line.bank_conflict_ways:.2f}" if is_shared else "",
        "",
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
