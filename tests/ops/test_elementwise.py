"""Corners of elementwise ops: infinities, kinks, operators, in-place writes, dtypes, errors."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.threads import in_threads
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.op import registry
from tinytensor.tensor import arr

INF, NAN = math.inf, math.nan
DTYPES = [tt.float64, tt.float32, tt.float16, tt.bfloat16]
Call = Callable[..., Any]


def leaf(*values: float, dtype: tt.DType = tt.float64) -> tt.Tensor:
    return tt.tensor(list(values), dtype=dtype, requires_grad=True)


def slopes(call: Call, *xs: tt.Tensor) -> list[Any]:
    """Gradients of the sum of the results in each input that requires grad."""
    leaves = [x for x in xs if x.requires_grad]
    return [g.tolist() for g in tt.grad(call(*xs).sum(), leaves) if g is not None]


def test_the_process_keeps_its_floating_point_settings() -> None:
    before = np.geterr()
    tt.log(tt.tensor([0.0]))
    assert np.geterr() == before
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.log(np.zeros(1))


def test_silence_reaches_every_thread() -> None:
    """A context entered twice at once would raise; each op enters a copy."""

    def work(_: int) -> None:
        for _ in range(300):
            assert tt.log(tt.zeros(40_000)).numpy()[-1] == -INF
            assert (tt.ones(2) / 0.0).tolist() == [INF, INF]

    in_threads(work, 4)


# ---- accuracy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    ("dtype", "tolerance", "ranges"),
    [("float64", 5e-15, [(-6, 26.5), (0.4, 0.6)]), ("float32", 5e-7, [(-4, 9)])],
)
def test_erfc_is_accurate_where_it_is_small(
    dtype: str, tolerance: float, ranges: list[tuple[float, float]], device: str
) -> None:
    x = np.concatenate([np.random.default_rng(0).uniform(low, high, 5000) for low, high in ranges]).astype(
        dtype
    )
    found = tt.erfc(tt.tensor(x, device=device)).cpu().numpy()
    np.testing.assert_allclose(found, [math.erfc(v) for v in x], rtol=tolerance)


@pytest.mark.parametrize(("dtype", "kind"), [(tt.float64, np.float64), (tt.float32, np.float32)])
def test_erf_is_within_four_units_in_the_last_place(dtype: tt.DType, kind: type) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-7, 7, 20_000), rng.uniform(-1.1, 1.1, 20_000), [1, -1, 5.9, 6.1, 27]])
    x = np.concatenate([x, 10.0 ** rng.uniform(-30, 0, 5_000)]).astype(kind)
    exact = np.array([math.erf(float(v)) for v in x])
    off = np.abs(tt.erf(tt.tensor(x, dtype=dtype)).numpy() - exact)
    assert np.max(off / np.spacing(np.abs(exact).astype(kind))) <= 4
    assert math.copysign(1.0, tt.erf(tt.tensor(-0.0)).item()) == -1.0


def test_sigmoid_is_within_four_units_in_the_last_place() -> None:
    x = np.linspace(-87, 40, 20_001).astype(np.float32)
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    off = np.abs(tt.sigmoid(tt.tensor(x)).numpy() - exact)
    assert np.max(off / np.spacing(exact.astype(np.float32))) <= 4


def test_small_numbers_keep_their_digits() -> None:
    x = tt.tensor([1e-12, -1e-12], dtype=tt.float64)
    np.testing.assert_allclose(tt.expm1(x).numpy(), [1e-12 + 5e-25, -1e-12 + 5e-25], rtol=1e-15)
    np.testing.assert_allclose(tt.log1p(x).numpy(), [1e-12 - 5e-25, -1e-12 - 5e-25], rtol=1e-15)
    np.testing.assert_allclose(tt.softplus(tt.tensor([-50.0], dtype=tt.float64)).numpy(), [math.exp(-50)])


# ---- gradients at kinks ------------------------------------------------------------------------------------

KINKS: dict[str, tuple[Call, list[tt.Tensor], list[list[float]]]] = {
    "maximum: ties share": (tt.maximum, [leaf(1, 2, 3), leaf(1, 3, 2)], [[0.5, 0, 1], [0.5, 1, 0]]),
    "minimum: ties share": (tt.minimum, [leaf(1, 2, 3), leaf(1, 3, 2)], [[0.5, 1, 0], [0.5, 0, 1]]),
    "maximum: infinite ties": (tt.maximum, [leaf(INF, -INF), leaf(INF, -INF)], [[0.5, 0.5]] * 2),
    "maximum: number": (lambda x: tt.maximum(x, 1), [leaf(0, 1, 2)], [[0, 0.5, 1]]),
    "abs": (tt.abs, [leaf(-2, 0, -0.0, 3)], [[-1, 0, 0, 1]]),
    "relu": (tt.relu, [leaf(-2, 0, 3)], [[0, 0, 1]]),
    "clip": (lambda x: x.clip(-1, 1), [leaf(-2, -1, 0, 1, 2)], [[0, 1, 1, 1, 0]]),
    "clip: bounds": (tt.clip, [leaf(-2, 0, 2), leaf(-1, -1, -1), leaf(1, 1, 1)],
                     [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    "clip: crossed bounds": (tt.clip, [leaf(-3, 0, 3), leaf(1, 1, 1), leaf(-1, -1, -1)],
                             [[0, 0, 0], [0, 0, 0], [1, 1, 1]]),
    "sqrt": (tt.sqrt, [leaf(0, 4)], [[INF, 0.25]]),
    "pow: 0 to the 0": (lambda x: x**0, [leaf(0, INF)], [[0, 0]]),
    "pow: tensors": (tt.pow, [leaf(0, 0, 2), leaf(0, 2, 0)], [[0, 0, 0], [0, 0, math.log(2)]]),
    "pow: base 0": (lambda b: 0.0**b, [leaf(0, 1, 2)], [[0, 0, 0]]),
    "pow: square at 0": (lambda x: x**2, [leaf(0, 3)], [[0, 6]]),
    "hypot": (tt.hypot, [leaf(0, 3), leaf(0, 4)], [[0, 0.6], [0, 0.8]]),
    "hypot: huge": (tt.hypot, [leaf(3e200), leaf(4e200)], [[0.6], [0.8]]),
    "atan2": (tt.atan2, [leaf(0, 0, 1), leaf(0, 2, 0)], [[0, 0.5, 0], [0, 0, -1]]),
    "atan2: huge": (tt.atan2, [leaf(0.0), leaf(1e200)], [[1e-200], [0]]),
    "logaddexp: infinities": (tt.logaddexp, [leaf(INF, -INF, 0), leaf(INF, -INF, -INF)],
                              [[0.5, 0.5, 1], [0.5, 0.5, 0]]),
    "copysign": (tt.copysign, [leaf(2, -2, 0), leaf(-1, -1, 1)], [[-1, 1, 0], [0, 0, 0]]),
    "copysign: number": (lambda x: tt.copysign(x, -3), [leaf(2, -2, 0)], [[-1, 1, 0]]),
    "sign": (tt.sign, [leaf(-2, 0)], [[0, 0]]),
    "round": (tt.round, [leaf(0.5, INF)], [[0, 0]]),
    "heaviside": (tt.heaviside, [leaf(0, 1), leaf(2, 2)], [[0, 0], [0, 0]]),
    "where: not taken": (lambda x: tt.where(x > 0, tt.log(x), x * 0), [leaf(1, -1)], [[1, 0]]),
    "relu: infinite gradient": (lambda x: tt.relu(x) * INF, [leaf(-1)], [[0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", KINKS)
def test_slopes_at_kinks(name: str) -> None:
    call, inputs, expected = KINKS[name]
    np.testing.assert_allclose(slopes(call, *inputs), expected)


@pytest.mark.parametrize(
    ("call", "values"),
    [
        (tt.hypot, (0.0, 0.0)),
        (tt.atan2, (0.0, 0.0)),
        (tt.pow, (0.0, 0.0)),
        (tt.pow, (0.0, 2.0)),
        (tt.logaddexp, (INF, INF)),
        (tt.maximum, (1.0, 1.0)),
    ],
)
def test_second_derivatives_at_kinks_are_finite(call: Call, values: tuple[float, float]) -> None:
    a, b = leaf(values[0]), leaf(values[1])
    first = tt.grad(call(a, b).sum(), [a, b], create_graph=True)
    total = sum(g.sum() for g in first if g is not None)
    if isinstance(total, tt.Tensor) and total.requires_grad:
        second = tt.grad(total, [a, b], allow_unused=True)
        assert all(np.isfinite(g.numpy()).all() for g in second if g is not None)


@pytest.mark.parametrize(
    ("call", "values", "by", "expected"),
    [(tt.logaddexp, (1.0, 1.0), 0, 0.25), (tt.pow, (2.0, 0.0), 1, 0.5)],  # a**(b - 1) (1 + b log a) is 1/a
)
def test_second_derivatives_at_kinks(
    call: Call, values: tuple[float, float], by: int, expected: float
) -> None:
    """Where operands are equal, and in an exponent of zero: of d/da, in one of both."""
    operands = leaf(values[0]), leaf(values[1])
    (first,) = tt.grad(call(*operands).sum(), operands[:1], create_graph=True)
    np.testing.assert_allclose(slopes(lambda _: first, operands[by]), [[expected]])


@pytest.mark.parametrize("number", [0, 1.5, INF, -INF])
def test_logaddexp_of_a_tensor_and_a_number(number) -> None:
    for turned in (False, True):
        a, b = leaf(0.5, -1.0, INF), tt.full((3,), float(number), dtype=tt.float64)
        y = tt.logaddexp(number, a) if turned else tt.logaddexp(a, number)
        wanted = tt.logaddexp(a, b)
        assert y.tolist() == wanted.tolist()
        slopes = [tt.grad(z.sum(), a)[0].numpy() for z in (y, wanted)]
        np.testing.assert_allclose(*slopes, rtol=1e-12)


# ---- dtypes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda: tt.tensor([True]) + tt.tensor([True]), "bool"),
        (lambda: tt.tensor([True]) * True, "bool"),
        (lambda: tt.tensor([True]) + 1, "int64"),
        (lambda: tt.tensor([1], dtype=tt.int8) + 1, "int8"),
        (lambda: tt.tensor([1], dtype=tt.int8) + 1.0, "float32"),
        (lambda: tt.tensor([1], dtype=tt.int8) / 2, "float32"),
        (lambda: tt.exp(tt.tensor([True])), "float32"),
        (lambda: tt.tensor([1.0], dtype=tt.float16) > 0.5, "bool"),
        (lambda: tt.tensor([1]) > 0.5, "bool"),
        (lambda: tt.where(tt.tensor([True]), 1, 2), "int64"),
        (lambda: tt.where(tt.tensor([True]), 1.0, 2), "float32"),
        (lambda: tt.clip(tt.tensor([1], dtype=tt.int8), max=0.5), "float32"),
        (lambda: tt.clip(tt.tensor([1], dtype=tt.uint8)), "uint8"),
        (lambda: tt.abs(tt.tensor([1j])), "float32"),
        (lambda: tt.tensor([1j]).real, "float32"),
        (lambda: tt.floor(tt.tensor([1])), "int64"),
        (lambda: 2.0 ** tt.tensor(3.0), "float32"),
        (lambda: tt.tensor(3.0) ** tt.tensor(2.0), "float32"),
    ],
)
def test_dtypes_of_results(call: Call, dtype: str) -> None:
    assert call().dtype.name == dtype
    assert call().numpy().dtype.name == dtype


def test_shifts_beyond_the_width_are_defined() -> None:
    x = tt.tensor([5, -5], dtype=tt.int8)
    assert (x << 8).tolist() == [0, 0]
    assert (x >> 8).tolist() == [0, -1]
    assert (x << -1).tolist() == [0, 0]
    assert (x >> -1).tolist() == [0, -1]


def test_results_of_comparisons_have_no_history() -> None:
    x = leaf(1.0, 2.0, dtype=tt.float32)
    for y in (x > 1, x == x, tt.isnan(x), tt.logical_not(x), tt.signbit(x), tt.isclose(x, x)):
        assert y.dtype is tt.bool
        assert not y.requires_grad


def test_allclose() -> None:
    x = tt.tensor([1.0, NAN])
    assert tt.allclose(tt.ones(2), 1.0 + 1e-6) is True
    assert tt.allclose(tt.ones(2), 1.1) is False
    assert tt.allclose(x, x) is False
    assert tt.allclose(x, x, equal_nan=True) is True
    assert tt.allclose(tt.ones(0), 5.0) is True
    assert tt.isclose(tt.tensor([INF, -INF]), tt.tensor([INF, INF])).tolist() == [True, False]


# ---- errors ------------------------------------------------------------------------------------------------

I8, BOOL, C = tt.tensor([1, 0], dtype=tt.int8), tt.tensor([True, False]), tt.tensor([1j, 2.0])


@pytest.mark.parametrize(
    ("call", "x"),
    [(tt.imag, tt.ones(2)), (lambda x: x & x, tt.ones(2)), (tt.sigmoid, C), (lambda x: -x, BOOL)],
)
def test_the_fix_names_a_dtype_that_is_supported(call: Call, x: tt.Tensor) -> None:
    with pytest.raises(tt.DTypeError) as caught:
        call(x)
    (dtype,) = re.findall(r"x\.astype\(tt\.(\w+)\)", caught.value.fix)
    assert call(x.astype(dtype)).shape == (2,)


@pytest.mark.parametrize(
    "op", [op for op in registry.values() if issubclass(op, Elementwise) and len(op.inputs) > 1]
)
def test_small_operands_broadcast(op: type[Elementwise]) -> None:
    """A function of arrays must return the shape that the plan has promised."""
    for shapes in itertools.product([(), (1,), (3,), (2, 1)], repeat=len(op.inputs)):
        xs = [tt.ones(*shape, dtype=tt.float32 if "float" in op.accepts else tt.int32) for shape in shapes]
        xs[: op.untyped] = [x.astype(tt.bool) for x in xs[: op.untyped]]
        for _ in range(2):  # the second call finds the plan
            assert arr(apply(op(), *xs)).shape == np.broadcast_shapes(*shapes)
