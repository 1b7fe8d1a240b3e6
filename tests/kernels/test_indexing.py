"""Kernels that move elements by index: what the op table's small shapes cannot show.

Several blocks, odd sizes, unaligned rows, many repeats, both types of a position, and what happens to an
index that is out of range.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.kernel_calls import emulated
from tests.helpers.on_emulated import DEVICE, added, on_device, same
from tinytensor.dispatch import bounds
from tinytensor.dispatch import launch as launching
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.ops.indexing import selection

# ---- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int16", "float32", "float64"])
def test_rows_of_every_size_of_element(dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (70, 48)).astype(dtype)
    index = rng.integers(-70, 70, 300)
    same(on_device(x)[on_device(index)], x[index])
    same(on_device(x)[:, on_device(index % 48)], x[:, index % 48])


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.T,
        lambda x: x[::2, 1::3],
        lambda x: x[::-1, ::-1],
        lambda x: x[1:, 1:],
        lambda x: x[:, 4:44],
    ],
)
def test_rows_that_do_not_lie_densely(look, position):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((61, 49)).astype(np.float32)
    seen, own = look(x), look(on_device(x))
    index = rng.integers(-len(seen), len(seen), (7, 11))
    same(own[on_device(index)], seen[index])
    columns = rng.integers(0, seen.shape[1], 5)
    same(own[:, on_device(columns)], seen[:, columns])


def test_a_middle_axis_and_axes_apart():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 35, 3, 8)).astype(np.float32)
    i, j = rng.integers(0, 35, (4, 5)), rng.integers(0, 8, (4, 5))
    own, a, b = on_device(x), on_device(i), on_device(j)
    same(own[:, a], x[:, i])
    same(own[:, a, :, b], x[:, i, :, j])
    same(own[..., b], x[..., j])


def test_more_index_tensors_than_one_kernel_takes():
    rng = np.random.default_rng(3)
    shape = (2, 3, 2, 4, 3, 2)
    x = rng.standard_normal(shape).astype(np.float32)
    index = tuple(rng.integers(-n, n, (9,)) for n in shape)
    same(on_device(x)[tuple(on_device(i) for i in index)], x[index])
    mixed = tuple(
        on_device(i % n, "uint8" if k % 2 else "int32") for k, (i, n) in enumerate(zip(index, shape))
    )
    same(on_device(x)[mixed], x[tuple(i % n for i, n in zip(index, shape))])


def test_gather_from_more_than_a_block():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((33, 40)).astype(np.float32)
    index = rng.integers(0, 40, (33, 100))
    same(tt.take_along_axis(on_device(x), on_device(index), 1), np.take_along_axis(x, index, 1))
    same(tt.one_hot(on_device(index[0]), 41), np.eye(41, dtype=np.int64)[index[0]])


@pytest.mark.parametrize("picks", [31, 32, 33])
def test_as_many_picks_as_shared_memory_has_room_for(picks):
    rng = np.random.default_rng(6)
    index = rng.integers(0, 40, (70, picks))
    leaf = on_device(rng.standard_normal((70, 40)).astype(np.float32)).requires_grad_()
    with tt.cuda.check(blocks=0) as report:
        (found,) = tt.grad(tt.take_along_axis(leaf, on_device(index), 1).sum(), [leaf])
    assert not report.findings, str(report)
    same(found, [np.bincount(row, minlength=40) for row in index])


# ---- sums of gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 40])
@pytest.mark.parametrize("rows", [1, 2, 50, 5000])
def test_gradients_of_repeated_rows_add_up(rows, width, position):
    """One row: a single run through all chunks; 5,000: hardly any repeats."""
    rng = np.random.default_rng(rows)
    index = np.concatenate([np.zeros(130, np.int64), rng.integers(0, rows, 900)])
    grad = rng.integers(-8, 9, (index.size, width)).astype(np.float32)  # sums are exact
    found = selection.select_transpose(on_device(grad), on_device(index), (0,), (rows, width))
    same(found, added((rows, width), index, grad))


def test_gradients_of_other_axes_than_the_first():
    rng = np.random.default_rng(6)
    x = on_device(np.zeros((4, 9, 3, 5), np.float32)).requires_grad_()
    i, j = rng.integers(0, 9, (200,)), rng.integers(0, 5, (200,))
    for key, shape in [((slice(None), i), (4, 200, 3, 5)), ((slice(None), i, slice(None), j), (200, 4, 3))]:
        weights = rng.integers(-8, 9, shape).astype(np.float32)
        own = tuple(on_device(k) if isinstance(k, np.ndarray) else k for k in key)
        (found,) = tt.grad((x[own] * on_device(weights)).sum(), [x])
        expected = np.zeros(x.shape)
        np.add.at(expected, key, weights.astype(np.float64))
        same(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_sums_are_rounded_once(dtype):
    """In float16 itself 4,096 ones would add up to 2,048."""
    ones = tt.ones(4096, 1, dtype=dtype, device=DEVICE)
    index = tt.zeros(4096, dtype=tt.int64, device=DEVICE)
    same(selection.select_transpose(ones, index, (0,), (1, 1)), [[4096.0]])


def test_sums_of_integers():
    index = np.array([3, 1, 3, 3])
    values = on_device([100, 2, 100, 100], "int8")
    x = tt.scatter_add(tt.zeros(4, dtype="int8", device=DEVICE), 0, on_device(index), values)
    same(x, np.array([0, 2, 0, 44], np.int8))  # 300 wraps around


# ---- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_of_equal_places_the_last_one_stays(dtype, position):
    rng = np.random.default_rng(8)
    index = rng.integers(-20, 20, 1500)
    values = rng.integers(0, 200, (1500, 32)).astype(dtype)
    x, own = np.zeros((20, 32), dtype), tt.zeros(20, 32, dtype=dtype, device=DEVICE)
    for i, v in zip(index, values, strict=True):
        x[i] = v
    own[on_device(index)] = on_device(values)
    same(own, x)


def test_what_is_written_may_be_part_of_the_target():
    x = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    own = on_device(x)
    own[on_device([1, 2, 3])] = own[:3]
    own.T[on_device([0, 2])] = own[:2, :1].T.expand(2, 2).repeat(2, axis=1)
    x[[1, 2, 3]] = x[:3].copy()
    x.T[[0, 2]] = np.repeat(np.broadcast_to(x[:2, :1].T, (2, 2)), 2, 1)
    same(own, x)


@pytest.mark.parametrize("value", [-1.0, [1.0, 2.0, 3.0], "selection"])
def test_writing_under_a_mask(value):
    rng = np.random.default_rng(9)
    x, mask = rng.standard_normal((5, 4, 3)).astype(np.float32), rng.random((5, 4)) < 0.5
    v = rng.standard_normal((int(mask.sum()), 3)).astype(np.float32) if value == "selection" else value
    own = on_device(x)
    own[on_device(mask)] = on_device(v, "float32") if isinstance(v, np.ndarray | list) else v
    x[mask] = v
    same(own, x)


def test_a_number_under_a_mask_waits_for_nobody():
    x, mask = tt.ones(100, device=DEVICE), tt.arange(100, device=DEVICE) > 50
    before = emulated().statistics.copy_out_bytes
    x[mask] = 0.0
    assert emulated().statistics.copy_out_bytes == before
    assert x.sum().item() == 51.0


@pytest.mark.parametrize(
    ("size", "error", "text"), [(4, tt.IndexRangeError, r"mask of shape \(4,\)"), (3, tt.GradError, "leaf")]
)
def test_what_is_not_written_under_a_mask(size, error, text):
    x = tt.ones(3, 4, device=DEVICE, requires_grad=True)
    with pytest.raises(error, match=text):
        x[tt.ones(size, dtype="bool", device=DEVICE)] = 0.0


# ---- joining, moving, framing ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_moves_of_every_size_of_element(dtype):
    rng = np.random.default_rng(10)
    a, b = (rng.integers(0, 99, shape).astype(dtype) for shape in ((9, 50, 33), (9, 7, 33)))
    x, y = on_device(a), on_device(b)
    same(tt.concat([x, y, x[:, ::-2]], axis=1), np.concatenate([a, b, a[:, ::-2]], axis=1))
    same(tt.stack([x.T, x.T], axis=1), np.stack([a.T, a.T], axis=1))
    same(tt.roll(x, (60, -1), (1, 2)), np.roll(a, (60, -1), (1, 2)))
    same(tt.repeat(x, 3, axis=1), np.repeat(a, 3, axis=1))
    same(tt.tile(y, (2, 1, 3)), np.tile(b, (2, 1, 3)))
    same(ops.pad(x, ((0, 0), (3, 0), (1, 5)), constant_values=7), np.pad(
        a, ((0, 0), (3, 0), (1, 5)), constant_values=7))  # fmt: skip
    for k in (-60, -3, 0, 10, 10**12):
        same(tt.tril(x, k), np.tril(a, min(k, 99)))
        same(tt.triu(x[:, ::-1], k), np.triu(a[:, ::-1], min(k, 99)))


# ---- out of range ------------------------------------------------------------------------------------------


def there(x, values, dtype=None):
    return tt.tensor(values, dtype=dtype, device=x.device)


@pytest.mark.parametrize("device", ["cpu", DEVICE], ids=str)
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: x[there(x, [0, 3])], "index: index 3 is out of range for axis 0 of shape (3, 4)"),
        (lambda x: x[there(x, [-4])], "index: index -4 is out of range for axis 0"),
        (lambda x: x[:, there(x, [1]), None][there(x, [7])], "index: index 7 is out of range"),
        (lambda x: x[there(x, [0]), there(x, [4])], "index: index 4 is out of range for axis 1"),
        (lambda x: x[there(x, [2**64 - 1], "uint64")], f"index: index {2**64 - 1} is out of range"),
        (lambda x: x.__setitem__(there(x, [9]), 0.0), "index: index 9 is out of range"),
        (lambda x: tt.take(x, there(x, [5]), 1), "take: index 5 is out of range for axis 1"),
        (lambda x: tt.gather(x, 1, there(x, [[4]])), "gather: index 4 is out of range"),
        (lambda x: tt.take_along_axis(x, there(x, [[-5]]), 1), "take_along_axis"),
        (lambda x: tt.scatter_add(x, 1, there(x, [[8]]), x[:1, :1]), "scatter_add: index 8"),
        (lambda x: x[:0][there(x, [0])], "index: index 0 is out of range for axis 0 of shape (0, 4)"),
        (lambda x: tt.one_hot(there(x, [1, -1]), 3), "one_hot: index -1 for 3 classes"),
        (lambda x: tt.one_hot(there(x, [3]), 3), "one_hot: index 3 for 3 classes"),
        (lambda x: tt.one_hot(there(x, [3]), 0), "for 0 classes"),
        (lambda x: x[:0][there(x, [-1])], "index -1 is out of range for axis 0"),
    ],
)
def test_an_index_out_of_range_is_named(call, text, device):
    x = tt.ones(3, 4, device=device)
    with pytest.raises(tt.IndexRangeError) as error:
        call(x)
    assert text in str(error.value)
    assert x[there(x, [2])].sum().item() == 4.0  # the report is empty again


def one_hot_later(index):
    """As a GPU does it: the kernel runs, and nobody looks at the report yet."""
    y = tt.empty(len(index), 3, dtype=tt.int64, device=DEVICE)
    launch = Launch(emulated(), "gathering")
    check = launch.bounds(0, 3, _no_class, "later")
    args = (view_of(y), view_of(on_device(index)), 3, check, y.size)
    launch("one_hot_forward", tt.int64, "int", grid=1, args=args)
    return y


def _no_class(index, what):
    return tt.IndexRangeError(f"{what}: {index}", why="a test", fix="none")


def test_a_report_is_raised_by_the_next_read_back_once():
    y = one_hot_later([1, 5, 2])
    with pytest.raises(tt.IndexRangeError, match="later: 5"):
        y.cpu()
    same(y[0], [0, 1, 0])
    assert one_hot_later([0]).tolist() == [[1, 0, 0]]


def test_waiting_for_the_device_raises_a_report():
    one_hot_later([6])
    with pytest.raises(tt.IndexRangeError, match="later: 6"):
        tt.cuda.synchronize(DEVICE)
    tt.cuda.synchronize(DEVICE)


def test_the_first_report_stays():
    one_hot_later([7])
    y = one_hot_later([8])
    with pytest.raises(tt.IndexRangeError, match="later: 7"):
        y.cpu()


def test_what_a_bad_index_selects_is_nan_and_nothing_is_written_there(monkeypatch):
    """As on a GPU, where the report is read later."""
    monkeypatch.setattr(launching, "raise_reported", lambda runtime: None)
    x = on_device(np.arange(6.0, dtype=np.float32).reshape(3, 2)).requires_grad_()
    index = on_device([0, 7, 2])
    y = x[index]
    z = tt.zeros(3, 2, device=DEVICE)
    z[index] = 1.0
    (gradient,) = tt.grad(y, [x], tt.ones(3, 2, device=DEVICE))
    second = x[on_device([1, 1]), on_device([9, 1])]
    empty = tt.zeros(0, 2, device=DEVICE)[index]
    with pytest.raises(tt.IndexRangeError, match="index 7"):
        y.cpu()
    same(y.detach(), [[0.0, 1.0], [np.nan, np.nan], [4.0, 5.0]])
    same(z, [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    same(gradient, [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    same(second.detach(), [np.nan, 3.0])
    same(empty, np.full((3, 2), np.nan))


def test_an_old_check_is_reported_without_its_name(monkeypatch):
    monkeypatch.setattr(bounds, "_checks", {})
    monkeypatch.setattr(bounds, "_numbers", {})
    monkeypatch.setattr(bounds, "_MAX_CHECKS", 2)
    y = one_hot_later([4])
    bounds.bounds(emulated(), 0, 1, _no_class, "another")
    bounds.bounds(emulated(), 0, 1, _no_class, "and another")
    with pytest.raises(tt.IndexRangeError, match="a kernel: index 4 is out of range"):
        y.cpu()


def test_an_index_stays_on_its_device():
    with pytest.raises(tt.DeviceError, match="different devices"):
        tt.ones(3, device=DEVICE)[tt.tensor([0])]
    same(tt.arange(3, device=DEVICE)[[2, 0]], [2, 0])  # lists and arrays have none
    same(tt.arange(3, device=DEVICE)[np.array([True, False, True])], [0, 2])
