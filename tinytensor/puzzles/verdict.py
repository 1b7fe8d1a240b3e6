"""Verdict of the judge: wrong elements, findings, costs, the score; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.check.report import CheckReport
from tinytensor.puzzles.problem import Limits

# What a learner may look at, for each reason why a file does not solve a puzzle.
ADVICE = {
    "uninitialized": "no thread wrote this element: are there enough blocks and threads, "
    "and is the index right?",
    "out of bounds": "a thread without an element must not read or write: if (i < n) …",
    "misaligned access": "16 bytes at once need an address that is a multiple of 16",
    "uninitialized shared read": "write s first, for each thread, also at the end of x; then __syncthreads()",
    "uninitialized global read": "memory holds no zeros at first: write it before you read it",
    "shared race": "put __syncthreads() between the two lines; in a loop, also before the next round writes",
    "global race": "two threads use one element, and one writes: make their indices differ, or use atomicAdd",
    "missing fence": "the thread that reads the flag needs a fence, too: __threadfence() between the atomic "
    "operation and what it reads then",
    "divergent barrier": "all threads of a block must reach __syncthreads(): move it out of the if",
    "divergent warp operation": "all lanes of the mask must reach the same shuffle: move it out of the if",
    "wrong mask": "the mask has one bit for each lane that takes part",
    "deadlock": "some threads wait for others, which never come",
    "division by zero": "an integer is divided by 0: look at the sizes of this run",
    "changed input": "write results into the outputs, and work in __shared__ or scratch memory",
    "time limit": "does a loop not end, or does the launch have far more threads than elements?",
    "traffic": "lines with less than 100% used move bytes for nothing: neighboring threads should use "
    "neighboring elements; and read nothing twice",
    "ways": "in lines with bank ways above 1, threads of a warp use one bank: let their indices differ by 1",
    "lanes": "in lines with few lanes, most threads of a warp rest: let whole warps work, or none of a warp",
    "requests": "the table counts the requests of each line: let one request of a warp serve more lanes, or "
    "load 16 bytes at once",
}
MOST = 3  # wrong elements and findings that the text shows


@dataclass(frozen=True)
class Wrong:
    """The first wrong element of an output in one run, of a case in an order of threads; `layout`: of the
    tensors whose strides the kernel takes; `count` of `size` elements are wrong; `initialized`: it holds more
    than what was in memory before.
    """

    case: str
    layout: str
    order: str
    output: str
    index: tuple[int, ...]
    expected: float
    got: float
    count: int
    size: int
    initialized: bool = True

    def __str__(self) -> str:
        where = f"{self.output}[{', '.join(map(str, self.index))}]"
        run = ", ".join(
            [self.case, *[w for w in (self.layout, self.order) if w not in ("packed", "forwards")]]
        )
        got = f"= {self.got:.7g}" if self.initialized else "is uninitialized memory"
        return (
            f"{where} {got}, expected {self.expected:.7g} "
            f"({self.count:,} of {self.size:,} elements differ; {run})"
        )


@dataclass(frozen=True)
class Cost:
    """Costs of the measured case: counts, the same on every machine.

    Attributes:
        case: sizes and dtype.
        floor, moved: the least bytes of global memory, and those that were moved, 32 for each sector.
        requests: requests of warps, global and shared; lanes: active lanes of all these.
        wavefronts, ideal: passes of shared memory, and without bank conflicts.
        most_requests: limit of `requests`; None: none.
    """

    case: str
    floor: int
    moved: int
    requests: int
    lanes: int
    wavefronts: int
    ideal: int
    most_requests: int | None

    @property
    def traffic(self) -> float:
        """Moved bytes as a multiple of the floor."""
        return self.moved / self.floor if self.floor else 1.0

    @property
    def bank_ways(self) -> float:
        """Mean bank-conflict ways; 1 without conflicts, or without shared memory."""
        return self.wavefronts / self.ideal if self.ideal else 1.0

    @property
    def active_lanes(self) -> float:
        """Mean active lanes of a request, of 32."""
        return self.lanes / self.requests if self.requests else 32.0

    @property
    def score(self) -> int:
        """100 · floor / moved / ways. Lanes have no part in it: one that writes for all is no fault."""
        return round(100 / max(self.traffic, 1.0) / self.bank_ways)

    def missed(self, limits: Limits) -> list[str]:
        """Names of the limits that it misses, as in `Limits`."""
        most = {"traffic": self.traffic, "ways": self.bank_ways}
        missed = [name for name, have in most.items() if have > (getattr(limits, name) or have) + 5e-3]
        if limits.lanes is not None and self.active_lanes < limits.lanes:
            missed.append("lanes")
        if self.most_requests is not None and self.requests > self.most_requests:
            missed.append("requests")
        return missed


@dataclass
class Verdict:
    """Judgment of one program.

    Attributes:
        runs: number of runs that were compared; not those of which the outputs have no elements.
        wrong: the first wrong element of each run that has one.
        findings: defects that the checker found, each once.
        missing: words that the puzzle needs, and the source lacks.
        cost: of the measured case, whose counters by line `report` has; None if something before is wrong.
        file, source: name and text of the file, to quote lines.
        counted: whether there is a cost; else the score is 100 or 0.
        recorded: report of the run to replay, if the judge records.
    """

    title: str
    limits: Limits
    runs: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    cost: Cost | None = None
    report: CheckReport | None = None
    file: str = ""
    source: str = ""
    counted: bool = True
    recorded: CheckReport | None = None

    @property
    def reasons(self) -> list[str]:
        """Why it is not solved: "wrong", the kinds of findings, "needs …", missed limits; [] if it is."""
        found = ["wrong"] if self.wrong else []
        found += dict.fromkeys(f.kind for f in self.findings)
        found += [f"needs {word}" for word in self.missing]
        return found + (self.cost.missed(self.limits) if self.cost else [])

    @property
    def solved(self) -> bool:
        """Whether it is right, without findings, and within the limits."""
        return not self.reasons

    @property
    def score(self) -> int:
        """Score of the cost, 0 to 100; 0 if it is not right."""
        return self.cost.score if self.cost else 100 * (self.solved and not self.counted)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add findings at places that are not known yet."""
        known = {(f.kind, f.place, f.other) for f in self.findings}
        for f in findings:
            if (f.kind, f.place, f.other) not in known:
                known.add((f.kind, f.place, f.other))
                self.findings.append(f)

    def find(self, kind: str, function: str, text: str, place: str = "") -> None:
        """Add what is wrong with a function."""
        self.add([Finding(kind, function, place, "", text)])

    def __str__(self) -> str:
        said = f"{self.title}: " + (f"solved, score {self.score}" if self.solved else "not solved")
        parts = [said, f"  runs      {self.runs}, of which {len(self.wrong)} wrong"]
        if ends := [f"{f.kind} at {f.place}" if f.place else f.kind for f in self.findings if f.stopped]:
            parts.append(f"  stopped   a launch, by {ends[0]}: nothing later was written")
        parts += [f"  wrong     {w}" for w in self.wrong[:MOST]]
        if len(self.wrong) > MOST:
            parts.append(f"            and {len(self.wrong) - MOST} more")
        for f in self.findings[:MOST]:
            parts += [f"  finding   {f}".replace("\n", "\n            "), *self._quoted(f)]
        if len(self.findings) > MOST:
            parts.append(f"            and {len(self.findings) - MOST} more")
        parts += [
            f"  missing   the kernels do not use {word}, which this puzzle is about" for word in self.missing
        ]
        parts += self._costs(self.cost) if self.cost else []
        parts += [f"  advice    {reason}: {ADVICE[reason]}" for reason in self._causes if reason in ADVICE]
        table = str(self.report).splitlines()[:-1] if self.cost and self.report else []
        return "\n".join([*parts, *[f"  {line}".rstrip() for line in table]])

    def _quoted(self, finding: Finding) -> list[str]:
        """The lines of a finding, with their numbers."""
        lines, found = self.source.splitlines(), dict.fromkeys((finding.place, finding.other))
        numbers = [number for name, _, number in (p.partition(":") for p in found) if name == self.file]
        return [
            f"            {number} | {lines[int(number) - 1].strip()}"
            for number in numbers
            if number.isdigit() and int(number) <= len(lines)
        ]

    @property
    def _causes(self) -> list[str]:
        is_empty = not self.findings and any(not w.initialized for w in self.wrong)
        late = {f.kind for f in self.findings if "no fence follows" in f.text}
        reasons = ["missing fence" if reason in late else reason for reason in self.reasons]
        return ["uninitialized"] * is_empty + reasons

    def _costs(self, cost: Cost) -> list[str]:
        limits, missed = self.limits, cost.missed(self.limits)

        def row(name: str, said: str, limit: object, form: str = "at most {}") -> str:
            asked = f" ({form.format(limit)}" + (": MISSED)" if name in missed else ")")
            return f"  {name:<9} {said}" + ("" if limit is None else asked)

        moved = f"{cost.traffic:.2f} of the least: {cost.moved:,} of {cost.floor:,} bytes; {cost.case}"
        rows = [
            row("traffic", moved, limits.traffic),
            row("ways", f"{cost.bank_ways:.2f} of bank conflicts", limits.ways),
            row("lanes", f"{cost.active_lanes:.1f} of 32 active", limits.lanes, "at least {}"),
            row("requests", f"{cost.requests:,} of warps", cost.most_requests),
        ]
        return [
            *rows,
            f"  score     {self.score}: 100 / {max(cost.traffic, 1):.2f} traffic / {cost.bank_ways:.2f} ways",
        ]
