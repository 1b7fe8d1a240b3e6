"""Reductions, scans, sorting and joining where it is easy to be wrong: nothing, nan, ties, zeros, views."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytensor as tt
from tests.helpers import op_functions as ops

NAN, INF = math.nan, math.inf
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def gradient(f: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of the sum of f(x), in float64."""
    t = tt.tensor(x, dtype=tt.float64, requires_grad=True)
    f(t).sum().backward()
    return t.grad.tolist()


# ---- nothing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (0, 0), (2, 0, 3)])
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_nothing_is_chosen_from_nothing(name: str, shape: tuple[int, ...]) -> None:
    """The same shapes are refused as by NumPy, and the others give empty results of the same shape."""
    x = np.zeros(shape, np.float32)
    for axis in (None, *range(len(shape))):
        try:
            expected = getattr(np, name)(x, axis=axis).shape
        except ValueError:
            with pytest.raises(tt.ShapeError, match=f"^{name}: .*empty"):
                getattr(tt, name)(tt.asarray(x), axis=axis)
        else:
            assert getattr(tt, name)(tt.asarray(x), axis=axis).shape == expected


NEUTRAL: dict[Any, Any] = {
    **{tt.sum: 0.0, tt.prod: 1.0, tt.mean: NAN, tt.var: NAN, tt.std: NAN, tt.logsumexp: -INF, tt.norm: 0.0},
    **{tt.any: False, tt.all: True, tt.count_nonzero: 0},
}


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 0), 1), ((0, 3), 0), ((0, 3), 1), ((0,), None), ((2, 0, 2), (0, 1))], ids=str
)
def test_reductions_of_nothing_are_neutral(shape: tuple[int, ...], axis: Any, device: str) -> None:
    for function, value in NEUTRAL.items():
        found = function(tt.zeros(*shape, device=device), axis=axis).cpu().numpy()
        np.testing.assert_array_equal(found, np.full(np.zeros(shape).sum(axis=axis).shape, value))


@pytest.mark.parametrize("ord", [INF, -INF])
def test_there_is_no_largest_length_of_nothing(ord: float) -> None:
    with pytest.raises(tt.ShapeError, match=r"^vector_norm"):
        tt.vector_norm(tt.zeros(0), ord=ord)
    with pytest.raises(tt.ShapeError, match=r"^matrix_norm"):
        tt.matrix_norm(tt.zeros(2, 0, 3), ord=ord)


@pytest.mark.parametrize(
    "f",
    [tt.sum, tt.mean, tt.prod, tt.logsumexp, lambda x: tt.cumulative_prod(x, 0), tt.sort, tt.norm, tt.std],
)
def test_gradients_of_nothing_are_empty(f: Callable[[Any], Any]) -> None:
    assert gradient(f, np.zeros((0, 3))) == []


# ---- nan and infinity --------------------------------------------------------------------------------------


def test_opposite_infinities_and_overflow_warn_nobody() -> None:
    """Warnings are errors here; each of the roads that a sum can take is tried."""
    for shape in [(4,), (2, 2), (4, 3000), (3000, 4), (9000, 2), (3, 4, 5)]:
        x = np.full(shape, 3e38, np.float32)
        x.flat[0], x.flat[1] = INF, -INF
        for t in (tt.asarray(x), tt.asarray(x).T, tt.asarray(x)[::-1]):
            assert math.isnan(t.sum().item())
            assert np.isnan(t.sum(0).numpy()).any() or np.isnan(t.sum(-1).numpy()).any()
            t.mean(), t.prod(), t.var(), t.std(axis=0), t.norm(), t.logsumexp(axis=0)
            tt.cumulative_sum(t, 0), tt.cumulative_prod(t, 0)


def test_nan_is_sorted_as_the_largest_number() -> None:
    x = tt.tensor([2.0, NAN, INF, 1.0])
    np.testing.assert_array_equal(tt.sort(x).numpy(), [1.0, 2.0, INF, NAN])
    np.testing.assert_array_equal(tt.sort(x, descending=True).numpy(), [NAN, INF, 2.0, 1.0])
    np.testing.assert_array_equal(tt.topk(x, 2)[1].numpy(), [1, 2])
    np.testing.assert_array_equal(tt.topk(x, 2, largest=False)[0].numpy(), [1.0, 2.0])
    assert tt.unique_values(tt.tensor([NAN, 1.0, NAN])).shape == (3,)


