"""Convolution and pooling: corners, errors, memory, and the gradients of overlapping windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers import op_functions as ops
from tinytensor.dispatch.view_gradients import strided
from tinytensor.layout import Layout
from tinytensor.op_table.matmul.convolution import convolve, pool


def tensors(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s) for s in shapes]
    return arrays, [tt.tensor(a, requires_grad=True) for a in arrays]


@given(st.data())
def test_conv2d_agrees_with_loops(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    groups, kernel = draw(1, 2), (draw(1, 3), draw(1, 3))
    options = {
        "stride": (draw(1, 4), draw(1, 4)),
        "padding": (draw(0, 2), draw(0, 2)),
        "dilation": (draw(1, 2), draw(1, 2)),
        "groups": groups,
    }
    image = tuple(k * d + draw(0, 3) for k, d in zip(kernel, options["dilation"]))
    inputs, outputs = draw(1, 2), groups * draw(1, 2)  # channels
    shapes = (draw(0, 2), groups * inputs, *image), (outputs, inputs, *kernel), (outputs,)
    arrays, (x, weight, bias) = tensors(*shapes, seed=draw(0, 999))
    y = ops.conv2d(x, weight, bias, **options)
    want = convolve(*arrays, **options)
    assert y.shape == want.shape
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    # linear in x and in weight: the gradient against a direction is the output in that direction
    weights = np.random.default_rng(1).standard_normal(want.shape)
    (y * tt.tensor(weights)).sum().backward()
    without = want - arrays[2].reshape(-1, 1, 1)
    for t, a in ((x, arrays[0]), (weight, arrays[1])):
        np.testing.assert_allclose((t.grad.numpy() * a).sum(), (weights * without).sum(), atol=1e-10)
    np.testing.assert_allclose(bias.grad.numpy(), weights.sum((0, 2, 3)), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_same_keeps_the_size(n, dilation, k):
    (a, w), (x, weight) = tensors((1, 1, *[9] * n), (1, 1, *[k] * n))
    function = (ops.conv1d, ops.conv2d)[n - 1]
    total = dilation * (k - 1)
    padded = np.pad(a, [(0, 0), (0, 0), *[(total // 2, total - total // 2)] * n])
    y = function(x, weight, padding="same", dilation=dilation)
    assert y.shape == a.shape
    np.testing.assert_allclose(
        y.detach().numpy(), convolve(padded, w, dilation=dilation), rtol=1e-12, atol=1e-12
    )
    valid = function(x, weight, padding="valid", dilation=dilation)
    np.testing.assert_allclose(
        valid.detach().numpy(), convolve(a, w, dilation=dilation), rtol=1e-12, atol=1e-12
    )


def test_windows_are_views_and_only_the_product_copies_them():
    _, (x, weight) = tensors((2, 3, 8, 8), (4, 3, 3, 3))
    node, names = ops.conv2d(x, weight).node, []
    while isinstance(node, tt.Node):
        names.append(node.name)
        node = node.parents[1 if node.name == "matmul" else 0]
    assert names == ["reshape", "matmul", "reshape", "copy", "permute", "windows"]
    assert node is x
    by_one = ops.conv2d(x, weight[:, :, :1, :1])  # the windows of a 1 × 1 kernel are the image: no copy
    assert by_one.node.parents[0].name == "matmul"
    pooled = ops.max_pool2d(x, 3, stride=1).node
    assert pooled.saved[0][0] is x.storage


def test_pooling_corners():
    (a,), (x,) = tensors((2, 3, 7, 6))
    for size, options in (
        (2, {"stride": 3}),
        ((3, 1), {}),
        (7, {"stride": 1, "padding": 3}),
        ((1, 2), {"stride": (5, 1)}),
    ):
        want = pool(np.mean, a, size, 2, options.get("stride"), options.get("padding", 0))
        np.testing.assert_allclose(
            ops.avg_pool2d(x, size, **options).detach().numpy(), want, rtol=1e-12, atol=1e-12
        )
        want = pool(np.max, a, size, 2, options.get("stride"), options.get("padding", 0), -np.inf)
        np.testing.assert_array_equal(ops.max_pool2d(x, size, **options).detach().numpy(), want)
    assert ops.max_pool1d(tt.tensor([1.0, np.nan, 2.0, 3.0]), 2).tolist()[1] == 3.0
    assert np.isnan(ops.max_pool1d(tt.tensor([1.0, np.nan, 2.0, 3.0]), 2).tolist()[0])
    tie = tt.tensor([1.0, 1.0, 0.0], requires_grad=True)
    ops.max_pool1d(tie, 2, stride=1).sum().backward()
    assert tie.grad.tolist() == [0.5, 1.5, 0.0]


@given(st.data())
def test_gradients_of_overlapping_views_add_up(data):
    """Through any strides: short and long windows, repeats, steps backwards."""
    ndim = data.draw(st.integers(1, 4))
    shape = tuple(data.draw(st.sampled_from([0, 1, 2, 3, 40])) for _ in range(ndim))
    strides = tuple(data.draw(st.integers(-3, 4)) for _ in range(ndim))
    reach = [stride * (max(n, 1) - 1) for stride, n in zip(strides, shape)]
    offset = -sum(r for r in reach if r < 0)
    size = offset + sum(r for r in reach if r > 0) + 1
    x = tt.zeros(size, dtype=tt.float64, requires_grad=True)
    weights = np.random.default_rng(0).standard_normal(shape)
    (tt.as_strided(x, shape, strides, offset) * tt.tensor(weights)).sum().backward()
    expected = np.zeros(size)
    where = strided(np.arange(size), Layout(shape, strides, offset))
    np.add.at(expected, where.reshape(-1), weights.reshape(-1))
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)
