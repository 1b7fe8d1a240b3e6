"""Scans, sorts and searches on a device where the op table is too small: several chunks, tiles and passes."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import same, whole
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.launch import limited_blocks
from tinytensor.kernels import sorting
from tinytensor.op import registry
from tinytensor.ops.reductions import scan_launch

pytestmark = pytest.mark.usefixtures("nan_memory")


def placed(values, layout="packed"):
    """A tensor on the device: packed, one element after an aligned address, transposed, or backwards."""
    if layout == "shifted":
        room = np.concatenate([values.ravel()[:1], values.ravel()])
        return tt.tensor(room).to("emulated")[1:].reshape(*values.shape)
    if layout == "transposed":
        return tt.tensor(values.T.copy()).to("emulated").T
    if layout == "backwards":
        return tt.tensor(np.flip(values).copy()).to("emulated").flip()
    return tt.tensor(values).to("emulated")


LAYOUTS = ["packed", "shifted", "transposed", "backwards"]


ONE, THREE = 1, 3  # launches
LINES = [
    ((5, 3), 1, "scan_columns", ONE),
    ((40, 37), 1, "scan_rows", ONE),
    ((3, 1001), 1, "scan_rows", ONE),
    ((2, 4097), 1, "scan_rows", ONE),
    ((30_011,), 0, "scan_rows", THREE),
    ((3, 9_000), 1, "scan_rows", THREE),
    ((50, 300), 0, "scan_columns", ONE),
    ((7_001, 3), 0, "scan_columns", THREE),
    ((4, 300, 6), 1, "scan_columns", THREE),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "axis", "kernel", "launches"), LINES, ids=str)
def test_running_sums(shape, axis, kernel, launches, layout, launched):
    values = whole(shape)
    x = placed(values, layout)
    launched.clear()
    y = tt.cumulative_sum(x, axis=axis)
    assert launched == ([kernel] if launches == ONE else [kernel, "scan_carries", kernel])
    same(y, values.cumsum(axis))
    backwards = apply(registry["cumulative_sum"](axis=axis, reverse=True), x)
    same(backwards, np.flip(np.flip(values, axis).cumsum(axis), axis))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("shape", "axis"), [((9, 333), 1), ((20_003,), 0), ((900, 3), 0)], ids=str)
def test_running_sums_of_every_size_of_element(shape, axis, dtype):
    values = (whole(shape) % 3).astype(dtype)
    expected = values.cumsum(axis, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    got = tt.cumulative_sum(placed(values, "shifted"), axis=axis).cpu().numpy()
    np.testing.assert_array_equal(got, expected.astype(got.dtype))


@pytest.mark.parametrize(("shape", "axis"), [((3, 999), 1), ((20_000,), 0), ((5_000, 3), 0)], ids=str)
def test_running_products(shape, axis):
    """Powers of two: exact in any order, as long as none leaves the range."""
    up = np.arange(int(np.prod(shape))).reshape(shape) % 2 == 0
    values = np.where(up, np.float32(2), np.float32(-0.5))
    expected = values.astype(np.float64).cumprod(axis)
    same(tt.cumulative_prod(placed(values), axis=axis), expected)


@pytest.mark.parametrize(("shape", "axis"), [((5, 777), 1), ((30_000,), 0), ((3_000, 4), 0)], ids=str)
def test_recurrence(shape, axis):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, shape), rng.normal(size=shape)
    a[(0,) * len(shape)] = np.inf  # meets s[-1], of which there is none
    expected, last = np.empty(shape), np.zeros(shape[:axis] + shape[axis + 1 :])
    for i in range(shape[axis]):
        at = (*[slice(None)] * axis, i)
        last = b[at] if i == 0 else a[at] * last + b[at]
        expected[at] = last
    for layout in ("packed", "transposed", "backwards"):
        got = apply(registry["recurrence"](axis=axis), placed(a, layout), placed(b, "shifted"))
        np.testing.assert_allclose(got.cpu().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axis"), [((9, 3000), 1), ((200, 50), 1), ((9, 10_000), 1), ((900, 600), 0)], ids=str
)
def test_few_blocks_take_many_lines(shape, axis):
    """As they do where there are more lines than a grid may have blocks."""
    values = whole(shape)
    with limited_blocks(2):
        y = tt.cumulative_sum(placed(values), axis=axis)
    same(y, values.cumsum(axis))


def test_a_nan_stays_in_its_line():
    values = np.ones((3, 20_000), np.float32)
    values[1, 9_000] = np.nan
    y = tt.cumulative_sum(placed(values), axis=1).cpu().numpy()
    np.testing.assert_array_equal(y[[0, 2]], np.arange(1, 20_001)[None].repeat(2, 0))
    assert np.isnan(y[1]).sum() == 11_000


def test_infinities_are_summed():
    values = np.zeros(10_000, np.float32)
    values[[3, 7_000]] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = values.cumsum()
    same(tt.cumulative_sum(placed(values)), expected)


ROWS = [
    # (shape, axis, kernels): many short rows in a block, one tile, tiles and passes of merging
    ((700, 2), 1, ["sort_tiles"]),
    ((50, 33), 1, ["sort_tiles"]),
    ((33, 50), 0, ["sort_tiles"]),
    ((3, 2048), 1, ["sort_tiles"]),
    ((3, 2049), 1, ["sort_tiles", "sort_merge", "sort_gather"]),
    ((20_000,), 0, ["sort_tiles", *["sort_merge"] * 4, "sort_gather"]),
    ((5000, 3), 0, ["sort_tiles", "sort_merge", "sort_merge", "sort_gather"]),
]


def order_of(values, axis, descending):
    """Stable, nan as the largest."""
    if not descending:
        return np.argsort(values, axis, "stable")
    last = values.shape[axis] - 1
    return last - np.flip(np.argsort(np.flip(values, axis), axis, "stable"), axis)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("shape", "axis", "kernels"), ROWS, ids=str)
def test_sorts_are_stable(shape, axis, kernels, dtype, descending, launched):
    values = whole(shape, dtype)
    values.reshape(-1)[[5, 40]] = np.copysign(np.nan, [-1, 1])
    values.reshape(-1)[[9, 90]] = -np.inf
    values[values == 3] *= np.where(np.arange((values == 3).sum()) % 2, 0, -0.0)  # 0 and -0 are equal
    order = order_of(values, axis, descending)
    for layout in LAYOUTS:
        x = placed(values, layout)
        launched.clear()
        y = tt.sort(x, axis, descending=descending)
        assert launched == kernels
        assert y.cpu().numpy().tobytes() == np.take_along_axis(values, order, axis).tobytes()
        got = tt.argsort(x, axis, descending=descending)
        same(got, order)


@pytest.mark.parametrize(
    "dtype",
    [np.bool_, np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64, np.float16],
    ids=lambda d: d.__name__,
)
@pytest.mark.parametrize("n", [100, 5000])
def test_sorts_of_every_dtype(dtype, n):
    rng = np.random.default_rng(1)
    if dtype is np.float16:
        values = rng.normal(size=n).astype(dtype)
    elif dtype is np.bool_:
        values = rng.random(n) < 0.5
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
        values[:2] = limits.max, limits.min
    for descending in (False, True):
        got = tt.argsort(placed(values), descending=descending).cpu().numpy()
        np.testing.assert_array_equal(got, order_of(values, 0, descending))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis", "k", "kernels"),
    [
        ((50, 60), 1, 7, ["sort_tiles"]),
        ((3, 2048), 1, 2048, ["sort_tiles"]),
        ((2, 10_000), 1, 1, ["sort_tiles"] * 2),
        ((30_000,), 0, 300, ["sort_tiles"] * 3),
        ((3000, 5), 0, 512, ["sort_tiles"] * 2),
        ((5000,), 0, 513, ["sort_tiles", "sort_merge", "sort_merge", "sort_gather"]),
        ((2, 5000), 1, 600, ["sort_tiles", "sort_merge", "sort_merge", "sort_gather"]),
    ],
    ids=str,
)
def test_topk(shape, axis, k, kernels, largest, launched):
    """Of equal values the first are chosen, in the order of their indices."""
    values = whole(shape)
    values.reshape(-1)[77] = np.nan
    x = placed(values, "shifted")
    launched.clear()
    found, indices = tt.topk(x, k, axis, largest)
    assert launched == kernels
    order = np.take(order_of(values, axis, largest), np.arange(k), axis)
    same(indices, order)
    same(found, np.take_along_axis(values, order, axis))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side):
    known = np.sort(np.append(whole((3000,)), [np.nan, np.inf, np.nan])).astype(np.float32)
    wanted = (
        np.append(np.arange(-8, 8, 0.5), [np.nan, np.inf, -np.inf, -0.0]).astype(np.float32).reshape(4, 9)
    )
    for layout in LAYOUTS:
        got = tt.searchsorted(placed(known), placed(wanted, layout), side=side)
        same(got, np.searchsorted(known, wanted, side))


def test_unique_elements_stay_on_the_device():
    x = placed(whole((9, 70)))
    u = tt.unique_all(x)
    assert all(t.device is x.device for t in u)
    assert bool((u.values[u.inverse_indices] == x).all().item())
    assert u.counts.sum().item() == x.size


def test_positions_of_64_bits(monkeypatch):
    for module, cache in ((scan_launch, scan_launch._plan), (sorting, sorting._rows)):
        monkeypatch.setattr(module, "INT_MAX", 100)
        cache.cache_clear()
    values = whole((3, 5000))
    for axis in (0, 1):
        x = placed(values, "shifted")
        same(tt.cumulative_sum(x, axis=axis), values.cumsum(axis))
        same(tt.argsort(x, axis), np.argsort(values, axis, "stable"))
    scan_launch._plan.cache_clear()
    sorting._rows.cache_clear()


def test_nothing_to_sort():
    x = tt.zeros(3, 0, device="emulated")
    assert tt.sort(x).shape == tt.argsort(x, 0).shape == tt.cumulative_sum(x, axis=1).shape == (3, 0)
    assert tt.topk(tt.zeros(3, 4, device="emulated"), 0)[0].shape == (3, 0)
