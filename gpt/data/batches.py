"""Batches of windows from a row of token ids: seeded, resumable, each a function of its number alone.

Knows nothing of files and models.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from gpt.data.token_file import TokenFile, check_range
from tinytensor.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Batch", "Batches", "Tokens", "consecutive_blocks"]

IntArray = npt.NDArray[np.int64]
Batch = tuple[IntArray, IntArray]  # inputs and targets, both (B, T)
Mode = Literal["random", "consecutive", "stride"]
Tokens = TokenFile | npt.NDArray[np.integer] | Sequence[int]


class Batches(Iterator[Batch]):
    """Endless batches of windows: inputs (B, T) and targets (B, T), which are the inputs one token later.

    Batch k is a function of k alone, so the whole state is a number, and any batch can be made again.

    Args:
        tokens: TokenFile, integer array (N,), or list of ints; N >= block_size + 1.
        batch_size: B.
        block_size: T.
        mode: "random": windows start anywhere, each place equally likely; from Philox keyed by (seed, k).
            "consecutive": one window after the other, then again from the start.
            "stride": the same, but each window starts `stride` tokens after the one before it.
            Tokens at the end that fill no whole window are left out by the last two.
        stride: for mode "stride" only.
        seed: for mode "random"; 0 … 2**64 - 1.
        vocab_size: refuse ids from here on; None takes the TokenFile's.

    Raises:
        ArgumentError: a size below 1, an unknown mode, a stride where it means nothing or is missing, a seed
            out of range, fewer tokens than one window.
        ShapeError: an array that is not (N,).
        DTypeError: ids that are no integers.
        FormatError: while iterating: an id outside the vocabulary.

    Example:
        >>> import numpy as np
        >>> from gpt.data.command import Batches
        >>> batches = Batches(np.arange(10), batch_size=2, block_size=3, mode="consecutive")
        >>> inputs, targets = next(batches)
        >>> inputs.tolist(), targets.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
        >>> batches.state_dict()["step"]
        1
    """

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        block_size: int,
        mode: Mode = "random",
        *,
        stride: int | None = None,
        seed: int = 0,
        vocab_size: int | None = None,
    ) -> None:
        self._ids, self._vocab_size, self._name = _as_ids(tokens, vocab_size, "Batches")
        _check_sizes("Batches", len(self._ids), batch_size, block_size)
        if mode not in ("random", "consecutive", "stride"):
            raise ArgumentError(
                f"Batches: mode={mode!r}",
                why="there are random, consecutive and stride",
                fix='use mode="random" for training',
            )
        if (mode == "stride") != (stride is not None) or (stride is not None and stride < 1):
            raise ArgumentError(
                f"Batches: mode={mode!r} with stride={stride}",
                why='a stride >= 1 belongs to mode "stride", and only there',
                fix=f'use mode="stride", stride={max(block_size // 2, 1)}, or leave stride out',
            )
        if not 0 <= seed < 1 << 64:
            raise ArgumentError(
                f"Batches: seed={seed}", why="a seed is a number of 64 bits", fix="use 0 … 2**64 - 1"
            )
        self.batch_size, self.block_size, self.mode, self.seed = batch_size, block_size, mode, seed
        self.stride = stride or (block_size if mode == "consecutive" else 1)
        self.n_windows = (len(self._ids) - block_size - 1) // self.stride + 1
        self.step = 0

    def __next__(self) -> Batch:
        batch = self.batch(self.step)
        self.step += 1
        return batch

    def batch(self, step: int) -> Batch:
        """Make the batch of a step; the position stays as it is.

        Args:
            step: 0, 1, 2, …

        Returns:
            inputs and targets, int64 (B, T).

        Raises:
            ArgumentError: a step below 0, or of more than 64 bits.
            FormatError: an id outside the vocabulary.
        """
        if not 0 <= step < 2**64:
            raise ArgumentError(
                f"batch: step={step}", why="a step is a number of 64 bits", fix="use 0 … 2**64 - 1"
            )
        if self.mode == "random":
            # Raw 64-bit numbers: NumPy keeps them the same in all versions, which it does not promise of
            # integers(). The remainder favors no place by more than n / 2**64.
            key = np.array([self.seed, step], np.uint64)
            drawn = np.random.Philox(key=key).random_raw(self.batch_size)
            windows = (drawn % np.uint64(self.n_windows)).astype(np.int64)  # (B,)
        else:
            first = step * self.batch_size % self.n_windows  # before NumPy, whose integers end
            windows = (first + np.arange(self.batch_size)) % self.n_windows
        starts = windows * self.stride
        block = self._ids[starts[:, None] + np.arange(self.block_size + 1)]  # (B, T + 1)
        check_range(block, self._vocab_size, self._name, None)
        return _shifted(block)

    def state_dict(self) -> dict[str, int | str]:
        """The position, and what it is a position in; goes into JSON.

        Returns:
            mode, seed, batch_size, block_size, stride, tokens, step.
        """
        return {
            "mode": self.mode,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "block_size": self.block_size,
            "stride": self.stride,
            "tokens": len(self._ids),
            "step": self.step,
        }

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Go on where `state_dict` was taken: the next batch is the one that came next then.

        Args:
            state: of Batches over the same tokens, made with the same arguments.

        Raises:
            ArgumentError: made with other arguments, so that the batches would differ.
        """
        own = self.state_dict()
        differing = [name for name in own if name != "step" and state.get(name) != own[name]]
        step = state.get("step")
        if differing or type(step) is not int or not 0 <= step < 2**64:
            told = ", ".join(f"{name}={state.get(name)!r} (here {own[name]!r})" for name in differing)
            raise ArgumentError(
                f"load_state_dict: the state does not fit: {told or f'step={step!r}'}",
                why="the same step of other batches is other data",
                fix="make Batches over the same tokens with the same arguments, or begin without the state",
            )
        self.step = step


