"""The layouts that the op tests use are what their names say."""

import numpy as np
import pytest

from tests.helpers.layouts import LAYOUTS, read
from tinytensor.op_table.row import ALL, rounded

SHAPES = [(3, 4), (2, 1, 3), (5,), (), (0, 3), (1, 1)]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_survive_every_layout(name: str, shape: tuple[int, ...]) -> None:
    variant = LAYOUTS[name]
    for dtype in ALL:
        values = rounded(np.random.default_rng(0).uniform(0, 9, shape), dtype)
        if not variant.fits(values):
            assert name != "packed"
            return
        values = variant.prepare(values)
        tensor = variant.make(values, dtype)
        assert tensor.shape == shape
        assert tensor.dtype.name == dtype
        np.testing.assert_array_equal(read(tensor), values)


def test_each_layout_lies_in_memory_as_it_says() -> None:
    values = np.arange(12.0).reshape(3, 4)
    strides = {name: v.make(v.prepare(values), "float64") for name, v in LAYOUTS.items() if v.fits(values)}
    assert strides["packed"].strides == (4, 1)
    assert strides["transposed"].strides == (1, 3)
    assert strides["offset"].offset == 7
    assert strides["step"].strides == (8, 2)
    assert strides["negative"].strides == (-4, -1)
    assert strides["expanded"].strides == (1, 0)
    assert LAYOUTS["unit_axes"].make(values[:, :1], "float64").strides == (1, 9)
