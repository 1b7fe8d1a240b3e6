"""Data-parallel training on several ranks: `mpiexec -n 2 python -m gpt train …`.

Each rank has a replica of the model; with `--device=cuda` each has a GPU, and gradients are reduced by NCCL
(not yet run on a GPU). The global batch size is that of a single process; each rank takes its rows of a
batch, and gradients are averaged during backward. Only rank 0 writes log, checkpoints and samples.
"""

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
from tinytensor.distributed import Communicator, DataParallel, init
from tinytensor.interop.safetensors_file import Array

_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of ranks: odd, and far from small seeds


class RankGroup:
    """Ranks of a training loop; most methods do nothing for a single rank.

    Attributes:
        leads: whether this rank writes files and output.
        share: rows of this rank by those of an equal share: 1 if the ranks divide batch_size.
    """

    def __init__(self, run: Run) -> None:
        self.ranks = ranks = run.ranks
        self.leads, self.size = ranks.rank == 0, ranks.size
        rows = run.train_config.batch_size
        if rows < self.size:
            raise tt.ArgumentError(
                f"train: batch_size={rows} with {self.size} ranks",
                why="each rank needs at least one row of each batch",
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
        """Seed dropout differently on each rank; rank 0 as a single-process run."""
        state = tt.default_generator.get_state()
        seed = (int(state["seed"]) + self.ranks.rank * _STRIDE) % (1 << 64)
        tt.default_generator.set_state({**state, "seed": seed})

    def log(self, folder: Path) -> RunLog:
        """Log of the run; a no-op log on ranks other than 0."""
        return RunLog(folder) if self.leads else _NoLog(folder)

    # ---- a step -----------------------------------------------------------------------------------------

    def rows(self, batch: Sequence[Array]) -> Sequence[Array]:
        """Rows of this rank of the arrays of a batch."""
        return batch if self.size == 1 else [array[self._rows] for array in batch]

    def accumulating(self, more: bool) -> AbstractContextManager[None]:
        """Context of a backward pass: no communication if more accumulation steps follow."""
        return self._parallel.accumulating() if more and self._parallel is not None else nullcontext()

    def end_of_backward(self, loss: tt.Tensor, stop: bool) -> tt.Tensor:
        """Wait for the averaged gradients; returns the mean loss, and shares requests to stop."""
        if self._parallel is None:
            return loss
        said = tt.tensor([float(loss), float(stop)], dtype=tt.float64, device=self._device)
        self._parallel.synchronize()
        self.ranks.all_reduce(said, "mean").wait()
        self._stop = said[1].item() > 0
        return said[0]

    def stops(self, asked: bool) -> bool:
        """Whether to stop before the next step: as agreed in the last one; `asked` for a single rank."""
        return asked if self._parallel is None else self._stop

    def check_equal(self) -> None:
        """Check that the weights of all ranks are bitwise equal; CommunicationError if not."""
        if self._parallel is not None:
            self._parallel.check_equal()


class _NoLog(RunLog):
    """No-op log of ranks other than 0."""

    def write(self, **values: Any) -> None:
        """Do nothing."""


def each_on_its_device(ranks: Communicator, config: TrainConfig) -> tuple[Communicator, TrainConfig]:
    """Communicator and config of this rank: with several ranks on "cuda", each gets its GPU and NCCL."""
    if ranks.size == 1 or not config.device.startswith("cuda"):
        return ranks, config
    if config.device != "cuda":
        raise tt.ArgumentError(
            f"train: device={config.device} with {ranks.size} ranks",
            why="each rank uses the GPU of its own index",
            fix="--device=cuda",
        )
    ranks = init("nccl")
    return ranks, replace(config, device=str(ranks.device))


@contextmanager
def first_one_first(ranks: Communicator) -> Iterator[None]:
    """Context that rank 0 runs before the others, since it writes files that they read."""
    if ranks.rank > 0:
        ranks.barrier()
    yield
    if ranks.rank == 0:
        ranks.barrier()


@contextmanager
def ends_all(ranks: Communicator) -> Iterator[None]:
    """Context that reports an error of this rank and aborts all ranks, which would wait for it otherwise.

    Ranks often fail together for the same reason, so rank 0 reports first, and aborts the others before they
    repeat it.
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
