"""Datasets, samplers, batches and the loader."""

import functools
import itertools
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)


def numbers(loader: DataLoader[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


# ---- datasets ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_a_sum_of_datasets_is_a_sum_of_lists(sizes: list[int], data: st.DataObject) -> None:
    parts = [list(range(100 * i, 100 * i + n)) for i, n in enumerate(sizes)]
    whole, both = list(itertools.chain(*parts)), ConcatDataset(parts)
    assert len(both) == len(whole)
    assert [both[i] for i in range(-len(whole), len(whole))] == whole + whole
    for outside in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            both[outside]
    chosen = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)) if whole else []
    part = Subset(both, chosen)
    assert [part[i] for i in range(len(part))] == [whole[i] for i in chosen]


@pytest.mark.parametrize(
    ("n", "lengths", "counts"),
    [
        (10, [3, 7], [3, 7]),
        (10, [0.8, 0.2], [8, 2]),
        (7, [0.5, 0.5], [4, 3]),
        (10, [0.33, 0.33, 0.34], [4, 3, 3]),  # floors 3, 3, 3, and one more
        (1, [1], [1]),
        (3, [1.0], [3]),
        (4, [0, 4], [0, 4]),
    ],
)
def test_random_split(n: int, lengths: list[float], counts: list[int]) -> None:
    parts = random_split(range(n), lengths, tt.Generator(1))
    assert [len(part) for part in parts] == counts
    assert sorted(itertools.chain(*parts)) == list(range(n))
    assert [list(p) for p in parts] == [list(p) for p in random_split(range(n), lengths, tt.Generator(1))]


@pytest.mark.parametrize("lengths", [[3, 3], [0.5, 0.2], [11, -1], [2.5, 7.5], []])
def test_lengths_that_do_not_add_up(lengths: list[float]) -> None:
    with pytest.raises(tt.ArgumentError, match="random_split: lengths"):
        random_split(range(10), lengths)


def test_what_a_dataset_refuses() -> None:
    with pytest.raises(tt.DTypeError, match="ndarray"):
        TensorDataset(np.ones(2))  # type: ignore[arg-type]
    for tensors in ((), (tt.ones(2), tt.ones(3)), (tt.tensor(1.0),)):
        with pytest.raises(tt.ShapeError, match="TensorDataset"):
            TensorDataset(*tensors)
    for datasets in ([], [IterableDataset()]):
        with pytest.raises(tt.ArgumentError, match="ConcatDataset"):
            ConcatDataset(datasets)
    with pytest.raises(TypeError, match="does not define __getitem__"):
        Dataset()[0]
    with pytest.raises(TypeError, match="does not define __iter__"):
        iter(IterableDataset())


# ---- samplers ----------------------------------------------------------------------------------------------


def test_samplers() -> None:
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    shuffled = RandomSampler(range(20), generator=tt.Generator(2))
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first == list(RandomSampler(range(20), generator=tt.Generator(2)))
    long = list(RandomSampler(range(3), num_samples=7))
    assert len(long) == 7
    assert sorted(long[:3]) == sorted(long[3:6]) == [0, 1, 2]
    assert len(list(RandomSampler(range(5), num_samples=2))) == 2
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=300, generator=tt.Generator(0)))
    assert np.bincount(drawn).min() > 70  # of 100 expected
    assert list(RandomSampler([])) == []
    weighted = list(WeightedRandomSampler([0.0, 3.0, 1.0], 4000, generator=tt.Generator(0)))
    assert np.bincount(weighted, minlength=3)[[0, 2]].tolist() == [0, pytest.approx(1000, abs=100)]
    assert sorted(WeightedRandomSampler([1.0, 2.0], 2, replacement=False)) == [0, 1]


@given(st.integers(0, 12), st.integers(1, 5), st.booleans())
def test_batches_are_slices(n: int, size: int, drop_last: bool) -> None:
    batches = [list(range(n))[i : i + size] for i in range(0, n, size)]
    expected = [b for b in batches if len(b) == size or not drop_last]
    sampler = BatchSampler(range(n), size, drop_last)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)
    for data in (range(n), TensorDataset(tt.arange(n)) if n else [], Count(n)):
        loader: DataLoader[Any] = DataLoader(data, size, drop_last=drop_last)
        found = [batch[0].tolist() if isinstance(batch, list) else batch.tolist() for batch in loader]
        assert found == expected
        assert len(loader) == len(expected)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_sizes_are_counts(wrong: Any) -> None:
    for make in (lambda: BatchSampler([], wrong, False), lambda: DataLoader([], wrong)):
        with pytest.raises(tt.ArgumentError, match="batch_size"):
            make()


# ---- batches -----------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "x name")


