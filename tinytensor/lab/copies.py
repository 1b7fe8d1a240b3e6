"""Traces copies with op, source line, bytes and reason: `with lab.trace_copies() as log`.

The engine reports each copy (`tinytensor/dispatch/copies.py`); this module collects the reports.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinytensor.dispatch import copies
from tinytensor.errors import ArgumentError
from tinytensor.events import Observer, observing
from tinytensor.lab.report import Report, Shown, Table, block, check_counts
from tinytensor.runtime.user_lines import user_lines


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy of a kind of `copies.KINDS`, by an op at a line of user code; `why` may have its strides."""

    op: str
    kind: str
    nbytes: int
    why: str
    file: str
    line: int

    @property
    def where(self) -> str:
        """File name and line, without the directory."""
        return f"{os.path.basename(self.file)}:{self.line}"


@dataclass(repr=False, eq=False)
class CopyLog(Shown, Observer):
    """Log of the copies made in a block of code, by all threads, in chronological order."""

    entries: list[Copied] = field(default_factory=list)

    def copy(self, op: str, kind: str, nbytes: int, why: str) -> None:
        """Log a copy: an event of the engine."""
        file, line = (user_lines() or (("?", 0),))[-1]
        self.entries.append(Copied(op, kind, nbytes, why, file, line))

    @property
    def nbytes(self) -> int:
        """Total bytes of all copies."""
        return sum(entry.nbytes for entry in self.entries)

    def of(self, kind: str) -> list[Copied]:
        """The copies of one kind, a word of `copies.KINDS`; ArgumentError for another one."""
        if kind not in copies.KINDS:
            raise ArgumentError(
                f"of: there is no kind {kind!r} of copies",
                why=f"the kinds are {', '.join(copies.KINDS)}",
                fix='log.of("layout") returns those that a layout forces',
            )
        return [entry for entry in self.entries if entry.kind == kind]

    def table(self, rows: int = 30) -> Table:
        """The largest copies in `rows` rows, and the sum of the others; equal ones of a line share a row."""
        check_counts("table", rows=rows)
        count = Counter(self.entries)
        largest = sorted(count, key=lambda entry: -count[entry] * entry.nbytes)
        lines: list[tuple[str | int, ...]] = [
            (count[e] * e.nbytes, count[e], e.op, e.kind, e.where, e.why) for e in largest[:rows]
        ]
        others = [e for e in largest[rows:] for _ in range(count[e])]
        if others:
            lines.append((sum(e.nbytes for e in others), len(others), "others", "", "", ""))
        lines.append((self.nbytes, len(self.entries), "in all", "", "", ""))
        return Table(("bytes", "times", "op", "kind", "line", "why"), "rrlllw", lines)

    def report(self) -> Report:
        """The table, for `lab.page`."""
        return Report("Copies of a block of code", (self.table(),))


@block
def trace_copies() -> Iterator[CopyLog]:
    """Log every copy that the code inside makes, implicit and explicit.

    A copy is a result or a temporary that duplicates elements of a tensor in another order, memory or dtype.
    Newly computed values do not count. `docs/copies.md` lists the kinds and their causes. Copies of all
    threads are logged; when no log is open, the overhead of a copy is one check.

    Example:
        >>> from tinytensor import lab
        >>> x = tt.zeros(2, 3)
        >>> with lab.trace_copies() as log:
        ...     y, z = x.T.reshape(6), x.T.reshape(3, 2)
        >>> [(entry.op, entry.kind, entry.nbytes) for entry in log.entries]
        [('reshape', 'layout', 24)]
        >>> log.entries[0].why
        'no view has the shape (6,): x is transposed: shape (3, 2), strides (1, 3)'
    """
    log = CopyLog()
    with observing(log):
        yield log
