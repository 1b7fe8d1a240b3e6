"""Python's operators on tensors, and ops that write in place."""

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import read

DTYPES = [tt.float64, tt.float32, tt.float16, tt.bfloat16]
Call = Callable[..., Any]


def leaf(*values: float) -> tt.Tensor:
    return tt.tensor(list(values), dtype=tt.float64, requires_grad=True)


# ---- operators ---------------------------------------------------------------------------------------------

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
BITS = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


@pytest.mark.parametrize("op", BINARY + BITS, ids=lambda op: op.__name__)
def test_operators_equal_those_of_numpy(op: Call) -> None:
    floats = op in BINARY
    a = np.array([1.5, 2.0, 3.5]) if floats else np.array([1, 6, 13])
    b = np.array([1.0, 2.0, 3.0]) if floats else np.array([3, 1, 2])
    number = 2.0 if floats else 2
    x, y = tt.tensor(a), tt.tensor(b)
    for ours, numpys in [
        (op(x, y), op(a, b)),
        (op(x, number), op(a, number)),
        (op(number, x), op(number, a)),
    ]:
        assert ours.dtype.name == numpys.dtype.name
        np.testing.assert_allclose(ours.numpy(), numpys)


@pytest.mark.parametrize("op", [operator.neg, operator.pos, operator.abs], ids=lambda op: op.__name__)
def test_operators_of_one_operand(op: Call) -> None:
    assert op(tt.tensor([-1.0, 2.0])).tolist() == op(np.array([-1.0, 2.0])).tolist()


def test_rounding_functions_of_python_work_on_tensors() -> None:
    x = tt.tensor([-1.5, 2.5])
    assert math.floor(x).tolist() == [-2.0, 2.0]  # type: ignore[call-overload]
    assert math.ceil(x).tolist() == [-1.0, 3.0]  # type: ignore[call-overload]
    assert math.trunc(x).tolist() == [-1.0, 2.0]  # type: ignore[call-overload]
    assert round(x).tolist() == [-2.0, 2.0]
    assert (~tt.tensor([True, False])).tolist() == [False, True]


@pytest.mark.parametrize("other", [None, "text", object(), Fraction(1, 2), {}])
def test_equality_with_something_else_is_identity(other: object) -> None:
    x = tt.ones(2)
    assert (x == other) is False
    assert (x != other) is True
    assert (other == x) is False


@pytest.mark.parametrize("other", [np.ones(2), [1.0, 1.0], (1.0, 1.0)])
def test_equality_with_arrays_and_lists_is_refused(other: Any) -> None:
    """False would be a lie: the elements may well be equal."""
    for compare in (operator.eq, operator.ne):
        with pytest.raises(tt.DTypeError, match="asarray"):
            compare(tt.ones(2), other)
        if isinstance(other, np.ndarray):
            with pytest.raises(tt.DTypeError, match="asarray"):
                compare(other, tt.ones(2))


@pytest.mark.parametrize("op", [*BINARY[:7], *BITS], ids=lambda op: op.__name__)
def test_arrays_on_the_left_are_refused(op: Call) -> None:
    with pytest.raises(tt.DTypeError, match=r"(?s)combined with a tensor.*asarray"):
        op(np.ones(2), tt.ones(2))


def test_tensors_are_hashed_by_identity() -> None:
    x, y = tt.ones(2), tt.ones(2)
    assert len({x, y, x}) == 2


# ---- in place ----------------------------------------------------------------------------------------------

