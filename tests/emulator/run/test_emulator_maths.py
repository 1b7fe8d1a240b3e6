"""Functions, conversions and tensor cores of the emulated device, against Python and NumPy."""

import math

import numpy as np
import pytest

import tinytensor as tt
from tests.emulator.run.test_emulator import zeros
from tests.helpers.emulated import emulated, run
from tests.helpers.source import ROOT
from tinytensor import dtypes
from tinytensor.errors import KernelError
from tinytensor.runtime.cpu.arrays import narrow, widen
from tinytensor.runtime.signature import CPP

SOURCE = ROOT / "tests" / "device_code" / "emulator_maths.cu"
HALVES = (dtypes.float16, dtypes.bfloat16)
WIDE = (dtypes.float32, dtypes.float64)
INSTANCES = [
    *((name, ()) for name in ("vectors", "product_tf32", "zero_fill", "misaligned_matrix")),
    *(("fused", (dtype,)) for dtype in WIDE),
    *((name, (dtype,)) for name in ("widen", "product") for dtype in HALVES),
    *(("narrow", (half, wide)) for half in HALVES for wide in (*WIDE, dtypes.int32)),
    *(("matrices", (n, transposed)) for n in (1, 2, 4) for transposed in (False, True)),
]


def kernel(name, *arguments):
    return emulated().kernel(SOURCE, name, *arguments, together=INSTANCES)


def rows(name, result, given, variables, expressions):
    """A kernel whose row k is expression k, for each number x[i]."""
    template, kernel = name.rpartition(" ")[::2]
    return f"""
{template} __global__ void {kernel}({result}* out, const {given}* x, int n) {{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const {given} {variables};
    const {result} results[] = {{{", ".join(f"({result})({e})" for e in expressions)}}};
    for (int k = 0; k < sizeof results / sizeof *results; k++) out[k * n + i] = results[k];
}}"""


def expression(name, *arguments):
    """The kernel with all rows of a table."""
    positive = "v = x[i], positive = abs(v)"
    words = "q = x[i], r = x[(i + 1) % n]; const unsigned u = (unsigned)q, v = (unsigned)(r >> 7)"
    unit = f"{positive} + T(0.25), unit = v / (1 + abs(v))"
    texts = [
        rows("template <class T> functions", "T", "T", unit, FUNCTIONS),
        rows("fast_functions", "float", "float", f"{positive} + 0.25f; float s, c", FAST),
        rows("template <class T> predicates", "int", "T", "v = x[i]", PREDICATES),
        rows("from_float", "long long", "float", "v = x[i]", [f"__float2{to}(v)" for to in CONVERSIONS]),
        rows("from_double", "long long", "double", "v = x[i]", [f"__double2{to}(v)" for to in CONVERSIONS]),
        rows("bits", "unsigned long long", "unsigned long long", words, BITS),
    ]
    of_dtypes = [(each, (dtype,)) for each in ("functions", "predicates") for dtype in WIDE]
    plain = [(each, ()) for each in ("fast_functions", "from_float", "from_double", "bits")]
    source = tt.cuda.kernel("".join(texts), name, *arguments).source
    return emulated().kernel(source, name, *arguments, together=[*of_dtypes, *plain])


# ---- functions ---------------------------------------------------------------------------------------------

