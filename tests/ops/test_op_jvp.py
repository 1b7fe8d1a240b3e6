"""Rows of the op table that are differentiable twice: `tt.func.jvp` against finite differences."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.drivers import floating
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
    call, primals = floating(row, inputs, which), tuple([inputs[i] for i in which])
    _, found = tt.func.jvp(call, primals, tangents)
    for got, wanted in zip(found, slopes(call, primals, tangents), strict=True):
        size = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5 * row.tol, atol=1e-6 * row.tol * size)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(case.values[0], id=case.values[0].name, marks=() if sampled else pytest.mark.slow)
        for i, case in enumerate(case for case in CASES if case.id.endswith("-packed"))
        for sampled in (i % 20 == 0 or case.values[0].function == "relu",)
    ],
)
def test_second_derivatives_are_equal_in_all_modes(row: Row) -> None:
    """Forward mode, twice or over reverse mode, for all columns at once, gives what reverse mode gives."""
    inputs = tensors(row, prepared(row, "float64", "packed"), "float64", "packed")
    rng = row.rng()
    for at in row.differentiable()[:2]:
        results = as_tuple(row.call(*inputs))
        factors = [tt.tensor(rng.uniform(0.5, 1, y.shape)) if y.dtype.is_floating else 0.0 for y in results]

        def call(x: tt.Tensor, at: int = at, factors: Any = factors) -> tt.Tensor:
            ys = as_tuple(row.call(*[x if i == at else other for i, other in enumerate(inputs)]))
            return sum(
                [(y * factor).sum() for y, factor in zip(ys, factors)], tt.tensor(0.0, dtype="float64")
            )

        wanted = tt.func.jacrev(tt.func.jacrev(call))(inputs[at]).numpy()
        size = np.abs(wanted).max(initial=1.0)
        for found in (tt.func.hessian(call), tt.func.jacfwd(tt.func.jacfwd(call))):
            np.testing.assert_allclose(found(inputs[at]).numpy(), wanted, rtol=1e-9, atol=1e-10 * size)


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
        return tuple(tt.func.jvp(floating(row, inputs, which), chosen, tangents)[1])

    _, found = tt.func.jvp(slope, primals, tangents)
    for got, wanted in zip(found, slopes(slope, primals, tangents), strict=True):
        size = np.abs(wanted).max(initial=1.0)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5 * row.tol, atol=2e-6 * row.tol * size)
