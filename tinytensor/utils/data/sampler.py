"""Samplers: iterables of sample numbers, or of lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import tinytensor.api as tt

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "WeightedRandomSampler"]

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """An order of samples: a subclass defines `__iter__()`, which yields numbers of samples, and `__len__()`.

    Any iterable of numbers is a sampler: this class is a name for it.

    >>> class Evens(tt.utils.data.Sampler):
    ...     def __iter__(self):
    ...         return iter(range(0, 6, 2))
    >>> [batch.tolist() for batch in tt.utils.data.DataLoader(range(6), batch_size=2, sampler=Evens())]
    [[0, 2], [4]]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise tt.DTypeError(
            f"{type(self).__name__}: the class does not define __iter__",
            why="the numbers of the samples come from it",
            fix="add to the class: def __iter__(self): …",
        )


class SequentialSampler(Sampler[int]):
    """All samples in their order.

    >>> list(tt.utils.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))


_PIECE = 1024  # samples drawn at once


class RandomSampler(Sampler[int]):
    """Samples in a random order, another one in each epoch.

    Args:
        num_samples: how many to draw; default the length of the dataset. Without replacement, more than that
            go through the dataset again, in another order.

    >>> sorted(tt.utils.data.RandomSampler("abc"))
    [0, 1, 2]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: tt.Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        if num_samples is None and not hasattr(data_source, "__len__"):
            raise tt.DTypeError(
                f"RandomSampler: a {type(data_source).__name__} has no __len__",
                why="a random order is one of all samples, whose number has to be known",
                fix="add def __len__(self) to the dataset, or leave out shuffle=True",
            )
        self._num_samples = None if num_samples is None else count(num_samples, "RandomSampler: num_samples")
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """Number of samples of an epoch."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        if not n:
            return iter(())
        return islice(self._draws(n) if self.replacement else self._rounds(n), wanted)

    def _draws(self, n: int) -> Iterator[int]:
        # by pieces, since num_samples may be a number that no memory holds; and from a stream of its own, so
        # that they do not depend on what a dataset draws meanwhile
        seed = int(tt.randint(0, 2**62, (1,), generator=self.generator).item())
        stream = tt.Generator(seed)
        while True:
            yield from tt.randint(0, n, (_PIECE,), generator=stream).tolist()

    def _rounds(self, n: int) -> Iterator[int]:
        while True:
            yield from tt.permutation(n, generator=self.generator).tolist()


class WeightedRandomSampler(Sampler[int]):
    """Samples at random, more often those of larger weights.

    Args:
        weights: a weight for each sample, not negative; they need not add up to 1.

    >>> list(tt.utils.data.WeightedRandomSampler([0.0, 1.0, 0.0], num_samples=3))
    [1, 1, 1]
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: tt.Generator | None = None
    ) -> None:
        self.weights = tt.asarray(weights, dtype=tt.float64)
        self.num_samples = count(num_samples, "WeightedRandomSampler: num_samples")
        self.replacement = replacement
        self.generator = generator

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        drawn: list[int] = tt.multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        ).tolist()
        return iter(drawn)


class BatchSampler(Sampler[list[int]]):
    """Lists of numbers from another sampler.

    >>> list(tt.utils.data.BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = count(batch_size, "BatchSampler: batch_size", at_least=1)
        self.drop_last = drop_last

    def __len__(self) -> int:
        n: int = len(self.sampler)  # type: ignore[arg-type]  # of samplers that have a length
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch


def count(value: Any, what: str, at_least: int = 0) -> int:
    """The integer; ArgumentError if it is none, or too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise tt.ArgumentError(
            f"{what} is {value!r}", why="it counts", fix=f"give an integer, {at_least} or more"
        )
    return value