IN_PLACE: dict[str, tuple[Call, Call]] = {
    "+=": (operator.iadd, np.add),
    "-=": (operator.isub, np.subtract),
    "*=": (operator.imul, np.multiply),
    "/=": (operator.itruediv, np.divide),
    "//=": (operator.ifloordiv, np.floor_divide),
    "%=": (operator.imod, np.remainder),
    "**=": (operator.ipow, np.power),
    "add_": (tt.Tensor.add_, np.add),
    "sub_": (tt.Tensor.sub_, np.subtract),
    "mul_": (tt.Tensor.mul_, np.multiply),
    "div_": (tt.Tensor.div_, np.divide),
    "exp_": (lambda x, _: x.exp_(), lambda a, _: np.exp(a)),
    "sqrt_": (lambda x, _: x.sqrt_(), lambda a, _: np.sqrt(a)),
    "tanh_": (lambda x, _: x.tanh_(), lambda a, _: np.tanh(a)),
    "neg_": (lambda x, _: x.neg_(), lambda a, _: -a),
    "relu_": (lambda x, _: x.relu_(), lambda a, _: np.maximum(a, 0)),
    "zero_": (lambda x, _: x.zero_(), lambda a, _: 0 * a),
    "fill_": (lambda x, _: x.fill_(7), lambda a, _: 0 * a + 7),
    "clip_": (lambda x, _: x.clip_(1.2, max=2.0), lambda a, _: np.clip(a, 1.2, 2.0)),
    "clip_ itself": (lambda x, _: x.clip_(1.2, x), lambda a, _: np.clip(a, 1.2, a)),
    "pow itself": (lambda x, _: operator.ipow(x, x), lambda a, _: a**a),
    "mod itself": (lambda x, _: operator.imod(x, x), lambda a, _: a % a),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_ops_write_where_the_tensor_is(name: str, dtype: tt.DType) -> None:
    ours, numpys = IN_PLACE[name]
    for other in (2.0, tt.tensor([1.0, 3.0, 2.0], dtype=dtype)):
        whole = tt.tensor([[1.0, 1.25, 3.0], [5.0, 5.0, 5.0]], dtype=dtype)
        for x in (whole.clone(), whole.clone()[0], whole.clone().T[:, 0]):
            before = read(x)
            root = x if x.base is None else x.base
            start, version = x.offset, x.version
            y = ours(x, other)
            expected = numpys(before, read(other) if isinstance(other, tt.Tensor) else other)
            assert y is x
            assert (x.offset, x.version, x.dtype) == (start, version + 1, dtype)
            np.testing.assert_allclose(
                read(x), expected, rtol={tt.bfloat16: 8e-3, tt.float16: 1e-3}.get(dtype, 1e-6)
            )
            if root is not x:
                assert read(root)[1].tolist() == [5.0, 5.0, 5.0]


def test_a_wider_result_is_rounded_once() -> None:
    x, y = np.array([1.0], np.float32), np.array([2**-24 + 2**-50])  # as a float32 y is half a step: a tie
    ours = tt.tensor(x).add_(tt.tensor(y))
    assert ours.tolist() == [1 + 2**-23] == (x + y).astype(np.float32).tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.exp_(),
        lambda x: x.sqrt_(),
        lambda x: x.tanh_(),
        lambda x: x.relu_(),
        lambda x: x.neg_(),
        lambda x: x.clip_(0.5, 1.5),
        lambda x: operator.ipow(x, 3),
        lambda x: operator.ipow(x, x),
        lambda x: operator.itruediv(x, x + 1.0),
    ],
)
def test_in_place_ops_are_differentiated(call: Call) -> None:
    """The same gradient as that of the op that is not in place: here from finite differences."""
    tt.gradcheck(lambda x: call(x * 1.0), [leaf(0.7, 1.2, 1.9)])
    tt.gradcheck(lambda x: call((x * 1.0)[1:]), [leaf(0.7, 1.2, 1.9)])


def test_zero_cuts_the_history() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y[0:1].zero_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 3.0]


def test_bits_in_place() -> None:
    x = tt.tensor([12, 5])
    x &= 6
    x |= 1
    x ^= tt.tensor([1, 2])
    x <<= 2
    x >>= 1
    assert x.tolist() == [8, 14]
    m = tt.tensor([True, False])
    m &= tt.tensor([True, True])
    assert m.tolist() == [True, False]
