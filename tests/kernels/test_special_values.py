"""Values and layouts on which a kernel may be wrong though random numbers and small shapes do not show it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import Array, on_device
from tinytensor.errors import IndexRangeError
from tinytensor.runtime.kernel_files import kernel_path

SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1.0 + 2**-52, 2.0**53, 2.0**53 + 2, 1e-310]
)
PAIRS = [grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL, indexing="ij")]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]


@pytest.mark.parametrize("name", [*COMPARISONS, *LOGIC, "heaviside", "copysign", "maximum", "minimum"])
def test_pairs_of_doubles(name: str) -> None:
    """Numbers that differ in their last bit, or not at all as floats; zeros of both signs; nan."""
    got = getattr(tt, name)(*[on_device(values) for values in PAIRS]).cpu().numpy()
    with np.errstate(invalid="ignore"):
        expected = getattr(np, name)(*PAIRS)
    np.testing.assert_array_equal(got, expected)
    if name in ("heaviside", "copysign"):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


@pytest.mark.parametrize("name", COMPARISONS)
def test_pairs_of_large_integers(name: str) -> None:
    a = np.array([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 0, -1])
    pairs = [grid.ravel() for grid in np.meshgrid(a, a, indexing="ij")]
    got = getattr(tt, name)(*[on_device(values) for values in pairs]).cpu().numpy()
    np.testing.assert_array_equal(got, getattr(np, name)(*pairs))


@pytest.mark.parametrize("name", ["sign", "abs", "isfinite", "isinf", "isnan", "signbit", "logical_not"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_single_values(name: str, dtype: Any) -> None:
    values = SPECIAL.astype(dtype)
    np.testing.assert_array_equal(
        getattr(tt, name)(on_device(values)).cpu().numpy(), getattr(np, name)(values)
    )


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_sign_and_absolute_value_of_integers(dtype: Any) -> None:
    values = np.array([0, 1, 100, np.iinfo(dtype).max, np.iinfo(dtype).min]).astype(dtype)
    for name in ("sign", "abs"):
        got = getattr(tt, name)(on_device(values)).cpu().numpy()
        np.testing.assert_array_equal(got, getattr(np, name)(values))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_right_shifts_by_all_bits_and_more(dtype: Any) -> None:
    """As of Python's integers, which have all bits; also of 0, which is not negative."""
    limits = np.iinfo(dtype)
    numbers = np.array([0, 1, 100, limits.max, limits.min], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, np.array([0, 1, 7, 8, 63, 64, 100], dtype)))
    got = tt.bitwise_right_shift(on_device(a), on_device(b)).cpu().numpy()
    assert got.tolist() == [x >> y for x, y in zip(a.tolist(), b.tolist(), strict=True)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_quotients_are_rounded_down(dtype: Any) -> None:
    """Of 20 to 10^6. In one of twenty pairs the quotient of exact multiples is rounded below the integer."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(2000) * scale for scale in (1000, 0.1))
    a, b = a.astype(dtype), b.astype(dtype)
    got = tt.floor_divide(on_device(a), on_device(b)).cpu().numpy()
    np.testing.assert_array_equal(got, np.floor_divide(a, b))


def test_isclose_at_its_limits() -> None:
    a = np.array([1.0, 1.0, np.inf, np.inf, -np.inf, np.nan, 0.0, 1.125, 1.25])
    b = np.array([1.5, 1.25, np.inf, 1.0, np.inf, np.nan, 0.0, 1.0, 1.0])
    got = tt.isclose(on_device(a), on_device(b), rtol=0.125, atol=0.0).cpu().numpy()
    np.testing.assert_array_equal(got, np.isclose(a, b, rtol=0.125, atol=0.0))


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("target", [5, -1])
def test_targets_next_to_the_classes_are_refused(name: str, target: int) -> None:
    """The first and last class are fine, their neighbors are errors, not reads beside a row."""
    x = on_device(np.log(np.full((3, 5), 0.2)))
    targets = on_device(np.array([0, 4, 4]))
    loss = getattr(tt, name)(x, targets).item()
    assert abs(loss - np.log(5)) < 1e-12
    with pytest.raises(IndexRangeError):
        getattr(tt, name)(x, on_device(np.array([0, target, 4]))).item()


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "packed": lambda x: x,
    "transposed": lambda x: x.mT,
    "every second": lambda x: x[:, ::2],
    "backwards": lambda x: x[::-1, :, ::-1],
    "with gaps": lambda x: x[:, :, :32],
    "rows between vectors": lambda x: x[0, :, :32],  # of whole vectors of bytes, 36 bytes apart
    "matrices between vectors": lambda x: x.reshape(4, 216)[:, :192].reshape(4, 6, 32),  # of bytes, 216 apart
}


def checked(values: Array) -> tt.Tensor:
    return tt.tensor(values).to("checked")


def index_of(kind: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
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
def test_indexed_assignment_to_views(layout: str, kind: str, dtype: Any) -> None:
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
def test_a_block_takes_several_groups_of_lines(name: str) -> None:
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


@pytest.mark.parametrize("index", [0, -1])
def test_an_index_of_an_empty_axis_is_named(index: int) -> None:
    rows = tt.zeros(0, 4, device="emulated")
    with pytest.raises(IndexRangeError, match=f"index {index} is out of range for axis 0"):
        rows[on_device(np.array([index]))].tolist()
