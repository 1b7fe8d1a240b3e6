"""Corners that hold for many ops at once: special values, sizes beyond a cache block, no axes, aliasing."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import LAYOUTS, read
from tests.helpers.tolerance import assert_close
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import FLOATS, as_tuple, rounded, silent

Array = np.ndarray[Any, Any]
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-30, -1e30, 3e38, 0.5, 2.5, 1e300, -1e3])


def uniform_rows(*dtypes: str) -> list[Row]:
    """Rows whose inputs are floats of one shape, so that another shape can be tried."""
    return [
        row
        for row in ROWS
        if row.inputs
        and row.has_reference
        and all(x.kind in ("float", "number") and x.shape == row.inputs[0].shape for x in row.inputs)
        and set(dtypes) <= set(row.dtypes)
    ]


# ---- special values ----------------------------------------------------------------------------------------

# Elementwise functions and reductions that must treat NaN, inf and signed zeros as NumPy does.
FAMILIES = {
    "activations": "erf erfc relu sigmoid softplus",
    "arithmetic": "abs add copysign divide floor_divide heaviside hypot maximum minimum multiply negative "
    "positive pow reciprocal remainder sign square subtract",
    "comparison": "equal greater greater_equal isfinite isinf isnan less less_equal not_equal signbit",
    "exponential": "exp expm1 log log10 log1p log2 logaddexp rsqrt sqrt",
    "reductions": "argmax argmin max mean min prod std sum var",
    "rounding": "ceil clip floor round trunc",
    "trigonometric": "acos acosh asin asinh atan atan2 atanh cos cosh sin sinh tan tanh",
}
LIKE_NUMPY = {name for names in FAMILIES.values() for name in names.split()}
UNSIGNED_ZERO = {"clip"}  # between 0.0 and -0.0 either is the larger one
WITH_NAN = [
    row
    for row in uniform_rows("float64", "float32")
    if row.function in LIKE_NUMPY and row.contiguous and row.name != "pow:root"  # of -inf: C's, not NumPy's
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("row", WITH_NAN, ids=lambda row: row.name)
def test_special_values_go_where_they_go_in_numpy(row: Row, dtype: str) -> None:
    """Every pair of special values where there are two inputs; few, and more of them. Nothing
    warns: pytest makes errors of warnings.
    """
    if dtype not in row.dtypes:
        return
    grid = np.meshgrid(*[SPECIAL] * len(row.inputs), indexing="ij")
    computed = "float64" if dtype == "float64" else "float32"
    for times in (1,) if row.function in FAMILIES["reductions"].split() else (1, 6_000 // grid[0].size):
        with silent():
            values = [rounded(np.tile(g.reshape(2, -1), times), dtype) for g in grid]
            if len(row.inputs[0].shape) == 3:
                values = [v.reshape(1, *v.shape) for v in values]
            references = as_tuple(row.reference(*[v.astype(computed) for v in values]))
            if dtype == "float16":  # which has fewer exponents
                references = [
                    r.astype(dtype) if r.dtype.kind == "f" else r for r in map(np.asarray, references)
                ]
        outputs = as_tuple(row.call(*[tt.tensor(v, dtype=dtype) for v in values]))
        for y, reference in zip(outputs, references, strict=True):
            actual = read(y)
            assert_close(actual, reference, y.dtype.name, actual.size, factor=row.tol)
            if actual.dtype.kind == "f" and row.function not in UNSIGNED_ZERO:
                zero = (actual == 0) & (np.asarray(reference) == 0)
                wrong = zero & (np.signbit(actual) != np.signbit(reference))
                assert not wrong.any(), f"sign of zero at {np.argwhere(wrong).tolist()}"


def test_the_list_of_special_values_is_of_use() -> None:
    assert {row.function for row in WITH_NAN} == LIKE_NUMPY


def test_matmul_carries_nan_and_inf() -> None:
    a = tt.tensor([[np.nan, 1.0], [np.inf, 1.0], [1.0, 1.0]])
    assert np.array_equal(read(a @ tt.ones(2, 1)), [[np.nan], [np.inf], [2.0]], equal_nan=True)
    assert np.isnan(read(a @ tt.tensor([[0.0], [1.0]]))[:2]).all()


# ---- sizes -------------------------------------------------------------------------------------------------


# Their calls name sizes or axes.
OWN_SIZES = {"adamw_hyper", "as_strided:columns", "einsum", "getitem", "pad", "setitem", "split"}
LARGE = [
    row.reshaped(((251, 131),) * len(row.inputs))
    for row in uniform_rows("float32")
    if len(row.inputs[0].shape) == 2 and row.contiguous and OWN_SIZES.isdisjoint({row.function, row.name})
    if all(x.repeats for x in row.inputs)
]


@pytest.mark.parametrize("row", LARGE, ids=lambda row: row.name)
def test_tensors_larger_than_a_cache_block(row: Row) -> None:
    """Ops work in blocks of some 16,000 elements: 32,881 of them fill two blocks and a rest."""
    values = row.sample("float32")
    try:
        with silent():
            references = as_tuple(row.reference(*values))
    except ValueError:
        return  # sizes that do not fit, as in a product of matrices
    for layout in ("packed", "transposed", "step"):
        inputs = [LAYOUTS[layout].make(v, "float32") for v in values]
        for y, reference in zip(as_tuple(row.call(*inputs)), references, strict=True):
            assert_close(read(y), reference, y.dtype.name, values[0].size, factor=row.tol, message=layout)


NUMBERS = [
    row for row in uniform_rows("float32", "bfloat16") if OWN_SIZES.isdisjoint({row.function, row.name})
]


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_a_number_without_axes(row: Row) -> None:
    """What takes a tensor without axes gives for it what it gives for the number in a row of one."""
    for dtype in ("float32", "bfloat16"):
        inputs = [tt.tensor(x.sample(row.rng(), dtype, (1,)), dtype=dtype) for x in row.inputs]
        try:
            single = as_tuple(row.call(*[x.reshape(()) for x in inputs]))
            along = as_tuple(row.call(*inputs))
        except (tt.ShapeError, tt.ArgumentError):
            return  # an op that requires axes raises a clear error
        for y, z in zip(single, along, strict=True):
            assert y.size == z.size
            np.testing.assert_array_equal(read(y).ravel(), read(z).ravel(), err_msg=dtype)


# ---- aliasing ----------------------------------------------------------------------------------------------

# Targets and operands in one tensor x of shape (n, n).
OVERLAPS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (lambda x: x, lambda x: x),
    "one row further": (lambda x: x[1:], lambda x: x[:-1]),
    "one row back": (lambda x: x[:-1], lambda x: x[1:]),
    "one column further": (lambda x: x[:, 1:], lambda x: x[:, :-1]),
    "transposed": (lambda x: x, lambda x: x.T),
    "its first row": (lambda x: x, lambda x: x[0]),
    "its first column": (lambda x: x, lambda x: x[:, :1]),
    "backwards": (lambda x: x, lambda x: x[::-1, ::-1]),
    "into every second": (lambda x: x[::2], lambda x: x[: (x.shape[0] + 1) // 2]),
}


def assign(target: Any, operand: Any) -> None:
    target[...] = operand


FOUR = [operator.iadd, operator.isub, operator.imul, operator.itruediv]


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("n", [4, 200])
@pytest.mark.parametrize("write", [*FOUR, operator.ipow, assign])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_operand_overlaps_target(
    overlap: str, write: Callable[[Any, Any], None], n: int, recorded: bool
) -> None:
    """The operand counts as it was before the write, however large, and in 16-bit floats, too."""
    target, operand = OVERLAPS[overlap]
    for dtype in ("float64", "float32", "bfloat16"):
        values = np.random.default_rng(n).integers(1, 4, (n, n)).astype(np.float64)
        expected = values.copy()
        write(target(expected), operand(values))
        x = tt.tensor(values, dtype=dtype, requires_grad=recorded)
        x = x * 1.0 if recorded else x
        write(target(x), operand(x))
        assert_close(read(x), expected, dtype, message=dtype)


@pytest.mark.parametrize("write", [*FOUR, assign])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_gradient_where_operand_overlaps_target(overlap: str, write: Callable[[Any, Any], None]) -> None:
    target, operand = OVERLAPS[overlap]

    def fn(x: tt.Tensor) -> tt.Tensor:
        y = x * 1.0
        write(target(y), operand(y))
        return y * y

    values = np.random.default_rng(0).uniform(0.5, 2, (4, 4))
    x = tt.tensor(values, dtype="float64", requires_grad=True)
    tt.gradcheck(fn, x)
    tt.gradgradcheck(fn, x)


PAIRS = [row for row in uniform_rows("float64") if row.grad and len(row.inputs) == 2]


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: row.name)
def test_one_tensor_as_both_operands(row: Row) -> None:
    """f(x, x) has the sum of both gradients."""
    values = row.sample("float64")[0]
    twice = tt.tensor(values, dtype="float64", requires_grad=True)
    apart = [tt.tensor(values, dtype="float64", requires_grad=True) for _ in range(2)]
    for inputs in ([twice, twice], apart):
        outputs = [y for y in as_tuple(row.call(*inputs)) if y.requires_grad]
        for y in outputs:
            y.backward(tt.ones(*y.shape, dtype=y.dtype), retain_graph=True)
    expected = sum(read(x.grad) for x in apart if x.grad is not None)
    np.testing.assert_allclose(read(twice.grad), expected, rtol=1e-12, atol=1e-12)


def test_write_through_a_view_of_a_base_that_overlaps_itself() -> None:
    """The base's other elements would change with it: recorded, this is refused; plain, it is just memory."""
    windows = tt.arange(4, dtype=tt.float64).unfold(0, 2).detach()
    b = tt.tensor(2.0, dtype="float64", requires_grad=True)
    row = windows[0]
    with pytest.raises(tt.GradError, match="overlaps itself"):
        row += b
    row += 1.0
    assert windows.tolist() == [[1.0, 2.0], [2.0, 2.0], [2.0, 3.0]]


def test_round_of_complex_numbers_rounds_both_parts() -> None:
    values = np.array([1.5 - 2.5j, 0.4 + 0.6j, complex(np.inf, -0.2), complex(np.nan, 3.5)])
    for dtype in ("complex64", "complex128"):
        ours = tt.round(tt.tensor(values, dtype=dtype))
        assert str(ours.dtype) == dtype
        np.testing.assert_array_equal(ours.numpy(), np.round(values.astype(dtype)))
