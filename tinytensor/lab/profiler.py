"""Which ops take the time of a program on the CPU? `with lab.profile() as p: …; print(p.table())`.

While a profile is open, the implementations of all ops are wrapped by a clock. Outside of one nothing is: the
engine has no hook that would cost time when nobody looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..op import Op, registry

__all__ = ["OpTime", "Profile", "profile"]

IMPLEMENTATIONS = ("cpu", "host", "host_bf16", "many", "ufunc")
_open = threading.Lock()


@dataclass
class OpTime:
    """What one op took.

    Attributes:
        name: of the op; one that ends in `_backward` computes gradients.
        calls: how often its code ran.
        seconds: spent in it, not counting ops that it called.
        nbytes: of the arrays that it was given, results included, each once in a call.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    nbytes: int = 0


@dataclass
class Profile:
    """What was measured.

    Attributes:
        ops: by name.
        seconds: from the beginning of the block to its end, on the thread that opened it.
    """

    ops: dict[str, OpTime] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def in_ops(self) -> float:
        """Seconds in the code of ops; the rest went to the engine and to the program around it."""
        return sum(op.seconds for op in self.ops.values())

    def longest(self) -> list[OpTime]:
        """The ops, the longest first."""
        return sorted(self.ops.values(), key=lambda op: -op.seconds)

    def table(self, rows: int = 20, per: int = 1) -> str:
        """Time, share, calls and memory traffic of the longest ops.

        Args:
            rows: how many ops.
            per: divide by this, the number of steps in the block.

        Returns:
            Lines of text.

        Raises:
            ArgumentError: rows or per is below 1.
        """
        if rows < 1 or per < 1:
            raise ArgumentError(
                f"table: rows is {rows}, per is {per}",
                why="both are counts",
                fix="for example table(rows=10)",
            )
        total = self.seconds or 1.0
        lines = [f"{'op':<34} {'ms':>10} {'share':>6} {'calls':>8} {'us/call':>9} {'GB/s':>6}"]
        longest = self.longest()
        for op in longest[:rows]:
            rate = op.nbytes / op.seconds / 1e9 if op.seconds else 0.0
            lines.append(
                f"{op.name:<34} {op.seconds / per * 1e3:>10.3f} {op.seconds / total:>6.1%} "
                f"{op.calls / per:>8.4g} {op.seconds / op.calls * 1e6:>9.2f} {rate:>6.1f}"
            )
        others = sum(op.seconds for op in longest[rows:])
        outside = self.seconds - self.in_ops
        for name, seconds in (("other ops", others), ("outside of ops", outside), ("whole", self.seconds)):
            lines.append(f"{name:<34} {seconds / per * 1e3:>10.3f} {seconds / total:>6.1%}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


class _Clock:
    """Adds up the time of nested calls on one thread."""

    def __init__(self, found: Profile) -> None:
        self._found = found
        self._inner = [0.0]  # seconds of the calls inside each that is running
        self._thread = threading.get_ident()

    def wrap(self, name: str, code: Callable[..., Any]) -> Callable[..., Any]:
        """The same code, timed."""

        def timed(*args: Any, **params: Any) -> Any:
            if threading.get_ident() != self._thread:
                return code(*args, **params)
            begun = perf_counter()
            self._inner.append(0.0)
            result: Any = False
            try:
                result = code(*args, **params)
            finally:
                took = perf_counter() - begun
                inside = self._inner.pop()
                self._inner[-1] += took
                if result is not False:  # a kernel that left the case to NumPy was not a call
                    op = self._found.ops.setdefault(name, OpTime(name))
                    op.calls += 1
                    op.seconds += took - inside
                    lists = [a for a in args if isinstance(a, list)]
                    seen = {id(a): a for a in chain(args, *lists, (params.get("out"), result))}
                    op.nbytes += sum(a.nbytes for a in seen.values() if isinstance(a, np.ndarray))
            return result

        return timed


@contextmanager
def profile() -> Iterator[Profile]:
    """Measure which ops take the time of the code inside, on the CPU and on the calling thread.

    Returns:
        A context manager that gives a Profile, complete when the block has ended.

    Raises:
        ArgumentError: another profile is open.

    Example:
        >>> from tinytensor import lab
        >>> x = tt.ones(4)
        >>> with lab.profile() as p:
        ...     y = (x + x) * x
        >>> sorted((op.name, op.calls) for op in p.ops.values())
        [('add', 1), ('multiply', 1)]
    """
    if not _open.acquire(blocking=False):
        raise ArgumentError(
            "profile: another profile is open",
            why="both would wrap the same ops",
            fix="end it first; one profile sees everything of its thread",
        )
    found = Profile()
    clock = _Clock(found)
    before: list[tuple[type[Op], str, Any]] = []
    try:
        for name, op in registry.items():
            for attribute in IMPLEMENTATIONS:
                kept = op.__dict__.get(attribute)
                if kept is not None:
                    before.append((op, attribute, kept))
                    setattr(op, attribute, staticmethod(clock.wrap(name, getattr(op, attribute))))
        begun = perf_counter()
        try:
            yield found
        finally:
            found.seconds = perf_counter() - begun
    finally:
        for op, attribute, kept in before:
            setattr(op, attribute, kept)
        _open.release()
