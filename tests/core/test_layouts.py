"""The layouts that the op tests use are what their names say."""

import numpy as np

from tests.helpers.layouts import LAYOUTS


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
