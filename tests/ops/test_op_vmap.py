"""Every row of the op table under `tt.func.vmap`: values and gradients against a loop over the samples.

All inputs batched, each of them alone, and the batch as another axis of a strided tensor.
"""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.drivers import floating
from tests.helpers.layouts import LAYOUTS, noted, read
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.errors import TransformError
from tinytensor.op import Op, register, registry
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import as_tuple

SIZE = 3
Dims = tuple[int | None, ...]
Array = np.ndarray[Any, Any]

# What raises: results whose shape depends on elements, and optimizer steps and caches, which write elsewhere.
REFUSED = {
    *("nonzero", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
    *("adamw_hyper", "adamw_step", "cached_self_attention", "grad_norm", "scale_all_", "zero_all_"),
}


def has_own_masks(row: Row, dims: Dims) -> bool:
    """Whether each sample has a mask of its own, so that their results have different shapes."""
    return row.function == "getitem" and row.name.endswith("by mask") and dims[1] is not None


def patterns(row: Row) -> list[Dims]:
    """The axis of the batch in each input; None: shared."""
    n = len(row.inputs)
    alone = [tuple([0 if i == k else None for i in range(n)]) for k in range(n)] if n > 1 else []
    last = tuple([-1 if i % 2 == 0 else min(1, len(x.shape)) for i, x in enumerate(row.inputs)])
    return [(0,) * n, last, *alone]


def drawn(row: Row, dims: Dims, dtype: str) -> tuple[list[tt.Tensor], list[list[tt.Tensor]]]:
    """(the batched inputs, the inputs of each sample)."""
    rng = row.rng()
    values = [[x.sample(rng, dtype) for x in row.inputs] for _ in range(SIZE)]
    batches, samples = [], []
    for i, (x, dim) in enumerate(zip(row.inputs, dims, strict=True)):
        kind = x.dtype(dtype)
        if dim is None:
            batches.append(tt.tensor(values[0][i], dtype=kind))
            samples.append([batches[i]] * SIZE)
            continue
        whole = np.stack([v[i] for v in values], dim)
        layout = "packed" if dim == 0 else "transposed" if whole.ndim > 1 else "step"
        batches.append(LAYOUTS[layout].make(whole, kind))
        samples.append([tt.tensor(v[i], dtype=kind) for v in values])
    return batches, [list(one) for one in zip(*samples, strict=True)]


def close(row: Row, found: tt.Tensor, wanted: list[Array]) -> None:
    expected = np.stack(wanted)
    assert found.shape == expected.shape
    if expected.dtype.kind in "fc":
        size = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
        np.testing.assert_allclose(read(found), expected, rtol=1e-9 * row.tol, atol=1e-11 * row.tol * size)
    else:
        np.testing.assert_array_equal(read(found), expected)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_values(row: Row) -> None:
    for dims in patterns(row):
        with noted(dims):
            check_values(row, dims)


def check_values(row: Row, dims: Dims) -> None:
    dtype = "float64" if "float64" in row.dtypes else row.dtypes[0]
    batches, samples = drawn(row, dims, dtype)
    call = lambda *xs: as_tuple(row.call(*xs))  # noqa: E731
    written = row.function == "setitem" and dims[0] is None
    if row.function in REFUSED or written or has_own_masks(row, dims):
        with pytest.raises(TransformError):
            tt.func.vmap(call, dims)(*batches)
        return
    wanted = [[read(y) for y in call(*one)] for one in samples]
    found = tt.func.vmap(call, dims, randomness="same")(*batches)  # dropout, of a fresh generator
    assert len(found) == len(wanted[0])
    for y, values in zip(found, zip(*wanted, strict=True), strict=True):
        close(row, y, list(values))


@pytest.mark.parametrize("row", [row for row in ROWS if row.grad], ids=lambda row: row.name)
def test_gradients(row: Row) -> None:
    for dims in patterns(row):
        if not has_own_masks(row, dims):
            with noted(dims):
                check_gradients(row, dims)


def check_gradients(row: Row, dims: Dims) -> None:
    batches, samples = drawn(row, dims, "float64")
    which = tuple(row.differentiable())

    def loss(*xs: tt.Tensor) -> tt.Tensor:
        ys = [y for y in as_tuple(row.call(*xs)) if y.dtype.is_floating]
        rng = np.random.default_rng(1)
        return sum((y * tt.tensor(rng.uniform(-1, 1, y.shape))).sum() for y in ys)  # type: ignore[return-value]

    slopes = tt.func.grad(loss, which)
    wanted = [[read(g) for g in slopes(*one)] for one in samples]
    found = tt.func.vmap(slopes, dims, randomness="same")(*batches)
    for g, values in zip(found, zip(*wanted, strict=True), strict=True):
        close(row, g, list(values))


EMPTY = {"getitem:bools", "getitem:empty index"}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.grad and row.name not in EMPTY], ids=lambda row: row.name
)
def test_jacobians(row: Row) -> None:
    """Backward passes of batches of cotangents, and of tangents, through nodes that are not batched."""
    inputs = [tt.tensor(v, dtype=x.dtype("float64")) for v, x in zip(row.sample("float64"), row.inputs)]
    at = row.differentiable()[0]

    def call(x: tt.Tensor) -> tt.Tensor:
        return floating(row, inputs, [at])(x)[0]

    y, pull = tt.func.vjp(call, inputs[at])
    some = np.linspace(0, y.size - 1, min(y.size, 4)).astype(int)
    rows = [read(pull(tt.tensor(np.eye(1, y.size, i).reshape(y.shape)))[0]).ravel() for i in some]
    jacobian = tt.func.jacrev(call)(inputs[at])
    assert jacobian.shape == (*y.shape, *inputs[at].shape)
    found = read(jacobian).reshape(y.size, -1)
    np.testing.assert_allclose(found[some], np.stack(rows), rtol=1e-9 * row.tol, atol=1e-11 * row.tol)
    if row.second:
        forward = read(tt.func.jacfwd(call)(inputs[at])).reshape(y.size, -1)
        size = np.abs(found).max(initial=1.0)
        np.testing.assert_allclose(forward, found, rtol=1e-7 * row.tol, atol=1e-9 * row.tol * size)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if row.grad])
