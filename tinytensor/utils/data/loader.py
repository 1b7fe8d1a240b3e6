"""DataLoader: batches of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import tinytensor.api as tt
from tinytensor.utils.data.collate import default_collate, default_convert, pinned
from tinytensor.utils.data.dataset import IterableDataset, rows, samples
from tinytensor.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, count

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Batches of a dataset; each iteration over the loader is an epoch.

    Args:
        dataset: samples by number (a Dataset, a list, an array), or an IterableDataset.
        batch_size: samples in a batch; None gives single samples, or what the dataset returns for an element
            of the sampler.
        sampler: an iterable of sample numbers, instead of shuffle.
        batch_sampler: an iterable of lists of numbers, instead of batch_size, shuffle, sampler and drop_last.
        collate_fn: makes a batch of a list of samples; default `default_collate`, and `default_convert` of
            one sample if batch_size is None.
        pin_memory: copy each batch into page-locked memory, from which copies to a GPU are faster. Nothing is
            done where there is no GPU.

    Differs from: torch.utils.data.DataLoader, which can make batches in worker processes. Here they are made
    in this one when they are asked for, and num_workers is 0.

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
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        generator: tt.Generator | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.drop_last = drop_last
        self.generator = generator
        self.pin_memory = pin_memory
        self.batch_size, self.batch_sampler = batch_size, batch_sampler
        self.sampler = self._sampler(shuffle, sampler)
        if batch_sampler is None and batch_size is not None:
            count(batch_size, "DataLoader: batch_size", at_least=1)
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        batched = self.batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._batched = batched

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
            sampler = ()
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
        batches = self._streamed() if isinstance(self.dataset, IterableDataset) else self._ordered()
        from tinytensor.cuda import is_available

        return map(pinned, batches) if self.pin_memory and is_available() else batches

    def _streamed(self) -> Iterator[T_co]:
        items = iter(self.dataset)
        while found := list(islice(items, self.batch_size or 1)):
            if self.drop_last and len(found) < (self.batch_size or 1):
                return
            yield self.collate_fn(found if self._batched else found[0])

    def _ordered(self) -> Iterator[T_co]:
        for order in self.sampler if self.batch_sampler is None else self.batch_sampler:
            if not self._batched:
                yield self.collate_fn(self.dataset[order])
            elif self.collate_fn is default_collate and (batch := rows(self.dataset, order)):
                yield batch  # type: ignore[misc]
            else:
                yield self.collate_fn(samples(self.dataset, order))