# ---- ties and zeros ----------------------------------------------------------------------------------------


def test_ties_share_the_gradient_of_max_and_min() -> None:
    x = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    assert gradient(tt.max, x) == [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    assert gradient(lambda t: t.max(axis=1, keepdims=True), x) == [[0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]
    assert gradient(lambda t: t.min(axis=0), x) == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    assert gradient(tt.max, [1.0, NAN]) == [0.0, 1.0]


def products_without(x: Any) -> Any:
    """For each k, the sum over i >= k of the product of x[0..i] without x[k]: by definition."""
    n = len(x)
    return [np.sum([np.prod(np.delete(x[: i + 1], k)) for i in range(k, n)]) for k in range(n)]


@given(st.lists(st.sampled_from([0.0, -1.5, 2.0, 0.5]), min_size=1, max_size=9))
def test_cumulative_prod_has_the_right_gradient_at_zeros(x: list[float]) -> None:
    np.testing.assert_allclose(gradient(tt.cumulative_prod, x), products_without(np.array(x)), rtol=1e-12)


@pytest.mark.parametrize("x", [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_prod_has_the_right_derivatives_at_zeros(x: list[float]) -> None:
    n = len(x)
    without = [np.prod(np.delete(x, k)) for k in range(n)]
    assert gradient(tt.prod, x) == without
    hessian = [[np.prod(np.delete(x, [i, j])) if i != j else 0.0 for j in range(n)] for i in range(n)]
    t = tt.tensor(x, dtype=tt.float64, requires_grad=True)
    (slope,) = tt.grad(t.prod(), t, create_graph=True)
    for i in range(n):
        (row,) = tt.grad(slope[i], t, retain_graph=True)
        assert row.tolist() == hessian[i]


def test_lengths_and_deviations_of_zero_have_gradient_zero() -> None:
    for f in (tt.norm, lambda t: t.norm(1), lambda t: t.norm(3), tt.std):
        assert gradient(f, [0.0, 0.0]) == [0.0, 0.0]


def test_std_and_var_count_what_is_left() -> None:
    x = tt.tensor([1.0, 3.0])
    assert x.var(correction=2).item() == INF
    assert math.isnan(tt.tensor([1.0]).var(correction=1).item())


# ---- accuracy ----------------------------------------------------------------------------------------------


def test_small_and_large_sums_agree_with_exact_arithmetic() -> None:
    """Integers below 2**24 are exact in float32, whatever the order of the additions."""
    for n in (1, 2, 4095, 4096, 4097, 8193, 20_000):
        x = np.arange(n, dtype=np.float32) % 7
        assert tt.asarray(x).sum().item() == x.sum(dtype=np.int64)
        square = tt.asarray(np.stack([x, x + 1]))
        assert (
            square.sum(-1).tolist()
            == square.T.sum(0).tolist()
            == [x.sum(dtype=np.int64), (x + 1).sum(dtype=np.int64)]
        )
        assert square.sum(0).tolist() == (2 * x + 1).tolist()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_floats_are_summed_in_float32(dtype: str) -> None:
    """In float16 a sum of ones stops at 2048, in bfloat16 at 256."""
    x = tt.ones(1, 1, 2, dtype=dtype).expand(1, 5 * 2**22, 2)  # a sum that stops at 2**24 has the mean 0.8
    assert x.mean(axis=1).tolist() == [[1.0, 1.0]]
    x = tt.ones(4000, dtype=dtype)
    assert x.sum().item() == tt.tensor(4000.0, dtype=dtype).item()
    assert x.mean().item() == 1.0
    assert x.var().item() == 0.0
    assert tt.cumulative_sum(x)[-1].item() == tt.tensor(4000.0, dtype=dtype).item()


# ---- sorting -----------------------------------------------------------------------------------------------

VALUES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7),
    elements=st.integers(-3, 3).map(float),
)


@given(VALUES, st.data())
def test_topk_is_the_head_of_sort(x: Any, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(0, x.shape[axis]))
    largest = data.draw(st.booleans())
    t = tt.asarray(x)
    values, indices = tt.topk(t, k, axis, largest)
    head = np.take(tt.sort(t, axis, descending=largest).numpy(), np.arange(k), axis)
    np.testing.assert_array_equal(values.numpy(), head)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), axis), head)
    rows = np.moveaxis(indices.numpy(), axis, -1).reshape(-1, k) if k else []
    keys = np.moveaxis(head, axis, -1).reshape(-1, k) if k else []
    for row, key in zip(rows, keys, strict=True):  # no place twice, and of equal values the first place first
        assert all(a < b or u != v for a, b, u, v in zip(row, row[1:], key, key[1:], strict=False))
        assert len(set(row.tolist())) == k


