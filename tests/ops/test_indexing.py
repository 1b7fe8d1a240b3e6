"""Indexing against NumPy: random keys of every kind, read, differentiated and written."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinytensor as tt
from tests.core.test_errors import check_wrong_call


@st.composite
def arrays_and_keys(draw):
    """An array and a key that mixes integers, slices, None, Ellipsis, index arrays and masks."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    picked = draw(st.sampled_from([(), (2,), (3,), (2, 3), (1,), (0,)]))
    key, axis, dots = [], 0, False
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "none", "dots", "index", "index", "mask", "stop"]))
        if kind == "int":
            key.append(draw(st.integers(-n, n - 1)))
            axis += 1
        elif kind == "slice":
            bounds = st.one_of(st.none(), st.integers(-n - 1, n + 1))
            key.append(slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2, -1, -2]))))
            axis += 1
        elif kind == "none":
            key.append(None)
        elif kind == "dots" and not dots and axis < len(shape) - 1:
            key.append(Ellipsis)  # stands for at least one axis
            dots = True
            axis += draw(st.integers(1, len(shape) - axis))
        elif kind == "index":
            key.append(rng.integers(-n, n, draw(st.sampled_from([picked, (), (1,)]))))
            axis += 1
        elif kind == "mask":
            k = draw(st.integers(1, len(shape) - axis))
            key.append(rng.random(shape[axis : axis + k]) > 0.5)
            axis += k
        elif kind == "stop":
            break
    # an Ellipsis that came to stand for nothing is the one documented difference
    used = sum(
        k.ndim if isinstance(k, np.ndarray) and k.dtype == bool else 1
        for k in key
        if k is not None and k is not Ellipsis
    )
    assume(not dots or used < len(shape))
    return rng.standard_normal(shape), tuple(key)


def ours(key):
    return tuple(tt.tensor(k) if isinstance(k, np.ndarray) else k for k in key)


@given(arrays_and_keys())
def test_reading_differentiating_and_writing_agree_with_numpy(case):
    a, key = case
    try:
        want = np.asarray(a[key])
    except IndexError:  # index arrays that do not broadcast
        with pytest.raises(tt.TinyTensorError):
            tt.tensor(a)[ours(key)]
        return
    x = tt.tensor(a, requires_grad=True)
    got = x[ours(key)]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.detach().numpy(), want)
    weights = np.random.default_rng(0).standard_normal(want.shape)
    (got * tt.tensor(weights)).sum().backward()
    expected = np.zeros_like(a)
    np.add.at(expected, key, weights)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)

    b = a.copy()
    b[key] = weights
    y = tt.tensor(a) * 1
    y[ours(key)] = tt.tensor(weights, requires_grad=True)
    np.testing.assert_array_equal(y.detach().numpy(), b)
    plain = tt.tensor(a)
    plain[ours(key)] = 7.0
    b[key] = 7.0
    np.testing.assert_array_equal(plain.numpy(), b)


def test_gradient_of_a_masked_write_goes_to_value_and_base():
    x = tt.tensor([1.0, -2.0, 3.0], requires_grad=True)
    value = tt.tensor(5.0, requires_grad=True)
    y = x * 2
    y[y < 0] = value
    (y * tt.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 200.0]
    assert value.grad.item() == 10.0


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (5, tt.IndexRangeError, "index 5 is outside axis 0 of size 2"),
        ((0, 0, 0), tt.IndexRangeError, "3 indices"),
        ((..., ...), tt.IndexRangeError, "twice"),
        ([7], tt.IndexRangeError, "7"),
        ([0.5], tt.DTypeError, "float"),
        ("a", tt.DTypeError, "str"),
        (1.0, tt.DTypeError, "float"),
        ([True, False, True], tt.IndexRangeError, "mask"),
        (slice(0, 1, 0), tt.IndexRangeError, "step 0"),
        (([0, 1], 1.5), tt.DTypeError, "an index of type float"),
        (([0, 1], "a"), tt.DTypeError, "an index of type str"),
        (([0, 1], 2**70), tt.IndexRangeError, "out of range"),
        (([0, 1], 3), tt.IndexRangeError, "index 3 is out of range for axis 1"),
        (([0, 1], 0, 0), tt.IndexRangeError, "3 indices"),
        ([[0], [0, 1]], tt.ShapeError, "differ in length"),
        (np.array([2**64 - 1], np.uint64), tt.IndexRangeError, str(2**64 - 1)),
        ((..., [0], [1], ...), tt.IndexRangeError, "'...' occurs twice"),
    ],
)
def test_wrong_keys_say_so(key, error, text):
    x = tt.zeros(2, 3)
    check_wrong_call(lambda: x[key], error, [text])
    check_wrong_call(lambda: x.__setitem__(key, 1.0), error, [text])
    assert not x.any()


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_indices_of_every_integer_dtype(dtype, device):
    """On an axis longer than int8 can count, from either end."""
    a = np.arange(600.0).reshape(300, 2)
    chosen = [0, 5, 127] if dtype.startswith("u") else [0, 127, -1, -128]
    index, x = (tt.tensor(v, dtype=d, device=device) for v, d in ((chosen, dtype), (a, "float64")))
    column, leaf, expected = index.reshape(-1, 1), x.detach().clone().requires_grad_(), a[chosen]
    for found in (x[index], x[np.array(chosen, dtype)], tt.take(x, index, 0)):
        np.testing.assert_array_equal(found.cpu().numpy(), expected)
    np.testing.assert_array_equal(tt.take_along_axis(x, column.expand(-1, 2), 0).cpu().numpy(), expected)
    picked = leaf.gather(0, column)
    np.testing.assert_array_equal(picked.detach().cpu().numpy(), expected[:, :1])
    picked.sum().backward()
    assert np.flatnonzero(leaf.grad.sum(1).cpu().numpy()).tolist() == sorted(np.arange(300)[chosen].tolist())
    x[index] = -1.0
    a[chosen] = -1.0
    np.testing.assert_array_equal(x.cpu().numpy(), a)


