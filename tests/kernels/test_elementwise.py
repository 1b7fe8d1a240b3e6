"""The functors of elementwise ops against NumPy, at all combinations of corner values, on `emulated`.

By default each functor runs for a sample of its dtypes; TINYTENSOR_FULL=1 takes them all.
"""

import math
from collections import defaultdict

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.kernel_calls import Memory, computed, emulated, file_of, number, pack, stored, types
from tests.helpers.tolerance import EPS
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dtypes import ALL, bool_, float32, float64
from tinytensor.op import registry
from tinytensor.runtime.cpu.arrays import NUMPY

DTYPES = [d for d in ALL if d.kind != "complex"]

# Functors that only add, multiply, divide, take roots, compare or move: equal bits. Others: within 4 ulp.
EXACT_FILES = {"arithmetic", "comparison", "bitwise", "rounding", "sign_and_complex", "activation"}
EXACT = {"Square", "Reciprocal", "Sqrt", "Rsqrt", "DivideOrZero"}
EXACT_VALUES = {
    "Erfc": np.vectorize(math.erfc, otypes=[float])
}  # its formula in NumPy is off by up to 11 ulp


# Functors of bits: of doubles that are equal as floats, of integers with the most and the fewest.
BY_BITS = {"comparison", "sign_and_complex", "Heaviside", "Maximum", "Minimum", "BitwiseRightShift"}

OTHERS = {"Imag": "the imaginary part is for complex numbers only, which live on the CPU"}
OPS = [op for op in registry.values() if issubclass(op, Elementwise) and op.__name__ not in OTHERS]


def kinds(op):
    """The dtypes in which the op computes: integers arrive as float32 where the result is a float."""
    floats_only = op.result == "float" or op.__name__ == "Isclose"
    found = [d for d in DTYPES if d.kind in op.accepts and (d.kind == "float" or not floats_only)]
    return [d for d in found if not (op.__name__ == "Real" and d is bool_)]


def sample(op):
    """float32, some for functors of bits, and every third of the others: another third for the next op."""
    always = ["float32"]
    if {op.__name__, file_of(op)} & BY_BITS:
        always += ["float64", "int64", "int8", "uint8"]
    at = OPS.index(op)
    return [d for i, d in enumerate(kinds(op)) if FULL or d.name in always or (i + at) % 3 == 0]


INSTANCES = defaultdict(list)  # compiled together
for _op in OPS:
    INSTANCES[file_of(_op)] += [(_op, d) for d in sample(_op)]


def launch(op, dtype, out, operands, n):
    together = [("elementwise_contiguous", (*types(o, d), "int")) for o, d in INSTANCES[file_of(op)]]
    kernel = emulated().kernel(
        file_of(op), "elementwise_contiguous", *types(op, dtype), "int", together=together
    )
    kernel(3, 64, (pack(out, operands, (n,), [(1,)] * (len(operands) + 1), "i"), n))


def corners(dtype):
    """Values at which something happens, and a few ordinary ones."""
    if dtype is bool_:
        return np.array([False, True])
    if dtype.kind != "float":
        info = np.iinfo(NUMPY[dtype])
        plain = [0, 1, 2, 3, 5, 7, 8, 13, 31, 32, 63, 64, 100]
        below = [-1, -2, -3, -5, -7, -8, -13, -100] if info.min < 0 else []
        return np.array([*plain, *below, info.max, info.max - 1, info.min, info.min + 1], NUMPY[dtype])
    special = [0.0, np.inf, np.nan, 65504.0, 6e-8, 1e30, 1e-30, 3.4e38, 1e-40, 1e-45, 8388607.5]
    special += (
        [1e300, 1e-300, 5e-324, 4503599627370495.5, 1 + 2**-52, 2.0**53, 2.0**53 + 2]
        if dtype is tt.float64
        else []
    )
    ordinary = [1.0, 2.0, 3.0, 0.5, 1.5, 2.5, 0.1, 7.0, 1e-3, 10.25, 88.0, 20.0, 100.7, 1e-5, 0.99, 1 / 3]
    both = np.array(special + ordinary)
    with np.errstate(over="ignore"):
        return stored(np.concatenate([both, -both]), dtype)


def combinations(op, dtype):
    """One array for each operand; without what the CPU refuses."""
    values = corners(dtype)
    if op.__name__ == "Isclose":
        a, b = (x.reshape(-1) for x in np.meshgrid(values, values))
        return [a, b, *[stored(np.full(a.shape, t), dtype) for t in (1e-3, 1e-2)]]
    axes = [np.array([False, True]) if i < op.untyped else values for i in range(len(op.inputs))]
    found = [x.reshape(-1) for x in np.meshgrid(*axes)]
    if dtype.kind in ("int", "uint") and op.__name__ in ("FloorDivide", "Remainder", "Pow"):
        fine = found[1] >= 0 if op.__name__ == "Pow" else found[1] != 0
        found = [x[fine] for x in found]
    return found


