"""One run on several ranks: `mpiexec -n 2 python -m gpt train …`. Each rank has the whole model; with
`--device=cuda` each has a GPU, and gradients travel through NCCL (not yet run on a GPU).

A batch has as many windows as without ranks; each rank takes its rows of it, and gradients are averaged while
backward runs. Rank 0 alone writes: log, checkpoints, samples.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.weights.safetensors_file import Array
from tinytensor.distributed import Communicator, DataParallel, init

__all__ = ["Team", "each_on_its_device", "ends_all", "first_one_first"]

_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of ranks: odd, and far from small numbers


class Team:
    """The ranks that train one model, as the loop sees them; most methods do nothing where there is only one.

    Args:
        run: what is trained; it knows its ranks.

    Attributes:
        leads: whether this rank writes what the run leaves.
        size: how many ranks there are.
        share: what part of an equal share of each batch this rank has: 1 where batch_size is a multiple of
            the number of ranks.

    Raises:
        ArgumentError: a batch has fewer rows than there are ranks.
        CommunicationError: the ranks have different models.

    Example:
        >>> import tempfile
        >>> from gpt.presets import configs_from
        >>> words = ["--preset=tiny", f"--out_dir={tempfile.mkdtemp()}/run"]
        >>> team = Team(Run(*configs_from(words, default="tiny")))
        >>> team.leads, team.size, team.share
        (True, 1, 1.0)
    """

    def __init__(self, run: Run) -> None:
        self.ranks = ranks = run.ranks
        self.leads, self.size = ranks.rank == 0, ranks.size
        rows = run.train_config.batch_size
        if rows < self.size:
            raise tt.ArgumentError(
                f"train: batch_size={rows} with {self.size} ranks",
                why="each rank takes at least one row of each batch",
                fix=f"--batch_size={self.size}, or fewer ranks",
            )
        self._rows = slice(rows * ranks.rank // self.size, rows * (ranks.rank + 1) // self.size)
        self.share = (self._rows.stop - self._rows.start) * self.size / rows
        self._device = run.train_config.device
        self._stop = False
        self._parallel: DataParallel | None = None
        if self.size > 1:
            self._parallel = DataParallel(run.model, ranks)
            self._draw_apart()

    def _draw_apart(self) -> None:
        """Let each rank draw other masks of dropout; the first one draws those of a run without ranks."""
        state = tt.default_generator.get_state()
        seed = (int(state["seed"]) + self.ranks.rank * _STRIDE) % (1 << 64)
        tt.default_generator.set_state({**state, "seed": seed})

    def log(self, folder: Path) -> RunLog:
        """The log of the run, which the first rank writes."""
        return RunLog(folder) if self.leads else _NoLog(folder)

    # ---- a step -----------------------------------------------------------------------------------------

    def rows(self, batch: Sequence[Array]) -> Sequence[Array]:
        """This rank's part of arrays that have a row for each window."""
        return batch if self.size == 1 else [array[self._rows] for array in batch]

    def accumulating(self, more: bool) -> AbstractContextManager[None]:
        """Around a backward pass: if more are to come in this step, nothing is sent yet."""
        return self._parallel.accumulating() if more and self._parallel is not None else nullcontext()

    def end_of_backward(self, loss: float, stop: bool) -> float:
        """Wait for the gradients of all ranks; their mean loss. If one is asked to stop, all will."""
        if self._parallel is None:
            return loss
        said = tt.tensor([loss, float(stop)], dtype=tt.float64, device=self._device)
        self._parallel.synchronize()
        self.ranks.all_reduce(said, "mean").wait()
        mean, stopping = said.tolist()
        self._stop = stopping > 0
        return float(mean)

    def stops(self, asked: bool) -> bool:
        """Whether to stop before the next step: what was agreed in the last one, or, alone, was asked."""
        return asked if self._parallel is None else self._stop

    def check_equal(self) -> None:
        """Compare the weights of all ranks bit by bit; CommunicationError if they differ."""
        if self._parallel is not None:
            self._parallel.check_equal()


class _NoLog(RunLog):
    """The log of a rank that has nothing to say."""

    def write(self, **values: Any) -> None:
        """Nothing."""

    def draw(self) -> None:
        """Nothing."""


def each_on_its_device(ranks: Communicator, config: TrainConfig) -> tuple[Communicator, TrainConfig]:
    """The communicator for the device of a config, and the config of this rank: of several, each has a GPU.

    Args:
        ranks: those that `init` found.
        config: its device is what the command line says to all ranks.

    Returns:
        Both as they are, unless several ranks train on "cuda".

    Raises:
        ArgumentError: the device is one of the GPUs, and there are several ranks.
        DeviceError, CommunicationError: there are fewer GPUs than ranks, or no NCCL.

    Example:
        >>> from tinytensor.distributed import init
        >>> ranks, config = each_on_its_device(init(), TrainConfig(device="cuda:1"))
        >>> ranks.size, config.device
        (1, 'cuda:1')
    """
    if ranks.size == 1 or not config.device.startswith("cuda"):
        return ranks, config
    if config.device != "cuda":
        raise tt.ArgumentError(
            f"train: device={config.device} with {ranks.size} ranks",
            why="each rank takes the GPU of its own number",
            fix="--device=cuda",
        )
    ranks = init("nccl")
    return ranks, replace(config, device=str(ranks.device))


@contextmanager
def first_one_first(ranks: Communicator) -> Iterator[None]:
    """Let rank 0 go through the block before the others: it writes files that they read."""
    if ranks.rank > 0:
        ranks.barrier()
    yield
    if ranks.rank == 0:
        ranks.barrier()


@contextmanager
def ends_all(ranks: Communicator) -> Iterator[None]:
    """If this rank fails in the block, say why and end the processes of all: the others would wait for it.

    Ranks often fail together and for the same reason; so the first one speaks first, and ends the others
    before they repeat it.
    """
    try:
        yield
    except BaseException as error:
        if ranks.size > 1:
            if ranks.rank > 0:
                time.sleep(1.0)
            if isinstance(error, tt.TinyTensorError | KeyboardInterrupt):
                text = str(error) or "interrupted"
            else:
                text = "".join(traceback.format_exception(error)).rstrip()
            sys.stdout.flush()
            os.write(2, f"error on rank {ranks.rank} of {ranks.size}, which ends all: {text}\n".encode())
            ranks.abort(130 if isinstance(error, KeyboardInterrupt) else 2)
        raise
