"""Functions, conversions and tensor cores of the emulated device, against Python and NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.emulator.run.test_emulator import zeros
from tests.helpers.emulated import Array, Instance, emulated, run
from tests.helpers.source import ROOT
from tinytensor import dtypes
from tinytensor.emulator.run.runtime import EmulatedKernel
from tinytensor.errors import KernelError
from tinytensor.runtime.base import TemplateArgument
from tinytensor.runtime.cpu.arrays import narrow, widen

SOURCE = ROOT / "tests" / "device_code" / "emulator_maths.cu"
HALVES = (dtypes.float16, dtypes.bfloat16)
WIDE = (dtypes.float32, dtypes.float64)
INSTANCES: list[Instance] = [
    *((name, ()) for name in ("fast_functions", "bits", "pairs", "vectors", "product_tf32", "zero_fill")),
    ("misaligned_matrix", ()),
    *((name, (dtype,)) for name in ("functions", "predicates", "fused", "to_integers") for dtype in WIDE),
    *((name, (dtype,)) for name in ("widen", "product") for dtype in HALVES),
    *(("narrow", (half, wide)) for half in HALVES for wide in (*WIDE, dtypes.int32)),
    *(("matrices", (n, transposed)) for n in (1, 2, 4) for transposed in (False, True)),
]


def kernel(name: str, *arguments: TemplateArgument) -> EmulatedKernel:
    return emulated().kernel(SOURCE, name, *arguments, together=INSTANCES)


# ---- functions ---------------------------------------------------------------------------------------------

# In terms of v, unit = v / (1 + |v|) and positive = |v| + 0.25; in the order of emulator_maths.cu.
Function = Callable[[float, float, float], float]
FUNCTIONS: dict[str, Function] = {
    "sqrt": lambda v, u, p: math.sqrt(p),
    "cbrt": lambda v, u, p: math.cbrt(v),
    "fabs": lambda v, u, p: abs(v),
    "exp": lambda v, u, p: math.exp(v),
    "exp2": lambda v, u, p: 2.0**v,
    "expm1": lambda v, u, p: math.expm1(v),
    "log": lambda v, u, p: math.log(p),
    "log2": lambda v, u, p: math.log2(p),
    "log10": lambda v, u, p: math.log10(p),
    "log1p": lambda v, u, p: math.log1p(p),
    "sin": lambda v, u, p: math.sin(v),
    "cos": lambda v, u, p: math.cos(v),
    "tan": lambda v, u, p: math.tan(v),
    "asin": lambda v, u, p: math.asin(u),
    "acos": lambda v, u, p: math.acos(u),
    "atan": lambda v, u, p: math.atan(v),
    "sinh": lambda v, u, p: math.sinh(v),
    "cosh": lambda v, u, p: math.cosh(v),
    "tanh": lambda v, u, p: math.tanh(v),
    "asinh": lambda v, u, p: math.asinh(v),
    "acosh": lambda v, u, p: math.acosh(1 + p),
    "atanh": lambda v, u, p: math.atanh(u),
    "erf": lambda v, u, p: math.erf(v),
    "erfc": lambda v, u, p: math.erfc(v),
    "lgamma": lambda v, u, p: math.lgamma(p),
    "tgamma": lambda v, u, p: math.gamma(p),
    "floor": lambda v, u, p: math.floor(v),
    "ceil": lambda v, u, p: math.ceil(v),
    "trunc": lambda v, u, p: math.trunc(v),
    "round": lambda v, u, p: math.copysign(math.floor(abs(v) + 0.5), v),
    "rint": lambda v, u, p: round(v),
    "nearbyint": lambda v, u, p: round(v),
    "rsqrt": lambda v, u, p: p**-0.5,
    "rcbrt": lambda v, u, p: 1 / math.cbrt(p),
    "exp10": lambda v, u, p: 10.0**v,
    "ldexp": lambda v, u, p: 8 * v,
    "pow": lambda v, u, p: p**v,
    "atan2": lambda v, u, p: math.atan2(v, p),
    "hypot": lambda v, u, p: math.hypot(v, u),
    "fmod": lambda v, u, p: math.fmod(v, 0.75),
    "remainder": lambda v, u, p: math.remainder(v, 0.75),
    "fmin": lambda v, u, p: min(v, u),
    "fmax": lambda v, u, p: max(v, u),
    "fdim": lambda v, u, p: max(v - u, 0),
    "copysign": lambda v, u, p: math.copysign(p, v),
    "nextafter": lambda v, u, p: v,
    "fma": lambda v, u, p: v * u + p,
    "max": lambda v, u, p: max(v, u),
    "min": lambda v, u, p: min(v, u),
}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_functions(dtype: dtypes.DType) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-4, 4, 60), [0.5, 1.5, -2.5, 2.0, -3.0]]).astype(dtype.code)
    out = np.zeros((len(FUNCTIONS), x.size), x.dtype)
    run(kernel("functions", dtype), 3, 32, out, x, x.size)
    unit, positive = x / (1 + abs(x)), abs(x) + x.dtype.type(0.25)
    for row, (name, function) in zip(out, FUNCTIONS.items(), strict=True):
        expected = [function(float(v), float(u), float(p)) for v, u, p in zip(x, unit, positive, strict=True)]
        eps = np.finfo(x.dtype).eps
        assert np.allclose(row, expected, rtol=8 * eps, atol=2 * eps), name
    assert np.array_equal(out[list(FUNCTIONS).index("nextafter")], np.nextafter(x, x.dtype.type(100)))


def test_fast_functions() -> None:
    x = np.linspace(-3, 3, 50).astype(np.float32)
    p = abs(x) + np.float32(0.25)
    out = zeros(16, x.size, dtype=np.float32)
    run(kernel("fast_functions"), 1, 64, out, x, x.size)
    expected = [
        np.exp(x),
        np.log(p),
        np.log2(p),
        np.log10(p),
        np.sin(x),
        np.cos(x),
        np.tan(x),
        p**x,
        10**x,
        x / p,
    ]
    expected += [np.clip(x, 0, 1), 1 / p, np.sqrt(p), 1 / np.sqrt(p), np.sin(x), np.cos(x)]
    assert np.allclose(out, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_predicates(dtype: dtypes.DType) -> None:
    info = np.finfo(dtype.code)
    x = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.tiny / 2, -info.max], dtype.code)
    out = zeros(x.size)
    run(kernel("predicates", dtype), 1, 32, out, x, x.size)
    assert np.array_equal(out, np.isnan(x) + 2 * np.isinf(x) + 4 * np.isfinite(x) + 8 * np.signbit(x))


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_sums_of_products_are_rounded_as_they_are_written(dtype: dtypes.DType) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 64)).astype(dtype.code)
    c = -a * b  # so that the rounding of the product is all that is left
    out = np.zeros((2, 64), a.dtype)
    run(kernel("fused", dtype), 1, 64, out, a, b, c)
    assert (out[1] == 0).all()
    assert (out[0] != 0).mean() > 0.9
    if dtype is dtypes.float32:
        assert np.array_equal(out[0], a.astype("f8") * b + c)


def test_denormal_numbers_are_kept() -> None:
    x = np.full(32, 2.0**-149, np.float32)
    out = zeros(2, 32, dtype=np.float32)
    run(kernel("fused", dtypes.float32), 1, 32, out, x, np.ones_like(x), np.zeros_like(x))
    assert (out == x).all()


# ---- integers and bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_conversions_to_integers_saturate(dtype: dtypes.DType) -> None:
    values = [0, 0.5, 1.5, -0.5, -1.5, 2.7, -2.7, 2.0**31, -(2.0**31), 2.0**40, -(2.0**40), 2.0**63, 2.0**64]
    x = np.array([*values, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype.code)
    out = zeros(8, x.size, dtype=np.int64)
    run(kernel("to_integers", dtype), 1, 32, out, x, x.size)

    def saturated(rounded: Array, low: int, high: int) -> list[int]:
        return [0 if np.isnan(v) else max(low, min(high, v if np.isinf(v) else int(v))) for v in rounded]

    int32, int64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
    expected = [saturated(f(x), *int32) for f in (np.rint, np.trunc, np.floor, np.ceil)]
    expected += [
        saturated(np.rint(x), 0, 2**32 - 1),
        saturated(np.rint(x), *int64),
        saturated(np.trunc(x), *int64),
    ]
    assert out[:7].tolist() == expected
    assert out[7].view(np.uint64).tolist() == saturated(np.rint(x), 0, 2**64 - 1)


def bits_expected(q: int, r: int) -> list[int]:
    """The row of kernel `bits`, from Python's integers."""
    u, v = q % 2**32, (r >> 7) % 2**32

    def signed(x: int, bits: int) -> int:
        return x - (x >> (bits - 1) << bits)

    first = [u.bit_count(), q.bit_count(), 32 - u.bit_length(), 64 - q.bit_length()]
    first += [
        (u & -u).bit_length(),
        (q & -q).bit_length(),
        int(f"{u:032b}"[::-1], 2),
        int(f"{q:064b}"[::-1], 2),
    ]
    high = [u * v >> 32, (signed(u, 32) * signed(v, 32) >> 32) % 2**32, q * r >> 64]
    high += [(signed(q, 64) * signed(r, 64) >> 64) % 2**64]
    both = (v << 32 | u).to_bytes(8, "little")
    permuted = int.from_bytes(bytes(both[i] for i in (0, 4, 1, 5)), "little")
    wide = v << 32 | u
    moved = [permuted, (wide << 9 >> 32) % 2**32, (wide >> 9) % 2**32]
    return [*first, *high, *moved, u & 0x3FFFFFFF, q >> 2, abs(signed(q, 64)), max(u, v), min(u, v)]


