"""The t test against printed tables and closed forms, and the fit of a law that is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.experiments.statistics import fit_scaling_law, two_sided, welch

# Abramowitz and Stegun, table 26.10, and the table of NIST's handbook, 1.3.6.7.2
TABLE = ((1, 12.706, 0.05), (2, 4.303, 0.05), (4, 4.604, 0.01), (10, 2.228, 0.05), (30, 3.646, 0.001))


@pytest.mark.parametrize(("freedom", "t", "p"), TABLE)
def test_printed_tables(freedom, t, p):
    assert two_sided(t, freedom) == pytest.approx(p, rel=2e-3)


@given(st.floats(-1e3, 1e3))
def test_closed_forms(t):
    """Abramowitz and Stegun 26.7.3 and 26.7.4."""
    for freedom in (1, 2, 3, 4):
        angle = np.arctan(abs(t) / np.sqrt(freedom))
        sin, cos = np.sin(angle), np.cos(angle)
        inside = {
            1: 2 / np.pi * angle,
            2: sin,
            3: 2 / np.pi * (angle + sin * cos),
            4: sin * (1 + cos * cos / 2),
        }
        assert two_sided(t, freedom) == pytest.approx(1 - inside[freedom], abs=1e-12)


def test_welch_by_hand():
    """Means 2 and 5, variances 1 and 3.5, of 3 and 5 values."""
    a, b = [1.0, 2.0, 3.0], [3.0, 4.0, 4.0, 7.0, 7.0]
    both = 1 / 3 + 3.5 / 5
    freedom = both**2 / ((1 / 3) ** 2 / 2 + (3.5 / 5) ** 2 / 4)
    assert welch(a, b) == pytest.approx(two_sided(-3 / both**0.5, freedom))
    assert welch(a, b) == welch(b, a)
    assert welch([1.0], b) is None
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0.0


def test_equal_samples_differ_in_five_of_a_hundred():
    rng = np.random.default_rng(0)
    found = [welch(*rng.standard_normal((2, 4)).tolist()) for _ in range(2000)]
    assert np.mean([p < 0.05 for p in found]) == pytest.approx(0.05, abs=0.015)


def test_a_known_law_is_found_with_its_interval():
    sizes, rng = [1e5, 3e5, 1e6, 3e6, 1e7], np.random.default_rng(1)
    exact = [1.2 + 40 * n**-0.3 for n in sizes]
    law = fit_scaling_law(sizes, [[loss] for loss in exact])
    assert (law.floor, law.factor, law.alpha) == pytest.approx((1.2, 40, 0.3), rel=0.03)
    assert law.at(1e8) == pytest.approx(1.2 + 40 * 1e8**-0.3, rel=1e-3)
    assert law.intervals is None
    noisy = [(loss + 0.003 * rng.standard_normal(8)).tolist() for loss in exact]
    law = fit_scaling_law(sizes, noisy, draws=200)
    for (low, high), value in zip(law.intervals, (1.2, 40, 0.3), strict=True):
        assert low < value < high
    assert "alpha" in str(law)


def test_a_law_has_no_negative_floor():
    law = fit_scaling_law([1.0, 2.0, 4.0], [[1.0], [0.2], [0.04]])
    assert law.floor == 0
    assert law.at(4.0) < law.at(1.0)
