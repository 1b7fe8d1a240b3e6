"""Text pairs for an encoder-decoder: a toy task, files of records, length-bucketed batches."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from gpt.data.batches import Ints, StepBatches
from gpt.data.examples import LikeLengths, padded
from gpt.data.records import read_records
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED
from tinytensor.errors import ArgumentError

Pair = tuple[str, str]  # source and target
COUNT = 20_000  # pairs of a toy task
LETTERS = 12  # maximum length of a word
_FIELDS = ("source", "target")


def _word(rng: np.random.Generator) -> str:
    size = int(rng.integers(1, LETTERS + 1))
    return bytes(rng.integers(ord("a"), ord("z") + 1, size).tolist()).decode("ascii")


def toy_pairs(seed: int = 0, count: int = COUNT) -> list[Pair]:
    """Random words and their reverse. Words are unique, so held-out ones do not occur in training."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64)))
    sources: dict[str, None] = {}
    while len(sources) < count:
        sources[_word(rng)] = None
    return [(source, source[::-1]) for source in sources]


def pairs_of(name: str, seed: int = 0) -> list[Pair]:
    """Pairs of the toy task, words and their reverse, or of a file."""
    if name == "reverse":
        return toy_pairs(seed)
    if name == "shakespeare":
        raise ArgumentError(
            "translate: --data=shakespeare",
            why="pairs of texts are needed: reverse, or a file",
            fix="--data=reverse",
        )
    return [(record["source"], record["target"]) for record in read_records(name, _FIELDS)]


def checksum(pairs: Sequence[Pair]) -> str:
    """Hexadecimal SHA-256 of the pairs in order."""
    return hashlib.sha256(json.dumps(list(pairs)).encode("ascii")).hexdigest()


class PairBatches(StepBatches):
    """Infinite iterator of length-bucketed batches: (inputs, targets, source, lengths).

    Inputs (B, T) are the mark and the target text, targets (B, T) the target text and the mark; targets are
    padded with -100. Sources (B, S) end with the mark; `lengths` (B,) are their lengths without padding.

    Example:
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> batches = PairBatches([("ab", "b"), ("a", "")], CharTokenizer("|ab"), 0, 2, 8)
        >>> for array in next(batches):
        ...     print(array.tolist())
        [[0, 0], [0, 2]]
        [[0, -100], [2, 0]]
        [[1, 0, 0], [1, 2, 0]]
        [2, 3]
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        tokenizer: Tokenizer,
        mark: int,
        batch_size: int,
        block_size: int,
        seed: int = 0,
    ) -> None:
        self.mark = mark
        self.pairs = [tuple([self._ids(text, tokenizer, block_size) for text in pair]) for pair in pairs]
        self.order = LikeLengths([len(s) + len(t) for s, t in self.pairs], batch_size, seed)
        self.settings = {"seed": seed, "batch_size": batch_size, "pairs": len(pairs)}

    def _ids(self, text: str, tokenizer: Tokenizer, block_size: int) -> list[int]:
        """Ids of a text, followed by the mark."""
        ids = [*tokenizer.encode(text), self.mark]
        if len(ids) > block_size or self.mark in ids[:-1]:
            too_long = len(ids) > block_size
            raise ArgumentError(
                f"translate: {text[:40]!r} {'is too long' if too_long else 'contains the end-of-text mark'}",
                why=f"it has {len(ids)} tokens, and the context {block_size}"
                if too_long
                else "the text after it would be lost",
                fix=f"--block_size={len(ids)}, or leave it out" if too_long else "split it into two texts",
            )
        return ids

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, step: int) -> tuple[Ints, ...]:
        """Inputs, targets, source and lengths of a step."""
        return self.arrays(self.order.batch(step).tolist())

    def arrays(self, numbers: Sequence[int]) -> tuple[Ints, ...]:
        """Inputs, targets, source and lengths of the given pairs."""
        sources, targets = zip(*[self.pairs[i] for i in numbers], strict=True)
        behind = [[self.mark, *ids[:-1]] for ids in targets]
        lengths = np.array([len(ids) for ids in sources])
        return padded(behind, 0), padded(targets, IGNORED), padded(sources, 0), lengths
