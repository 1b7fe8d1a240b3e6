"""Numbers at the ends of what dtypes hold: refused, rounded once, and the same on the CPU and on devices."""

import math
from fractions import Fraction

import numpy as np
import pytest

import tinytensor as tt


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_floats_that_do_not_fit_into_an_integer_dtype_are_refused(device):
    for make in (
        lambda: tt.linspace(0, 300, 4, dtype="uint8", device=device),
        lambda: tt.arange(0.5, 400, 100, dtype="uint8", device=device),
        lambda: tt.full((2,), 300.5, dtype="uint8", device=device),
        lambda: tt.full((2,), float("nan"), dtype="int32", device=device),
        lambda: tt.full_like(tt.zeros(2, device=device), -1.0, dtype="uint64"),
        lambda: tt.tensor([1.0, float("inf")], dtype="int64", device=device),
        lambda: tt.tensor(2.0**63, dtype="int64", device=device),
    ):
        with pytest.raises(OverflowError, match="does not fit into") as caught:
            make()
        assert isinstance(caught.value, tt.NumberRangeError)
    assert tt.tensor([255.9, -0.9], dtype="uint8", device=device).tolist() == [255, 0]
    assert tt.tensor([0, 2**64 - 1], dtype="uint64", device=device).tolist() == [0, 2**64 - 1]
    with pytest.raises(tt.NumberRangeError, match="-1 does not fit into uint64"):
        tt.tensor([-1, 2**64 - 1], dtype="uint64", device=device)
    assert tt.tensor(-(2.0**63), dtype="int64", device=device).tolist() == -(2**63)
    assert tt.linspace(0, 255, 4, dtype="uint8", device=device).tolist() == [0, 85, 170, 255]


def test_linspace_reaches_from_end_to_end():
    assert tt.linspace(-1e308, 1e308, 3, dtype="float64").tolist() == [-1e308, 0.0, 1e308]
    most = np.finfo(np.float64).max
    ours = tt.linspace(most, -most, 5, dtype="float64").tolist()
    np.testing.assert_allclose(ours, [most, most / 2, 0.0, -most / 2, -most], rtol=2e-16)
    assert tt.linspace(-most, most, 2, dtype="float64", endpoint=False).tolist() == [-most, 0.0]
    for ends in [(0, 1), (-3.5, 1e-300), (1e308, 9e307)]:
        assert tt.linspace(*ends, 7, dtype="float64").tolist() == np.linspace(*ends, 7).tolist()


# ---- 16-bit floats are rounded once ------------------------------------------------------------------------


def nearest_bfloat16(x: Fraction) -> float:
    """The bfloat16 next to an exact number; of two as near the one with the even last bit."""
    bits = np.arange(2**16, dtype=np.uint32) << 16
    grid = np.unique(bits.view(np.float32)[np.isfinite(bits.view(np.float32))]).astype(np.float64)
    grid = np.concatenate([[-(2.0**128)], grid, [2.0**128]])  # where infinities begin
    at = int(np.searchsorted(grid, float(x)))
    near = [float(g) for g in grid[max(at - 2, 0) : at + 2]]
    even = [np.float32(g).view(np.uint32) >> 16 & 1 if abs(g) < 2.0**128 else 0 for g in near]
    best = min(range(len(near)), key=lambda i: (abs(Fraction(near[i]) - x), even[i]))
    return near[best] if abs(near[best]) < 2.0**128 else math.copysign(math.inf, near[best])


HALVES = [1 + 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 65504 + 16, 2.0**-25, 2.0**-134, 3 * 2.0**-134, 5 * 2.0**-134]
NEAR_HALVES = [
    sign * (h + h * step)
    for h in [*HALVES, 2.0**127 * (2 - 2**-8), 1.1, 1e300, 1e-300]
    for step in (0, 2**-40, -(2**-40), 2**-52, -(2**-52))
    for sign in (1, -1)
]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_float64_becomes_a_16_bit_float_in_one_rounding(device):
    values = np.array(NEAR_HALVES * 3)  # 64 and more are rounded by a kernel of the host where there is one
    x = tt.tensor(values, device=device)
    with np.errstate(over="ignore"):
        once = values.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(x.astype(tt.float16).astype(tt.float64).cpu().numpy(), once)
    exact = [nearest_bfloat16(Fraction(v)) for v in NEAR_HALVES] * 3
    assert x.astype(tt.bfloat16).tolist() == exact
    for dtype, numbers in ((tt.float16, once), (tt.bfloat16, exact)):
        assert tt.tensor(values.tolist(), dtype=dtype, device=device).tolist() == list(numbers)
        target = tt.zeros(len(values), dtype=dtype, device=device)
        assert target.copy_(x).tolist() == list(numbers)
        for i in range(0, len(NEAR_HALVES) - 1, 7):
            assert target.fill_(NEAR_HALVES[i])[0].item() == numbers[i]
            target[0] = NEAR_HALVES[i + 1]
            assert target[0].item() == numbers[i + 1]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_integers_become_a_16_bit_float_in_one_rounding(dtype, device):
    bits = np.iinfo(dtype).bits - (dtype[0] == "i")
    values = [2**k + 2 ** (k - 8) + d for k in range(8, bits) for d in (-1, 0, 1)]
    values += [2**k + 3 * 2 ** (k - 8) + d for k in range(8, bits - 1) for d in (-1, 0, 1)]
    values += [0, 1, 255, 65504, 65519, 65520, 2**bits - 1, *([-(2**bits)] if dtype[0] == "i" else [])]
    values += [-v for v in values if dtype[0] == "i"]
    values = [v for v in values if np.iinfo(dtype).min <= v <= np.iinfo(dtype).max]
    x = tt.tensor(values, dtype=dtype, device=device)
    assert x.astype(tt.bfloat16).tolist() == [nearest_bfloat16(Fraction(v)) for v in values]
    limits = [v if abs(v) < 65520 else math.copysign(10**6, v) for v in values]
    with np.errstate(over="ignore"):
        assert x.astype(tt.float16).tolist() == np.array(limits, np.float64).astype(np.float16).tolist()


