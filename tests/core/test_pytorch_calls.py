"""Calls of PyTorch, as text, against its recorded results (tests/golden/make_pytorch_calls.py), and what they
do not ask of its names: special values, gradients in place, errors.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.core.test_errors import check_wrong_call
from tests.helpers.pytorch_calls import RANDOM, REFUSED, SAME, known, lines, run, same
from tinytensor.interop import pytorch
from tinytensor.methods import Methods


def read(value: Any) -> Any:
    """A recorded result, as `known` has it."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        dtype, shape, numbers = content
        return dtype, tuple(shape), np.array(numbers, dtype).reshape(shape)
    return np.array(content) if kind == "array" else tuple([read(x) for x in content])


@pytest.mark.parametrize("text", SAME)
def test_the_same_text_gives_what_pytorch_gives(text: str) -> None:
    same(known(run(text, tt), tt), read(SAME[text]))


@pytest.mark.parametrize("text", lines(REFUSED))
def test_what_means_something_else_is_an_error(text: str) -> None:
    with pytest.raises((tt.TinyTensorError, TypeError, AttributeError)):
        run(text, tt)


def test_each_name_is_called() -> None:
    called = "\n".join(SAME) + RANDOM
    assert [name for name in pytorch.__all__ if f".{name}(" not in called] == []
    names: dict[Any, list[str]] = {}
    for name, f in vars(Methods).items():
        if getattr(f, "__module__", "") == pytorch.__name__:
            names.setdefault(f, []).append(name)
    assert [same for same in names.values() if not any(f".{name}(" in called for name in same)] == []


RNG = np.random.default_rng(0)
X, Y, B = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))
W, V = RNG.normal(size=(3, 4)), RNG.normal(size=3)
P, Q = np.array([[7, -7, 5], [0, 9, -2]]), np.array([[2, 2, -2], [4, -3, 3]])
M, K = np.array([[True, False, True], [False, False, True]]), np.array([2, 0])
N = np.array([np.nan, np.inf, -np.inf, 1.0])
x, y, b, w, v, i, j, m, k, n = (tt.tensor(a) for a in (X, Y, B, W, V, P, Q, M, K, N))


def test_the_ends_of_lerp_are_exact() -> None:
    a, b = tt.tensor([1e8, 1.0]), tt.tensor([1.0, 1e8])
    for one in (1, tt.ones(2)):
        assert a.lerp(b, one).tolist() == b.tolist()
        assert a.lerp(b, 0 * one).tolist() == a.tolist()


