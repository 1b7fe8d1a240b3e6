"""Findings: defects of a checked kernel, with source line, block and thread."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

from tinytensor.dtypes import DType
from tinytensor.emulator.check.source_lines import Code, places_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of a kernel, at one source line.

    Attributes:
        kind: kind of defect; the docstring of `tt.cuda.check` lists them.
        kernel: the instance.
        place: file:line of the access, "" if unknown; a line of a header comes with that of the file which
            called it.
        other: file:line of the conflicting access; "" if there is none.
        text: details, with block and thread.
        count: number of occurrences.
        at: number of recorded events up to the first occurrence, itself included.
        is_warning: whether it may be no defect: no result depends on a race, since threads write the same
            value or an atomic operation follows that compares what was read; or C++ leaves it undefined.
        stopped: whether the launch was stopped there: no thread went on.
        launch: which launch of the check, from 1; 0 if unknown.
        grid, block: sizes of the launch; () if unknown.
        caller: file:line of the Python code that led to it, "" if unknown.
    """

    kind: str
    kernel: str
    place: str
    other: str
    text: str
    count: int = 1
    at: int = 0
    is_warning: bool = False
    stopped: bool = False
    launch: int = 0
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    caller: str = ""

    @property
    def launched(self) -> str:
        """Description of the launch; "" if it is not known."""
        if not self.launch:
            return ""
        at = f", called at {self.caller}" if self.caller else ""
        return (
            f"launch {self.launch:,}: {self.kernel}, grid {sizes(self.grid)}, block {sizes(self.block)}{at}"
        )

    def __str__(self) -> str:
        at = f"{self.place} and {self.other}" if self.other not in ("", self.place) else self.place
        times = f" ({self.count:,} times)" if self.count > 1 else ""
        return f"{self.kind} at {at}: {self.text}{times}" if at else f"{self.kind}: {self.text}{times}"


def sizes(of: tuple[int, ...]) -> str:
    """A grid or block as text, its one size if the others are 1."""
    return str(of[0]) if of[1:] == (1, 1) else str(of)


@dataclass(frozen=True, slots=True)
class Named:
    """A pointer argument.

    Attributes:
        name: name of the parameter.
        offset: bytes from the start of its buffer.
        dtype, shape: of the tensor; None if the argument is only an address, () if it is not contiguous.
    """

    name: str
    offset: int
    dtype: DType | None = None
    shape: tuple[int, ...] = ()


MOST_PAIRS = 4  # of lines with races on one variable that are told one by one
_A_VARIABLE = re.compile(r"`[^`]*`")
_A_BUFFER = re.compile(r"byte (-?\d+) of a buffer|\ba buffer \+ (\d+) bytes")


def read_findings(text: str, kernel: str, library: Path, names: dict[int, Named]) -> list[Finding]:
    """Parse the findings that the core printed; `names`: pointer arguments by buffer address."""
    rows = [row.split("\t", 11) for row in text.splitlines()]
    places = places_of(library, {code for row in rows for code in (_code(row, 5), _code(row, 8))})
    found = []
    for row in rows:
        name = names.get(int(row[4], 16))
        words = row[11] if name is None else _A_BUFFER.sub(partial(_renamed, name), row[11], count=1)
        place, other = places[_code(row, 5)], places[_code(row, 8)]
        is_warning, count, at = row[1] == "1", int(row[2]), int(row[3])
        found.append(Finding(row[0], kernel, place, other, words, count, at, is_warning))
    return _merged(found)


def _merged(findings: list[Finding]) -> list[Finding]:
    """One finding for each pair of lines; one for all pairs of a variable if an unrolled loop has many."""
    by_pair: dict[tuple[str, str, str, str], Finding] = {}
    of_variable: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        name = _A_VARIABLE.search(finding.text)
        variable = name[0] if name else ""
        key = finding.kind, variable, finding.place, finding.other
        if key in by_pair:
            by_pair[key] = _sum(by_pair[key], finding)
        else:
            by_pair[key] = finding
    for (kind, variable, _, _), finding in by_pair.items():
        of_variable.setdefault((kind, variable), []).append(finding)
    many = {key: group for key, group in of_variable.items() if key[1] and len(group) > MOST_PAIRS}
    merged = [f for (kind, variable, _, _), f in by_pair.items() if (kind, variable) not in many]
    for group in many.values():
        places = sorted({place for f in group for place in (f.place, f.other)}, key=_line)
        text = f"{group[0].text}; and {len(group) - 1} more pairs of lines from {places[0]} to {places[-1]}"
        merged.append(replace(reduce(_sum, group), text=text))
    return sorted(merged, key=lambda finding: finding.at)


def _sum(one: Finding, other: Finding) -> Finding:
    return replace(one, count=one.count + other.count, at=min(one.at, other.at))


def _line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line) if line.isdigit() else 0


def _code(row: Sequence[str], at: int) -> Code:
    return row[at], row[at + 1], row[at + 2]


def _renamed(named: Named, match: re.Match[str]) -> str:
    if match[1]:
        return f"byte {int(match[1]) - named.offset} of `{named.name}`, a buffer"
    return f"`{named.name}` + {int(match[2]) - named.offset} bytes"


# How a launch can end early, by the message of the core.
_FAILURES = (
    ("divergent barrier", "divergent barrier:"),
    ("deadlock", "deadlock:"),
    ("grid barrier", "grid.sync() at"),
    ("divergent warp operation", "lanes of one warp meet in different operations"),
    ("divergent warp operation", "needs all 32 lanes"),
    ("wrong mask", "which leaves it out"),
    ("misaligned access", "misaligned address in ldmatrix"),
    ("failed assertion", "assertion `"),
    ("endless wait", "endless wait"),
    ("abort", "abort() in"),
    ("trap", "__trap()"),
    ("division by zero", "integer division by zero"),
    ("out of bounds", "illegal memory access"),
)
_AT = re.compile(r"\bat ([^\s:]+:\d+)")


def read_failure(why: str, kernel: str, place: str) -> Finding:
    """Parse the message of a failed launch; `place`: of the instruction, if a signal ended it."""
    kind = next((kind for kind, words in _FAILURES if words in why), "launch failed")
    places = [*_AT.findall(why), "", ""]
    return Finding(kind, kernel, places[0] or place, places[1], why)
