"""Datasets: samples by number, or one after another; parts and sums of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

import tinytensor.api as tt

__all__ = ["ConcatDataset", "Dataset", "IterableDataset", "Subset", "TensorDataset", "random_split"]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by number: a subclass defines `__getitem__(index)` and `__len__()`.

    A list or an array is a dataset, too: this class is a name for it. A method `__getitems__(indices)`, which
    returns a list of samples, is called once for a batch where it exists.

    >>> class Squares(tt.utils.data.Dataset):
    ...     def __len__(self):
    ...         return 5
    ...     def __getitem__(self, i):
    ...         return tt.tensor(i * i)
    >>> [batch.tolist() for batch in tt.utils.data.DataLoader(Squares(), batch_size=2)]
    [[0, 1], [4, 9], [16]]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise _undefined(self, "__getitem__(self, index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples one after another, as from a file or a stream: a subclass defines `__iter__()`.

    >>> class Count(tt.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(5))
    >>> [batch.tolist() for batch in tt.utils.data.DataLoader(Count(), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise _undefined(self, "__iter__(self)")


def _undefined(dataset: object, method: str) -> tt.DTypeError:
    name = type(dataset).__name__
    return tt.DTypeError(
        f"{name}: the class does not define {method.partition('(')[0]}",
        why="the samples of a dataset come from it",
        fix=f"add to the class {name}: def {method}: …",
    )


class TensorDataset(Dataset[tuple[tt.Tensor, ...]]):
    """The rows of tensors: sample i is the tuple of their i-th elements along the first axis.

    Args:
        tensors: tensors (N, …) of one N.

    >>> data = tt.utils.data.TensorDataset(tt.arange(6).reshape(3, 2), tt.tensor([0, 1, 0]))
    >>> len(data), data[1]
    (3, (tensor([2, 3]), tensor(1)))
    """

    def __init__(self, *tensors: tt.Tensor) -> None:
        if others := [type(t).__name__ for t in tensors if not is_tensor(t)]:
            raise tt.DTypeError(
                f"TensorDataset: an argument of type {others[0]}",
                why="it slices tensors",
                fix="tt.asarray(x) makes an array a tensor, and shares its memory",
            )
        if not tensors or len({t.shape[:1] for t in tensors}) > 1 or not tensors[0].shape:
            raise tt.ShapeError(
                f"TensorDataset: tensors of shapes {', '.join(str(t.shape) for t in tensors) or 'none'}",
                why="sample i has the i-th element of each of them, along the first axis",
                fix="give at least one tensor, all with the same number of elements along the first axis",
            )
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[tt.Tensor, ...]:
        return tuple([t[index] for t in self.tensors])


def is_tensor(x: object) -> bool:
    """Whether x is a tensor, whatever its annotation says."""
    return isinstance(x, tt.Tensor)


class Subset(Dataset[T_co]):
    """Some samples of a dataset.

    >>> part = tt.utils.data.Subset("abcdef", [4, 0])
    >>> len(part), part[0]
    (2, 'e')
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T_co:
        chosen = [self.indices[i] for i in index] if isinstance(index, list) else self.indices[index]
        sample: T_co = self.dataset[chosen]
        return sample

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        return samples(self.dataset, [self.indices[i] for i in indices])


def samples(dataset: Any, indices: list[int]) -> list[Any]:
    """Samples of these numbers, by one call where the dataset has `__getitems__`."""
    several = getattr(dataset, "__getitems__", None)
    return [dataset[i] for i in indices] if several is None else list(several(indices))


def rows(dataset: Any, indices: list[int]) -> list[tt.Tensor] | None:
    """The result of `default_collate` for these samples of a TensorDataset, or of a part of one, in a tenth
    of the time: one index for all samples. None for other datasets, and for other numbers than Python's.
    """
    if type(dataset) is Subset:
        return rows(dataset.dataset, [dataset.indices[i] for i in indices])
    plain = type(dataset) is TensorDataset and {*map(type, indices)} == {int}
    return [t[indices] for t in dataset.tensors] if plain else None


class ConcatDataset(Dataset[T_co]):
    """Several datasets as one, one behind the other.

    >>> both = tt.utils.data.ConcatDataset(["abc", "de"])
    >>> len(both), both[3], both[-1]
    (5, 'd', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets or any(isinstance(d, IterableDataset) for d in self.datasets):
            raise tt.ArgumentError(
                f"ConcatDataset: {'an IterableDataset' if self.datasets else 'no datasets'}",
                why="it finds a sample by its number, in at least one dataset with a length",
                fix="chain iterables in the __iter__ of one of your own: yield from a; yield from b",
            )
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        n = len(self)
        if not -n <= index < n:
            raise tt.IndexRangeError(
                f"ConcatDataset: index {index}",
                why=f"there are {n} samples",
                fix=f"an index from 0 to {n - 1}",
            )
        at = index % n
        which = bisect_right(self.cumulative_sizes, at)
        sample: T_co = self.datasets[which][at - (self.cumulative_sizes[which - 1] if which else 0)]
        return sample


def random_split(
    dataset: Any, lengths: Sequence[float], generator: tt.Generator | None = None
) -> list[Subset[Any]]:
    """Split a dataset into parts at random, each sample in one of them.

    Args:
        lengths: numbers of samples, which add up to the length of the dataset; or fractions, which add up to
            1: what remains after rounding down goes to the first parts, one each.

    >>> train, test = tt.utils.data.random_split(range(10), [0.8, 0.2])
    >>> len(train), len(test), sorted([*train, *test])
    (8, 2, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    n = len(dataset)
    counts = [math.floor(n * part) for part in lengths]
    if any(isinstance(part, float) for part in lengths) and math.isclose(sum(lengths), 1):
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(part) for part in lengths]
    if sum(counts) != n or min([*lengths, 0]) < 0 or any(c != p for c, p in zip(counts, lengths) if p > 1):
        raise tt.ArgumentError(
            f"random_split: lengths {list(lengths)} of a dataset of {n} samples",
            why="each sample goes to one part",
            fix=f"integers that add up to {n}, or fractions that add up to 1",
        )
    order = tt.permutation(n, generator=generator).tolist()
    ends = list(accumulate(counts))
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts)]