def test_bits() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.integers(0, 2**64, 20, np.uint64), np.array([0, 1, 2**63, 2**64 - 1], np.uint64)])
    x[5:10] >>= np.uint64(40)
    out = zeros(20, x.size, dtype=np.uint64)
    run(kernel("bits"), 1, 32, out, x, x.size)
    expected = [bits_expected(int(q), int(r)) for q, r in zip(x, np.roll(x, -1), strict=True)]
    assert out.T.tolist() == expected


# ---- 16-bit floats -----------------------------------------------------------------------------------------


def same(a: Array, b: Array, dtype: dtypes.DType) -> bool:
    """Equal bits; any NaN equals any other."""
    nan = np.isnan(widen(a, dtype)) & np.isnan(widen(b, dtype))
    return bool((nan | (a.view(np.uint16) == b.view(np.uint16))).all())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_all_16_bit_floats_widen(dtype: dtypes.DType) -> None:
    x = np.arange(65536).astype(np.uint16).view(dtype.code)
    out = zeros(65536, dtype=np.float32)
    run(kernel("widen", dtype), 64, 1024, out, x, x.size)
    assert np.array_equal(out, widen(x, dtype), equal_nan=True)
    assert np.array_equal(np.signbit(out), x.view(np.int16) < 0)


def test_floats_narrow() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2**32, 50_000, np.uint32).view(np.float32)
    halves = np.arange(65536).astype(np.uint16)
    for dtype in HALVES:
        exact = widen(halves.view(dtype.code), dtype)
        with np.errstate(all="ignore"):
            ties = (exact.astype(np.float64) + np.roll(exact, -1)) / 2
            wide = np.concatenate(
                [x, exact, ties.astype(np.float32), np.nextafter(exact, np.float32(np.inf))]
            )
        out = np.zeros(wide.size, dtype.code)
        run(kernel("narrow", dtype, dtypes.float32), -(-wide.size // 1024), 1024, out, wide, wide.size)
        expected = np.zeros_like(out)
        narrow(wide, dtype, expected)
        assert same(out, expected, dtype)


def test_doubles_are_rounded_once() -> None:
    """A double just above a tie of the narrow type, which rounding to float would make a tie."""
    for dtype, ulp in ((dtypes.float16, 2.0**-10), (dtypes.bfloat16, 2.0**-7)):
        x = np.array(
            [1 + ulp / 2 + 2.0**-40, 1 + ulp / 2, 1 + 3 * ulp / 2 - 2.0**-40, -1 - ulp / 2 - 2.0**-40]
        )
        x = np.concatenate([x, [1e-300, -1e-300, 1e300, 0, np.inf, np.nan, 65519.999999999, 65520.0]])
        out = np.zeros(x.size, dtype.code)
        run(kernel("narrow", dtype, dtypes.float64), 1, 32, out, x, x.size)
        value = widen(out, dtype)
        assert value[:4].tolist() == [1 + ulp, 1, 1 + ulp, -1 - ulp]
        assert value[4:9].tolist() == [0, 0, np.inf, 0, np.inf]
        assert np.signbit(value[5])
        assert np.isnan(value[9])
        if dtype is dtypes.float16:
            assert value[10:].tolist() == [65504, np.inf]


def test_integers_narrow() -> None:
    x = np.array([0, 1, -1, 2049, 2051, -70000, 257, 259, 2**24 + 1, 2**31 - 1], np.int32)
    for dtype in HALVES:
        out, expected = np.zeros((2, x.size), dtype.code)
        run(kernel("narrow", dtype, dtypes.int32), 1, 32, out, x, x.size)
        narrow(x.astype(np.float64).astype(np.float32), dtype, expected)
        assert same(out, expected, dtype)


def test_pairs() -> None:
    out, bits = zeros(4, dtype=np.float16), zeros(4, dtype=np.uint16)
    x = np.array([1.2, -3.4], np.float32)
    run(kernel("pairs"), 1, 1, out, x, bits)
    first, second = x.astype(np.float16)
    assert out.tolist() == [first, second, second, first]
    assert bits.tolist() == [first.view(np.uint16), 0x1234, 0x3FC0, 1]


def test_vectors() -> None:
    sizes, total = zeros(20), zeros(4, dtype=np.float32)
    run(kernel("vectors"), 1, 1, sizes, total, np.arange(8, dtype=np.float32), np.array([10.0, 20.0]))
    assert sizes.tolist() == [8, 8, 12, 4, 16, 16, 16, 16, 32, 16, 16, 16, 16, 16, 16, 4, 4, 8, 2, 12]
    assert total.tolist() == [4, 6, 12, 23]


# ---- tensor cores ------------------------------------------------------------------------------------------


def stored(values: Array, dtype: dtypes.DType) -> Array:
    out: Any = np.zeros(values.shape, dtype.code)
    narrow(values.astype(np.float32), dtype, out)
    return out


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products_of_16_bit_floats(dtype: dtypes.DType) -> None:
    rng = np.random.default_rng(4)
    a, b = stored(rng.standard_normal((16, 16)), dtype), stored(rng.standard_normal((16, 8)), dtype)
    c = rng.standard_normal((16, 8)).astype(np.float32)
    out = np.zeros_like(c)
    run(kernel("product", dtype), 1, 32, out, a, b, c)
    assert np.allclose(out, widen(a, dtype).astype("f8") @ widen(b, dtype) + c, rtol=1e-6, atol=1e-5)


def test_products_of_tf32() -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8)))
    out = zeros(16, 8, dtype=np.float32)
    run(kernel("product_tf32"), 1, 32, out, a, b)
    short = [(x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype("f8") for x in (a, b)]
    assert np.allclose(out, short[0] @ short[1], rtol=1e-6, atol=1e-5)
    assert not np.allclose(out, a @ b, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_loading_matrices(n: int, transposed: bool) -> None:
    x = np.arange(n * 64, dtype=np.uint16).reshape(n, 8, 8)
    out = zeros(n, 32, dtype=np.uint32)
    run(kernel("matrices", n, transposed), 1, 32, out, x)
    expected = x.transpose(0, 2, 1) if transposed else x
    assert np.array_equal(out.view(np.uint16).reshape(n, 8, 8), expected)


@pytest.mark.parametrize("nbytes", [0, 1, 7, 16])
def test_copies_fill_with_zeros(nbytes: int) -> None:
    x = np.arange(1, 17, dtype=np.uint8)
    out = zeros(16, dtype=np.uint8)
    run(kernel("zero_fill"), 1, 1, out, x, nbytes)
    assert out.tolist() == [*range(1, nbytes + 1), *[0] * (16 - nbytes)]


def test_tensor_cores_need_a_whole_warp_and_aligned_rows() -> None:
    with pytest.raises(
        KernelError, match=r"ldmatrix at emulator_maths.cu:\d+ needs all 32 lanes of the warp; 31"
    ):
        run(kernel("matrices", 1, False), 1, 31, zeros(32, dtype=np.uint32), np.zeros(64, np.uint16))
    with pytest.raises(KernelError, match=r"misaligned address in ldmatrix at .* by thread \(0, 0, 0\)"):
        run(kernel("misaligned_matrix"), 1, 32, zeros(32, dtype=np.uint32))
