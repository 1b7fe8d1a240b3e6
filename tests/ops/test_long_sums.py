"""Long sums: float32 that is added to one number again and again loses digits, then whole summands. Here no
sum does, in any layout and dtype: the results are compared with exact ones."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops

pytestmark = pytest.mark.usefixtures("mode")
N = 2**21  # in one run float32 sums of so many 0.1 are wrong in the second digit
BOUND = 2e-5  # as documented
TENTH = float(np.float32(0.1))


def tenths(*shape: int, dtype: Any = "float32") -> tt.Tensor:
    return tt.full((1,) * len(shape), 0.1, dtype=dtype).expand(*shape)


def close(found: tt.Tensor, expected: complex) -> None:
    a = np.asarray(found.astype("complex128" if found.dtype is tt.complex64 else "float64").numpy())
    assert a.size
    assert np.abs(a - expected).max() <= BOUND * abs(expected)


LAYOUTS: dict[str, tuple[Callable[[], tt.Tensor], Any]] = {
    "repeated": (lambda: tenths(N, 2), 0),
    "middle axis": (lambda: tenths(1, N, 2).contiguous(), 1),
    "every second row": (lambda: tenths(2 * N, 2).contiguous()[::2], 0),
    "backwards": (lambda: tenths(N, 2).contiguous()[::-1], 0),
    "a row in columns": (lambda: tenths(N, 3).contiguous()[:, :2].T, 1),
    "two axes apart": (lambda: tenths(2**11, 3, 2**10).contiguous(), (0, 2)),
    "two axes in front": (lambda: tenths(2**11, 2**10, 2).contiguous(), (0, 1)),
    "packed columns": (lambda: tenths(N + 5, 2).contiguous(), 0),
    "packed rows": (lambda: tenths(2, N + 5).contiguous(), 1),
    "one row": (lambda: tenths(N).contiguous(), None),
    "complex": (lambda: tenths(N, 2, dtype="complex64").contiguous(), 0),
    "complex rows": (lambda: tenths(2, N, dtype="complex64").contiguous(), 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_sum_and_mean_of_every_layout(name: str) -> None:
    make, axis = LAYOUTS[name]
    x = make()
    total = x.sum(axis=axis)
    close(total, TENTH * (x.size // total.size))
    close(x.mean(axis=axis), TENTH)


def test_2_to_the_25_ones() -> None:
    assert tt.ones(1, 2).expand(2**25, 2).sum(axis=0).tolist() == [2.0**25] * 2
    w = tt.zeros(2, requires_grad=True)
    (tt.zeros(1, 2).expand(2**25, 2) + w).sum().backward()
    assert w.grad.tolist() == [2.0**25] * 2


@pytest.mark.parametrize(("shape", "axis"), [((1, 10**6, 2), 1), ((10**6, 2), 0), ((2, 10**6), 1)])
def test_random_numbers_against_exact_sums(shape: tuple[int, ...], axis: int) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    exact = [math.fsum(row) for row in np.moveaxis(x, axis, -1).reshape(2, -1).tolist()]
    found = tt.tensor(x).sum(axis=axis).reshape(-1).tolist()
    assert np.abs(np.divide(found, exact) - 1).max() < 1e-6


def test_statistics() -> None:
    x = tenths(N, 2)
    assert x.var(axis=0).max().item() < 1e-12
    for length in (x.norm(axis=0), tenths(N).contiguous().norm(), tenths(2, N).contiguous().norm(axis=1)):
        close(length, TENTH * math.sqrt(N))
    close(x.norm(1, axis=0), TENTH * N)
    close(x.logsumexp(axis=0), TENTH + math.log(N))
    for share in (tt.softmax(x, axis=0)[:1], tt.softmax(tenths(1, N), axis=1)[:, :1]):
        close(share, 1 / N)
    for log in (tt.log_softmax(x, axis=0)[:1], tt.log_softmax(tenths(1, N), axis=1)[:, :1]):
        close(log, -math.log(N))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_running_sums(dtype: str) -> None:
    close(tt.cumulative_sum(tenths(N, dtype=dtype))[-1:], TENTH * N)


def gradient(make: Callable[[tt.Tensor], tt.Tensor], *shape: int) -> tt.Tensor:
    """The gradient of a parameter where the gradient of each number of the result is 0.1."""
    w = tt.zeros(*shape, requires_grad=True)
    y = make(w)
    y.backward(tenths(*y.shape).contiguous())
    return w.grad


def test_gradients_of_what_many_rows_share() -> None:
    close(gradient(lambda w: w.expand(1, N, 2), 1, 1, 2), TENTH * N)
    close(gradient(lambda w: w.expand(N, 2), 2), TENTH * N)
    close(gradient(lambda b: tt.linear(tt.zeros(N, 1), tt.zeros(1, 2), b, transposed=False), 2), TENTH * N)
    signs = tt.tensor([[1.0, -1.0]]).expand(N, 2).contiguous()
    close(gradient(lambda b: ops.layer_norm(signs, tt.ones(2), b, eps=0.0), 2), TENTH * N)
    close(abs(gradient(lambda w: ops.layer_norm(signs, w, tt.ones(2), eps=0.0), 2)), TENTH * N)
    close(abs(gradient(lambda w: ops.rms_norm(signs, w, eps=0.0), 2)), TENTH * N)
    ids = tt.ones(N, dtype=tt.int64)
    close(gradient(lambda w: ops.embedding(w, ids), 3, 2)[1], TENTH * N)
    close(gradient(lambda w: w[ids], 3, 2)[1], TENTH * N)


@pytest.mark.parametrize("n", [129, 1000, 4097, 5003])
def test_numbers_of_one_axis_from_the_back(n: int) -> None:
    """Runs of equal length leave a rest, which is one number where there is but one axis."""
    numbers = np.random.default_rng(n).standard_normal(n)
    for dtype in ("float32", "float64", "complex64"):
        a = numbers.astype(dtype)
        x = tt.from_numpy(a)[::-1]
        exact = math.fsum(a.real.astype(float).tolist())
        assert abs(complex(x.sum().item()) - exact) <= 1e-6 * float(np.abs(a).sum())
        assert abs(complex(x.mean().item()) - exact / n) <= 1e-6
    assert abs(tt.from_numpy(numbers)[::-1].var().item() - numbers.var()) <= 1e-12