# ---- complex numbers that are no zeros ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_a_complex_number_is_true_where_any_part_is_not_zero(dtype):
    values = np.array([5j, 0j, 1, complex(-0.0, -0.0), complex(0, np.nan), complex(np.nan, 0), 1e-40j], dtype)
    x = tt.tensor(values)
    truth = values.astype(bool).tolist()
    assert truth == [True, False, True, False, True, True, True]
    for ours in (x.astype(tt.bool), tt.asarray(x, dtype=tt.bool), x != 0, tt.logical_and(x, True)):
        assert ours.tolist() == truth
    assert tt.logical_not(x).tolist() == [not t for t in truth]
    assert [i.tolist() for i in tt.nonzero(x)] == [np.flatnonzero(values).tolist()]
    np.testing.assert_array_equal(x[x.astype(tt.bool)].numpy(), values[values.astype(bool)])
    assert tt.where(x.astype(tt.bool), 1, 0).tolist() == [int(t) for t in truth]
    assert [bool(tt.any(v)) for v in x] == [bool(tt.all(v)) for v in x] == [bool(v) for v in x] == truth
    assert int(tt.count_nonzero(x)) == sum(truth)
    for narrow in (tt.float16, tt.bfloat16):  # without a warning of NumPy's
        assert x[:3].astype(narrow).tolist() == [0.0, 0.0, 1.0]


# ---- integers with 16-bit floats ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_integers_meet_16_bit_floats_in_float32(dtype):
    whole = np.array([65534, 65534, 4097, -(2**31), 2**24 + 1, 7, 2**40 + 1], np.int64)
    half = np.array([-65504, 1, 4096, 2, 3, 0.5, -(2.0**15)])
    for device in ("cpu", "emulated"):
        i = tt.tensor(whole, device=device)
        h = tt.tensor(half, device=device).astype(dtype)
        a, b = whole.astype(np.float32), h.astype(tt.float32).cpu().numpy()
        for op, reference in [
            (tt.add, np.add), (tt.subtract, np.subtract), (tt.multiply, np.multiply), (tt.divide, np.divide),
            (tt.maximum, np.maximum), (tt.remainder, np.remainder),
        ]:  # fmt: skip
            for ours, exact in [(op(i, h), reference(a, b)), (op(h, i), reference(b, a))]:
                assert str(ours.dtype) == dtype
                np.testing.assert_array_equal(
                    ours.astype(tt.float32).cpu().numpy(),
                    tt.tensor(exact).astype(dtype).astype(tt.float32).numpy(),
                )
        for op, reference in [(tt.equal, np.equal), (tt.less, np.less), (tt.greater_equal, np.greater_equal)]:
            assert op(i, h).tolist() == reference(a, b).tolist()
        chosen = tt.where(h > 0, i, h).astype(tt.float32).tolist()
        exact = tt.tensor(np.where(b > 0, a, b)).astype(dtype).astype(tt.float32)
        assert chosen == exact.tolist()
        h += i
        np.testing.assert_array_equal(
            h.astype(tt.float32).cpu().numpy(), tt.tensor(b + a).astype(dtype).astype(tt.float32).numpy()
        )
    assert (tt.tensor([65534]) + tt.tensor([-65504.0], dtype="float16")).tolist() == [30.0]


# ---- powers as C defines them ------------------------------------------------------------------------------

BASES = [-math.inf, -2.0, -0.0, 0.0, 0.25, 4.0, math.inf, math.nan]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.0, -1.0, 2.0, 3.0, 0.0, 1.5])
def test_powers_of_special_values_are_those_of_c(exponent, device, dtype):
    for bases in (BASES, BASES * 700):  # a small tensor, and one beyond the short way of small ones
        expected = [c_power(a, exponent) for a in bases]
        x = tt.tensor(bases, dtype=dtype, device=device)
        written = x.clone()
        written **= exponent
        for ours in (x**exponent, x ** tt.tensor(exponent, dtype=dtype, device=device), written):
            _same(ours, expected)
        _same(x ** tt.full_like(x, exponent), expected)
        _same(tt.pow(x[::2], exponent), expected[::2])
    assert tt.tensor(-math.inf, dtype=dtype, device=device).pow(0.5).item() == math.inf
    x = tt.tensor(BASES, dtype=dtype, device=device, requires_grad=True)
    for power in (exponent, tt.tensor(exponent, dtype=dtype, device=device)) if exponent else ():
        (slope,) = tt.grad(tt.pow(x, power).sum(), x)
        _same(slope, [exponent * c_power(a, exponent - 1) for a in BASES])


def c_power(a: float, b: float) -> float:
    """C's pow, which Python's `math.pow` is but for its exceptions."""
    try:
        return math.pow(a, b)
    except ValueError:
        return math.nan if a else math.copysign(math.inf, a) if b % 2 == 1 else math.inf


def _same(ours, expected):
    got = ours.detach().astype(tt.float64).cpu().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    zero = np.asarray(expected) == 0
    np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(expected)[zero])
