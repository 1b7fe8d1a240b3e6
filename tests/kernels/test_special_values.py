"""Values and layouts on which a kernel may be wrong though random numbers and small shapes do not show it."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import on_device
from tinytensor.runtime.kernel_files import kernel_path


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_quotients_are_rounded_down(dtype):
    """Of 20 to 10^6. In one of twenty pairs the quotient of exact multiples is rounded below the integer."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(2000) * scale for scale in (1000, 0.1))
    a, b = a.astype(dtype), b.astype(dtype)
    got = tt.floor_divide(on_device(a), on_device(b)).cpu().numpy()
    np.testing.assert_array_equal(got, np.floor_divide(a, b))


def test_isclose_at_its_limits():
    a = np.array([1.0, 1.0, np.inf, np.inf, -np.inf, np.nan, 0.0, 1.125, 1.25])
    b = np.array([1.5, 1.25, np.inf, 1.0, np.inf, np.nan, 0.0, 1.0, 1.0])
    got = tt.isclose(on_device(a), on_device(b), rtol=0.125, atol=0.0).cpu().numpy()
    np.testing.assert_array_equal(got, np.isclose(a, b, rtol=0.125, atol=0.0))


LAYOUTS = {
    "packed": lambda x: x,
    "transposed": lambda x: x.mT,
    "every second": lambda x: x[:, ::2],
    "backwards": lambda x: x[::-1, :, ::-1],
    "with gaps": lambda x: x[:, :, :32],
    "rows between vectors": lambda x: x[0, :, :32],  # of whole vectors of bytes, 36 bytes apart
    "matrices between vectors": lambda x: x.reshape(4, 216)[:, :192].reshape(4, 6, 32),  # of bytes, 216 apart
}


def checked(values):
    return tt.tensor(values).to("checked")


def index_of(kind, shape):
    """An index for NumPy and for a tensor."""
    if kind == "mask":
        mask = np.arange(np.prod(shape)).reshape(shape) % 3 == 1
        return mask, checked(mask)
    places = [np.array([n - 1, 0, n // 2, 0]) for n in shape]
    if kind == "rows":
        return places[0], checked(places[0])
    if kind == "middle":
        return np.s_[:, places[1]], np.s_[:, checked(places[1])]
    return np.s_[places[0], ..., places[-1]], np.s_[checked(places[0]), ..., checked(places[-1])]


@pytest.mark.parametrize("kind", ["rows", "middle", "two axes", "mask"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8], ids=lambda d: d.__name__)
def test_indexed_assignment_to_views(layout, kind, dtype):
    """Rows with and without whole vectors of 16 bytes, which the device `checked` wants aligned; values with
    strides of their own or in vectors; the last of equal places wins.
    """
    shape = (4, 6, 36)
    expected = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)
    target = checked(expected)
    view = LAYOUTS[layout]
    index, own = index_of(kind, view(expected).shape)
    picked = view(expected)[index].shape
    values = (np.arange(np.prod(picked))[::-1] % 241).astype(dtype)
    if layout in ("transposed", "backwards"):
        values = values.reshape(picked[::-1])
        view(target)[own] = checked(values).permute(*reversed(range(values.ndim)))
        view(expected)[index] = values.transpose()
    else:
        view(target)[own] = checked(values.reshape(picked))
        view(expected)[index] = values.reshape(picked)
    np.testing.assert_array_equal(target.cpu().numpy(), expected)


@pytest.mark.parametrize("name", ["softmax_forward_lines", "softmax_backward_lines"])
def test_a_block_takes_several_groups_of_lines(name):
    """As in launches whose grid is at its limit: sums of one group end before those of the next begin."""
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((2, 20, 96)).astype(np.float32)
    y = np.exp(x) / np.exp(x).sum(0)
    forward = name == "softmax_forward_lines"
    expected = y if forward else y * (grad - (grad * y).sum(0))
    operands = [on_device(values) for values in ([x] if forward else [grad, y])]
    kernel = tt.cuda.kernel(kernel_path("softmax", ".cu"), name, tt.float32, False)
    got = tt.empty(20, 96, device="emulated")
    with tt.cuda.check() as report:
        kernel[1, (32, 8)](got, *operands, 96, 20, 96)
    assert not report.findings, str(report)
    np.testing.assert_allclose(got.cpu().numpy(), expected, atol=1e-6)
