"""PyTorch's names of functions and methods against NumPy: tests/oracle/test_pytorch_calls.py asks PyTorch."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt

RNG = np.random.default_rng(0)
X, Y, B = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))
W, V = RNG.normal(size=(3, 4)), RNG.normal(size=3)
P, Q = np.array([[7, -7, 5], [0, 9, -2]]), np.array([[2, 2, -2], [4, -3, 3]])
M, K = np.array([[True, False, True], [False, False, True]]), np.array([2, 0])
N = np.array([np.nan, np.inf, -np.inf, 1.0])
x, y, b, w, v, i, j, m, k, n = (tt.tensor(a) for a in (X, Y, B, W, V, P, Q, M, K, N))

ROWS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "addcdiv": (lambda: x.addcdiv(x, y, value=2), lambda: X + 2 * X / Y),
    "addcmul": (lambda: tt.addcmul(x, x, y, value=2), lambda: X + 2 * X * Y),
    "addmm": (lambda: tt.addmm(v[:1], x, w, beta=2, alpha=3), lambda: 2 * V[:1] + 3 * X @ W),
    "amax": (lambda: b.amax((0, 2), keepdim=True), lambda: B.max((0, 2), keepdims=True)),
    "amin": (lambda: tt.amin(x, dim=1), lambda: X.min(1)),
    "argwhere": (lambda: tt.argwhere(i), lambda: np.argwhere(P)),
    "as_tensor": (lambda: tt.as_tensor(X), lambda: X),
    "baddbmm": (lambda: tt.baddbmm(n[0], b.mT, b, beta=0), lambda: B.swapaxes(1, 2) @ B),
    "bmm": (lambda: b.bmm(b.mT), lambda: B @ B.swapaxes(1, 2)),
    "clamp": (lambda: x.clamp(-0.1, max=0.1), lambda: X.clip(-0.1, 0.1)),
    "clamp_max": (lambda: tt.clamp_max(x, 0.1), lambda: np.minimum(X, 0.1)),
    "clamp_min": (lambda: x.clamp_min(0.1), lambda: np.maximum(X, 0.1)),
    "concatenate": (lambda: tt.concatenate((x, y), dim=1), lambda: np.concatenate((X, Y), 1)),
    "cumprod": (lambda: x.cumprod(dim=1), lambda: np.cumprod(X, 1)),
    "cumsum": (lambda: tt.cumsum(x, 0), lambda: np.cumsum(X, 0)),
    "div": (lambda: tt.div(x, y), lambda: X / Y),
    "div floor": (lambda: i.div(j, rounding_mode="floor"), lambda: P // Q),
    "div trunc": (lambda: i.div(j, rounding_mode="trunc"), lambda: np.trunc(P / Q)),
    "div trunc of floats": (lambda: x.div(0.1, rounding_mode="trunc"), lambda: np.trunc(X / 0.1)),
    "dot": (lambda: v.dot(v), lambda: V @ V),
    "eq": (lambda: i.eq(j), lambda: P == Q),
    "flatten": (lambda: b.flatten(1), lambda: B.reshape(2, 12)),
    "flatten, first axes": (lambda: tt.flatten(b, end_dim=-2), lambda: B.reshape(6, 4)),
    "ge": (lambda: x.ge(y), lambda: X >= Y),
    "gt": (lambda: x.gt(0), lambda: X > 0),
    "hstack": (lambda: tt.hstack([x, y]), lambda: np.hstack([X, Y])),
    "index_select": (lambda: x.index_select(1, k), lambda: X[:, K]),
    "is_floating_point": (lambda: (x.is_floating_point(), tt.is_floating_point(i)), lambda: (True, False)),
    "is_tensor": (lambda: (tt.is_tensor(x), tt.is_tensor(X)), lambda: (True, False)),
    "le": (lambda: tt.le(x, y), lambda: X <= Y),
    "lerp": (lambda: x.lerp(y, 0.25), lambda: 0.75 * X + 0.25 * Y),
    "lt": (lambda: x.lt(y), lambda: X < Y),
    "masked_select": (lambda: x.masked_select(m), lambda: X[M]),
    "mm": (lambda: x.mm(w), lambda: X @ W),
    "movedim": (lambda: b.movedim(0, -1), lambda: np.moveaxis(B, 0, -1)),
    "mul": (lambda: x.mul(y), lambda: X * Y),
    "mv": (lambda: tt.mv(x, v), lambda: X @ V),
    "nan_to_num": (lambda: n.nan_to_num(posinf=5.0), lambda: np.nan_to_num(N, posinf=5.0)),
    "narrow": (lambda: x.narrow(1, -2, 2), lambda: X[:, 1:]),
    "ne": (lambda: i.ne(j), lambda: P != Q),
    "neg": (lambda: tt.neg(x), lambda: -X),
    "numel": (lambda: (tt.numel(b), b.numel()), lambda: (24, 24)),
    "rand_like": (lambda: tt.rand_like(x).shape, lambda: (2, 3)),
    "randn_like": (lambda: tt.randn_like(x).shape, lambda: (2, 3)),
    "randperm": (lambda: sorted(tt.randperm(4).tolist()), lambda: [0, 1, 2, 3]),
    "ravel": (lambda: x.ravel(), lambda: X.ravel()),
    "repeat_interleave": (lambda: tt.repeat_interleave(x, 2, dim=1), lambda: X.repeat(2, 1)),
    "select": (lambda: x.select(1, -1), lambda: X[:, -1]),
    "sub": (lambda: tt.sub(x, y), lambda: X - Y),
    "swapaxes": (lambda: b.swapaxes(0, 2), lambda: B.swapaxes(0, 2)),
    "t": (lambda: x.t(), lambda: X.T),
    "tril_indices": (lambda: tt.tril_indices(3, 4, -1), lambda: np.stack(np.tril_indices(3, -1, 4))),
    "triu_indices": (lambda: tt.triu_indices(3, 4, 1), lambda: np.stack(np.triu_indices(3, 1, 4))),
    "true_divide": (lambda: tt.true_divide(i, j), lambda: (P / Q).astype("float32")),
    "unflatten": (lambda: b.unflatten(-1, (2, -1)), lambda: B.reshape(2, 3, 2, 2)),
    "vstack": (lambda: tt.vstack([v, x]), lambda: np.vstack([V, X])),
    "expand_as": (lambda: v.expand_as(x), lambda: np.broadcast_to(V, (2, 3))),
    "view_as": (lambda: x.view_as(w[:, :2]), lambda: X.reshape(3, 2)),
    "masked_fill_": (lambda: x.clone().masked_fill_(m, 7.0), lambda: np.where(M, 7.0, X)),
    "scatter_add_": (
        lambda: x.clone().scatter_add_(1, tt.tensor([[2], [0]]), tt.ones(2, 1, dtype=tt.float64)),
        lambda: X + np.array([[0, 0, 1], [1, 0, 0]]),
    ),
    "dim": (lambda: (b.dim(), b.element_size()), lambda: (3, 8)),
    "stride": (lambda: (b.stride(), b.stride(1), b[1].storage_offset()), lambda: ((12, 4, 1), 4, 12)),
    "is_cuda": (lambda: x.is_cuda, lambda: False),
    "dtypes": (
        lambda: [getattr(i, name)().dtype is getattr(tt, name) for name in DTYPES],
        lambda: [True] * len(DTYPES),
    ),
    "type_as": (lambda: i.type_as(x), lambda: P.astype("float64")),
    "new": (
        lambda: [
            t.dtype is tt.float64
            for t in (x.new_ones(2), x.new_zeros((2,)), x.new_full(2, 1), x.new_tensor(3))
        ],
        lambda: [True] * 4,
    ),
    "new_full": (lambda: i.new_full((2, 1), 3), lambda: np.full((2, 1), 3)),
    "new_empty": (lambda: x.new_empty(2, 3, dtype=tt.int8).itemsize, lambda: 1),
}
DTYPES = ["bfloat16", "bool", "double", "float", "half", "int", "long"]


@pytest.mark.parametrize("name", ROWS)
def test_a_name_of_pytorch(name: str) -> None:
    ours, theirs = (call() for call in ROWS[name])
    if tt.is_tensor(ours):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)
    else:
        assert ours == theirs


LIKE_NUMPY: dict[str, tuple[Any, ...]] = {"diag": (V, -1), "diag ": (X, 1), "bincount": (K,)}


@pytest.mark.parametrize("name", LIKE_NUMPY)
def test_a_name_that_numpy_has_too(name: str) -> None:
    array, *others = LIKE_NUMPY[name]
    ours = getattr(tt, name.strip())(tt.tensor(array), *others)
    np.testing.assert_array_equal(ours.numpy(), getattr(np, name.strip())(array, *others))


OTHERS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "median": (lambda: tt.median(x, 1).values, lambda: np.median(X, 1)),
    "median of an even number": (lambda: b.median(2).values, lambda: np.sort(B, 2)[..., 1]),
    "median of nan": (lambda: n.median(), lambda: np.nan),
    "quantiles of nan": (
        lambda: tt.tensor([[np.nan, 2.0], [3.0, 1.0]]).quantile(tt.tensor([0.0, 1.0]), 1),
        lambda: [[np.nan, 1.0], [np.nan, 3.0]],
    ),
    "quantile": (
        lambda: x.quantile(tt.tensor([0.2, 0.7]), 0),
        lambda: np.quantile(X, np.float32([0.2, 0.7]), 0),
    ),
    "cdist": (lambda: tt.cdist(x, y), lambda: np.linalg.norm(X[:, None] - Y, axis=-1)),
    "isin": (lambda: tt.isin(i, k), lambda: np.isin(P, K)),
    "unique": (
        lambda: tt.unique(tt.stack([v, -v, v]), dim=0),
        lambda: np.unique(np.stack([V, -V, V]), axis=0),
    ),
    "scatter_": (
        lambda: x.clone().scatter_(1, tt.tensor([[2], [0]]), 5.0),
        lambda: np.where([[False, False, True], [True, False, False]], 5.0, X),
    ),
    "scatter with int32 positions": (
        lambda: tt.scatter(tt.zeros(3), 0, tt.tensor([0, 2], dtype=tt.int32), tt.ones(2)),
        lambda: [1, 0, 1],
    ),
    "a fraction among float64": (
        lambda: tt.isin(tt.tensor(X[0]), float(X[0, 1])),
        lambda: [False, True, False],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_names(name: str) -> None:
    ours, theirs = (call() for call in OTHERS[name])
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)


def test_the_ends_of_lerp_are_exact() -> None:
    a, b = tt.tensor([1e8, 1.0]), tt.tensor([1.0, 1e8])
    for one in (1, tt.ones(2)):
        assert a.lerp(b, one).tolist() == b.tolist()
        assert a.lerp(b, 0 * one).tolist() == a.tolist()


@pytest.mark.parametrize("op", ["__ifloordiv__", "__imod__", "clamp_max_"])
def test_wide_integers_into_narrow_ones(op: str) -> None:
    a, c = np.array([200, 200, 7], dtype=np.uint8), np.array([300, -3, 2])
    wanted = {"__ifloordiv__": a // c, "__imod__": a % c, "clamp_max_": np.minimum(a, c)}[op]
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


def test_the_diagonal_of_many_axes() -> None:
    cube = tt.zeros(2, 2, 2).fill_diagonal_(1)
    assert [i.tolist() for i in cube.nonzero()] == [[0, 1]] * 3


def test_operands_of_methods_in_place_keep_their_gradients() -> None:
    low = tt.tensor([2.0, 0.5], requires_grad=True)
    tt.ones(2).clamp_min_(low).sum().backward()  # backward asks for the ones, too
    assert low.grad is not None
    assert low.grad.tolist() == [1.0, 0.0]
    a = tt.tensor([1.0, 3.0], requires_grad=True)
    b = a * 1.0
    (b.addcmul_(b, b.flip()) * tt.tensor([2.0, 5.0])).sum().backward()  # 2 (a + a c) + 5 (c + c a)
    assert a.grad is not None
    assert a.grad.tolist() == [2.0 + 7 * 3.0, 5.0 + 7 * 1.0]


def test_casts_to_the_same_dtype_are_free() -> None:
    assert x.double() is x
    assert x.to(tt.double) is x
    assert i.long() is i


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_median_along_an_axis_is_numpys(axis: int | None) -> None:
    for keep in (False, True):
        ours = tt.median(b, axis=axis, keepdims=keep)
        np.testing.assert_allclose(ours.numpy(), np.median(B, axis=axis, keepdims=keep), rtol=1e-12)
    assert math.isnan(n.median(axis=None).item())


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
    "a rate": (lambda: tt.zeros(2).exponential_(-1.0), tt.ArgumentError, "lambd is -1.0"),
    "no diagonal": (lambda: tt.zeros(2, 3, 2).fill_diagonal_(1), tt.ShapeError, "fill_diagonal_: shape"),
    "a result of another shape": (
        lambda: x[:1].clone().clamp_min_(y),
        tt.ShapeError,
        "clamp_min_: the result of shape (2, 3) does not fit",
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
    with pytest.raises(kind, match=re.escape(message)):
        call()
