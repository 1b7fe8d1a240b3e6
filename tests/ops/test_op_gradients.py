"""Every differentiable row of the op table: first and second derivatives against finite differences.

In float64 for every layout; with each input requiring grad alone, and all of them. Gradients in the other
floating dtypes are compared with those of float64 at the same values. By default two layouts of each row
are checked to second order; TINYTENSOR_FULL=1 checks all.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.layouts import layouts_of, noted, prepared, read, tensors
from tests.helpers.tolerance import tolerance
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import FLOATS, as_tuple

pytestmark = pytest.mark.usefixtures("nan_memory")
CHECKED = [row for row in ROWS if row.grad]
Array = np.ndarray[Any, Any]


def wanted(row: Row) -> list[tuple[int, ...]]:
    """Which inputs require grad: all, and each alone."""
    every = tuple(row.differentiable())
    return [every] if len(every) == 1 else [every, *[(i,) for i in every]]


def second_layouts(at: int, row: Row) -> list[str]:
    """Packed, and one of the others."""
    layouts = layouts_of(row)
    return layouts if FULL else [layouts[0], *layouts[1:][at % max(len(layouts) - 1, 1) :][:1]]


def leaves(row: Row, values: list[Array], dtype: str, layout: str, which: tuple[int, ...]) -> list[tt.Tensor]:
    """The inputs of a row, some of them leaves that require grad in whatever layout they have."""
    made = tensors(row, values, dtype, layout)
    return [x.detach().requires_grad_() if i in which else x for i, x in enumerate(made)]


def check(compare: Callable[..., float], row: Row, layouts: list[str]) -> None:
    """gradcheck or gradgradcheck, with a tolerance that grows with the row's."""
    for layout in layouts:
        values = prepared(row, "float64", layout)
        for which in wanted(row) if layout == "packed" or FULL else wanted(row)[:1]:
            inputs = leaves(row, values, "float64", layout, which)
            with noted((layout, which)):
                compare(row.call, inputs, rtol=1e-6 * row.tol, atol=1e-7 * row.tol)


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.name)
def test_first_order(row: Row) -> None:
    check(tt.gradcheck, row, layouts_of(row))


@pytest.mark.parametrize(
    ("at", "row"), [pytest.param(*pair, id=pair[1].name) for pair in enumerate(CHECKED) if pair[1].second]
)
def test_second_order(at: int, row: Row) -> None:
    check(tt.gradgradcheck, row, second_layouts(at, row))


def gradients(
    row: Row, values: list[Array], dtype: str, which: tuple[int, ...], weights: list[Array]
) -> list[tt.Tensor]:
    """Gradients of the weighted outputs in the inputs `which`."""
    inputs = leaves(row, values, dtype, "packed", which)
    outputs = [y for y in as_tuple(row.call(*inputs)) if y.dtype.is_floating]
    pairs = [(y, tt.tensor(w, dtype=y.dtype)) for y, w in zip(outputs, weights) if y.requires_grad]
    assert pairs, "nothing was recorded"
    found = tt.grad([y for y, _ in pairs], [inputs[i] for i in which], [w for _, w in pairs])
    assert all(x.grad is None for x in inputs), "tt.grad must not touch .grad"
    return [g for g in found if g is not None]


def row_weights(row: Row, values: list[Array]) -> list[Array]:
    """Gradients of the outputs, exact in every floating dtype."""
    with tt.no_grad():
        outputs = as_tuple(row.call(*tensors(row, values, "float64", "packed")))
    rng = row.rng()
    return [rng.integers(-8, 9, y.shape) / 8 for y in outputs if y.dtype.is_floating]


@pytest.mark.parametrize(
    ("row", "dtype", "mode"),
    [
        pytest.param(row, dtype, mode, id=f"{row.name}-{dtype}{'' if mode == 'auto' else '-numpy'}")
        for row in CHECKED
        for dtype in FLOATS[1:]
        for mode in (("auto", "off") if row.has_host_kernel() else ("auto",))
        if dtype in row.dtypes
    ],
)
def test_narrower_gradients_agree_with_float64(
    row: Row, dtype: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the narrow dtypes every op of a backward pass rounds, so its intermediate sizes count. Kernels of
    the host compute them in float32.
    """
    monkeypatch.setattr(tt.config, "host_kernels", mode)
    values = row.sample(dtype)
    weights = row_weights(row, values)
    which = tuple(row.differentiable())
    exact = [read(g) for g in gradients(row, values, "float64", which, weights)]
    actual = gradients(row, values, dtype, which, weights)
    assert len(actual) == len(exact) == len(which)
    terms = max([v.size for v in values] + [w.size for w in weights])
    for i, g, e in zip(which, actual, exact):
        assert g.dtype.name == dtype, f"input {i}"
        assert g.shape == values[i].shape, f"input {i}"
        rtol, atol = tolerance(dtype, terms, roundings=4)
        size = max(1.0, float(np.abs(e).max(initial=0.0)))
        floor = atol * size
        np.testing.assert_allclose(
            read(g), e, rtol=rtol * row.tol, atol=floor * row.tol, err_msg=f"gradient of input {i}"
        )


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.name)
def test_backward_adds_to_grad(row: Row) -> None:
    """`.grad` has the input's shape and dtype, does not share memory with it, and a second pass adds."""
    values = row.sample("float64")
    which = tuple(row.differentiable())
    weights = row_weights(row, values)
    expected = [read(g) for g in gradients(row, values, "float64", which, weights)]
    inputs = leaves(row, values, "float64", "packed", which)
    before = [read(x) for x in inputs]
    starts = [tt.tensor(w, dtype="float64") for w in weights]
    for _ in range(2):
        outputs = [y for y in as_tuple(row.call(*inputs)) if y.dtype.is_floating]
        for y, w in zip(outputs, starts):
            if y.requires_grad:
                y.backward(w, retain_graph=True)
    for i, e in zip(which, expected):
        g = inputs[i].grad
        assert (g.shape, g.dtype) == (inputs[i].shape, inputs[i].dtype)
        assert not any(g.shares_memory(x) for x in [*inputs, *starts])
        np.testing.assert_allclose(read(g), 2 * e, rtol=1e-12, atol=1e-12)
    assert all(np.array_equal(read(x), b) for x, b in zip(inputs, before)), "an input was written to"
    assert all(np.array_equal(read(s), w) for s, w in zip(starts, weights)), "a gradient was written to"


def test_rows_that_are_not_differentiated_say_so() -> None:
    """A row with grad=True must have a floating input and take float64."""
    problems = [r.name for r in CHECKED if not r.differentiable() or "float64" not in r.dtypes]
    assert not problems, f"say grad=False in these rows: {problems}"