@pytest.mark.parametrize(
    "key", [True, False, (True, True), (1, True), (slice(None), True), (True, [0, 1, 1])]
)
def test_bools_add_an_axis_as_in_numpy(key):
    a = np.arange(6.0).reshape(2, 3)
    x = tt.tensor(a)
    np.testing.assert_array_equal(x[key].numpy(), a[key])
    x[key] = 9.0
    a[key] = 9.0
    np.testing.assert_array_equal(x.numpy(), a)


def test_a_mask_is_no_list_of_places():
    x, mask = tt.arange(3), tt.tensor([True, False, True])
    for call in (
        lambda: tt.take(x, mask),
        lambda: tt.gather(x, 0, mask),
        lambda: tt.take_along_axis(x, mask, 0),
        lambda: tt.scatter_add(x, 0, mask, x),
        lambda: tt.one_hot(mask, 2),
    ):
        with pytest.raises(tt.DTypeError, match="a mask of shape"):
            call()


def test_scatter_add_casts_nothing():
    for values in (tt.tensor([0.7]), 1, [2]):
        with pytest.raises(tt.DTypeError, match="scatter_add: src of type"):
            tt.scatter_add(tt.zeros(3, dtype=tt.int64), 0, tt.tensor([0]), values)


def test_one_hot_counts_from_zero():
    with pytest.raises(tt.ShapeError):
        tt.one_hot(tt.tensor([0]), -2)
    with pytest.raises(tt.DTypeError):
        tt.one_hot(tt.tensor([0]), 2.5)
    narrow = tt.one_hot(tt.tensor([2, 0], dtype="uint8"), 3, dtype=tt.float16)
    assert (narrow.dtype, narrow.tolist()) == (tt.float16, [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_minus_zero_is_zero(dtype):
    (found,) = tt.nonzero(tt.tensor([-0.0, 1.0, 0.0, float("nan")], dtype=dtype))
    assert found.tolist() == [1, 3]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    ("shape", "sizes"), [((3,), (0,)), ((3, 2), (0,)), ((3, 2), (3, 0)), ((2, 3, 4), (0, 0))]
)
def test_a_mask_of_size_0_selects_nothing(shape, sizes, device):
    x = tt.ones(shape, device=device, requires_grad=True)
    mask = np.zeros(sizes, bool)
    for ours in (mask, tt.tensor(mask, device=device)):
        assert x[ours].shape == np.ones(shape)[mask].shape
        x[ours].sum().backward()
        y = x.detach().clone()
        y[ours] = 5.0
        assert (y == 1).all()
    assert (x.grad == 0).all()
    with pytest.raises(tt.IndexRangeError, match="a mask of shape"):
        x[np.zeros((shape[0], 0, 0, 0)[: len(shape) + 1], bool)]
    with pytest.raises(tt.IndexRangeError, match="a mask of shape"):
        x[np.zeros(shape[0] - 1, bool)]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 0, 2), (0,)])
def test_an_empty_mask_selects_nothing(shape, device):
    x = tt.zeros(shape, device=device, requires_grad=True)
    expected = np.zeros(shape)
    for axes in range(1, len(shape) + 1):
        mask = np.zeros(shape[:axes], bool)
        for ours in (mask, tt.tensor(mask, device=device)):
            picked = x[ours]
            assert picked.shape == expected[mask].shape
            picked.sum().backward()
            y = x.detach().clone()
            y[ours] = 1.0
            assert y.shape == shape
    assert x.grad.shape == shape
    assert [i.shape for i in tt.nonzero(x.detach())] == [i.shape for i in np.nonzero(expected)]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_no_indices_of_any_dtype_select_nothing(dtype):
    none = tt.zeros(0, dtype=dtype)
    assert tt.take(tt.ones(2, 3), none, -1).shape == (2, 0)
    assert tt.gather(tt.ones(3), 0, none).shape == (0,)
    assert tt.scatter_add(tt.ones(3), 0, none, tt.ones(0)).tolist() == [1.0, 1.0, 1.0]
    assert tt.ones(3)[none].shape == (0,)
