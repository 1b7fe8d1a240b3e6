"""Data-parallel training of a GPT over MPI: speedup, and overlap of the all-reduce with backward.

The global batch is the same for all: one rank processes all of its rows, several split them, so losses must
be equal. Each round starts new processes (`mpiexec`), since idle ranks would spin. Without overlap the
gradients are sent after backward.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import ROOT, THREAD_VARIABLES, BenchmarkError
from benchmarks.contest.windows import Load, Window
from benchmarks.suites.train import configs, trainer
from tinytensor import distributed
from tinytensor.optim import clip_grad_norm_

WARM_UP, CHECKED = 3, 4  # untimed steps, and steps whose losses are compared
ALONE = 5  # exchanges without concurrent work
ONE, ONE_WIDE = "1 rank", "1 rank, {} threads"
MANY, LATE = "{} ranks", "{} ranks, no overlap"


# ---- program of a rank -------------------------------------------------------------------------------------


class Steps:
    """Runs the training steps of one rank.

    Args:
        shape: a key of train.SHAPES.
        overlap: send gradients during backward.
    """

    def __init__(self, shape: str, overlap: bool) -> None:
        self.ranks = distributed.init()
        self.overlap = overlap
        self.model, self.optimizer, self.source, self.train = trainer(shape)
        size, rank, rows = self.ranks.size, self.ranks.rank, self.train.batch_size
        self.rows = slice(rows * rank // size, rows * (rank + 1) // size)
        self.parallel = distributed.DataParallel(self.model, self.ranks) if size > 1 else None

    def step(self) -> float:
        """Run one step and return the mean loss of the global batch."""
        inputs, targets = (tt.from_numpy(array[self.rows]) for array in next(self.source))
        self.optimizer.zero_grad()
        loss = self.model.loss(inputs, targets)
        if self.parallel is None:
            loss.backward()
        elif self.overlap:
            loss.backward()
            self.parallel.synchronize()
        else:
            with self.parallel.accumulating():
                loss.backward()
            self.parallel.synchronize()
        clip_grad_norm_(self.model.parameters(), self.train.grad_clip)
        self.optimizer.step()
        said = tt.tensor([loss.item()], dtype=tt.float64)
        self.ranks.all_reduce(said, "mean").wait()
        return float(said.item())

    def exchange_alone(self) -> float:
        """Seconds to average all gradients without concurrent work."""
        if self.parallel is None:
            return 0.0
        took = []
        for _ in range(ALONE):
            self.ranks.barrier()
            begun = time.perf_counter()
            for handle in [self.ranks.all_reduce(b.flat, "mean") for b in self.parallel.buckets]:
                handle.wait()
            took.append(time.perf_counter() - begun)
        return median(took)

    def of_others(self, mine: float) -> float:
        """Sum of a value over all other ranks."""
        total = tt.tensor([mine], dtype=tt.float64)
        self.ranks.all_reduce(total).wait()
        return float(total.item()) - mine

    def measure(self, calls: int) -> dict[str, Any]:
        """Time `calls` steps."""
        for _ in range(WARM_UP):
            self.step()
        self.ranks.barrier()
        waited = self.parallel.seconds_waited if self.parallel else 0.0
        load, begun, cpu = Load(), time.perf_counter(), time.process_time()
        took = []
        for _ in range(calls):
            before = time.perf_counter()
            self.step()
            took.append(time.perf_counter() - before)
        wall, foreign = time.perf_counter() - begun, load.seconds()
        others = self.of_others(time.process_time() - cpu)
        return {
            "seconds": median(took),
            "wall": wall,
            "foreign": None if foreign is None else max(0.0, foreign - others),
            "waited": (self.parallel.seconds_waited - waited) / calls if self.parallel else 0.0,
            "alone": self.exchange_alone(),
            "bytes": sum(b.flat.nbytes for b in self.parallel.buckets) if self.parallel else 0,
        }


def rank_program(settings: str) -> None:
    """Main program of each process; rank 0 prints a line of JSON."""
    asked = json.loads(settings)
    steps = Steps(asked["shape"], asked["overlap"])
    said = steps.measure(asked["calls"]) if asked["calls"] else [steps.step() for _ in range(CHECKED)]
    steps.ranks.barrier()
    if steps.ranks.rank == 0:
        print(json.dumps(said), flush=True)


# ---- contestants -------------------------------------------------------------------------------------------


@dataclass
class Launched:
    """Contestant that starts `ranks` processes for each window.

    Attributes:
        shape: a key of train.SHAPES.
        ranks, threads: number of processes, and threads per process.
        overlap: send gradients during backward.
        said: additional results of the last window.
    """

    shape: str
    ranks: int
    threads: int = 1
    overlap: bool = True
    said: dict[str, Any] = field(default_factory=dict)

    def cases(self) -> list[str]:
        return [self.shape]

    def devices(self) -> list[str]:
        return ["cpu"]

    def check(self, case: str) -> list[float]:
        return list(self._run(0))

    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
        assert calls is not None, "ranks must agree on the number of steps"
        self.said = self._run(calls)
        return Window(self.said["seconds"], calls, self.said["wall"], self.said["foreign"])

    def about(self) -> dict[str, Any]:
        return {"ranks": self.ranks, "threads": self.threads}

    def _run(self, calls: int) -> Any:
        settings = json.dumps({"shape": self.shape, "overlap": self.overlap, "calls": calls})
        started = [] if self.ranks == 1 else [str(mpiexec()), "-n", str(self.ranks)]
        command = [*started, sys.executable, "-m", "benchmarks.suites.distributed", settings]
        env = os.environ | {name: str(self.threads) for name in THREAD_VARIABLES}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise BenchmarkError(f"distributed: {self.ranks} ranks ended: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])


def mpiexec() -> Path:
    """Path of mpiexec in this Python environment; BenchmarkError if there is none."""
    path = Path(sys.executable).with_name("mpiexec")
    if not path.is_file():
        raise BenchmarkError("distributed: this Python environment has no mpiexec: pip install '.[mpi]'")
    return path


def hidden(waited: float, alone: float) -> float:
    """Share of the exchange that is hidden behind computation.

    Args:
        waited: seconds per step spent waiting for gradients.
        alone: seconds of the exchange without concurrent work.

    Example:
        >>> hidden(1.0, 4.0), hidden(5.0, 4.0)
        (0.75, 0.0)
    """
    return max(0.0, 1.0 - waited / alone) if alone else 0.0


def run(
    plan: Plan,
    *,
    shapes: Sequence[str] = ("S", "M"),
    ranks: int = 2,
    steps: int = 20,
    make: Callable[..., Any] = Launched,
) -> Report:
    """Measure one rank and several, with and without overlap.

    Args:
        plan: rounds.
        shapes: keys of train.SHAPES.
        ranks: number of ranks, each with one thread.
        steps: steps per window.
        make: creates a contestant.
    """
    if ranks < 2:
        raise BenchmarkError(f"distributed: --ranks {ranks}: must be at least 2")
    for shape in shapes:
        if (rows := configs(shape)[1].batch_size) % ranks:
            raise BenchmarkError(
                f"distributed: the batch of {shape}, {rows}, does not split into {ranks} parts"
            )
    mpiexec()
    report = Report("distributed", ONE)
    plan = replace(plan, calls=steps, rtol=1e-4)
    many, late, wide = MANY.format(ranks), LATE.format(ranks), ONE_WIDE.format(ranks)
    for shape in shapes:
        everyone = {
            ONE: make(shape, 1),
            many: make(shape, ranks),
            late: make(shape, ranks, overlap=False),
            wide: make(shape, 1, threads=ranks),
        }
        (result,) = report.compete(everyone, plan)
        said = everyone[many].said
        report.findings[shape] = {
            f"speed of {many}": round(result.ratio(many, ONE).median, 3),
            "efficiency": round(result.ratio(many, ONE).median / ranks, 3),
            f"speed of {wide}": round(result.ratio(wide, ONE).median, 3),
            "gradients_mib": round(said["bytes"] / 2**20, 2),
            "exchange_alone_ms": round(said["alone"] * 1e3, 3),
            "waited_ms": round(said["waited"] * 1e3, 3),
            "hidden": round(hidden(said["waited"], said["alone"]), 3),
            "gained_by_overlap": round(result.ratio(many, late).median, 3),
        }
    return report


if __name__ == "__main__":
    rank_program(sys.argv[1])