def test_gradients_of_a_batch_of_cotangents(row: Row) -> None:
    """The backward ops are batched in the gradient alone, as in `jacrev`."""
    _, samples = drawn(row, (0,) * len(row.inputs), "float64")
    inputs, which = samples[0], row.differentiable()
    ys, pull = tt.func.vjp(floating(row, inputs, which), *[inputs[i] for i in which])
    rng = np.random.default_rng(2)
    cotangents = [tt.tensor(rng.uniform(-1, 1, (SIZE, *y.shape))) for y in ys]
    wanted = [[read(g) for g in pull(tuple([c[i] for c in cotangents]))] for i in range(SIZE)]
    found = tt.func.vmap(lambda *given: pull(given))(*cotangents)
    for g, values in zip(found, zip(*wanted, strict=True), strict=True):
        close(row, g, list(values))


@pytest.mark.parametrize("annotation", ["int", "Axes", "tuple[int, ...]", "int | None"])
def test_a_parameter_whose_name_does_not_say_that_it_is_an_axis_is_refused(annotation: str) -> None:
    """It would not be shifted, and the op would compute along another axis."""

    parameters = {"along": annotation, "eps": "float", "keepdims": "bool"}
    op = type("AlongNorm", (Op,), {"inputs": ("x",), "vmap": vmap_batched, "__annotations__": parameters})
    with pytest.raises(
        ValueError, match=r"along_norm: .* parameter 'along' is an axis\n.*called axes, axis, new"
    ):
        register(op)
    assert "along_norm" not in registry
