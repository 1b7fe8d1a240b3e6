"""tt.utils.data beside torch.utils.data: programs give the same batches, and fail for the same options."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt

torch = pytest.importorskip("torch")
LIBRARIES: tuple[Any, Any] = (tt, torch)

Pair = namedtuple("Pair", "x y")


def plain(value: Any) -> Any:
    """Tensors as dtype and numbers, in the same structure."""
    if isinstance(value, tt.Tensor | torch.Tensor):
        return str(value.dtype).rpartition(".")[2], value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(item) for item in value]
    return value


def both(run: Callable[[Any], Any], *refused: type[Exception]) -> None:
    """Both libraries give the same, or both refuse."""
    found = []
    for library in LIBRARIES:
        try:
            found.append(plain(run(library)))
        except refused:
            found.append("refused")
    assert found[0] == found[1]


SAMPLES = [
    *(1, 0.5, True, "text", b"bytes", np.float32(2), np.ones((2, 1), np.int16), (1, 2.0), [1, [2, "a"]]),
    *({"a": 1, "b": {"c": (0.5, "x")}}, Pair(1, np.zeros(2)), None, {1, 2}),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=repr)
def test_collating_and_converting(sample: Any) -> None:
    both(lambda library: library.utils.data.default_collate([sample, sample]), TypeError)
    both(lambda library: library.utils.data.default_convert(sample), TypeError)


@given(st.integers(0, 13), st.sampled_from([None, 1, 2, 3, 20]), st.booleans(), st.booleans())
def test_batches(n: int, size: int | None, drop_last: bool, stream: bool) -> None:
    def batches(library: Any) -> Any:
        data = library.utils.data

        class Stream(data.IterableDataset):  # type: ignore[name-defined, misc]
            def __len__(self) -> int:
                return n

            def __iter__(self) -> Any:
                return iter(range(n))

        last = drop_last and size is not None
        loader = data.DataLoader(Stream() if stream else range(n), size, drop_last=last)
        return len(loader), list(loader)

    both(batches)


@pytest.mark.parametrize(
    "program",
    [
        "[len(p) for p in data.random_split(range(n), [n - 2, 2])]",
        "[len(p) for p in data.random_split(range(n), [0.5, 0.25, 0.25])]",
        "[len(p) for p in data.random_split(range(n), [0.3, 0.3, 0.4])]",
        "[data.ConcatDataset([range(3), range(10, 10 + n)])[i] for i in (0, 2, 3, -1, -n)]",
        "list(data.Subset(range(n), [2, 0]))",
        "list(data.BatchSampler(data.SequentialSampler(range(n)), 3, True))",
        "len(data.BatchSampler(data.SequentialSampler(range(n)), 3, False))",
        "sorted(data.RandomSampler(range(n)))",
        "len(list(data.RandomSampler(range(n), num_samples=2 * n + 1)))",
        "len(data.RandomSampler(range(n), True, 3))",
        "list(data.WeightedRandomSampler([0.0, 1.0], 4))",
        "[len(b) for b in data.DataLoader(range(n), sampler=[3, 1, 2], batch_size=2)]",
        "list(data.DataLoader(range(n), batch_sampler=[[3], [1, 2]]))",
        "list(data.DataLoader(range(n), None, sampler=[3, 1]))",
        "len(data.DataLoader(range(n), batch_sampler=[[3], [1, 2]]))",
        "list(data.DataLoader(data.TensorDataset(library.ones(n), library.ones(n, 2)), 4))",
        "data.DataLoader(range(n), shuffle=True, sampler=[1])",
        "data.DataLoader(range(n), batch_sampler=[[1]], batch_size=2)",
        "data.DataLoader(range(n), batch_sampler=[[1]], drop_last=True)",
        "data.DataLoader(range(n), None, drop_last=True)",
        "data.DataLoader(range(n), num_workers=-1)",
        "data.DataLoader(range(n), 0)",
        "data.TensorDataset(library.ones(2), library.ones(3))[0]",
        "data.random_split(range(n), [1, 2])",
        "list(data.DataLoader([library.ones(2), library.ones(3)], 2))",
    ],
)
def test_programs(program: str) -> None:
    both(
        lambda library: eval(program, {"data": library.utils.data, "library": library, "n": 8}),
        *(ValueError, RuntimeError, AssertionError),
    )
