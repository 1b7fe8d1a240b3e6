"""Requests of warps in a checked run, one by one: which lane asked for which address at which line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinytensor.runtime.checked.source_lines import places_of

__all__ = ["Request", "read_requests"]


@dataclass(frozen=True, slots=True)
class Request:
    """What the lanes of one warp asked for together.

    Attributes:
        place: file:line, as in `LineCount`.
        space: "global" or "shared".
        way: "load", "store" or "atomic".
        size: bytes per lane.
        block: number of the block, in the order in which blocks ran.
        warp: of that block.
        addresses: one for each of 32 lanes; None for one that took no part.
    """

    place: str
    space: str
    way: str
    size: int
    block: int
    warp: int
    addresses: tuple[int | None, ...]

    @property
    def sectors(self) -> set[int]:
        """The pieces of 32 bytes that it touches, by their number in memory."""
        ends = [(a, a + self.size - 1) for a in self.addresses if a is not None]
        return {sector for first, last in ends for sector in range(first // 32, last // 32 + 1)}


def read_requests(text: str, library: Path) -> list[Request]:
    """The requests that the core printed, in the order of lines, then of time."""
    rows = [row.split("\t") for row in text.splitlines()]
    places = places_of(library, {(row[3], row[4], row[5]) for row in rows})
    return [
        Request(
            place=places[row[3], row[4], row[5]],
            space=row[0],
            way=row[1],
            size=int(row[2]),
            block=int(row[6]),
            warp=int(row[7]),
            addresses=tuple(int(word, 16) or None for word in row[8:]),
        )
        for row in rows
    ]
