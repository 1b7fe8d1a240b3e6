"""What was written out once more, by whom, on which line, and why? `with lab.trace_copies() as log`.

The engine says so itself (`copies.py`); here it is collected.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tinytensor.dispatch import copies
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import preformatted
from tinytensor.lab.patching import replaced, user_lines

__all__ = ["Copied", "CopyLog", "trace_copies"]

_open = threading.Lock()


@dataclass(frozen=True, slots=True)
class Copied:
    """One copy.

    Attributes:
        op: who made it.
        kind: a word of `copies.KINDS`; "layout" is what `tt.config.strict_layout` refuses.
        nbytes: of the copy.
        why: the reason, with shapes and strides where a layout is one.
        file, line: of the user's call that led to it.
    """

    op: str
    kind: str
    nbytes: int
    why: str
    file: str
    line: int

    @property
    def where(self) -> str:
        """File and line, without the folder."""
        return f"{os.path.basename(self.file)}:{self.line}"


@dataclass(repr=False)
class CopyLog:
    """The copies of a block of code.

    Attributes:
        entries: in the order in which they were made, of all threads.
    """

    entries: list[Copied] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Of all copies."""
        return sum(entry.nbytes for entry in self.entries)

    def of(self, kind: str) -> list[Copied]:
        """The copies of one kind.

        Args:
            kind: one of "asked", "layout", "dtype", "device", "index", "join", "memory".

        Returns:
            Entries in their order.

        Raises:
            ArgumentError: there is no such kind.
        """
        if kind not in copies.KINDS:
            raise ArgumentError(
                f"of: there is no kind {kind!r} of copies",
                why=f"the kinds are {', '.join(copies.KINDS)}",
                fix='log.of("layout") are those that a layout forces',
            )
        return [entry for entry in self.entries if entry.kind == kind]

    def table(self, rows: int = 30) -> str:
        """The copies, the largest first; equal ones of one line of code are one row.

        Args:
            rows: how many; the others are added up.

        Returns:
            Lines of text.

        Raises:
            ArgumentError: rows is below 1.
        """
        if rows < 1:
            raise ArgumentError(
                f"table: rows is {rows}", why="it is a count", fix="for example table(rows=10)"
            )
        count = Counter(self.entries)
        total = {entry: n * entry.nbytes for entry, n in count.items()}
        largest = sorted(count, key=lambda entry: -total[entry])
        lines = [f"{'bytes':>12} {'times':>6} {'op':<22} {'kind':<7} {'line':<24} why"]
        for entry in largest[:rows]:
            lines.append(
                f"{total[entry]:>12,} {count[entry]:>6} {entry.op:<22} {entry.kind:<7} {entry.where:<24} "
                f"{entry.why}"
            )
        others = largest[rows:]
        if others:
            lines.append(f"{sum(total[e] for e in others):>12,} {sum(count[e] for e in others):>6} others")
        lines.append(f"{self.nbytes:>12,} {len(self.entries):>6} in all")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return preformatted(str(self))


@contextmanager
def trace_copies() -> Iterator[CopyLog]:
    """List every copy that the code inside makes: the hidden ones, and those that it asks for.

    A copy is a result or a temporary that holds elements of a tensor once more: in another order, place or
    dtype. New numbers are none. `docs/copies.md` names the kinds and what causes them. Copies of all threads
    are listed; when no log is open, looking for one is all that a copy costs more.

    Returns:
        A context manager that gives a CopyLog, which fills as the code runs.

    Raises:
        ArgumentError: another log is open.

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
    if not _open.acquire(blocking=False):
        raise ArgumentError(
            "trace_copies: another log is open",
            why="it lists the copies of all threads, so a second one would list the same",
            fix="end it first, or read its entries so far",
        )
    log = CopyLog()

    def hear(op: str, kind: str, nbytes: int, why: str) -> None:
        file, line = (user_lines() or (("?", 0),))[-1]
        log.entries.append(Copied(op, kind, nbytes, why, file, line))

    try:
        with replaced([(copies, "listener", hear)]):
            yield log
    finally:
        _open.release()
