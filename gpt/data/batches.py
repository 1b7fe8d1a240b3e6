"""Batch sampler over token ids: seeded, resumable, random access by step. Evaluation blocks.

Independent of files and models.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from gpt.data.token_file import TokenFile, check_range
from tinytensor.errors import ArgumentError, DTypeError, ShapeError

Ints = npt.NDArray[np.int64]
Batch = tuple[Ints, Ints]  # inputs and targets, both (B, T)
Mode = Literal["random", "consecutive", "stride"]
Tokens = TokenFile | npt.NDArray[np.integer] | Sequence[int]


class StepBatches(Iterator[tuple[Ints, ...]]):
    """Infinite iterator of batches, each a function of its step alone: its state is one integer.

    Attributes:
        settings: what the batches depend on, as JSON values.
    """

    step = 0
    settings: Mapping[str, int | str] = {}

    @abstractmethod
    def batch(self, step: int) -> tuple[Ints, ...]:
        """Arrays of a step, 0, 1, 2, …, with a row for each example; does not advance the iterator."""

    def __next__(self) -> tuple[Ints, ...]:
        batch = self.batch(self.step)
        self.step += 1
        return batch

    def state_dict(self) -> dict[str, int | str]:
        """Position and settings, as JSON values."""
        return {**self.settings, "step": self.step}

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Resume at the position of a `state_dict`."""
        own, step = self.settings, state.get("step")
        differing = [name for name in own if state.get(name) != own[name]]
        if differing or type(step) is not int or not 0 <= step < 2**64:
            told = ", ".join(f"{name}={state.get(name)!r} (here {own[name]!r})" for name in differing)
            raise ArgumentError(
                f"load_state_dict: the state does not fit: {told or f'step={step!r}'}",
                why="with other arguments the same step is another batch",
                fix="use the same data and arguments, or start without the state",
            )
        self.step = step


class Batches(StepBatches):
    """Infinite iterator of batches: inputs (B, T) and targets (B, T), the inputs shifted by one token.

    Args:
        tokens: TokenFile, integer array (N,), or list of ints; N >= block_size + 1.
        batch_size: B.
        block_size: T.
        mode: "random": uniformly sampled window starts, from Philox keyed by (seed, k).
            "consecutive": adjacent windows in order, then again from the start.
            "stride": the same, but each window starts `stride` tokens after the previous one.
            The last two drop tokens at the end that do not fill a window.
        stride: for mode "stride" only.
        seed: for mode "random"; 0 … 2**64 - 1.
        vocab_size: upper bound of valid ids; None: the TokenFile's.

    Example:
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
        if mode not in get_args(Mode):
            raise ArgumentError(
                f"Batches: mode={mode!r}",
                why=f"there are {', '.join(get_args(Mode))}",
                fix='use mode="random" for training',
            )
        if (mode == "stride") != (stride is not None) or (stride is not None and stride < 1):
            raise ArgumentError(
                f"Batches: mode={mode!r} with stride={stride}",
                why='mode "stride" needs a stride >= 1, and the others take none',
                fix=f'use mode="stride", stride={max(block_size // 2, 1)}, or leave stride out',
            )
        if not 0 <= seed < 1 << 64:
            raise ArgumentError(
                f"Batches: seed={seed}", why="a seed is an unsigned 64-bit integer", fix="use 0 … 2**64 - 1"
            )
        self.batch_size, self.block_size, self.mode, self.seed = batch_size, block_size, mode, seed
        self.stride = stride or (block_size if mode == "consecutive" else 1)
        self.n_windows = (len(self._ids) - block_size - 1) // self.stride + 1
        self.settings = {
            "mode": mode,
            "seed": seed,
            "batch_size": batch_size,
            "block_size": block_size,
            "stride": self.stride,
            "tokens": len(self._ids),
        }

    def batch(self, step: int) -> Batch:
        """Batch of a step; does not advance the iterator."""
        if not 0 <= step < 2**64:
            raise ArgumentError(
                f"batch: step={step}", why="a step is an unsigned 64-bit integer", fix="use 0 … 2**64 - 1"
            )
        if self.mode == "random":
            # Raw 64-bit output: NumPy keeps it stable across versions, which it does not guarantee for
            # integers(). The bias of the modulo is at most n / 2**64.
            key = np.array([self.seed, step], np.uint64)
            drawn = np.random.Philox(key=key).random_raw(self.batch_size)
            windows = (drawn % np.uint64(self.n_windows)).astype(np.int64)  # (B,)
        else:
            first = step * self.batch_size % self.n_windows  # in Python integers: NumPy's would overflow
            windows = (first + np.arange(self.batch_size)) % self.n_windows
        starts = windows * self.stride
        block = self._ids[starts[:, None] + np.arange(self.block_size + 1)]  # (B, T + 1)
        check_range(block, self._vocab_size, self._name)
        return _shifted(block)


def consecutive_blocks(
    tokens: Tokens, block_size: int, batch_size: int = 1, *, vocab_size: int | None = None
) -> Iterator[Batch]:
    """Split all tokens into blocks, in which each token but the first is a target exactly once.

    For evaluation: the mean over all targets is independent of the batch size. Weight batches by their number
    of targets, since the last ones are smaller.

    Args:
        tokens: TokenFile, integer array (N,), or list of ints; N >= 2.
        block_size: T.
        batch_size: B, blocks per batch.
        vocab_size: upper bound of valid ids; None: the TokenFile's.

    Returns:
        iterator of inputs and targets, int64: (B, T) for whole blocks, the last batch of them possibly with
        fewer rows; then one of shape (1, t), t < T, if N - 1 is not a multiple of T.

    Example:
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
        check_range(block, limit, name)
        yield _shifted(block)
    if rest:
        block = ids[whole * block_size :][None, :]  # (1, t + 1)
        check_range(block, limit, name)
        yield _shifted(block)


def _shifted(block: npt.NDArray[np.integer]) -> Batch:
    """Split windows (B, T + 1) into inputs and targets (B, T)."""
    return block[:, :-1].astype(np.int64, order="C"), block[:, 1:].astype(np.int64, order="C")


def _as_ids(
    tokens: Tokens, vocab_size: int | None, who: str
) -> tuple[npt.NDArray[np.integer], int | None, str]:
    """Ids (N,), their vocabulary size, and a name for messages."""
    if isinstance(tokens, TokenFile):
        return tokens.ids, vocab_size or tokens.vocab_size, repr(str(tokens.path))
    ids = np.asarray(tokens)
    if ids.ndim != 1:
        raise ShapeError(
            f"{who}: tokens of shape {ids.shape}",
            why="ids must be one-dimensional, (N,)",
            fix="tokens.ravel()",
        )
    if ids.size and ids.dtype.kind not in "iu":
        raise DTypeError(
            f"{who}: tokens of dtype {ids.dtype}", why="ids are integers", fix="pass tokenizer.encode(text)"
        )
    return cast(npt.NDArray[np.integer], ids), vocab_size, "the tokens"


def _check_sizes(who: str, count: int, batch_size: int, block_size: int, least: int | None = None) -> None:
    for name, value in (("batch_size", batch_size), ("block_size", block_size)):
        if value < 1:
            raise ArgumentError(f"{who}: {name}={value}", why="sizes are positive", fix=f"use {name} >= 1")
    least = block_size + 1 if least is None else least
    if count < least:
        raise ArgumentError(
            f"{who}: {count:,} tokens are too few for block_size={block_size}",
            why=f"inputs and their targets, shifted by one token, need {least:,} tokens",
            fix=f"use block_size <= {max(count - 1, 1)}, or a longer text",
        )
