"""Worker processes of a DataLoader: they make batches and send them as pickles of NumPy arrays.

Each worker has a pipe of its own. The loader sends it what to fetch, some batches ahead, and takes batches
in the order of its requests, so the order does not depend on which worker is faster. A worker whose pipe is
closed ends; a loader whose worker has ended raises.
"""

from __future__ import annotations

import os
import pickle
import queue
import random
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from weakref import WeakSet

import numpy as np

import tinytensor.api as tt
from tinytensor.utils.data.collate import default_collate
from tinytensor.utils.data.dataset import IterableDataset, rows, samples

__all__ = ["WorkerError", "WorkerInfo", "get_worker_info"]

_GRACE = 2.0  # seconds that a worker has to end by itself


class WorkerError(tt.TinyTensorError, RuntimeError):
    """A worker of a DataLoader has ended, takes too long, or raised what cannot be sent."""


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows about itself.

    Args:
        id: its number, from 0.
        num_workers: how many there are.
        seed: the seed of the loader for its first epoch, plus id.
        dataset: its copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None
_ends: WeakSet[Any] = WeakSet()  # of pipes, on the side of the loader


def get_worker_info() -> WorkerInfo | None:
    """The worker of a DataLoader in which this runs.

    Returns:
        WorkerInfo(id, num_workers, seed, dataset); None outside of workers.

    Example:
        >>> tt.utils.data.get_worker_info() is None
        True
    """
    return _info


class End:
    """In place of a batch: the dataset of this worker has no more."""


class Fetch:
    """Makes batches: of the numbers that a sampler gives, or of the next samples of an IterableDataset.

    Args:
        dataset: the samples.
        collate: function of a list of samples, or of one sample if batched is False.
        batched: whether samples come in lists.
        batch_size, drop_last: of the lists of an IterableDataset.
    """

    def __init__(
        self, dataset: Any, collate: Callable[[Any], Any], batched: bool, batch_size: int, drop_last: bool
    ) -> None:
        self.dataset = dataset
        self.collate = collate
        self.batched = batched
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.items: Iterator[Any] | None = None

    def begin(self) -> None:
        """Begin an epoch."""
        self.items = iter(self.dataset) if isinstance(self.dataset, IterableDataset) else None

    def __call__(self, order: Any) -> Any:
        """The batch of an element of the sampler; the class End if there is none."""
        if self.items is None:
            if self.batched and self.collate is default_collate and (batch := rows(self.dataset, order)):
                return batch
            return self.collate(samples(self.dataset, order) if self.batched else self.dataset[order])
        found = list(islice(self.items, self.batch_size))
        if not found or (self.drop_last and len(found) < self.batch_size):
            return End
        return self.collate(found if self.batched else found[0])


# ---- in a worker -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a worker is started with."""

    fetch: Fetch
    init: Callable[[int], None] | None
    num_workers: int
    seed: int


class Failure:
    """An exception in a worker, in a form that can be sent."""

    def __init__(self, error: BaseException, number: int) -> None:
        self.note = (
            f"Raised in worker {number} of a DataLoader:\n{''.join(traceback.format_exception(error))}"
        )
        try:
            pickle.loads(pickle.dumps(error))
            travels = isinstance(error, Exception)  # SystemExit is no reason to end the loader's process
        except Exception:
            travels = False
        self.error = error if travels else _not_sent(error, number)


def _not_sent(error: BaseException, number: int) -> WorkerError:
    return WorkerError(
        f"DataLoader: {type(error).__name__} in worker {number}: {error}",
        why="the exception itself ends processes, or cannot be pickled",
        fix="see its traceback below",
    )


def work(pipe: Any, number: int, job: Job) -> None:
    """Run a worker: answer requests until the pipe is closed."""
    for end in list(_ends):  # which a forked process has inherited, so that no pipe would ever be closed
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the loader ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tt.set_num_threads(1)
    replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_send, args=(pipe, replies), daemon=True).start()
    epoch, failure = 0, _prepared(number, job)
    while True:
        try:
            wanted, seed, order = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if failure is None and wanted != epoch:
                epoch = wanted
                job.fetch.begin()
            if job.init is None:
                _seed(seed)
            answer = pickle.dumps((wanted, failure or job.fetch(order)))
        except BaseException as error:
            answer = pickle.dumps((wanted, Failure(error, number)))
        replies.put(answer)


def _prepared(number: int, job: Job) -> Failure | None:
    """Call worker_init_fn; returns what failed."""
    global _info
    _info = WorkerInfo(number, job.num_workers, job.seed + number, job.fetch.dataset)
    try:
        _seed(job.seed + number)
        if job.init is not None:
            job.init(number)
    except BaseException as error:
        return Failure(error, number)
    return None