def test_default_collate() -> None:
    samples = [
        {"pair": Pair(np.full((2,), i, np.int16), str(i)), "t": (tt.ones(1), i / 2, True)} for i in range(3)
    ]
    batch = default_collate(samples)
    assert type(batch["pair"]) is Pair
    assert batch["pair"].x.dtype is tt.int16
    assert batch["pair"].x.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert batch["pair"].name == ("0", "1", "2")
    ones, halves, truths = batch["t"]
    assert (ones.shape, ones.dtype) == ((3, 1), tt.float32)
    assert (halves.tolist(), halves.dtype) == ([0.0, 0.5, 1.0], tt.float64)
    assert (truths.tolist(), truths.dtype) == ([True] * 3, tt.bool)
    assert default_collate([np.float32(1), np.float32(2)]).dtype is tt.float32
    assert default_collate([1, 2]).dtype is tt.int64


@pytest.mark.parametrize(
    ("samples", "error", "what"),
    [
        ([tt.ones(2), tt.ones(3)], tt.ShapeError, r"shapes \(2,\), \(3,\)"),
        ([np.ones(2), np.ones((2, 1))], tt.ShapeError, r"shapes \(2,\), \(2, 1\)"),
        ([[1, 2], [1]], tt.ShapeError, "lengths 1, 2"),
        ([{"a": 1}, {"b": 1}], tt.ArgumentError, "different keys"),
        ([{"a": 1}, {"a": 1, "b": 1}], tt.ArgumentError, "different keys"),
        ([None, None], tt.DTypeError, "type NoneType"),
        ([], tt.ArgumentError, "no samples"),
    ],
)
def test_samples_that_make_no_batch(samples: list[Any], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        default_collate(samples)


def test_a_batch_of_rows_is_that_of_default_collate() -> None:
    data = TensorDataset(tt.randn(10, 2, requires_grad=True), tt.arange(10).to(tt.uint8))
    part = Subset(Subset(data, [9, 1, 5, 3]), [2, 0, 3])
    order = [[1, 0], [2]]
    for dataset in (data, part):
        quick = list(DataLoader(dataset, batch_sampler=order))
        slow = list(DataLoader(dataset, batch_sampler=order, collate_fn=lambda batch: default_collate(batch)))
        for one, other in zip(quick, slow, strict=True):
            assert [t.tolist() for t in one] == [t.tolist() for t in other]
            assert [t.dtype for t in one] == [t.dtype for t in other]
            assert one[0].requires_grad
            assert not one[0].is_leaf


def test_default_convert() -> None:
    found = default_convert({"a": [np.ones(2), np.int8(3)], "p": Pair(np.array("text"), None)})
    assert found["a"][0].tolist() == [1.0, 1.0]
    assert (found["a"][1].item(), found["a"][1].dtype) == (3, tt.int8)
    assert type(found["p"]) is Pair
    assert isinstance(found["p"].x, np.ndarray)


# ---- the loader --------------------------------------------------------------------------------------------


class Count(IterableDataset[int]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Any:
        return iter(range(self.n))


class Several(Dataset[int]):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __len__(self) -> int:
        return 6

    def __getitems__(self, indices: list[int]) -> list[int]:
        self.calls += 1
        return [10 * i for i in indices]


def test_shuffling_is_another_order_each_epoch_and_repeats_with_the_seed() -> None:
    def epochs(seed: int) -> list[list[list[int]]]:
        loader: DataLoader[Any] = DataLoader(range(10), 3, True, generator=tt.Generator(seed))
        return [numbers(loader) for _ in range(3)]

    assert epochs(1) == epochs(1) != epochs(2)
    first, second, _ = epochs(1)
    assert sorted(itertools.chain(*first)) == list(range(10))
    assert first != second
    tt.manual_seed(5)
    one = numbers(DataLoader(range(10), 3, shuffle=True))
    tt.manual_seed(5)
    assert one == numbers(DataLoader(range(10), 3, shuffle=True))


def test_orders_of_ones_own() -> None:
    assert numbers(DataLoader(range(5), 2, sampler=[4, 4, 0])) == [[4, 4], [0]]
    assert numbers(DataLoader(range(5), batch_sampler=[[3], [1, 2]])) == [[3], [1, 2]]
    assert len(DataLoader(range(5), batch_sampler=[[3], [1, 2]])) == 2
    assert list(DataLoader(range(3), batch_size=None)) == [0, 1, 2]
    assert len(DataLoader(range(3), batch_size=None)) == 3
    whole = TensorDataset(tt.arange(5))
    slices: DataLoader[Any] = DataLoader(whole, batch_size=None, sampler=BatchSampler(range(5), 2, False))
    assert [x.tolist() for (x,) in slices] == [[0, 1], [2, 3], [4]]
    assert [x.tolist() for x in DataLoader([np.ones(1)], batch_size=None)] == [[1.0]]
    several = Several()
    assert numbers(DataLoader(several, 4)) == [[0, 10, 20, 30], [40, 50]]
    assert several.calls == 2
    assert numbers(DataLoader(Subset(several, [5, 1]), 2)) == [[50, 10]]
    assert list(DataLoader(range(4), 3, collate_fn=sum)) == [3, 3]
    assert list(DataLoader(Count(3), batch_size=None)) == [0, 1, 2]


def test_two_iterations_at_once() -> None:
    for data in (range(4), Count(4)):
        loader: DataLoader[Any] = DataLoader(data, 2)
        pairs = [(a.tolist(), b.tolist()) for a in loader for b in loader]
        assert pairs == [(a, b) for a in ([0, 1], [2, 3]) for b in ([0, 1], [2, 3])]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"shuffle": True, "sampler": [0]}, "sampler and shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler and batch_size"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler and drop_last"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler and shuffle"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None and drop_last"),
        ({"dataset": Count(2), "shuffle": True}, "shuffle of an IterableDataset"),
        ({"dataset": Count(2), "sampler": [0]}, "sampler of an IterableDataset"),
        ({"dataset": Count(2), "batch_sampler": [[0]]}, "batch_sampler of an IterableDataset"),
    ],
)
def test_options_that_cannot_be_kept(options: dict[str, Any], what: str) -> None:
    with pytest.raises(tt.ArgumentError, match=f"DataLoader: {what}"):
        DataLoader(**{"dataset": range(3), **options})