def consecutive_blocks(
    tokens: Tokens, block_size: int, batch_size: int = 1, *, vocab_size: int | None = None
) -> Iterator[Batch]:
    """Cut all tokens into blocks, so that each token but the first is a target exactly once.

    For evaluation: a mean over all targets does not depend on the batch size. Weight the batches by their
    number of targets, since the last ones are smaller.

    Args:
        tokens: TokenFile, integer array (N,), or list of ints; N >= 2.
        block_size: T.
        batch_size: B, blocks at a time.
        vocab_size: refuse ids from here on; None takes the TokenFile's.

    Returns:
        iterator of inputs and targets, int64: (B, T) while whole blocks last, the last batch of them
        perhaps with fewer rows; then one of shape (1, t), t < T, if N - 1 is no multiple of T.

    Raises:
        ArgumentError: a size below 1, or fewer than two tokens.
        ShapeError: an array that is not (N,).
        DTypeError: ids that are no integers.
        FormatError: while iterating: an id outside the vocabulary.

    Example:
        >>> from gpt.data.command import consecutive_blocks
        >>> [targets.tolist() for _, targets in consecutive_blocks([0, 1, 2, 3, 4, 5], block_size=2)]
        [[[1, 2]], [[3, 4]], [[5]]]
    """
    ids, limit, name = _as_ids(tokens, vocab_size, "consecutive_blocks")
    _check_sizes("consecutive_blocks", len(ids), batch_size, block_size, least=2)
    return _blocks(ids, block_size, batch_size, limit, name)


def _blocks(
    ids: npt.NDArray[np.integer], block_size: int, batch_size: int, limit: int | None, name: str
) -> Iterator[Batch]:
    whole, rest = divmod(len(ids) - 1, block_size)
    for first in range(0, whole, batch_size):
        starts = np.arange(first, min(first + batch_size, whole)) * block_size
        block = ids[starts[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
        check_range(block, limit, name, None)
        yield _shifted(block)
    if rest:
        block = ids[whole * block_size :][None, :]  # (1, t + 1)
        check_range(block, limit, name, None)
        yield _shifted(block)


def _shifted(block: npt.NDArray[np.integer]) -> Batch:
    """Windows (B, T + 1) to inputs and targets (B, T)."""
    return block[:, :-1].astype(np.int64, order="C"), block[:, 1:].astype(np.int64, order="C")


def _as_ids(
    tokens: Tokens, vocab_size: int | None, who: str
) -> tuple[npt.NDArray[np.integer], int | None, str]:
    """The ids (N,), the size of their vocabulary, and a name for messages."""
    if isinstance(tokens, TokenFile):
        return tokens.ids, vocab_size or tokens.vocab_size, repr(str(tokens.path))
    ids = np.asarray(tokens)
    if ids.ndim != 1:
        raise ShapeError(
            f"{who}: tokens of shape {ids.shape}", why="ids stand in a row: (N,)", fix="tokens.ravel()"
        )
    if ids.size and ids.dtype.kind not in "iu":
        raise DTypeError(
            f"{who}: tokens of dtype {ids.dtype}", why="ids are integers", fix="pass tokenizer.encode(text)"
        )
    return cast(npt.NDArray[np.integer], ids), vocab_size, "the tokens"


def _check_sizes(who: str, count: int, batch_size: int, block_size: int, least: int | None = None) -> None:
    for name, value in (("batch_size", batch_size), ("block_size", block_size)):
        if value < 1:
            raise ArgumentError(f"{who}: {name}={value}", why="it counts something", fix=f"use {name} >= 1")
    least = block_size + 1 if least is None else least
    if count < least:
        raise ArgumentError(
            f"{who}: {count:,} tokens are too few for block_size={block_size}",
            why=f"inputs and their targets, one token later, take {least:,} tokens",
            fix=f"use block_size <= {max(count - 1, 1)}, or a longer text",
        )