def _seed(seed: int) -> None:
    """Seed the generators that a dataset may draw from."""
    random.seed(seed)
    # the third word: of two words NumPy would make the numbers of `random`, the same generator
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32, 1])  # noqa: NPY002 - datasets use it
    tt.manual_seed(seed)


def _send(pipe: Any, replies: queue.SimpleQueue[bytes]) -> None:
    """Send replies; in a thread, so that the next batch is made while the loader does not read."""
    while True:
        try:
            pipe.send_bytes(replies.get())
        except OSError:  # the loader has closed it
            return


# ---- in the process of the loader --------------------------------------------------------------------------


class Workers:
    """The workers of a loader.

    Args:
        job: what each of them is started with.
        context: how processes start, of the module multiprocessing.
        ahead: batches that each worker makes in advance.
        timeout: seconds to wait for a batch; 0 waits as long as it takes.
    """

    def __init__(self, job: Job, context: Any, ahead: int, timeout: float) -> None:
        self.job = job
        self.ahead = ahead
        self.timeout = timeout
        self.epoch = 0
        self.owner = os.getpid()
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        try:
            for number in range(job.num_workers):
                ours, theirs = context.Pipe()
                _ends.add(ours)
                self.pipes.append(ours)
                process = context.Process(
                    target=work, args=(theirs, number, job), name=f"DataLoader worker {number}", daemon=True
                )
                process.start()
                self.processes.append(process)
                theirs.close()
        except BaseException as error:
            self.close()
            if context.get_start_method() != "fork":
                error.add_note(
                    "The dataset, collate_fn and worker_init_fn of a DataLoader are pickled for its workers: "
                    "define functions and classes at the top level of a module."
                )
            raise

    def batches(self, orders: Iterator[Any], seed: int) -> Iterator[Any]:
        """An epoch: a batch for each order of the sampler. Batch n is made with the seed `seed` + n."""
        self.epoch += 1
        epoch, n = self.epoch, 0
        turns = deque(range(len(self.pipes)))  # workers that may have more batches
        asked: deque[int] = deque()  # workers that owe a batch, in the order of the batches
        while True:
            while turns and len(asked) < self.ahead * len(turns):
                order = next(orders, End)
                if order is End:
                    break
                self._ask(turns[0], (epoch, seed + n, order))
                asked.append(turns[0])
                turns.rotate(-1)
                n += 1
            if not asked:
                return
            number = asked.popleft()
            batch = self._answer(number, epoch)
            if batch is not End:
                yield batch
            elif number in turns:
                turns.remove(number)

    def _ask(self, number: int, request: Any) -> None:
        try:
            self.pipes[number].send(request)
        except OSError:
            raise self._ended(number) from None

    def _answer(self, number: int, epoch: int) -> Any:
        """The next batch of a worker; raises what the worker raised, or that it has ended."""
        while True:
            if self.epoch != epoch:
                raise WorkerError(
                    "DataLoader: this iteration was ended by a later one over the same loader",
                    why="persistent workers serve one iteration at a time",
                    fix="make a second loader, or persistent_workers=False",
                )
            found, answer = pickle.loads(self._received(number))
            if found != epoch:
                continue  # of an iteration that was left early
            if not isinstance(answer, Failure):
                return answer
            answer.error.add_note(answer.note)
            raise answer.error

    def _received(self, number: int) -> bytes:
        from multiprocessing.connection import wait  # most programs have no workers

        pipe, process = self.pipes[number], self.processes[number]
        if not wait([pipe, process.sentinel], self.timeout or None):
            raise WorkerError(
                f"DataLoader: no batch from worker {number} within {self.timeout} s",
                why=f"timeout={self.timeout}, and the worker is still at it",
                fix="a longer timeout, or 0 to wait as long as it takes; more workers",
            )
        try:
            if pipe.poll():
                received: bytes = pipe.recv_bytes()
                return received
        except (EOFError, OSError):
            pass
        raise self._ended(number)

    def _ended(self, number: int) -> WorkerError:
        process = self.processes[number]
        process.join(_GRACE)
        code = process.exitcode
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            fix = (
                "if memory ran out: fewer workers, smaller batches or prefetch_factor=1; num_workers=0 debugs"
            )
        else:
            how = f"has ended with exit code {code}"
            fix = (
                "see its own message; a script whose workers do not fork starts them behind "
                'if __name__ == "__main__":; num_workers=0 debugs'
            )
        return WorkerError(f"DataLoader: worker {number} {how}", why="its batches are missing", fix=fix)

    def close(self) -> None:
        """End all workers: by closing their pipes, and if that takes too long by signals."""
        if os.getpid() != self.owner:
            return  # a forked process has a copy of this object, and not the workers
        for pipe in self.pipes:
            pipe.close()
        until = time.monotonic() + _GRACE
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))
        for end in ("terminate", "kill"):
            alive = [process for process in self.processes if process.is_alive()]
            for process in alive:
                getattr(process, end)()
            for process in alive:
                process.join(_GRACE)