def undecided(op, operands):
    """Where NumPy has two answers: x ** 0.5 is a root if 0.5 is a number, as in the kernel, else 0 or inf."""
    if op.__name__ != "Pow":
        return np.zeros(operands[0].shape, bool)
    a, b = operands
    either = (b == 0.5) & ((a == 0) | (a == -np.inf))
    return either


def differs(actual, expected, dtype, ulp):
    """Where two results are not the same bits (any nan will do), or not within `ulp` units of each other."""
    if dtype.kind != "float":
        other = actual != expected
        return other
    a, e = computed(actual, dtype).astype(float), computed(expected, dtype).astype(float)
    if ulp:
        unit = np.maximum(np.abs(e), float(tt.finfo(dtype).smallest_normal)) * EPS[dtype.name]
        with np.errstate(invalid="ignore", over="ignore"):
            fine = (a == e) | (np.abs(a - e) <= ulp * unit)
    else:
        fine = (a == e) & (np.signbit(a) == np.signbit(e))
    wrong = ~(fine | (np.isnan(a) & np.isnan(e)))
    return wrong


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_corner_values(op):
    for dtype in sample(op):
        operands = combinations(op, dtype)
        values = [x if i < op.untyped else computed(x, dtype) for i, x in enumerate(operands)]
        result = bool_ if op.result == "bool" else dtype
        with np.errstate(all="ignore"):
            expected = stored(np.asarray(EXACT_VALUES.get(op.__name__, op.ufunc)(*values)), result)
        out = Memory(np.zeros_like(expected))
        inputs = [Memory(x) for x in operands]
        launch(op, dtype, out.ptr, [m.ptr for m in inputs], expected.size)
        actual = out.read()
        bound = 0.0 if file_of(op) in EXACT_FILES or op.__name__ in EXACT else 4.0
        wrong = np.flatnonzero(differs(actual, expected, result, bound) & ~undecided(op, values))
        cases = [(*[x[i] for x in values], actual[i], expected[i]) for i in wrong[:5]]
        assert not wrong.size, f"{dtype}: {wrong.size} wrong; (operands …, actual, expected): {cases}"


@pytest.mark.parametrize("name", ["add", "where", "less"])
def test_numbers_as_operands(name):
    op = registry[name]
    for dtype in sample(op):
        x = corners(dtype)
        condition = np.arange(x.size) % 2 == 0
        first = [Memory(condition)] if op.untyped else []
        values, m = computed(x, dtype), Memory(x)
        for value in (1, 0) if dtype is bool_ else (1, 3):
            operand, lead = number(value, dtype), [m.ptr for m in first]
            for left in (False, True):
                inputs = [*lead, operand, m.ptr] if left else [*lead, m.ptr, operand]
                scalar = values.dtype.type(value)
                with np.errstate(all="ignore"):
                    pair = (scalar, values) if left else (values, scalar)
                    expected = np.asarray(op.ufunc(*([condition] if first else []), *pair))
                result = bool_ if op.result == "bool" else dtype
                out = Memory(np.zeros(x.shape, NUMPY[result]))
                launch(op, dtype, out.ptr, inputs, x.size)
                wrong = differs(out.read(), stored(expected, result), result, 0.0)
                assert not wrong.any(), (dtype, value, left)


@pytest.mark.parametrize("wide", [float32, float64], ids=str)
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind in ("int", "uint")], ids=str)
def test_floats_become_integers_by_their_low_bits(dtype, wide):
    x = np.array([0.0, -0.9, 2.9, -1.0, -128.5, 255.0, 300.7, -70_000.25, 3e9, -3e9, 2.0**53], NUMPY[wide])
    out = Memory(np.zeros(x.shape, NUMPY[dtype]))
    argument = ("Positive", dtype, wide, wide, 1, "int")
    kernel = emulated().kernel("arithmetic", "elementwise_contiguous", *argument, together=CASTS)
    kernel(1, 32, (pack(out.ptr, [Memory(x).ptr], (x.size,), [(1,), (1,)], "i"), x.size))
    np.testing.assert_array_equal(out.read(), x.astype(np.int64).astype(NUMPY[dtype]))


CASTS = [
    ("elementwise_contiguous", ("Positive", d, wide, wide, 1, "int"))
    for d in DTYPES
    if d.kind in ("int", "uint")
    for wide in (float32, float64)
]