# Expressions, and what they are of v, unit = v / (1 + |v|) and positive = |v| + 0.25.
FUNCTIONS = {
    "sqrt(positive)": lambda v, u, p: math.sqrt(p),
    "cbrt(v)": lambda v, u, p: math.cbrt(v),
    "fabs(v)": lambda v, u, p: abs(v),
    "exp(v)": lambda v, u, p: math.exp(v),
    "exp2(v)": lambda v, u, p: 2.0**v,
    "expm1(v)": lambda v, u, p: math.expm1(v),
    "log(positive)": lambda v, u, p: math.log(p),
    "log2(positive)": lambda v, u, p: math.log2(p),
    "log10(positive)": lambda v, u, p: math.log10(p),
    "log1p(positive)": lambda v, u, p: math.log1p(p),
    "sin(v)": lambda v, u, p: math.sin(v),
    "cos(v)": lambda v, u, p: math.cos(v),
    "tan(v)": lambda v, u, p: math.tan(v),
    "asin(unit)": lambda v, u, p: math.asin(u),
    "acos(unit)": lambda v, u, p: math.acos(u),
    "atan(v)": lambda v, u, p: math.atan(v),
    "sinh(v)": lambda v, u, p: math.sinh(v),
    "cosh(v)": lambda v, u, p: math.cosh(v),
    "tanh(v)": lambda v, u, p: math.tanh(v),
    "asinh(v)": lambda v, u, p: math.asinh(v),
    "acosh(1 + positive)": lambda v, u, p: math.acosh(1 + p),
    "atanh(unit)": lambda v, u, p: math.atanh(u),
    "erf(v)": lambda v, u, p: math.erf(v),
    "erfc(v)": lambda v, u, p: math.erfc(v),
    "lgamma(positive)": lambda v, u, p: math.lgamma(p),
    "tgamma(positive)": lambda v, u, p: math.gamma(p),
    "floor(v)": lambda v, u, p: math.floor(v),
    "ceil(v)": lambda v, u, p: math.ceil(v),
    "trunc(v)": lambda v, u, p: math.trunc(v),
    "round(v)": lambda v, u, p: math.copysign(math.floor(abs(v) + 0.5), v),
    "rint(v)": lambda v, u, p: round(v),
    "nearbyint(v)": lambda v, u, p: round(v),
    "rsqrt(positive)": lambda v, u, p: p**-0.5,
    "rcbrt(positive)": lambda v, u, p: 1 / math.cbrt(p),
    "exp10(v)": lambda v, u, p: 10.0**v,
    "ldexp(v, 3)": lambda v, u, p: 8 * v,
    "pow(positive, v)": lambda v, u, p: p**v,
    "atan2(v, positive)": lambda v, u, p: math.atan2(v, p),
    "hypot(v, unit)": lambda v, u, p: math.hypot(v, u),
    "fmod(v, T(0.75))": lambda v, u, p: math.fmod(v, 0.75),
    "remainder(v, T(0.75))": lambda v, u, p: math.remainder(v, 0.75),
    "fmin(v, unit)": lambda v, u, p: min(v, u),
    "fmax(v, unit)": lambda v, u, p: max(v, u),
    "fdim(v, unit)": lambda v, u, p: max(v - u, 0),
    "copysign(positive, v)": lambda v, u, p: math.copysign(p, v),
    "nextafter(v, T(100))": lambda v, u, p: v,
    "fma(v, unit, positive)": lambda v, u, p: v * u + p,
    "max(v, unit)": lambda v, u, p: max(v, u),
    "min(v, unit)": lambda v, u, p: min(v, u),
}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_functions(dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-4, 4, 60), [0.5, 1.5, -2.5, 2.0, -3.0]]).astype(dtype.code)
    out = np.zeros((len(FUNCTIONS), x.size), x.dtype)
    run(expression("functions", dtype), 3, 32, out, x, x.size)
    unit, positive = x / (1 + abs(x)), abs(x) + x.dtype.type(0.25)
    for row, (name, function) in zip(out, FUNCTIONS.items(), strict=True):
        expected = [function(float(v), float(u), float(p)) for v, u, p in zip(x, unit, positive, strict=True)]
        eps = np.finfo(x.dtype).eps
        assert np.allclose(row, expected, rtol=8 * eps, atol=2 * eps), name
    following = out[list(FUNCTIONS).index("nextafter(v, T(100))")]
    assert np.array_equal(following, np.nextafter(x, x.dtype.type(100)))


FAST = {
    "__expf(v)": lambda v, p: np.exp(v),
    "__logf(positive)": lambda v, p: np.log(p),
    "__log2f(positive)": lambda v, p: np.log2(p),
    "__log10f(positive)": lambda v, p: np.log10(p),
    "__sinf(v)": lambda v, p: np.sin(v),
    "__cosf(v)": lambda v, p: np.cos(v),
    "__tanf(v)": lambda v, p: np.tan(v),
    "__powf(positive, v)": lambda v, p: p**v,
    "__exp10f(v)": lambda v, p: 10**v,
    "__fdividef(v, positive)": lambda v, p: v / p,
    "__saturatef(v)": lambda v, p: np.clip(v, 0, 1),
    "__frcp_rn(positive)": lambda v, p: 1 / p,
    "__fsqrt_rn(positive)": lambda v, p: np.sqrt(p),
    "__frsqrt_rn(positive)": lambda v, p: 1 / np.sqrt(p),
    "(__sincosf(v, &s, &c), s)": lambda v, p: np.sin(v),
    "(__sincosf(v, &s, &c), c)": lambda v, p: np.cos(v),
}


def test_fast_functions():
    x = np.linspace(-3, 3, 50).astype(np.float32)
    out = zeros(len(FAST), x.size, dtype=np.float32)
    run(expression("fast_functions"), 1, 64, out, x, x.size)
    for row, (name, function) in zip(out, FAST.items(), strict=True):
        assert np.allclose(row, function(x, abs(x) + np.float32(0.25)), rtol=1e-6, atol=1e-7), name