def test_errors_of_ones_own() -> None:
    with pytest.raises(TypeError, match="Mine: the class does not define __iter__"):
        list(DataLoader(range(3), sampler=type("Mine", (Sampler,), {})()))
    with pytest.raises(IndexError):
        list(DataLoader([1], sampler=[3]))
    with pytest.raises(TypeError, match="colour"):
        DataLoader([1], colour="red")  # type: ignore[call-arg]


def test_batches_are_made_in_this_process() -> None:
    (batch,) = DataLoader([1, 2], 2, num_workers=0, persistent_workers=False, worker_init_fn=None)  # type: ignore[call-arg]
    assert batch.tolist() == [1, 2]
    with pytest.raises(tt.ArgumentError, match="num_workers") as caught:
        DataLoader([1, 2], 2, num_workers=4)  # type: ignore[call-arg]
    assert "np.memmap" in str(caught.value)


def test_an_order_without_end_is_drawn_as_it_is_used() -> None:
    endless = RandomSampler(range(5), replacement=True, num_samples=10**15, generator=tt.Generator(1))
    assert len(endless) == 10**15
    drawn = list(itertools.islice(endless, 5000))
    assert set(drawn) == set(range(5))
    pieces = [drawn[:1024], drawn[1024:2048]]
    assert pieces[0] != pieces[1]
    again = RandomSampler(range(5), replacement=True, num_samples=3000, generator=tt.Generator(1))
    order = []
    for number in again:
        tt.rand(3)  # what a dataset draws meanwhile changes nothing
        order.append(number)
    assert order == drawn[:3000]


def test_pinned_batches_are_copies_in_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    Pair = namedtuple("Pair", "x names")
    data = [
        {"pair": Pair(tt.full((2,), float(i), dtype=tt.bfloat16), "ab"[i]), "rest": [i]} for i in range(2)
    ]

    def batch() -> Any:
        (found,) = DataLoader(data, batch_size=2, pin_memory=True)
        return found

    monkeypatch.setattr(tt.cuda, "is_available", lambda: False)
    plain = batch()
    monkeypatch.setattr(tt.cuda, "is_available", lambda: True)
    monkeypatch.setattr(tt.cuda, "pinned", functools.partial(tt.cuda.pinned, device="emulated"))
    found = batch()
    assert isinstance(found["pair"], Pair)
    assert list(found["pair"].names) == list(plain["pair"].names) == ["a", "b"]
    for x, y in ((found["pair"].x, plain["pair"].x), (found["rest"][0], plain["rest"][0])):
        assert (x.dtype, x.tolist()) == (y.dtype, y.tolist())
        tt.cuda.copy_async(tt.empty_like(x, device="emulated"), x)  # which takes pinned memory alone
        with pytest.raises(tt.ArgumentError):
            tt.cuda.copy_async(tt.empty_like(y, device="emulated"), y)


def test_an_order_of_samples_without_a_number_is_refused_at_once() -> None:
    class Endless:
        def __getitem__(self, index: int) -> int:
            return index

    for make in (lambda: DataLoader(Endless(), shuffle=True), lambda: RandomSampler(Endless())):  # type: ignore[arg-type]
        with pytest.raises(tt.DTypeError, match="Endless has no __len__"):
            make()
    assert len(RandomSampler(Endless(), num_samples=3)) == 3  # type: ignore[arg-type]
