"""Picking along an axis and adding there, on a device, against NumPy: rows of many lengths, several to a
block and longer than a block takes, any axis, any strides, repeats.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import DEVICE, added, on_device, same
from tinytensor.ops.indexing.gather_along import gather_transpose


def added_along(shape, index, values, axis):
    places = list(np.indices(index.shape))
    places[axis] = index % shape[axis]
    return added(shape, tuple(places), values)


@pytest.mark.parametrize(
    ("shape", "picks", "axis"),
    [
        ((7, 5), 3, 1),  # many rows to a block
        ((300, 9), 1, 1),
        ((3, 700), 900, 1),
        ((2, 2048), 2048, 1),  # the longest row that one block takes
        ((2, 2049), 5, 1),  # longer ones
        ((2, 5), 2049, 1),
        ((40, 33), 12, 0),  # neighbors stand apart
        ((3, 1000, 5), 70, 1),
        ((1500, 3), 1500, 0),
        ((4, 1, 6), 5, 1),
    ],
)
@pytest.mark.usefixtures("position")
def test_rows_of_every_length(shape, picks, axis):
    rng = np.random.default_rng(picks)
    size = shape[axis]
    chosen = tuple(picks if i == axis else n for i, n in enumerate(shape))
    index = rng.integers(-size, size, chosen)
    x, grad = rng.integers(-9, 9, shape), rng.integers(-9, 9, chosen)  # sums of whole numbers are exact
    for dtype in ("float32", "bfloat16"):
        leaf = on_device(x, dtype).requires_grad_()
        y = leaf.gather(axis, on_device(index))
        same(y.detach(), np.take_along_axis(x, index, axis).astype(np.float32))
        (found,) = tt.grad(y, [leaf], on_device(grad, dtype))
        if dtype == "float32" or picks < 20:  # larger sums do not fit into bfloat16
            same(found, added_along(shape, index, grad, axis))


def test_an_index_that_is_smaller_than_the_tensor():
    """Rows that nothing is picked from get zeros."""
    rng = np.random.default_rng(1)
    index, values = rng.integers(0, 30, (3, 2, 11)), rng.integers(-9, 9, (3, 2, 11))
    found = gather_transpose(on_device(values, "float32"), on_device(index), 2, (5, 4, 30), "test")
    same(found, added_along((5, 4, 30), index, values, 2))


def test_operands_of_any_strides():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((12, 20)).astype(np.float32)
    index = rng.integers(0, 20, (20, 12))
    seen, own = x[::-1, ::2], on_device(x)[::-1, ::2]
    turned, ours = index.T % 10, on_device(index % 10).T
    same(own.gather(1, ours), np.take_along_axis(seen, turned, 1))
    leaf = on_device(x).requires_grad_()
    leaf.gather(1, on_device(index).T).sum().backward()  # the gradient of a sum is one number, expanded
    same(leaf.grad, added_along((12, 20), index.T, np.ones((12, 20)), 1))
    wide = tt.take_along_axis(on_device(x), on_device([[3, 1, 3]]), 1)  # an expanded index
    same(wide, x[:, [3, 1, 3]])


def test_narrow_sums_are_rounded_once_and_integers_wrap():
    index = tt.zeros(1, 2048, dtype=tt.int64, device=DEVICE)
    ones = tt.ones(1, 2048, dtype=tt.bfloat16, device=DEVICE)  # in bfloat16 itself they would add up to 256
    same(gather_transpose(ones, index, 1, (1, 2), "test"), [[2048.0, 0.0]])
    found = gather_transpose(on_device([[100, 100, 100]], "int8"), index[:, :3], 1, (1, 1), "test")
    same(found, np.array([[44]], np.int8))


@pytest.mark.parametrize("bad", [4, -5])
def test_an_index_out_of_range_adds_nothing_and_is_named(bad):
    index, values = on_device([[0, bad, 0]]), tt.ones(1, 3, device=DEVICE)
    with pytest.raises(tt.IndexRangeError, match=f"test: index {bad} is out of range for axis 1"):
        gather_transpose(values, index, 1, (1, 4), "test")


def test_one_launch_each_way():
    leaf = tt.zeros(16, 100, device=DEVICE, requires_grad=True)
    index = tt.zeros(16, 7, dtype=tt.int64, device=DEVICE)
    with tt.cuda.check() as forward:
        y = leaf.gather(1, index)
    ones = tt.ones(16, 7, device=DEVICE)
    with tt.cuda.check() as backward:
        tt.grad(y, [leaf], ones)
    assert (forward.findings, backward.findings) == ([], [])
    assert [k.kernel.partition("<")[0] for k in forward.kernels] == ["gather_forward"]
    assert [k.kernel.partition("<")[0] for k in backward.kernels] == ["gather_transpose_rows"]
