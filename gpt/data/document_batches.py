"""Batches of whole documents: each row begins with a document, and others fill it, by best fit."""

from bisect import bisect_right, insort
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpt.data.batches import Batch, Ints, StepBatches
from gpt.data.examples import shuffled
from gpt.data.token_file import TokenFile, check_range
from tinytensor.errors import ArgumentError

BUFFER = 1000  # pieces among which the best fit is looked for


class _Plan(NamedTuple):
    """Pieces of all rows: row i has the pieces first[i] … first[i + 1] - 1, slices of the tokens."""

    first: Ints
    starts: Ints
    lengths: Ints


class DocumentBatches(StepBatches):
    """Infinite iterator of batches, inputs (B, T) and targets (B, T), of rows that begin with documents.

    A document is a separator and the tokens up to the next one; its tokens see only their own beginning and
    the documents before it in the row. Of 1000 documents in random order, the longest that fits is put into
    the row until none does; then the shortest is cropped to what is left, and the rest of it is lost. A
    document longer than a row is first cut into windows of a row. There is no padding.

    Each epoch has every row once, in a new order.

    Attributes:
        documents: number of documents.
        cropped: share of the tokens that is in no row.

    Memory: 16 bytes for each document, and 8 for each row.
    Source: the data loader of nanochat (best fit with cropping); without cropping Ding et al. 2024,
        arXiv:2404.10830.

    Example:
        >>> tokens = [1, 2, 0, 3, 0, 4, 5, 6]  # 0 separates three documents
        >>> batches = DocumentBatches(np.array(tokens), separator=0, batch_size=1, block_size=4)
        >>> inputs, targets = batches.batch(0)
        >>> int(inputs[0, 0]), batches.documents
        (0, 3)
    """

    def __init__(
        self,
        tokens: TokenFile | npt.NDArray[np.integer],
        separator: int,
        batch_size: int,
        block_size: int,
        *,
        seed: int = 0,
        vocab_size: int | None = None,
    ) -> None:
        self._ids = tokens.ids if isinstance(tokens, TokenFile) else tokens
        self._vocab_size = vocab_size or (tokens.vocab_size if isinstance(tokens, TokenFile) else None)
        self._separator, self.batch_size, self.block_size, self.seed = separator, batch_size, block_size, seed
        starts, lengths, self.documents = _pieces(self._ids, separator, block_size + 1)
        order = shuffled(len(starts), seed, 0)
        self._plan = _packed(starts[order], lengths[order], block_size + 1)
        self.n_rows = len(self._plan.first) - 1
        if not self.n_rows:
            raise ArgumentError(
                f"DocumentBatches: {len(self._ids):,} tokens are too few for block_size={block_size}",
                why=f"a row has {block_size + 1:,} tokens",
                fix="use a smaller block_size, or a longer text",
            )
        self.cropped = 1 - self.n_rows * (block_size + 1) / int(lengths.sum())
        self._orders: dict[int, Ints] = {}

    def batch(self, step: int) -> Batch:
        """Batch of a step, 0, 1, 2, …: inputs and targets, int64 (B, T)."""
        places = [divmod(step * self.batch_size + i, self.n_rows) for i in range(self.batch_size)]
        block = np.stack([self._row(int(self._order(epoch)[place])) for epoch, place in places])  # (B, T + 1)
        check_range(block, self._vocab_size, "the tokens")
        return block[:, :-1].copy(), block[:, 1:].copy()

    def _order(self, epoch: int) -> Ints:
        """Order of the rows in an epoch; kept for the two that a batch may belong to."""
        if epoch not in self._orders:
            if len(self._orders) == 2:
                self._orders.clear()
            self._orders[epoch] = shuffled(self.n_rows, self.seed, epoch + 1)
        return self._orders[epoch]

    def _row(self, number: int) -> Ints:
        """Tokens of a row, (T + 1,)."""
        begin, end = self._plan.first[number], self._plan.first[number + 1]
        pieces = zip(self._plan.starts[begin:end], self._plan.lengths[begin:end], strict=True)
        places = np.concatenate([np.arange(start, start + length) for start, length in pieces])
        row: Ints = self._ids[np.maximum(places, 0)].astype(np.int64)
        row[places < 0] = self._separator  # in front of the first document
        return row

    def arguments(self) -> dict[str, int | str]:
        """What the batches depend on."""
        return {
            "mode": "documents",
            "seed": self.seed,
            "batch_size": self.batch_size,
            "block_size": self.block_size,
            "tokens": len(self._ids),
        }


def _pieces(ids: npt.NDArray[np.integer], separator: int, size: int) -> tuple[Ints, Ints, int]:
    """Start and length of each document with its separator, long ones cut into windows of `size`; and the
    number of documents. A start of -1 stands for a separator in front of all tokens.
    """
    found = np.flatnonzero(ids == separator).astype(np.int64)
    starts = found if len(found) and found[0] == 0 else np.concatenate([[-1], found])
    lengths = np.diff(starts, append=len(ids))
    windows = (lengths - 1) // (
        size - 1
    )  # they overlap by a token, an input of the one, a target of the other
    rest = lengths - np.where(windows, windows * (size - 1) + 1, 0)
    parts = windows + (rest > 0)
    owner = np.repeat(np.arange(len(starts)), parts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    last = place == windows[owner]
    offset = place * (size - 1) + (last & (place > 0))
    return starts[owner] + offset, np.where(last, rest[owner], size), len(starts)


def _packed(starts: Ints, lengths: Ints, size: int) -> _Plan:
    """Rows of `size` tokens by best fit among the next pieces; the end that fills no row is left out."""
    first, chosen, taken = [0], [], []
    buffer: list[tuple[int, int]] = []  # (length, number), sorted
    following, room = 0, size
    while True:
        while len(buffer) < BUFFER and following < len(lengths):
            insort(buffer, (int(lengths[following]), following))
            following += 1
        if not buffer:
            break
        place = bisect_right(buffer, (room, len(lengths)))
        length, number = buffer.pop(max(place - 1, 0))  # the longest that fits, or the shortest
        chosen.append(number)
        taken.append(min(length, room))
        room -= taken[-1]
        if not room:
            first.append(len(chosen))
            room = size
    whole = first[-1]
    return _Plan(np.array(first), starts[chosen[:whole]], np.array(taken[:whole], np.int64))
