"""Reductions on a device where the op table is too small: rows that several blocks share, ragged rows,
misaligned rows, many axes, extreme values, 64-bit positions.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import same, whole
from tinytensor.dispatch.launch import limited_blocks
from tinytensor.kernels import reduction
from tinytensor.layout import Layout

pytestmark = pytest.mark.usefixtures("nan_memory")


def on_device(values, lead=0):
    """A tensor on the device whose first element stands `lead` elements after an aligned address."""
    room = np.zeros(values.size + lead, values.dtype)
    room[lead:] = values.ravel()
    return tt.tensor(room).to("emulated")[lead:].reshape(*values.shape)


# ---- sums: which kernel, how many blocks -------------------------------------------------------------------

SHAPES = [
    # (shape, axes, kernels): rows of every width of a team, one row for many blocks, columns, planes
    ((1000, 3), (1,), ["reduce_columns"]),
    ((70, 17), (1,), ["reduce_rows"]),
    ((9, 127), (1,), ["reduce_rows"]),
    ((5, 1001), (1,), ["reduce_rows"]),
    ((3, 2049), (1,), ["reduce_rows"]),
    ((3, 50_001), (1,), ["reduce_rows", "reduce_partials"]),
    ((300_007,), (0,), ["reduce_rows", "reduce_partials"]),
    ((7, 33), (0,), ["reduce_columns"]),
    ((129, 64), (0,), ["reduce_columns"]),
    ((30_001, 3), (0,), ["reduce_columns", "reduce_partials"]),
    ((5_000, 130), (0,), ["reduce_columns", "reduce_partials"]),
    ((4, 6, 40), (0, 2), ["reduce_rows"]),
    ((40, 6, 4), (0, 2), ["reduce_rows"]),
    ((8, 3, 9, 5), (0, 2), ["reduce_columns"]),
    ((800, 3, 9, 5), (0, 2), ["reduce_columns", "reduce_partials"]),
    ((40, 3, 1024), (0, 2), ["reduce_rows", "reduce_partials"]),
    ((3, 4, 5, 6, 7), (0, 2, 4), ["reduce_rows"]),
    ((50, 60), (), ["reduce_columns"]),
]


@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize(("shape", "axes", "kernels"), SHAPES, ids=str)
def test_sums(shape, axes, kernels, lead, launched):
    values = whole(shape)
    x = on_device(values, lead)
    launched.clear()
    y = x.sum(axis=axes)
    assert launched == kernels
    same(y, values.sum(axis=axes))


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float16, np.int64, np.int8, np.bool_], ids=lambda d: d.__name__
)
@pytest.mark.parametrize(("shape", "axis"), [((37, 1003), 1), ((20_011,), 0), ((513, 40), 0)], ids=str)
def test_sums_of_every_size_of_element(shape, axis, dtype):
    values = whole(shape, dtype)
    total = np.asarray(values.sum(axis=axis, dtype=np.float64 if values.dtype.kind == "f" else np.int64))
    got = on_device(values, 1).sum(axis=axis).cpu().numpy()
    np.testing.assert_array_equal(got, total.astype(got.dtype))


@pytest.mark.parametrize("strides", [(1, 40), (80, 2), (-40, 1), (40, -1), (0, 1), (40, 0)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, None])
def test_sums_through_strides(strides, axis):
    memory = whole((8000,))
    start = sum((n - 1) * -s for n, s in zip((40, 40), strides, strict=True) if s < 0)
    x = tt.tensor(memory).to("emulated").as_strided((40, 40), strides, start)
    at = start + np.add.outer(np.arange(40) * strides[0], np.arange(40) * strides[1])
    same(x.sum(axis=axis), memory[at].sum(axis=axis))


@pytest.mark.parametrize("width", [7, 8, 9, 12])
def test_sums_over_planes_cut_out_of_larger_ones(width):
    """Rows of eight elements, aligned or not."""
    values = whole((50, 6, width + 4))
    x = on_device(values)
    for start in range(4):
        cut = (slice(None), slice(None, None, 2), slice(start, start + 8))
        same(x[cut].sum(axis=(0, 2)), values[cut].sum(axis=(0, 2)))


@pytest.mark.parametrize(
    ("shape", "axis"), [((9, 3000), 1), ((200, 50), 1), ((40, 5000), 0), ((20_000, 6), 0)], ids=str
)
def test_few_blocks_take_many_rows(shape, axis):
    """As they do where there are more rows than a grid may have blocks."""
    values = whole(shape)
    with limited_blocks(2):
        same(on_device(values).sum(axis=axis), values.sum(axis=axis))
        same(on_device(values).argmax(axis=axis), values.argmax(axis))


def test_axes_are_walked_as_they_lie_in_memory():
    """A transposed tensor is summed like the tensor it came from: bit for bit."""
    values = np.random.default_rng(0).normal(size=(6, 70, 50)).astype(np.float32)
    x = tt.tensor(values).to("emulated")
    same(x.permute(2, 0, 1).sum(axis=(0, 2)), x.sum(axis=(1, 2)).cpu().numpy())
    same(x.permute(2, 1, 0).sum(axis=1), x.sum(axis=1).cpu().numpy().T)


@pytest.mark.parametrize("shape", [(1_000_000,), (40_000, 25), (25, 40_000)], ids=str)
def test_sums_are_accurate(shape):
    """Positive numbers, whose errors do not cancel: below the 1e-5 that `sum` promises, and far below."""
    values = np.random.default_rng(1).random(shape).astype(np.float32)
    for axis in (None, *range(len(shape))):
        exact = values.sum(axis=axis, dtype=np.float64)
        np.testing.assert_allclose(on_device(values).sum(axis=axis).cpu().numpy(), exact, rtol=5e-7)


@pytest.mark.parametrize("shape", [(10**9, 5), (10**9, 1000), (2, 10**9), (3000, 10**7)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_no_thread_adds_up_long_runs_by_itself(shape, axis):
    layout = Layout(shape, (shape[1], 1), 0)
    plan = reduction._plan(layout, (axis,), 4, True, False)
    lanes = plan.block[1] if plan.width else plan.block[0]
    assert plan.n / (lanes * plan.grid[1]) <= 4096 or plan.grid[1] == 65_535


def test_integers_wrap():
    big = np.full(5000, np.iinfo(np.int64).max)
    with np.errstate(over="ignore"):
        assert on_device(big).sum().item() == big.sum()
        assert on_device(big).prod().item() == np.prod(big)
        unsigned = np.full(5000, np.iinfo(np.uint32).max, np.uint32)
        assert on_device(unsigned).prod().item() == np.prod(unsigned, dtype=np.uint64)


def test_the_short_road_of_the_cpu_is_not_taken():
    x = tt.tensor([1.0, 2.0, 4.0], requires_grad=True).to("emulated")
    assert x.sum().device is tt.Device("emulated")
    assert (x.sum().item(), x.sum(axis=-1).item(), x.mean().item()) == (7.0, 7.0, np.float32(7) / 3)


def test_positions_of_64_bits(monkeypatch):
    monkeypatch.setattr(reduction, "INT_MAX", 100)
    reduction._plan.cache_clear()
    values = whole((5, 30, 70))
    for axis in (0, 1, 2, (0, 2), None):
        same(on_device(values, 1).sum(axis=axis), values.sum(axis=axis))
    assert on_device(values).argmax().item() == values.argmax()
    reduction._plan.cache_clear()


def test_more_axes_than_kernels_walk():
    x = tt.zeros(1, device="emulated").as_strided([2] * 9, [0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert x.sum().item() == 0.0  # they merge
    steps = [3**i for i in range(9)]
    x = tt.zeros(3**9, device="emulated").as_strided([2] * 9, steps)
    with pytest.raises(tt.ShapeError, match="steps through memory in 9 different ways"):
        x.sum()
    assert x.sum(axis=(0, 1, 2)).sum().item() == 0.0


# ---- extremes ----------------------------------------------------------------------------------------------

PLACES = [((4, 999), 1), ((30_000,), 0), ((2000, 5), 0), ((50, 7), 1), ((6, 50, 20), None)]


@pytest.mark.parametrize(("shape", "axis"), PLACES, ids=str)
def test_places_are_the_first_of_ties(shape, axis):
    values = whole(shape)
    for x, y in ((on_device(values, 1), values), (on_device(values.T.copy()).T, values)):
        same(x.argmax(axis=axis), y.argmax(axis=axis))
        same(x.argmin(axis=axis), y.argmin(axis=axis))


@pytest.mark.parametrize(("shape", "axis"), PLACES, ids=str)
def test_nan_is_found(shape, axis):
    rng = np.random.default_rng(3)
    values = rng.normal(size=shape).astype(np.float32)
    values.reshape(-1)[rng.choice(values.size, 3)] = [np.nan, np.inf, np.nan]
    x = on_device(values)
    for ours, theirs in ((tt.max, np.max), (tt.min, np.min), (tt.argmax, np.argmax), (tt.argmin, np.argmin)):
        same(ours(x, axis=axis), theirs(values, axis=axis))


@pytest.mark.parametrize("value", [-np.inf, np.inf], ids=str)
def test_places_among_infinities(value):
    x = on_device(np.full((3, 700), value, np.float32))
    assert x.argmax(axis=1).tolist() == x.argmin(axis=1).tolist() == [0, 0, 0]
    assert x.max(axis=1).tolist() == x.min(axis=1).tolist() == [value] * 3


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8, np.uint8], ids=lambda d: d.__name__)
def test_limits_of_integers(dtype):
    limits = np.iinfo(dtype)
    values = np.array([[limits.min] * 40, [limits.max] * 40], dtype)
    x = on_device(values)
    assert x.max(axis=1).tolist() == x.min(axis=1).tolist() == [limits.min, limits.max]
    assert x.argmin(axis=1).tolist() == x.argmax(axis=1).tolist() == [0, 0]


def test_ties_share_the_gradient():
    values = whole((60, 700))
    values[3] = np.nan
    x = tt.tensor(values, requires_grad=True)
    y = tt.tensor(values).to("emulated").requires_grad_()
    for axis in (0, 1, None):
        expected, got = (tt.grad(t.max(axis=axis).sum(), t)[0] for t in (x, y))
        np.testing.assert_allclose(got.cpu().numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("at", [0, 12_345, 59_999])
def test_one_that_is_not_zero(at):
    values = np.zeros(60_000, np.float32)
    values[at] = np.nan
    x = on_device(values)
    assert (x.any().item(), x.all().item(), tt.count_nonzero(x).item()) == (True, False, 1)


# ---- statistics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis"), [((20, 999), 1), ((90_000,), 0), ((3000, 20), 0), ((9, 3), 1)], ids=str
)
def test_variance_does_not_cancel(shape, axis):
    """A mean far from zero: the mean of squares minus the square of the mean would keep no digit."""
    values = (np.random.default_rng(4).normal(size=shape) + 3e4).astype(np.float32)
    x = on_device(values, 1)
    np.testing.assert_allclose(
        x.var(axis=axis).cpu().numpy(), values.var(axis=axis, dtype=np.float64), rtol=3e-6
    )
    np.testing.assert_allclose(
        x.std(axis=axis).cpu().numpy(), values.std(axis=axis, dtype=np.float64), rtol=3e-6
    )


def test_variance_of_infinities_is_nan():
    x = on_device(np.array([[1.0, np.inf, 2.0], [np.inf, np.inf, np.inf], [1.0, 2.0, 3.0]], np.float32))
    assert np.isnan(x.var(axis=1).cpu().numpy()).tolist() == [True, True, False]
    assert np.isnan(x.var(axis=0).cpu().numpy()).all()


@pytest.mark.parametrize(("shape", "axis"), [((20, 999), 1), ((70_000,), 0), ((2000, 20), 0)], ids=str)
def test_logsumexp_of_large_numbers(shape, axis):
    values = (np.random.default_rng(5).normal(size=shape) * 300).astype(np.float32)
    values.reshape(-1)[7] = -np.inf
    wide = values.astype(np.float64)
    largest = wide.max(axis=axis, keepdims=True)
    expected = np.squeeze(np.log(np.exp(wide - largest).sum(axis=axis, keepdims=True)) + largest, axis)
    np.testing.assert_allclose(tt.logsumexp(on_device(values), axis=axis).cpu().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("ord", [1, 2, 3, 0.5])
def test_norms_of_long_vectors(ord):
    values = np.random.default_rng(6).normal(size=(3, 30_000)).astype(np.float32)
    expected = (np.abs(values.astype(np.float64)) ** ord).sum(axis=1) ** (1 / ord)
    np.testing.assert_allclose(tt.norm(on_device(values), ord, axis=1).cpu().numpy(), expected, rtol=2e-6)
