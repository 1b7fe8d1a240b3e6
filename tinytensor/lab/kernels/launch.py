"""A kernel that was launched under checks: source, counts, registers, PTX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import NamedTuple

from tinytensor.emulator.check.counts import KernelCount, LineCount, LineWork, lines_of, work_of
from tinytensor.emulator.check.schedules import Schedule
from tinytensor.emulator.run.runtime import EmulatedKernel
from tinytensor.errors import ArgumentError, DeviceError, KernelError
from tinytensor.lab.kernels.source import Piece, caller_of, pieces_of, split_place
from tinytensor.lab.report import Report, Shown
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import LIMITS, Occupancy, Resources, occupancy
from tinytensor.runtime.signature import Signature, spelled

ARCHITECTURE = 90  # default architecture for registers and PTX


class Note(NamedTuple):
    """A remark at a source line, with a number of which the share `excess` is avoidable."""

    about: str
    number: str = ""
    after: str = ""
    excess: float = 0.0

    def __str__(self) -> str:
        return self.about + self.number + self.after


@dataclass(repr=False)
class KernelLaunch(Shown):
    """The launches of a kernel with one configuration.

    Attributes:
        count: grid, block, counters of the checked run, and its recording.
        kernel: the instance.
        schedules: few switches between threads that change its result.
        together: the instances of the same file that were launched: compiled at once, since starting a
            compiler costs more than an instance.
    """

    count: KernelCount
    kernel: EmulatedKernel
    schedules: Sequence[Schedule] = ()
    together: list[str] = field(default_factory=list)

    @property
    def instance(self) -> str:
        """Name with template arguments."""
        return self.count.kernel

    @property
    def file(self) -> Path:
        """The .cu file."""
        return self.kernel.source.path

    @cached_property
    def signature(self) -> Signature:
        """Declaration."""
        return self.kernel.source.signature(self.instance.partition("<")[0])

    @cached_property
    def template(self) -> dict[str, str]:
        """Template parameter → argument, in C++ spelling."""
        given = [spelled(a) for a in self.kernel.arguments]
        names = [p.name or f"argument {i}" for i, p in enumerate(self.signature.template)]
        defaults = [p.default or "" for p in self.signature.template]
        return dict(zip(names, [*given, *defaults[len(given) :]], strict=True))

    @cached_property
    def lines(self) -> list[LineCount]:
        """Memory accesses of each source line: sectors per request, bank conflicts, active lanes."""
        return lines_of([self.count])

    @cached_property
    def work(self) -> list[LineWork]:
        """Floating-point operations of each source line; empty if they cannot be counted."""
        return work_of([self.count]) or []

    @cached_property
    def source(self) -> list[Piece]:
        """Source chunks: the kernel, functors, and header functions in which it accesses memory."""
        places = [line.place for line in self.lines] + [line.place for line in self.work]
        if self.count.recording:
            places += dict.fromkeys([event.place for event in self.count.recording.events])
        return pieces_of(self.file, self.signature.name, self.template.values(), places)

    def ptx(self, architecture: int = ARCHITECTURE) -> str:
        """PTX of this kernel, compiled by NVRTC for an architecture: compute capability times ten."""
        compiled = self._compiled(f"compute_{architecture}")
        text = compiled.image.decode().rstrip("\0")
        symbol = re.escape(compiled.symbols[self.instance])
        target = re.search(r"^\.version.*?^\.address_size \d+$", text, re.DOTALL | re.MULTILINE)
        entry = re.search(rf"^[^\n]*\.entry {symbol}\(.*?^\}}$", text, re.DOTALL | re.MULTILINE)
        return "\n\n".join([found[0] for found in (target, entry) if found])

    def _compiled(self, target: str) -> nvrtc.Compiled:
        return nvrtc.build(self.file, self.together or [self.instance], target)

    def resources(self, architecture: int = ARCHITECTURE) -> Resources:
        """Registers, shared memory, stack and spills; architecture as for `ptx`."""
        return self._compiled(f"sm_{architecture}").resources[self.instance]

    def occupancy(self, architecture: int = ARCHITECTURE) -> Occupancy:
        """Resident blocks per multiprocessor; architecture as for `ptx`.

        Source: NVIDIA's cuda_occupancy.h, through `runtime/cuda/occupancy.py`.
        """
        if architecture not in LIMITS:
            raise ArgumentError(
                f"occupancy: architecture {architecture}",
                why=f"limits are known for {', '.join(map(str, LIMITS))}",
                fix=f"occupancy({ARCHITECTURE})",
            )
        used = self.resources(architecture)
        shared = used.shared + self.count.shared
        return occupancy(architecture, prod(self.count.block), used.registers, shared)

    def text(self, architecture: int = ARCHITECTURE) -> str:
        """Facts, and source annotated with counts; arguments as for `facts`."""
        return "\n".join([*self.facts(architecture), "", *self._listing()])

    def report(self) -> Report:
        """The text, for `lab.page`."""
        return Report(self.instance, (self.text(),))

    def facts(self, architecture: int = ARCHITECTURE) -> list[str]:
        """Launch, template arguments, registers and occupancy, as lines; architecture as for `ptx`."""
        where, count = self.source[0] if self.source else None, self.count
        lines = f":{where.first}–{where.last}" if where else ""
        template = ", ".join(f"{name} = {value}" for name, value in self.template.items())
        return [
            self.instance,
            f"  source    {where.file.name if where else self.file.name}{lines}"
            + (f", instantiated by {self.file.name}" if where and where.file != self.file else ""),
            f"  launch    grid {_sizes(count.grid)}, block {_sizes(count.block)}, {count.shared:,} bytes of "
            f"dynamic shared memory, {count.times} time{'s' * (count.times != 1)}",
            *([f"  template  {template}"] if template else []),
            *[f"  {text}" for text in self._needs(architecture)],
            f"  traffic   {'together ' * (count.times > 1)}{count.read_bytes:,} bytes read and "
            f"{count.written_bytes:,} written, each once; {count.counted} of {count.blocks} "
            f"block{'s' * (count.blocks != 1)} counted",
        ]

    def _needs(self, architecture: int) -> list[str]:
        try:
            used, fits = self.resources(architecture), self.occupancy(architecture)
        except (DeviceError, KernelError) as error:
            return [f"sm_{architecture}     {str(error).splitlines()[0]}"]
        return [
            f"sm_{architecture}     {used.registers} registers, {used.shared:,} bytes of static shared "
            f"memory, {used.stack} bytes of stack, {used.spill_stores + used.spill_loads} bytes of spills",
            f"          occupancy {fits.share:.0%}: {fits.blocks} blocks on a multiprocessor, limited by "
            f"{fits.limiter} (formula: NVIDIA's cuda_occupancy.h)",
        ]

    def notes(self, file: str, number: int) -> list[Note]:
        """Accesses and FLOPs at a source line; those in functions of headers also at their call."""
        here = (file, number)
        kinds: dict[tuple[str, str, int], list[LineCount]] = {}
        for line in self.lines:
            if here in (split_place(line.place), caller_of(line.place)):
                kinds.setdefault((line.space, line.way, line.size), []).append(line)
        flops = sum(x.flops for x in self.work if here in (split_place(x.place), caller_of(x.place)))
        notes = [_note(*kind, lines) for kind, lines in kinds.items()]
        return [*notes, *[Note(f"{flops:,} FLOPs")] * bool(flops)]

    def _listing(self) -> list[str]:
        text = []
        for piece in self.source:
            text.append(f"{piece.file.name}, {piece.what}")
            for number, line in enumerate(piece.lines, piece.first):
                about = "; ".join(map(str, self.notes(piece.file.name, number)))
                text.append(f"{number:>5} | {line}" + (f"    ← {about}" if about else ""))
            text.append("")
        return text


def _sizes(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if sizes[1:] == (1, 1) else str(sizes)


def _note(space: str, way: str, size: int, lines: Sequence[LineCount]) -> Note:
    """Cost of one kind of access at a line, of all callers together."""
    requests, sectors = sum(x.requests for x in lines), sum(x.sectors for x in lines)
    ideal, used = sum(x.ideal for x in lines), sum(x.bytes for x in lines)
    about = f"{space} {way} {size} B: {requests:,} requests, "
    lanes = f", {sum(x.lanes for x in lines) / requests:.1f} lanes"
    if sectors:
        share, needed = used / (32 * sectors), requests + (used - size * requests) / 32  # 1 for `size` bytes
        excess = 1 - share if sectors > needed else 0.0
        after = f" sectors/request, {share:.0%} used{lanes}"
        return Note(about, f"{sectors / requests:.2f}", after, excess)
    if ideal:
        ways = sum(x.wavefronts for x in lines) / ideal
        return Note(about, f"{ways:.2f}", f" bank ways{lanes}", min((ways - 1) / 4, 1.0))
    return Note(about.removesuffix(", ") + lanes)
