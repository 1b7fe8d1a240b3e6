"""Sizes and numbers that no memory and no dtype holds: each call works or raises an error of the engine."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops

resource = pytest.importorskip("resource")

SIZES: list[Any] = [2**50, 2**62, 2**63, 2**64, 10**30, 10**5000, -1, -(2**70)]
SHAPES: list[Any] = [
    *SIZES,
    *[(2**31, 2**31), (2**40, 2**40), (2**62, 2**62, 0), (0, 2**62, 2**62), (2**62, 0), (0, 2**63)],
    *[(0, 2**64), (0, 10**5000), (-1, 2**62), (2**20,) * 70],
]
BY_SHAPE: dict[str, Callable[[Any, str], object]] = {
    "empty": lambda s, d: tt.empty(s, device=d),
    "zeros": lambda s, d: tt.zeros(s, dtype=tt.bool, device=d),
    "ones": lambda s, d: tt.ones(s, dtype=tt.float64, device=d),
    "full": lambda s, d: tt.full(s, 1.5, device=d),
    "rand": lambda s, d: tt.rand(s, device=d),
    "randn": lambda s, d: tt.randn(s, device=d),
    "randint": lambda s, d: tt.randint(0, 5, s, device=d),
    "expand": lambda s, d: repr(tt.zeros((), device=d).expand(s)),
    "broadcast_to": lambda s, d: repr(tt.broadcast_to(tt.zeros((), device=d), s)),
    "reshape": lambda s, d: tt.zeros(4, device=d).reshape(s),
    "reshape of nothing": lambda s, d: repr(tt.zeros(0, device=d).reshape(s)),
    "tile": lambda s, d: tt.tile(tt.zeros(4, device=d), s),
}
BY_SIZE: dict[str, Callable[[Any, str], object]] = {
    "arange": lambda n, d: tt.arange(n, device=d),
    "arange from 0": lambda n, d: tt.arange(0, n, device=d),
    "arange of floats": lambda n, d: tt.arange(0.5, n, device=d),
    "arange step": lambda n, d: tt.arange(0, 4, n, device=d),
    "linspace": lambda n, d: tt.linspace(0, 1, n, device=d),
    "linspace to": lambda n, d: tt.linspace(0, n, 3, device=d),
    "eye": lambda n, d: tt.eye(n, device=d),
    "eye of nothing": lambda n, d: tt.eye(0, n, device=d),
    "eye k": lambda n, d: tt.eye(3, 4, k=n, device=d),
    "repeat": lambda n, d: tt.repeat(tt.zeros(4, device=d), n),
    "permutation": lambda n, d: tt.permutation(n, device=d),
    "one_hot": lambda n, d: tt.one_hot(tt.zeros(4, dtype=tt.int64, device=d), n),
    "pad": lambda n, d: ops.pad(tt.zeros(4, device=d), ((0, n),)),
    "tril": lambda n, d: tt.tril(tt.ones(3, 3, device=d), n),
    "roll": lambda n, d: tt.roll(tt.ones(3, device=d), n),
    "tensor": lambda n, d: tt.tensor([n], device=d),
    "full of": lambda n, d: tt.full(3, n, device=d),
    "add": lambda n, d: tt.ones(3, device=d) + n,
    "add to integers": lambda n, d: tt.ones(3, dtype=tt.int32, device=d) + n,
    "fill_": lambda n, d: tt.ones(3, device=d).fill_(n),
    "index": lambda n, d: tt.ones(3, device=d)[n],
    "slice": lambda n, d: tt.ones(3, device=d)[n:],
    "setitem": lambda n, d: tt.ones(3, dtype=tt.int32, device=d).__setitem__(0, n),
}


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """At most 8 GiB more of addresses than now, so that large arrays are refused on every machine."""
    with open("/proc/self/statm") as f:
        now = int(f.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + (8 << 30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("name", [*BY_SHAPE, *BY_SIZE])
def test_sizes_beyond_all_memory_end_in_an_error_of_the_engine(name: str, device: str) -> None:
    call = BY_SHAPE.get(name) or BY_SIZE[name]
    with little_memory():
        for size in SHAPES if name in BY_SHAPE else SIZES:
            with contextlib.suppress(tt.TinyTensorError):
                call(size, device)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_numbers_of_arange_are_those_of_range(device: str) -> None:
    for bounds in [(0, 4, 2**64), (5, -7, -3), (-(2**63), -(2**63) + 3), (2**63 - 3, 2**63), (3, 3), (3, 1)]:
        assert tt.arange(*bounds, device=device).tolist() == list(range(*bounds))
    high = (2**64 - 9, 2**64, 4)
    assert tt.arange(*high, dtype=tt.uint64, device=device).tolist() == list(range(*high))
    assert tt.arange(5, dtype=tt.float16, device=device).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    for given in [(0.5, 3.2, 0.3), (3, 0.0, -0.1), (1, 2, 0.25)]:
        assert tt.arange(*given, dtype=tt.float64, device=device).tolist() == np.arange(*given).tolist()


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("k", [0, 1, -1, 2, -3, 3, 9, -9])
def test_eye_is_numpys(k: int, device: str) -> None:
    for shape in [(3, 3), (2, 4), (4, 2), (0, 3)]:
        ours = tt.eye(*shape, k=k, dtype=tt.int32, device=device)
        assert ours.tolist() == np.eye(*shape, k, np.int32).tolist()
        assert ours.shape == shape


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    "counts", [[2**62] * 4, [2**63 - 1] * 2, [2**62, 2**62, 2**62, 2**62 + 1], [2**50, 0, 0, 1]]
)
def test_repeats_whose_sum_overflows_are_refused(counts: list[int], device: str) -> None:
    x = tt.zeros(len(counts), device=device)
    with pytest.raises((tt.ShapeError, tt.AllocationError), match=r"^repeat: "), little_memory():
        tt.repeat(x, tt.tensor(counts, device=device))
    with pytest.raises((tt.ShapeError, tt.AllocationError), match=r"^repeat: "), little_memory():
        tt.repeat(x, tt.tensor([2**63, *counts[1:]], dtype=tt.uint64, device=device))


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_repr_reads_only_what_it_shows(dtype: str, device: str) -> None:
    x = tt.ones(1, dtype=dtype, device=device).expand(2**30, 2**31)
    shown = repr(x).partition("dtype")[0]
    assert shown.count("1") == 6 * 6
    assert f"{x}" == repr(x)


def test_nothing_is_selected_from_an_empty_giant() -> None:
    for device in ("cpu", "emulated"):
        x = tt.ones(1, device=device).expand(0, 2**40)
        assert x[([],)].shape == (0, 2**40)
        assert x.flip(0).contiguous().shape == (0, 2**40)


def test_differences_of_nothing_end() -> None:
    x = tt.arange(4)
    assert [tt.diff(x, n=n).shape for n in (0, 1, 3, 4, 5, 2**62)] == [(4,), (3,), (1,), (0,), (0,), (0,)]
    assert tt.diff(tt.ones(1).expand(0, 2**40), 2**39, 1).shape == (0, 2**39)
    assert tt.diff(tt.ones(2, 3), 2**31 - 1, 0, prepend=tt.ones(1, 3)).shape == (0, 3)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_rows_without_numbers_are_one_block(device: str) -> None:
    x = tt.ones(1, device=device).expand(2**58, 1)[:, :0]
    assert ops.rms_norm(x).shape == (2**58, 0)
    assert tt.softmax(x, -1).shape == (2**58, 0)
    assert tt.gelu(x, "tanh").shape == (2**58, 0)
    assert ops.layer_norm(x).shape == (2**58, 0)