@pytest.mark.parametrize("op", ["__ifloordiv__", "__imod__"])
def test_wide_integers_into_narrow_ones(op: str) -> None:
    a, c = np.array([200, 200, 7], dtype=np.uint8), np.array([300, -3, 2])
    wanted = {"__ifloordiv__": a // c, "__imod__": a % c}[op]
    found = getattr(tt.tensor(a), op)(tt.tensor(c))
    assert found.tolist() == wanted.astype(np.uint8).tolist()
    with pytest.raises(tt.ArgumentError, match="negative integer"):
        tt.tensor(a).__ipow__(tt.tensor(c))


INTEGERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "nan_to_num": (lambda: tt.nan_to_num(i), P),
    "hardtanh": (lambda: tt.nn.functional.hardtanh(i, -1.5, 2), np.clip(P, -1, 2)),
    "relu6": (lambda: tt.nn.functional.relu6(i * 2), np.clip(P * 2, 0, 6)),
    "bincount": (lambda: tt.bincount(k, k), np.bincount(K, K)),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_dtypes_of_integers(name: str) -> None:
    call, wanted = INTEGERS[name]
    np.testing.assert_array_equal(call().numpy(), wanted, strict=True)


def test_the_slope_of_a_power_of_zero_is_zero() -> None:
    a = tt.tensor([[math.inf, 2.0], [3.0, 4.0]], requires_grad=True)
    (tt.linalg.matrix_power(a, 0) * 2).sum().backward()
    assert a.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_shapes_of_small_results() -> None:
    empty = tt.zeros(0, 3)
    assert [t.shape for t in empty.split(2, dim=0)] == [(0, 3)]
    one = tt.tensor(3.0)
    assert [t.shape for t in tt.median(one, 0, True)] == [(), ()]


def test_operands_of_methods_in_place_keep_their_gradients() -> None:
    a = tt.tensor([1.0, 3.0], requires_grad=True)
    b = a * 1.0
    (b.lerp_(b.flip(), 0.25 * b) * tt.tensor([2.0, 5.0])).sum().backward()  # a + a (c - a) / 4
    assert a.grad is not None
    assert a.grad.tolist() == [2.0 * 1.25 + 5.0 * 0.75, 5.0 * -0.25 + 2.0 * 0.25]


def test_casts_are_those_of_their_names_and_free_to_the_same_dtype() -> None:
    for name in ("bfloat16", "bool", "double", "float", "half", "int", "long"):
        assert getattr(i, name)().dtype is getattr(tt, name)
    assert x.double() is x
    assert x.to(tt.double) is x
    assert i.long() is i


def test_data_is_the_memory_without_the_history() -> None:
    p = tt.tensor(X, requires_grad=True)
    assert p.data.shares_memory(p)
    assert not p.data.requires_grad
    (p * p).sum().backward()
    p.data -= 0.1 * p.grad  # SGD as people write it for PyTorch
    np.testing.assert_allclose(p.detach().numpy(), X - 0.2 * X, rtol=1e-12)
    assert p.is_leaf
    memory = p.storage
    p.data = p.data + 1.0
    assert p.storage is memory
    np.testing.assert_allclose(p.detach().numpy(), 0.8 * X + 1, rtol=1e-12)
    p.data = p.data.T.contiguous().T  # other strides
    p.data[0] = 7.0
    np.testing.assert_allclose(p.detach().numpy()[0], 7.0)


def test_a_write_through_data_is_seen_by_backward() -> None:
    p = tt.tensor(X, requires_grad=True)
    y = (p * p).sum()
    p.data.zero_()
    with pytest.raises(tt.GradError, match="overwritten"):
        y.backward()
    for value in (tt.ones(3), 1.0):
        with pytest.raises(tt.ShapeError, match=r"data: .* is assigned to a tensor of shape \(2, 3\)"):
            p.data = value  # type: ignore[assignment]


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "three axes": (lambda: b.t(), tt.ShapeError, "x.mT"),
    "behind the end": (lambda: x.narrow(1, 2, 2), tt.IndexRangeError, "2 positions from 2"),
    "end before start": (lambda: b.flatten(2, 1), tt.ShapeError, "flatten"),
    "sizes": (lambda: b.unflatten(2, (3, 2)), tt.ShapeError, "unflatten"),
    "mode": (lambda: x.div(2, rounding_mode="up"), tt.ArgumentError, "rounding_mode 'up'"),
    "a list": (lambda: tt.amax([1.0], 0), tt.DTypeError, "tt.asarray"),
    "shares": (lambda: x.quantile(1.5), tt.ArgumentError, "shares 1.5"),
    "a share of integers": (lambda: i.quantile(0.5), tt.ArgumentError, "dtype int64"),
    "slices": (lambda: x.index_add(1, k, y), tt.ShapeError, "each index has one slice"),
    "short slices": (lambda: x.index_add(1, k, y[:1, :2]), tt.ShapeError, "each index has one slice"),
    "too few values": (
        lambda: x.scatter(1, i * 0, y[:1]),
        tt.ShapeError,
        "(1, 3) for an index of shape (2, 3)",
    ),
    "a mask of integers": (lambda: x.masked_select(m.long()), tt.DTypeError, "a mask is bool"),
    "negative counts": (lambda: tt.bincount(i[0]), tt.ArgumentError, "the number -7"),
    "a result of another shape": (
        lambda: x[:1].clone().lerp_(y, 0.5),
        tt.ShapeError,
        "lerp_: the result of shape (2, 3) does not fit",
    ),
    "diagonals": (lambda: tt.diag(b), tt.ShapeError, "diag: shape"),
    "a leaf": (
        lambda: tt.ones(2, requires_grad=True).lerp_(tt.ones(2), 0.5),
        tt.GradError,
        "lerp_: the target is a leaf",
    ),
    "integers": (lambda: i.clone().sin_(), tt.DTypeError, "sin_: a result of dtype float32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case: str) -> None:
    call, kind, message = WRONG[case]
    check_wrong_call(call, kind, [message])
