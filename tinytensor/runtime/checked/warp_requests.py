"""Warp requests of a checked run: the address of each lane, by source line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinytensor.runtime.checked.source_lines import places_of


@dataclass(frozen=True, slots=True)
class Request:
    """One memory request of a warp.

    Attributes:
        place: file:line, as in `LineCount`.
        space: "global" or "shared".
        way: "load", "store" or "atomic".
        size: bytes per lane.
        block: index of the block, in execution order.
        warp: index of the warp in the block.
        addresses: address of each of 32 lanes; None for inactive lanes.
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
        """Indices of the 32-byte sectors that the request accesses."""
        ends = [(a, a + self.size - 1) for a in self.addresses if a is not None]
        return {sector for first, last in ends for sector in range(first // 32, last // 32 + 1)}


def read_requests(text: str, library: Path) -> list[Request]:
    """Parse the requests that the core printed, sorted by line, then by time."""
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
