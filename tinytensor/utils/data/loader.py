"""DataLoader: batches of a dataset, in this process or from workers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import repeat
from typing import Any, Generic, TypeVar

import tinytensor.api as tt
from tinytensor.utils.data.collate import default_collate, default_convert, pinned
from tinytensor.utils.data.dataset import IterableDataset
from tinytensor.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, count
from tinytensor.utils.data.workers import End, Fetch, Job, Workers

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Batches of a dataset; each iteration over the loader is an epoch.

    Args:
        dataset: samples by number (a Dataset, a list, an array), or an IterableDataset.
        batch_size: samples in a batch; None gives single samples, or what the dataset returns for an element
            of the sampler.
        shuffle: a random order, another one in each epoch.
        sampler: an iterable of sample numbers, instead of shuffle.
        batch_sampler: an iterable of lists of numbers, instead of batch_size, shuffle, sampler and drop_last.
        num_workers: processes that make batches in advance; 0 makes them in this one when asked for.
        collate_fn: makes a batch of a list of samples; default `default_collate`, and `default_convert` of
            one sample if batch_size is None.
        drop_last: leave out a last batch that is smaller.
        timeout: seconds to wait for a worker; 0 waits as long as it takes.
        worker_init_fn: called in each worker with its number, when it starts.
        multiprocessing_context: how workers start: "fork", "spawn", "forkserver", or a context of the module
            multiprocessing; default its default.
        generator: source of the order and of the seeds of workers; default the global one.
        prefetch_factor: batches that each worker makes in advance; default 2.
        persistent_workers: keep the workers for the next epoch.
        pin_memory: copy each batch into page-locked memory, from which copies to a GPU are faster. Nothing is
            done where there is no GPU.

    Raises:
        ArgumentError: options that exclude each other, or an option of workers without any.

    The order of the batches does not depend on the number of workers. In a worker, `random`, `numpy.random`
    and the generator of tinytensor are seeded before each batch, so what a dataset draws does not depend on
    it either; with worker_init_fn they are seeded once, before it is called. Without workers they are left
    alone.

    Workers are processes with a copy of the dataset. They send batches as pickles, tensors of the CPU as
    NumPy arrays. An exception in a worker is raised here with the worker's traceback. Leaving a loop early,
    Ctrl-C and the end of this process end the workers, too.

    Differs from: torch.utils.data.DataLoader, whose workers have one seed for an epoch.

    Example:
        >>> data = tt.utils.data.TensorDataset(tt.arange(5), tt.arange(5) * 10)
        >>> for x, y in tt.utils.data.DataLoader(data, batch_size=2):
        ...     print(x.tolist(), y.tolist())
        [0, 1] [0, 10]
        [2, 3] [20, 30]
        [4] [40]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        *,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: tt.Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.num_workers = count(num_workers, "DataLoader: num_workers")
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.pin_memory = pin_memory
        self._check_workers(prefetch_factor)
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.batch_size, self.batch_sampler = batch_size, batch_sampler
        self.sampler = self._sampler(shuffle, sampler)
        if batch_sampler is None and batch_size is not None:
            count(batch_size, "DataLoader: batch_size", at_least=1)
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        batched = self.batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._batched = batched
        self._workers: Workers | None = None

    def _check_workers(self, prefetch_factor: int | None) -> None:
        if not self.timeout >= 0:  # nor nan
            raise tt.ArgumentError(
                f"DataLoader: timeout is {self.timeout}", why="it is in seconds", fix="0 or more"
            )
        if prefetch_factor is not None:
            count(prefetch_factor, "DataLoader: prefetch_factor", at_least=1)
        options = {
            "timeout": self.timeout,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": self.persistent_workers,
            "multiprocessing_context": self.multiprocessing_context,
        }
        if not self.num_workers and (given := [name for name, value in options.items() if value]):
            raise tt.ArgumentError(
                f"DataLoader: {' and '.join(given)} with num_workers=0",
                why="there are no workers that it could apply to",
                fix=f"num_workers=1 or more, or leave out {' and '.join(given)}",
            )

    def _sampler(self, shuffle: bool, sampler: Iterable[Any] | None) -> Iterable[Any]:
        """The sampler; raises if two options say in which order samples come."""
        own = {
            "sampler": sampler is not None,
            "batch_sampler": self.batch_sampler is not None,
            "shuffle": bool(shuffle),
        }
        given = [name for name, on in own.items() if on]
        sizes = {"batch_size": self.batch_size != 1, "drop_last": self.drop_last}
        if self.batch_sampler is not None:
            given += [name for name, on in sizes.items() if on]
        elif self.batch_size is None and self.drop_last:
            given += ["batch_size=None", "drop_last"]
        if isinstance(self.dataset, IterableDataset):
            if chosen := [name for name, on in own.items() if on]:
                raise tt.ArgumentError(
                    f"DataLoader: {chosen[0]} of an IterableDataset",
                    why="its samples come in the order of its __iter__, without numbers",
                    fix=f"leave out {chosen[0]}, and shuffle in __iter__",
                )
            sampler = repeat(None)
        if len(given) > 1:
            raise tt.ArgumentError(
                f"DataLoader: {' and '.join(given)}",
                why="each of them says which samples make a batch",
                fix="give one of them",
            )
        if sampler is not None:
            return sampler
        return (
            RandomSampler(self.dataset, generator=self.generator)
            if shuffle
            else SequentialSampler(self.dataset)
        )

    def __len__(self) -> int:
        """Number of batches, of what has a length."""
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]  # of those that have a length
            size = self.batch_size or 1
            return n // size if self.drop_last else -(-n // size)
        order: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(order)

    def __iter__(self) -> Iterator[T_co]:
        # drawn with workers and without them, so that the orders that follow are the same
        seed = int(tt.randint(0, 2**62, (1,), generator=self.generator).item())
        fetch = Fetch(self.dataset, self.collate_fn, self._batched, self.batch_size or 1, self.drop_last)
        batches = self._from_workers(fetch, seed) if self.num_workers else self._from_here(fetch)
        return _pinned(batches) if self.pin_memory and tt.cuda.is_available() else batches

    def _orders(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            return repeat(None)
        return iter(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def _from_here(self, fetch: Fetch) -> Generator[T_co]:
        fetch.begin()
        for order in self._orders():
            batch = fetch(order)
            if batch is End:
                return
            yield batch

    def _from_workers(self, fetch: Fetch, seed: int) -> Generator[T_co]:
        workers = self._workers or self._started(fetch, seed)
        keep = False
        try:
            yield from workers.batches(self._orders(), seed)
            keep = self.persistent_workers
        except GeneratorExit:  # the loop was left early
            keep = self.persistent_workers
            raise
        finally:
            if not keep:
                self._workers = None
                workers.close()

    def _started(self, fetch: Fetch, seed: int) -> Workers:
        import multiprocessing  # most programs have no workers

        method = self.multiprocessing_context
        context = multiprocessing.get_context(method) if method is None or isinstance(method, str) else method
        job = Job(fetch, self.worker_init_fn, self.num_workers, seed)
        workers = Workers(job, context, self.prefetch_factor, self.timeout)
        if self.persistent_workers:
            self._workers = workers
            weakref.finalize(self, workers.close)
        return workers


def _pinned(batches: Generator[T_co]) -> Iterator[T_co]:
    with closing(batches):  # its workers end with a loop that is left early
        for batch in batches:
            yield pinned(batch)
