"""Rows of the op table against PyTorch in float64: values, first and second derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import read, tensors
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import as_tuple

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

COMPARED = [row for row in ROWS if row.torch and not row.random]
Array = np.ndarray[Any, Any]


def theirs(row: Row) -> Callable[..., Any]:
    """PyTorch's version of a row."""
    return lambda *tensors: row.on_copies(row.within_torch(torch), tensors, torch.clone)


def dtype_of(row: Row) -> str:
    """float64, or what comes first where a row has no floats."""
    return "float64" if "float64" in row.dtypes else row.dtypes[0]


def close(actual: Array, expected: Any, tol: float, message: str) -> None:
    """Both compute in float64, perhaps in another order."""
    expected = expected.detach().numpy(force=True)  # a conjugate or an implicit zero, too
    assert actual.shape == expected.shape, message
    size = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))) if expected.size else 1.0
    np.testing.assert_allclose(actual, expected, rtol=1e-9 * tol, atol=1e-11 * size * tol, err_msg=message)


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.name)
def test_values(row: Row) -> None:
    dtype = dtype_of(row)
    values = row.sample(dtype)
    outputs = as_tuple(row.call(*tensors(row, values, dtype, "packed")))
    kinds = [getattr(torch, x.dtype(dtype)) for x in row.inputs]
    expected = as_tuple(theirs(row)(*[torch.tensor(v, dtype=k) for v, k in zip(values, kinds)]))
    assert len(outputs) == len(expected)
    for k, (y, e) in enumerate(zip(outputs, expected)):
        close(read(y), e, row.tol, f"output {k}")


@pytest.mark.parametrize("row", [row for row in COMPARED if row.grad], ids=lambda row: row.name)
def test_gradients(row: Row) -> None:
    """First order with random gradients of the outputs, then second order with random ones of the first."""
    values, which, rng = row.sample("float64"), row.differentiable(), row.rng()
    xs = tensors(row, values, "float64", "packed")
    ts = [torch.tensor(v) for v in values]
    for i in which:
        xs[i].requires_grad_()
        ts[i].requires_grad_()
    ys = [y for y in as_tuple(row.call(*xs)) if y.requires_grad]
    us = [u for u in as_tuple(theirs(row)(*ts)) if u.requires_grad]
    assert [y.shape for y in ys] == [tuple(u.shape) for u in us]
    leaves, their_leaves = [xs[i] for i in which], [ts[i] for i in which]
    weights = [rng.standard_normal(y.shape) for y in ys]
    first = slopes(tt, ys, leaves, weights)
    expected = slopes(torch, us, their_leaves, weights)
    for i, g, e in zip(which, first, expected):
        assert (g is None) == (e is None), f"input {i}"
        if e is not None:
            close(read(g), e, row.tol, f"gradient of input {i}")
    if row.second:
        compare_second(row, [leaves, their_leaves], [first, expected], rng)


def slopes(library: Any, outputs: list[Any], leaves: list[Any], weights: list[Array]) -> list[Any]:
    """Gradients of weighted outputs, recorded, in either library."""
    grad = tt.grad if library is tt else torch.autograd.grad
    starts = [library.tensor(w, dtype=library.float64) for w in weights]
    return list(grad(outputs, leaves, starts, create_graph=True, allow_unused=True))


def compare_second(row: Row, leaves: list[list[Any]], firsts: list[list[Any]], rng: Any) -> None:
    """One more derivative; where only one library records a path, the other's gradient must be zero."""
    weights = [None if g is None else rng.standard_normal(g.shape) for g in firsts[0]]
    found = []
    for library, xs, first in zip((tt, torch), leaves, firsts):
        used = [(g, w) for g, w in zip(first, weights) if g is not None and g.requires_grad]
        if used:
            found.append(slopes(library, [g for g, _ in used], xs, [w for _, w in used]))
        else:
            found.append([None] * len(xs))
    for i, (g, e) in enumerate(zip(*found)):
        zeros = torch.zeros(leaves[1][i].shape, dtype=torch.float64)
        mine = np.zeros(zeros.shape) if g is None else read(g)
        close(mine, zeros if e is None else e, 10 * row.tol, f"second derivative in input {i}")


def test_most_rows_are_compared() -> None:
    """A row without `torch` needs a reason: its family has no such function there."""
    assert len(COMPARED) > len(ROWS) / 2
