"""tt.set_printoptions against NumPy's options of the same names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinytensor as tt

LONG = [(), np.s_[..., ::-1], np.s_[::-1, 1], np.s_[:3, :3], np.s_[:, :1, 2:3]]
ARRAYS = [
    np.array([1.23456789, -0.5, 1000.0], "float32"),
    np.arange(12.0, dtype="float32").reshape(3, 4) / 7,
    np.arange(600, dtype="float32").reshape(20, 30) * 1.5,
    np.arange(40),
    np.array(0.1, "float32"),
    *[(np.arange(-99.0, 405) ** 3 / 1e5).astype("float32").reshape(9, 8, 7)[key] for key in LONG],
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"precision": 2},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 7, "linewidth": 140},
    {"threshold": 1000},
    {"linewidth": 30, "precision": 6},
]


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    yield
    tt.set_printoptions(precision=4, threshold=50, edgeitems=3, linewidth=75, sci_mode=False)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("options", OPTIONS)
def test_options_are_numpys(array: np.ndarray, options: dict[str, Any]) -> None:
    tt.set_printoptions(**options)
    all_options = {"precision": 4, "threshold": 50, "edgeitems": 3, "linewidth": 75} | options
    with np.printoptions(suppress=True, **all_options):
        shown = np.array2string(array, separator=", ", prefix="tensor(")
    assert repr(tt.asarray(array)) == f"tensor({shown})"


def test_exponents() -> None:
    x = tt.tensor([1.5, -20.0])
    tt.set_printoptions(sci_mode=True, precision=2)
    assert repr(x) == "tensor([1.50e+00, -2.00e+01])"
    assert repr(tt.tensor([3])) == "tensor([3])"
    tt.set_printoptions(sci_mode=False)
    assert repr(x) == "tensor([  1.5, -20. ])"


def test_wrong_options_change_nothing() -> None:
    with pytest.raises(tt.ArgumentError, match="edgeitems is -1"):
        tt.set_printoptions(precision=1, edgeitems=-1)
    with pytest.raises(tt.DTypeError, match="set_printoptions"):
        tt.set_printoptions(precision="many")  # type: ignore[arg-type]
    assert repr(tt.tensor([0.125])) == "tensor([0.125])"
