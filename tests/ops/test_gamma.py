"""erfc, lgamma, digamma and polygamma: accuracy, identities, poles, and derivatives across them."""

import math

import numpy as np
import pytest

import tinytensor as tt

DEVICES = ("cpu", "emulated")
DTYPES = [(tt.float64, 1e-13), (tt.float32, 3e-6)]
RNG = np.random.default_rng(0)


def values(function, x, dtype, device):
    return function(tt.tensor(x, dtype=dtype).to(device)).to("cpu").astype(tt.float64).numpy()


@pytest.mark.parametrize("device", DEVICES)
def test_erfc_is_accurate_where_it_is_small(device):
    x = np.concatenate([RNG.uniform(-6, 26.5, 5000), RNG.uniform(0.4, 0.6, 500)])
    exact = [math.erfc(v) for v in x]
    np.testing.assert_allclose(values(tt.erfc, x, tt.float64, device), exact, rtol=5e-15)
    x = RNG.uniform(-4, 9, 5000).astype(np.float32)
    np.testing.assert_allclose(
        values(tt.erfc, x, tt.float32, device), [math.erfc(float(v)) for v in x], rtol=5e-7
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
def test_lgamma_is_that_of_the_standard_library(dtype, tolerance, device):
    x = np.concatenate([RNG.uniform(-20, 40, 5000), 10.0 ** RNG.uniform(-30, 30, 500)])
    x = tt.tensor(x, dtype=dtype).astype(tt.float64).numpy()
    exact = np.array([math.lgamma(v) for v in x])
    off = np.abs(values(tt.lgamma, x, dtype, device) - exact)
    assert np.max(off / np.maximum(1, np.abs(exact))) <= tolerance


@pytest.mark.parametrize("device", DEVICES)
def test_lgamma_is_accurate_next_to_its_zeros(device):
    """By the first terms of the Taylor series: lgamma(1) = lgamma(2) = 0."""
    for e in (1e-6, -1e-6, 1e-9):
        for at, slope, curve in (
            (1.0, -np.euler_gamma, np.pi**2 / 6),
            (2.0, 1 - np.euler_gamma, np.pi**2 / 6 - 1),
        ):
            d = (at + e) - at
            (found,) = values(tt.lgamma, [at + e], tt.float64, device)
            assert found == pytest.approx(d * slope + d * d * curve / 2, rel=1e-11, abs=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
def test_known_values(dtype, tolerance, device):
    """At integers and halves: finite sums, and multiples of zeta (DLMF 5.4 and 5.15)."""
    harmonic = [sum(1 / k for k in range(1, n)) - np.euler_gamma for n in range(1, 30)]
    halves = [
        sum(2 / (2 * k - 1) for k in range(1, n + 1)) - np.euler_gamma - 2 * math.log(2) for n in range(30)
    ]
    near = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(values(tt.digamma, np.arange(1, 30), dtype, device), harmonic, **near)
    np.testing.assert_allclose(values(tt.digamma, np.arange(30) + 0.5, dtype, device), halves, **near)
    zeta = {2: np.pi**2 / 6, 3: 1.2020569031595942, 4: np.pi**4 / 90, 5: 1.03692775514337, 6: np.pi**6 / 945}
    for s, z in zeta.items():
        scale = (-1) ** s * math.factorial(s - 1)
        found = values(lambda x, n=s - 1: tt.polygamma(n, x), [1.0, 0.5, -0.5], dtype, device)
        half = (2**s - 1) * z
        expected = np.array([z, half, half + (-2.0) ** s]) * scale
        np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_recurrences_below_zero(device):
    """f(x + 1) = f(x) + its term at x."""
    x = RNG.uniform(-9, 3, 2000)
    x = x[np.abs(x - np.rint(x)) > 0.05]

    def step(function):
        return values(function, x + 1, tt.float64, device) - values(function, x, tt.float64, device)

    np.testing.assert_allclose(step(tt.digamma), 1 / x, rtol=1e-9, atol=1e-11)
    for n in (1, 2, 3, 5):
        term = (-1) ** n * math.factorial(n) / x ** (n + 1)
        np.testing.assert_allclose(
            step(lambda t, n=n: tt.polygamma(n, t)), term, rtol=1e-9, atol=1e-11 * 25.0**n * math.factorial(n)
        )


def test_derivatives_of_lgamma_are_the_polygammas():
    x = tt.tensor([0.7, 2.5, -0.4, -1.7], dtype=tt.float64, requires_grad=True)
    y = tt.lgamma(x)
    for n in range(5):
        (y,) = tt.grad(y.sum(), [x], create_graph=True)
        np.testing.assert_allclose(y.tolist(), tt.polygamma(n, x).tolist(), rtol=1e-13)


@pytest.mark.parametrize("n", [-1, 31, 1.5, "1"])
def test_orders_out_of_range(n):
    with pytest.raises(tt.TinyTensorError, match=r"polygamma: n"):
        tt.polygamma(n, tt.ones(2))


def test_the_highest_order_and_large_numbers():
    assert tt.polygamma(30, tt.tensor([1.0])).item() == pytest.approx(-math.factorial(30), rel=1e-6)
    huge = tt.tensor([1e300], dtype=tt.float64)
    assert tt.polygamma(1, huge).item() == pytest.approx(1e-300, rel=1e-12)
    assert tt.digamma(huge).item() == pytest.approx(300 * math.log(10), rel=1e-14)
