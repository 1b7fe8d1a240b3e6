"""Fine-tuning examples: train/validation split, length-bucketed batches, padding, packing into rows."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from gpt.data.batches import Ints
from gpt.tokenizers.chat_template import IGNORED
from tinytensor.errors import ArgumentError

T = TypeVar("T")


def split(items: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Randomly split items into a training and a held-out set.

    Args:
        items: at least two.
        fraction: held-out share; each set has at least one item.
        seed: random seed of the split.
    """
    if len(items) < 2:
        raise ArgumentError(
            f"finetune: {len(items)} examples",
            why="a part of them is held out for evaluation",
            fix="give more examples",
        )
    count = min(max(round(fraction * len(items)), 1), len(items) - 1)
    held = set(shuffled(len(items), seed, 0)[:count].tolist())
    return [x for i, x in enumerate(items) if i not in held], [items[i] for i in sorted(held)]


def shuffled(count: int, seed: int, number: int) -> Ints:
    """Permutation of 0 … count - 1 keyed by (seed, number); raw Philox bits are stable across NumPys."""
    bits = np.random.Philox(key=np.array([seed, number], np.uint64)).random_raw(count)
    return np.argsort(bits, kind="stable").astype(np.int64)


class LikeLengths:
    """Length-bucketed batches of example indices, for little padding. An epoch has every example once.

    Batch k is a function of k alone: any batch can be recomputed.

    Example:
        >>> batches = LikeLengths([5, 1, 5, 1], batch_size=2, seed=0)
        >>> sorted(sorted(batches.batch(k).tolist()) for k in range(2))
        [[0, 2], [1, 3]]
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self.per_epoch = -(-len(lengths) // batch_size)

    def batch(self, step: int) -> Ints:
        """Indices of the examples in a batch, (B,)."""
        epoch, place = divmod(step, self.per_epoch)
        order = shuffled(len(self.lengths), self.seed, 2 * epoch)
        by_length = order[np.argsort(self.lengths[order], kind="stable")]  # ties are shuffled in each epoch
        first = int(shuffled(self.per_epoch, self.seed, 2 * epoch + 1)[place]) * self.batch_size
        return by_length[first : first + self.batch_size]


def padded(rows: Sequence[Ints | Sequence[int]], fill: int) -> Ints:
    """Rows of different lengths, right-padded to one array (B, longest)."""
    whole = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for row, values in zip(whole, rows, strict=True):
        row[: len(values)] = values
    return whole


def completion(prompt: Sequence[int], answer: Sequence[int], *, masked: bool = True) -> tuple[Ints, Ints]:
    """Inputs and targets of a prompt and its answer, (T,) each: a target is the token after its input.

    Example:
        >>> [x.tolist() for x in completion([1, 2, 3], [4, 5])]
        [[1, 2, 3, 4], [-100, -100, 4, 5]]
    """
    ids = np.array([*prompt, *answer], np.int64)
    targets = ids[1:].copy()
    if masked:
        targets[: len(prompt) - 1] = IGNORED
    return ids[:-1], targets


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
