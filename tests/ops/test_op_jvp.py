"""Rows of the op table that are differentiable twice: `tt.func.jvp` against finite differences."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import layouts_of, prepared, tensors
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import as_tuple

STEP = 1e-6
CASES = [
    pytest.param(row, layout, id=f"{row.name}-{layout}")
    for row in ROWS
    if row.grad and row.second
    for layout in layouts_of(row)[:2]
]


@pytest.mark.parametrize(("row", "layout"), CASES)
def test_product_with_the_jacobian(row: Row, layout: str) -> None:
    values = prepared(row, "float64", layout)
    inputs = tensors(row, values, "float64", layout)
    which = row.differentiable()
    rng = row.rng()
    tangents = [tt.tensor(rng.uniform(-1, 1, inputs[i].shape)) for i in which]

    def call(*chosen: tt.Tensor) -> tuple[tt.Tensor, ...]:
        given = dict(zip(which, chosen, strict=True))
        results = as_tuple(row.call(*[given.get(i, x) for i, x in enumerate(inputs)]))
        return tuple([y for y in results if y.dtype.is_floating])

    primals = tuple([inputs[i] for i in which])
    _, found = tt.func.jvp(call, primals, tangents)
    for got, wanted in zip(found, slopes(call, primals, tangents), strict=True):
        size = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5 * row.tol, atol=1e-6 * row.tol * size)


def slopes(call: Any, primals: Any, tangents: Any) -> list[np.ndarray]:
    """Central differences in the direction of the tangents."""
    ends = []
    for sign in (1, -1):
        moved = [x + t * (sign * STEP) for x, t in zip(primals, tangents, strict=True)]
        ends.append([y.numpy() for y in call(*moved)])
    return [(ahead - behind) / (2 * STEP) for ahead, behind in zip(*ends, strict=True)]


@pytest.mark.parametrize(("row", "layout"), [case for case in CASES if case.id.endswith("-packed")])
def test_product_of_a_product(row: Row, layout: str) -> None:
    """The second derivative in one direction: a pass for the cotangents alone must keep all other history."""
    inputs = tensors(row, prepared(row, "float64", layout), "float64", layout)
    which = row.differentiable()
    rng = row.rng()
    primals = tuple([inputs[i] for i in which])
    tangents = [tt.tensor(rng.uniform(-1, 1, x.shape)) for x in primals]

    def slope(*chosen: tt.Tensor) -> tuple[tt.Tensor, ...]:
        def call(*chosen: tt.Tensor) -> tuple[tt.Tensor, ...]:
            given = dict(zip(which, chosen, strict=True))
            results = as_tuple(row.call(*[given.get(i, x) for i, x in enumerate(inputs)]))
            return tuple([y for y in results if y.dtype.is_floating])

        return tuple(tt.func.jvp(call, chosen, tangents)[1])

    _, found = tt.func.jvp(slope, primals, tangents)
    for got, wanted in zip(found, slopes(slope, primals, tangents), strict=True):
        size = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5 * row.tol, atol=2e-6 * row.tol * size)