PREDICATES = {f"{f.__name__}(v)": f for f in (np.isnan, np.isinf, np.isfinite, np.signbit)}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_predicates(dtype):
    info = np.finfo(dtype.code)
    x = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.tiny / 2, -info.max], dtype.code)
    out = zeros(len(PREDICATES), x.size)
    run(expression("predicates", dtype), 1, 32, out, x, x.size)
    assert (out != 0).tolist() == [predicate(x).tolist() for predicate in PREDICATES.values()]


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_sums_of_products_are_rounded_as_they_are_written(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 64)).astype(dtype.code)
    c = -a * b  # so that the rounding of the product is all that is left
    out = np.zeros((2, 64), a.dtype)
    run(kernel("fused", dtype), 1, 64, out, a, b, c)
    assert (out[1] == 0).all()
    assert (out[0] != 0).mean() > 0.9
    if dtype is dtypes.float32:
        assert np.array_equal(out[0], a.astype("f8") * b + c)


def test_denormal_numbers_are_kept():
    x = np.full(32, 2.0**-149, np.float32)
    out = zeros(2, 32, dtype=np.float32)
    run(kernel("fused", dtypes.float32), 1, 32, out, x, np.ones_like(x), np.zeros_like(x))
    assert (out == x).all()


# ---- integers and bits -------------------------------------------------------------------------------------


INT32, UINT32, INT64, UINT64 = (-(2**31), 2**31), (0, 2**32), (-(2**63), 2**63), (0, 2**64)
CONVERSIONS = {
    **{"int_rn": (np.rint, INT32), "int_rz": (np.trunc, INT32), "int_rd": (np.floor, INT32)},
    **{"int_ru": (np.ceil, INT32), "uint_rn": (np.rint, UINT32), "ll_rn": (np.rint, INT64)},
    **{"ll_rz": (np.trunc, INT64), "ull_rn": (np.rint, UINT64)},
}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_conversions_to_integers_saturate(dtype):
    values = [0, 0.5, 1.5, -0.5, -1.5, 2.7, -2.7, 2.0**31, -(2.0**31), 2.0**40, -(2.0**40), 2.0**63, 2.0**64]
    x = np.array([*values, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype.code)
    out = zeros(len(CONVERSIONS), x.size, dtype=np.uint64)
    run(expression(f"from_{CPP[dtype]}"), 1, 32, out, x, x.size)

    def saturated(v, low, high):
        return 0 if np.isnan(v) else int(max(low, min(high - 1, v if np.isinf(v) else int(v)))) % 2**64

    for row, (name, (rounded, limits)) in zip(out, CONVERSIONS.items(), strict=True):
        assert row.tolist() == [saturated(v, *limits) for v in rounded(x)], name


def signed(x, bits=32):
    return x - (x >> (bits - 1) << bits)


def permuted(u, v):
    both = (v << 32 | u).to_bytes(8, "little")
    return int.from_bytes(bytes(both[i] for i in (0, 4, 1, 5)), "little")


BITS = {  # u and v have 32 bits, q and r 64
    "__popc(u)": lambda u, v, q, r: u.bit_count(),
    "__popcll(q)": lambda u, v, q, r: q.bit_count(),
    "__clz((int)u)": lambda u, v, q, r: 32 - u.bit_length(),
    "__clzll((long long)q)": lambda u, v, q, r: 64 - q.bit_length(),
    "__ffs((int)u)": lambda u, v, q, r: (u & -u).bit_length(),
    "__ffsll((long long)q)": lambda u, v, q, r: (q & -q).bit_length(),
    "__brev(u)": lambda u, v, q, r: int(f"{u:032b}"[::-1], 2),
    "__brevll(q)": lambda u, v, q, r: int(f"{q:064b}"[::-1], 2),
    "__umulhi(u, v)": lambda u, v, q, r: u * v >> 32,
    "(unsigned)__mulhi(u, v)": lambda u, v, q, r: (signed(u) * signed(v) >> 32) % 2**32,
    "__umul64hi(q, r)": lambda u, v, q, r: q * r >> 64,
    "__mul64hi((long long)q, (long long)r)": lambda u, v, q, r: (signed(q, 64) * signed(r, 64) >> 64) % 2**64,
    "__byte_perm(u, v, 0x5140)": lambda u, v, q, r: permuted(u, v),
    "__funnelshift_l(u, v, 9)": lambda u, v, q, r: ((v << 32 | u) << 9 >> 32) % 2**32,
    "__funnelshift_r(u, v, 9)": lambda u, v, q, r: ((v << 32 | u) >> 9) % 2**32,
    "__float_as_int(__uint_as_float(u & 0x3fffffff))": lambda u, v, q, r: u & 0x3FFFFFFF,
    "__double_as_longlong(__longlong_as_double((long long)(q >> 2)))": lambda u, v, q, r: q >> 2,
    "abs((long long)q)": lambda u, v, q, r: abs(signed(q, 64)),
    "max(u, v)": lambda u, v, q, r: max(u, v),
    "min(u, v)": lambda u, v, q, r: min(u, v),
}


def test_bits():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.integers(0, 2**64, 20, np.uint64), np.array([0, 1, 2**63, 2**64 - 1], np.uint64)])
    x[5:10] >>= np.uint64(40)
    out = zeros(len(BITS), x.size, dtype=np.uint64)
    run(expression("bits"), 1, 32, out, x, x.size)
    pairs = list(zip(x.tolist(), np.roll(x, -1).tolist(), strict=True))
    for row, (name, function) in zip(out, BITS.items(), strict=True):
        assert row.tolist() == [function(q % 2**32, (r >> 7) % 2**32, q, r) for q, r in pairs], name


