"""Schedules: which thread runs when. Whether a result depends on it, and by which few switches."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tinytensor.emulator.check.recording import Recording

Memory = dict[str, npt.NDArray[np.generic]]  # contents of the buffers, by the name of the parameter
LARGEST = 64 << 20  # bytes of memory that are kept for comparisons
MOST_RUNS = 300  # of one launch, to find few switches
RATES = (4, 16, 64, 2)  # one of so many accesses is a switch
CLOSE = 1e-4  # relative difference of floats that atomic additions in another order may make


@dataclass(frozen=True, slots=True)
class Switch:
    """A thread is interrupted at an access, and another one runs until it waits or ends.

    Attributes:
        block, thread, to: the block, the thread that is interrupted, the one that runs instead: (x, y, z).
        step: which access of the thread it is, from 0.
        place: file:line of the access.
    """

    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    to: tuple[int, int, int]
    step: int
    place: str

    def __str__(self) -> str:
        who = f"thread {self.to} runs before thread {self.thread} of block {self.block} continues"
        return f"at {self.place} {who}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The fewest switches that were found to change a result.

    Attributes:
        kernel: the instance.
        result: what differs, and how.
        switches: in the order in which they are made; without them threads run in ascending order.
        seed: of the random schedule that was reduced.
        recording: of the run with these switches, if the check records.
    """

    kernel: str
    result: str
    switches: tuple[Switch, ...]
    seed: int
    recording: Recording | None = None

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.kernel} depends on the order of threads: {self.result}, if"]
            + [f"  {i}. {switch}" for i, switch in enumerate(self.switches, 1)]
        )


Raw = tuple[int, int, int, int]  # of a switch: numbers of block and thread, step, number of the next thread


@dataclass(slots=True)
class Outcome:
    """Result of one run: contents of the memory, and kinds of findings."""

    memory: Memory
    kinds: frozenset[str]
    made: list[tuple[Raw, str]] = field(default_factory=list)  # switches, with file:line

    def difference(self, other: Outcome) -> str:
        """Difference of another run; "" if there is none."""
        for name, values in self.memory.items():
            theirs = other.memory[name]
            differs = _differs(values, theirs)
            if differs.any():
                at = int(np.flatnonzero(differs)[0])
                return f"{name}[{at}] is {theirs[at]} instead of {values[at]}"
        return next((f"{kind} is found" for kind in sorted(other.kinds - self.kinds)), "")


def _differs(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    return np.asarray(~np.isclose(a, b, rtol=CLOSE, atol=0, equal_nan=True))


def first_difference(
    run: Callable[[int, int], Outcome], replay: Callable[[Sequence[Raw]], Outcome], schedules: int
) -> tuple[str, list[tuple[Raw, str]], int] | None:
    """Look for a schedule with another result than the default one, and reduce it.

    Args:
        run: runs with one of so many accesses as a switch (0: none), and a seed.
        replay: runs with given switches.
        schedules: number of random schedules.

    Returns:
        What differs, the fewest switches with their places, and the seed; None if all results are equal.
    """
    expected = run(0, 0)
    for seed in range(1, schedules + 1):
        found = run(RATES[seed % len(RATES)], seed)
        if expected.difference(found):
            few = reduced(
                [raw for raw, _ in found.made], lambda given: expected.difference(replay(given)) != ""
            )
            last = replay(few)
            text = expected.difference(last) or expected.difference(found)
            return text, last.made, seed
    return None


def reduced(switches: Sequence[Raw], fails: Callable[[Sequence[Raw]], bool]) -> list[Raw]:
    """Fewest switches that still fail: delta debugging, by Zeller and Hildebrandt."""
    left, parts, runs = list(switches), 2, 0
    while len(left) > 1 and parts <= len(left) and runs < MOST_RUNS:
        size = -(-len(left) // parts)
        pieces = [left[i : i + size] for i in range(0, len(left), size)]
        for i, piece in enumerate(pieces):
            others = [s for j, p in enumerate(pieces) if j != i for s in p]
            runs += 2
            if fails(piece):
                left, parts = piece, 2
                break
            if len(pieces) > 2 and fails(others):
                left, parts = others, max(parts - 1, 2)
                break
        else:
            if parts >= len(left):
                break
            parts = min(2 * parts, len(left))
    return left


def copies(buffers: Iterable[tuple[int, int]]) -> dict[int, bytes] | None:
    """The bytes of buffers (address and size), by address; None if they are too many."""
    buffers = list(buffers)
    if sum(nbytes for _, nbytes in buffers) > LARGEST:
        return None
    return {at: ctypes.string_at(at, nbytes) for at, nbytes in buffers}


def restore(kept: dict[int, bytes]) -> None:
    """Write the bytes back."""
    for at, data in kept.items():
        ctypes.memmove(at, data, len(data))


def position(number: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    """(x, y, z) of a block or thread."""
    return number % sizes[0], number // sizes[0] % sizes[1], number // sizes[0] // sizes[1]
