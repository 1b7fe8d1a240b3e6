"""Best-fit packing of sequences of different lengths into rows of one length."""

from bisect import bisect_left, insort
from collections.abc import Sequence

from tinytensor.errors import ArgumentError


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Pack sequences into rows: the longest first, each into the row with the least room that it fits into.

    The number of rows is at most 11/9 of the least possible, and one more.

    Source: best-fit decreasing bin packing, Johnson et al. 1974; of documents: Ding et al. 2024,
        arXiv:2404.10830.

    Example:
        >>> best_fit([3, 5, 2, 4], size=6)
        [[1], [3, 2], [0]]
    """
    if max(lengths, default=0) > size:
        raise ArgumentError(
            f"best_fit: a sequence of {max(lengths)} in rows of {size}",
            why="a sequence lies in one row",
            fix="leave it out, cut it, or use longer rows",
        )
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # room and number of each row, sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        place = bisect_left(rooms, (lengths[i], -1))
        room, row = rooms.pop(place) if place < len(rooms) else (size, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(i)
        insort(rooms, (room - lengths[i], row))
    return rows