# ---- 16-bit floats -----------------------------------------------------------------------------------------


def same(a, b, dtype):
    """Equal bits; any NaN equals any other."""
    nan = np.isnan(widen(a, dtype)) & np.isnan(widen(b, dtype))
    return bool((nan | (a.view(np.uint16) == b.view(np.uint16))).all())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_all_16_bit_floats_widen(dtype):
    x = np.arange(65536).astype(np.uint16).view(dtype.code)
    out = zeros(65536, dtype=np.float32)
    run(kernel("widen", dtype), 64, 1024, out, x, x.size)
    assert np.array_equal(out, widen(x, dtype), equal_nan=True)
    assert np.array_equal(np.signbit(out), x.view(np.int16) < 0)


def test_floats_narrow():
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


def test_doubles_are_rounded_once():
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


def test_integers_narrow():
    x = np.array([0, 1, -1, 2049, 2051, -70000, 257, 259, 2**24 + 1, 2**31 - 1], np.int32)
    for dtype in HALVES:
        out, expected = np.zeros((2, x.size), dtype.code)
        run(kernel("narrow", dtype, dtypes.int32), 1, 32, out, x, x.size)
        narrow(x.astype(np.float64).astype(np.float32), dtype, expected)
        assert same(out, expected, dtype)


def test_vectors():
    total = zeros(4, dtype=np.float32)
    run(kernel("vectors"), 1, 1, total, np.arange(8, dtype=np.float32), np.array([10.0, 20.0]))
    assert total.tolist() == [4, 6, 12, 23]


# ---- tensor cores ------------------------------------------------------------------------------------------


def stored(values, dtype):
    out = np.zeros(values.shape, dtype.code)
    narrow(values.astype(np.float32), dtype, out)
    return out


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_products_of_16_bit_floats(dtype):
    rng = np.random.default_rng(4)
    a, b = stored(rng.standard_normal((16, 16)), dtype), stored(rng.standard_normal((16, 8)), dtype)
    c = rng.standard_normal((16, 8)).astype(np.float32)
    out = np.zeros_like(c)
    run(kernel("product", dtype), 1, 32, out, a, b, c)
    assert np.allclose(out, widen(a, dtype).astype("f8") @ widen(b, dtype) + c, rtol=1e-6, atol=1e-5)


def test_products_of_tf32():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8)))
    out = zeros(16, 8, dtype=np.float32)
    run(kernel("product_tf32"), 1, 32, out, a, b)
    short = [(x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype("f8") for x in (a, b)]
    assert np.allclose(out, short[0] @ short[1], rtol=1e-6, atol=1e-5)
    assert not np.allclose(out, a @ b, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_loading_matrices(n, transposed):
    x = np.arange(n * 64, dtype=np.uint16).reshape(n, 8, 8)
    out = zeros(n, 32, dtype=np.uint32)
    run(kernel("matrices", n, transposed), 1, 32, out, x)
    expected = x.transpose(0, 2, 1) if transposed else x
    assert np.array_equal(out.view(np.uint16).reshape(n, 8, 8), expected)


@pytest.mark.parametrize("nbytes", [0, 1, 7, 16])
def test_copies_fill_with_zeros(nbytes):
    x = np.arange(1, 17, dtype=np.uint8)
    out = zeros(16, dtype=np.uint8)
    run(kernel("zero_fill"), 1, 1, out, x, nbytes)
    assert out.tolist() == [*range(1, nbytes + 1), *[0] * (16 - nbytes)]


def test_tensor_cores_need_a_whole_warp_and_aligned_rows():
    with pytest.raises(
        KernelError, match=r"ldmatrix at emulator_maths.cu:\d+ needs all 32 lanes of the warp; 31"
    ):
        run(kernel("matrices", 1, False), 1, 31, zeros(32, dtype=np.uint32), np.zeros(64, np.uint16))
    with pytest.raises(KernelError, match=r"misaligned address in ldmatrix at .* by thread \(0, 0, 0\)"):
        run(kernel("misaligned_matrix"), 1, 32, zeros(32, dtype=np.uint32))
