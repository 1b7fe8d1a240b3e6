"""Plans of calls: made once, shared by equal metadata, and bounded in number."""

import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.observed import observed
from tests.helpers.threads import in_threads
from tinytensor import op as op_module
from tinytensor.dispatch import plan
from tinytensor.dispatch.apply import apply
from tinytensor.events import observers
from tinytensor.op import Op, Spec, registry
from tinytensor.op import _ops as table

tensor_module = import_module("tinytensor.tensor")


@pytest.fixture(autouse=True)
def fresh() -> None:
    plan.forget_plans()


def planned(*kinds: Any) -> int:
    """The number of plans of ops, or of all."""

    def count(place: Any) -> int:
        return sum(map(count, place.values())) if isinstance(place, dict) else 1

    kinds = tuple([registry[kind] if isinstance(kind, str) else kind for kind in kinds or registry])
    ops = [*kinds, *[op for op in table.values() if op.fields and isinstance(op, kinds)]]
    return sum([count(op.plans) for op in ops])


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
    def work(_: int) -> list[list[float]]:
        return [(tt.ones(n) * 2.0 + tt.ones(n)).tolist() for n in range(1, 40)]

    assert in_threads(work, 4) == [[[3.0] * n for n in range(1, 40)]] * 4


def test_an_op_with_optional_inputs_and_parameters() -> None:
    class Sum(Op):
        inputs = ("x", "y")
        name, sources, slots = "optional", (), {}

        k: Any = 1

        def infer(self, x: Spec, y: Spec | None) -> tuple[Spec]:
            return (x,)

        def cpu(self, out: Any, x: Any, y: Any) -> None:
            out[...] = x if y is None else x + y

    x = tt.ones(2)
    for _ in range(2):
        assert apply(Sum(), x, None).tolist() == apply(Sum(k=2), x, None).tolist() == [1, 1]
        assert apply(Sum(), x, x).tolist() == apply(Sum(k=2), x, x).tolist() == [2, 2]
    assert planned(Sum) == 4
    for n in range(1, 20):
        assert apply(Sum(k=[1]), tt.ones(n), None).shape == (n,)  # a parameter without a hash has no plan
    assert planned(Sum) == 4
    with pytest.raises(TypeError):
        apply(registry["add"], tt.ones(7))  # a call that fails leaves nothing behind
    assert (tt.ones(7) + tt.ones(7)).tolist() == [2] * 7


def test_numbers_of_numpy_and_of_subclasses() -> None:
    class F(float):
        pass

    x = tt.ones(2)
    for _ in range(2):
        for number in (np.float64(2), np.float32(2), np.int64(2), F(2), True + 1):
            assert (x * number).tolist() == [2, 2]
            assert (x * number).dtype is tt.float32
            assert tt.zeros(2).copy_(number).tolist() == [2, 2]
    assert tt.logical_and(tt.tensor([1.0, 0.0]), 1e-50).tolist() == [False, False]  # 0 in float32
    assert np.signbit((-0.0 * tt.ones(80, 80)).numpy()).all()


def test_the_size_of_a_tensor_is_a_number_like_others() -> None:
    x = tt.full((2, 3), 12.0)
    for function in (lambda n: x / n, lambda n: n / x, lambda n: x * n, lambda n: n - x):
        want, before = function(6), planned()
        got = function(x.size)
        assert got.tolist() == want.tolist()
        assert got.dtype is want.dtype
        assert planned() == before, "it takes the plan of the integer"
    assert x.size is tt.ones(2, 3).size, "kept by shape"
    assert (x.size(), x.size(1), tt.ones(3, 2).size(1), tt.ones(0, 2).size()) == ((2, 3), 3, 2, (0, 2))


def test_an_interrupt_leaves_the_rules_of_division() -> None:
    i = tt.tensor([4, 6])
    assert (i // 2).tolist() == [2, 3]

    def interrupt(frame: Any, event: str, _: Any) -> Any:
        if "_ufunc_config" in frame.f_code.co_filename and frame.f_code.co_name == "__exit__":
            raise KeyboardInterrupt
        return interrupt

    sys.settrace(interrupt)
    try:
        _ = i // 2
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    assert (tt.tensor([1.0]) / 0.0).tolist() == [np.inf]


def test_the_settings_of_numpy_do_not_matter() -> None:
    with np.errstate(all="raise"):
        assert tt.full((2,), 1e-50).tolist() == [0, 0]
        assert tt.zeros(1).copy_(tt.tensor([1e-50], dtype=tt.float64)).tolist() == [0]
        assert (tt.tensor([1e30]) * 1e30).tolist() == [np.inf]


def test_metadata_is_set_after_the_array_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    view = tt.ones(2, 3).T
    monkeypatch.setattr(tensor_module, "interned", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _ = view == view
    monkeypatch.undo()
    assert view._array is not None
    assert (view == view).all()


def test_removed_observers_stay_removed() -> None:
    def work(_: int) -> None:
        for _ in range(300):
            with observed():
                pass

    in_threads(work, 4)
    assert not observers


def test_an_op_is_one_object_for_equal_parameters() -> None:
    norm, softmax, pad = (registry[name] for name in ("vector_norm", "softmax", "pad"))
    values = (1, 1.0, True, 0, 0.0, -0.0, False, float("nan"), float("inf"))
    ops = [norm(axes=(0,), keepdims=False, p=value) for value in values]
    ops += [pad(widths=((1, 1),), value=value) for value in (*values, 1j, complex(-0.0, 1))]
    ops += [softmax(axis=value) for value in (1, True)]
    assert len(set(map(id, ops))) == len(ops)
    again = norm(p=float("nan"), keepdims=False, axes=(0,))
    assert again is ops[7]
    assert again.replace(p=1.0) is ops[1]
    assert pad(widths=((1, 1),), value=-0.0) is ops[14]
    assert repr(ops[1]) == "VectorNorm(axes=(0,), keepdims=False, p=1.0)"
    with pytest.raises(AttributeError, match="softmax is a value"):
        softmax(axis=1).axis = 2
    with pytest.raises(TypeError, match="axis"):
        softmax()


def test_the_table_of_ops_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_module, "MAX_OPS", len(table) + 10)
    for n in range(30):
        assert registry["softmax"](axis=n).axis == n
        assert len(table) <= op_module.MAX_OPS
