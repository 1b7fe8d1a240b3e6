"""Numbers at the ends of what dtypes hold: refused, rounded once, and the same on the CPU and on devices."""

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