@given(VALUES, st.booleans())
def test_argsort_is_stable_in_both_directions(x: Any, descending: bool) -> None:
    order = tt.argsort(tt.asarray(x), descending=descending).numpy()
    key = -x if descending else x
    np.testing.assert_array_equal(order, np.argsort(key, axis=-1, kind="stable"))


@given(VALUES)
def test_the_gradient_of_sort_goes_back_where_it_came_from(x: Any) -> None:
    t = tt.tensor(x, requires_grad=True)
    y = tt.sort(t, axis=0)
    weights = np.arange(x.size, dtype=np.float64).reshape(x.shape)
    (y * tt.asarray(weights)).sum().backward()
    expected = np.empty_like(x)
    np.put_along_axis(expected, np.argsort(x, axis=0, kind="stable"), weights, axis=0)
    np.testing.assert_array_equal(t.grad.numpy(), expected)


@given(
    st.lists(st.integers(-5, 5), max_size=9),
    st.lists(st.integers(-7, 7), max_size=9),
    st.sampled_from(["left", "right"]),
)
def test_searchsorted_equals_numpy(a: list[int], v: list[int], side: Any) -> None:
    base, wanted = np.array(a, np.int64), np.array(v, np.int64)
    expected = np.searchsorted(np.sort(base), wanted, side)
    found = tt.searchsorted(
        tt.asarray(base), tt.asarray(wanted), side=side, sorter=tt.argsort(tt.asarray(base))
    )
    np.testing.assert_array_equal(found.numpy(), expected)


# ---- joining -----------------------------------------------------------------------------------------------


def test_joining_promotes_and_each_gradient_has_the_dtype_of_its_part() -> None:
    a = tt.ones(2, dtype=tt.float32, requires_grad=True)
    b = tt.ones(3, dtype=tt.float64, requires_grad=True)
    y = tt.concat([a, b, tt.arange(2)])
    assert y.dtype is tt.float64
    assert y.tolist() == [1.0] * 5 + [0.0, 1.0]
    (y * tt.arange(7)).sum().backward()
    assert (a.grad.dtype, a.grad.tolist()) == (tt.float32, [0.0, 1.0])
    assert (b.grad.dtype, b.grad.tolist()) == (tt.float64, [2.0, 3.0, 4.0])


def test_a_part_that_is_joined_twice_gets_both_gradients() -> None:
    assert gradient(lambda x: tt.stack([x, x * 2, x]), [1.0, 2.0]) == [4.0, 4.0]
    assert gradient(lambda x: ops.pad(x, 2, "reflect"), [1.0, 2.0, 3.0]) == [2.0, 3.0, 2.0]


def test_parts_of_a_split_that_nobody_used_count_as_zeros() -> None:
    for cut in (lambda x: x.split([1, 2], 0)[0], lambda x: x.unbind(0)[2], lambda x: x.chunk(3)[1]):
        ours = gradient(cut, np.ones((3, 2)))
        assert np.sum(ours) == cut(tt.ones(3, 2)).size
    assert gradient(lambda x: x.unbind(0)[2] * x.unbind(0)[0], [2.0, 3.0, 4.0]) == [4.0, 0.0, 2.0]


# ---- wrong calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_the_dtype_that_is_asked_for_is_that_of_the_result(name: str, device: str) -> None:
    values = np.array([[1, 90, 100, 0], [127, 3, 2, 5]], np.int16)
    x = tt.tensor(values).to(device)
    for dtype in (*INTEGERS, "bool", "float32"):
        expected = getattr(np, name)(values, axis=1, dtype=dtype)
        found = getattr(tt, name)(x, axis=1, dtype=dtype)
        assert found.dtype == getattr(tt, dtype)
        np.testing.assert_array_equal(found.to("cpu").numpy(), expected)


def test_running_products_of_bools_begin_with_true() -> None:
    x = tt.tensor([3, 0, 2])
    assert tt.cumulative_prod(x, dtype="bool", include_initial=True).tolist() == [True, True, False, False]
    assert tt.cumulative_sum(x, dtype="bool", include_initial=True).tolist() == [False, True, True, True]
