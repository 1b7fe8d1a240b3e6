"""Plans of calls: made once, shared by equal metadata, and bounded in number."""

import threading

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.dispatch import plan
from tinytensor.op import registry


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for op in registry.values():
        monkeypatch.setattr(op, "plans", {})
        monkeypatch.setattr(op, "planned", 0)


def planned(name: str) -> int:
    return registry[name].planned


def test_a_plan_is_made_once() -> None:
    x, y = tt.ones(2, 3), tt.ones(2, 3)
    for _ in range(3):
        assert (x + y).sum(axis=1).tolist() == [6, 6]
        assert (y * 2.0).tolist() == [[2, 2, 2]] * 2
    assert (planned("add"), planned("sum"), planned("multiply")) == (1, 1, 1)
    assert (x + tt.ones(3)).shape == (2, 3)
    assert (x + y.astype(tt.float64)).dtype is tt.float64
    assert (x + 1).dtype is (x + 1.0).dtype is tt.float32
    assert planned("add") == 5


def test_rows_of_a_matrix_share_a_plan() -> None:
    x = tt.arange(12, dtype=tt.float32).reshape(4, 3)
    assert [(row * 2).tolist() for row in x] == (2 * x).tolist()
    assert planned("multiply") == 2  # of a row, and of the matrix


def test_random_positions_share_a_plan() -> None:
    x = tt.ones(1000)
    masks = [tt.dropout(x, 0.5, generator=tt.Generator(seed)).tolist() for seed in range(5)]
    assert planned("dropout") == 1
    assert len({tuple(mask) for mask in masks}) == 5


def test_numbers_are_checked_at_each_call() -> None:
    x = tt.ones(3, dtype=tt.int8)
    assert (x + 100).tolist() == [101] * 3
    with pytest.raises(OverflowError, match="add: the Python number 1000"):
        x + 1000
    assert (x == 1).all()
    with pytest.raises(OverflowError, match="equal: the Python number 1000"):
        _ = x == 1000
    assert (x + 100).tolist() == [101] * 3


def test_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_PLANS", 10)
    for n in range(1, 50):
        assert tt.exp(tt.zeros(n)).tolist() == [1] * n
        assert planned("exp") <= 10


def test_errors_do_not_name_the_table_as_their_cause() -> None:
    with pytest.raises(tt.ShapeError) as caught:
        tt.ones(3) + tt.ones(4)
    assert caught.value.__context__ is None
    with pytest.raises(tt.ShapeError) as caught:
        tt.ones(2, 3) @ tt.ones(4, 5)
    assert caught.value.__context__ is None


def test_settings_take_effect_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (tt.tensor(np.random.default_rng(i).normal(size=(20, 20)), dtype=tt.float32) for i in range(2))
    first = a @ b
    monkeypatch.setattr(tt.config, "matmul", "own")
    np.testing.assert_allclose((a @ b).numpy(), first.numpy(), rtol=1e-4, atol=1e-5)
    with tt.autocast(tt.bfloat16):
        assert (a @ b).dtype is tt.bfloat16
    assert (a @ b).dtype is tt.float32


def test_threads_make_the_same_plan() -> None:
    results: list[list[float]] = []

    def work() -> None:
        for n in range(1, 40):
            results.append((tt.ones(n) * 2.0 + tt.ones(n)).tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results)) == sorted(list(range(1, 40)) * 4)
    assert {x for result in results for x in result} == {3.0}
