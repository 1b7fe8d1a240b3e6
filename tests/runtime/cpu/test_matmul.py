"""Matrix products of the host: sizes, strides, batches, additions and threads against NumPy in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.tolerance import tolerance
from tinytensor.ops.matmul.matmul import kernels
from tinytensor.runtime.compiler import Recipe, shared_library
from tinytensor.runtime.cpu.arrays import narrow, widen
from tinytensor.runtime.cpu.library import NATIVE
from tinytensor.runtime.kernel_files import KERNELS

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([63, 64, 65, 97, 130, 400]))
STEPS = (1, 1, 1, 2, 3, -1, -2)


def laid_out(draw, shape, dtype, *, repeats=True):
    """Numbers in an array of any memory order and any steps, in the midst of other numbers; where it
    `repeats`, an axis may have stride 0.
    """
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from(STEPS)) for _ in shape]
    zero = [repeats and draw(st.integers(0, 7)) == 0 for _ in shape]
    sizes = [1 if z else n * abs(s) + 2 for n, s, z in zip(shape, steps, zero)]
    seed = draw(st.integers(0, 1 << 20))
    base = np.random.default_rng(seed).uniform(-1, 1, [sizes[axis] for axis in order]).astype(dtype)
    base = base.transpose(np.argsort(order))
    index = tuple(
        slice(None) if z else slice(1, 1 + n * abs(s), abs(s)) for n, s, z in zip(shape, steps, zero)
    )
    view = base[index]
    flips = tuple(slice(None, None, -1 if s < 0 else 1) for s in steps)
    return np.broadcast_to(view[flips], shape)


def turned(a, t):
    return a.swapaxes(-1, -2) if t else a


def check(actual, expected, terms):
    """Equal, but for the rounding of sums of so many products of numbers up to 1."""
    assert actual.shape == expected.shape
    rtol, atol = tolerance(str(actual.dtype), terms + 1)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol * max(terms, 1) ** 0.5)


def bits(a):
    """float32 rounded to bfloat16, as the engine stores it."""
    out = np.empty(a.shape, np.uint16)
    narrow(np.asarray(a, np.float32), tt.bfloat16, out)
    return out


def wide(a):
    """Exactly, in float64."""
    return widen(a, tt.bfloat16).astype("f8") if a.dtype == np.uint16 else a.astype("f8")


def check_bits(actual, expected, terms):
    """Equal, but for the rounding of float32 sums to bfloat16."""
    assert actual.shape == expected.shape
    rtol, atol = tolerance("bfloat16", terms + 1)
    np.testing.assert_allclose(wide(actual), expected, rtol=rtol, atol=atol * max(terms, 1) ** 0.5)


def run(name, *arguments):
    dtype = arguments[0].dtype
    assert getattr(kernels, f"{name}_f64" if dtype == np.float64 else name)(*arguments) is True


@st.composite
def cases(draw):
    m, n, k = draw(SIZES), draw(SIZES), draw(SIZES)
    dtype = draw(st.sampled_from(["f4", "f8"]))
    ta, tb, add = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    batch = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    if math.prod(batch) * m * n * k > 1 << 22:
        batch = ()

    def of_operand():
        some = batch[draw(st.integers(0, len(batch))) :]
        return tuple(1 if draw(st.booleans()) else size for size in some)

    a = laid_out(draw, (*of_operand(), *((k, m) if ta else (m, k))), dtype)
    b = laid_out(draw, (*of_operand(), *((n, k) if tb else (k, n))), dtype)
    whole = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows = draw(st.integers(1, 3))  # y may have gaps between its rows, and lie transposed
    order = draw(st.sampled_from([(m * rows, n), (n * rows, m)]))
    y = np.random.default_rng(m).uniform(-1, 1, (*whole, *order)).astype(dtype)[..., ::rows, :]
    return (y if y.shape[-2:] == (m, n) else turned(y, True)), a, b, ta, tb, add


@given(cases(), st.sampled_from([1, 2, 3]))
def test_products_of_any_layout(case, threads):
    y, a, b, ta, tb, add = case
    tt.set_num_threads(threads)
    base = y if y.base is None else y.base
    before, wanted = base.copy(), turned(a, ta).astype("f8") @ turned(b, tb).astype("f8")
    if add:
        wanted = wanted + y
    run("matmul", y, a, b, ta, tb, add, True)
    check(y, wanted, turned(a, ta).shape[-1])
    y[...] = 0
    gaps = before.copy()
    np.ndarray(y.shape, y.dtype, gaps, y.ctypes.data - base.ctypes.data if y.size else 0, y.strides)[...] = 0
    np.testing.assert_array_equal(base, gaps, "what lies between the rows of y")


@pytest.mark.parametrize("dtype", ["f4", "f8", "bf16"])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (300, 700, 900),  # several blocks of columns and of depth
        (14, 2500, 400),  # one strip
        (1000, 3, 50),  # one narrow panel
        (33, 40, 9000),  # few sums of many terms
        (70_000, 2, 3),
        (1, 5000, 700),
        (5000, 1, 701),
        (1, 1, 20_000),
        (700, 700, 1),
        (9000, 257, 3),
    ],
)
def test_threads_change_no_bit(m, n, k, dtype):
    rng = np.random.default_rng(m)
    numbers = rng.uniform(-1, 1, (m, k)), rng.uniform(-1, 1, (k, n))
    a, b = [bits(v) if dtype == "bf16" else v.astype(dtype) for v in numbers]
    for ta in (False, True):
        for tb in (False, True):
            x, z = [np.ascontiguousarray(turned(v, t)) for v, t in ((a, ta), (b, tb))]
            results = []
            for threads in (1, 2, 5):
                tt.set_num_threads(threads)
                y = np.full((m, n), 0x7FC0 if dtype == "bf16" else np.nan, a.dtype)
                if dtype == "bf16":
                    run("matmul_bf16", y, x, z, ta, tb)
                else:
                    run("matmul", y, x, z, ta, tb, False, True)
                results.append(y.tobytes())
            (check_bits if dtype == "bf16" else check)(y, wide(a) @ wide(b), k)
            assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("batch", [(), (1,), (4,), (3, 1), (3, 4), (1, 4)])
def test_batches_of_dense_matrices(batch):
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (3, 4, 20, 30)).astype("f4")
    b = rng.uniform(-1, 1, (*batch, 30, 40)).astype("f4")
    for threads in (1, 3):
        tt.set_num_threads(threads)
        y = np.full((3, 4, 20, 40), np.nan, "f4")
        run("matmul", y, a, b, False, False, False, True)
        check(y, a.astype("f8") @ b.astype("f8"), 30)


@pytest.mark.parametrize("shape", [(20, 40, 500), (1, 70, 33), (40, 1, 50), (90, 33, 20)])
def test_infinities_and_nan_go_where_they_belong(shape):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (m, k)).astype("f4"), rng.uniform(-1, 1, (k, n)).astype("f4")
    a[m // 2, k // 3] = np.nan
    a[0, 3], b[5, n // 2], b[5, 0] = np.inf, -np.inf, np.inf
    a[m - 1, 5] = 0.0  # 0 * inf
    with np.errstate(invalid="ignore"):
        wanted = a.astype("f8") @ b.astype("f8")
    y = np.full((m, n), np.nan, "f4")  # not to be read
    run("matmul", y, a, b, False, False, False, True)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(y[np.isinf(wanted)], wanted[np.isinf(wanted)])
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(y[finite], wanted[finite], rtol=1e-4, atol=1e-4)


def test_what_is_left_to_numpy():
    a, b, y = np.ones((4, 30), "f4"), np.ones((30, 40), "f4"), np.zeros((8, 80), "f4")
    odd = np.ndarray((4, 30), "f4", bytearray(4 * 120 + 1), 1)
    fields = np.zeros(120, [("x", "f4"), ("pad", "u1")])["x"].reshape(4, 30)
    for other in (a.astype("f8"), a.astype("i4"), a.astype(">f4"), odd, fields):
        assert kernels.matmul(y[:4, :40], other, b, False, False, False, True) is False
    assert kernels.matmul(y[::2, ::2], a, b, False, False, False, True) is False, "neither axis of y is dense"
    many, tiny = np.zeros((3, 2, 2), "f4"), np.ones((3, 2, 2), "f4")
    assert kernels.matmul(many, tiny, tiny, False, False, False, False) is False
    assert not many.any()
    assert not y.any()
    assert kernels.linear(y[:4, :40], a, b, np.ones(80, "f4")[::2], False, True) is False
    assert not y.any()


@given(st.data())
def test_linear_and_its_gradients(data):
    draw = data.draw
    leading = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
    k, n, dtype = draw(st.integers(1, 70)), draw(st.integers(1, 70)), draw(st.sampled_from(["f4", "f8"]))
    transposed, biased = draw(st.booleans()), draw(st.booleans())
    x = laid_out(draw, (*leading, k), dtype)
    weight = laid_out(draw, (n, k) if transposed else (k, n), dtype)
    bias = np.linspace(-1, 1, n).astype(dtype) if biased else None
    w, rows = turned(weight, transposed).astype("f8"), x.reshape(-1, k).astype("f8")
    tt.set_num_threads(draw(st.sampled_from([1, 2])))
    y = np.full((*leading, n), np.nan, dtype)
    run("linear", y, x, weight, bias, transposed, True)
    check(y, x.astype("f8") @ w + (0 if bias is None else bias), k)

    grad = laid_out(draw, (*leading, n), dtype)
    g = grad.reshape(-1, n).astype("f8")
    dx, dweight, dbias = [np.full(s, np.nan, dtype) for s in ((*leading, k), weight.shape, (n,))]
    wanted = [draw(st.booleans()) for _ in range(3)]
    outs = [out if want else None for out, want in zip((dx, dweight, dbias), wanted)]
    needed = (grad, x if wanted[1] else None, weight if wanted[0] else None)
    backward = kernels.linear_backward_f64 if dtype == "f8" else kernels.linear_backward
    if backward(*outs, *needed, transposed, True):
        if wanted[0]:
            check(dx, (g @ w.T).reshape(dx.shape), n)
        if wanted[1]:
            check(dweight, turned(rows.T @ g, transposed), len(g))
        if wanted[2]:
            check(dbias, g.sum(0), len(g))
    else:
        uneven = [
            v for v in (grad, needed[1]) if v is not None and np.shares_memory(v, v.reshape(-1, v.shape[-1]))
        ]
        assert len(uneven) < 2 or needed[1] is None, (
            "the leading axes of both merge, so it had to be computed"
        )
        assert all([np.isnan(out).all() for out in (dx, dweight, dbias)])


@given(st.data())
def test_bfloat16_of_any_layout(data):
    draw = data.draw
    m, n, k = draw(SIZES), draw(SIZES), draw(SIZES)
    ta, tb, batch = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([(), (), (2,), (3, 1)]))
    if math.prod(batch) * m * n * k > 1 << 22:
        batch = ()
    a, b = (
        laid_out(draw, (*batch, *((k, m) if ta else (m, k))), "f4"),
        laid_out(draw, (n, k) if tb else (k, n), "f4"),
    )
    # the strides of the float32 arrays halved: the same layout in 16 bits
    a, b = [like(v) for v in (a, b)]
    tt.set_num_threads(draw(st.sampled_from([1, 2])))
    y = np.full((*batch, m, n), 0x7FC0, np.uint16)
    run("matmul_bf16", y, a, b, ta, tb)
    check_bits(y, turned(wide(a), ta) @ turned(wide(b), tb), k)
    bias = bits(np.linspace(-1, 1, n))
    if not ta:
        run("linear_bf16", y, a, b, bias, tb)
        check_bits(y, wide(a) @ turned(wide(b), tb) + wide(bias), k)


def like(a):
    """The bits of an array in one with the same layout."""
    if not a.size or 0 in a.strides:
        return np.broadcast_to(
            bits(a[tuple(slice(0, 1) if s == 0 else slice(None) for s in a.strides)]), a.shape
        )
    order = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    base = np.zeros([a.shape[axis] * 3 for axis in order], np.uint16).transpose(np.argsort(order))
    steps = tuple(slice(None, None, -3) if s < 0 else slice(None, None, 3) for s in a.strides)
    dense = tuple(
        slice(None, size) if abs(s) == 4 else step for size, s, step in zip(a.shape, a.strides, steps)
    )
    made = base[dense]
    made[...] = bits(a)
    return made


def test_bfloat16_rounds_to_even_and_keeps_infinities_and_nan():
    tie = 2.0**-8  # half a unit in the last place of 1
    terms = np.array(
        [[1, 1 + 2**-7, -1, 3e38, np.inf, np.nan, 1], [tie, tie, -tie, 3e38, 1, 1, -np.inf]], np.float32
    )
    with np.errstate(invalid="ignore", over="ignore"):
        expected = bits(terms[0] + terms[1])
    for rows in (1, 2):  # one row, and a tile
        y = np.zeros((rows, 7), np.uint16)
        run("matmul_bf16", y, bits(np.ones((rows, 2))), bits(terms), False, False)
        np.testing.assert_array_equal(y, np.broadcast_to(expected, y.shape))
    assert wide(expected)[:3].tolist() == [1.0, 1 + 2**-6, -1.0]


@given(st.data())
def test_gradients_of_linear_in_bfloat16(data):
    rows, k, n = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    transposed = data.draw(st.booleans())
    rng = np.random.default_rng(rows)
    x, g = bits(rng.uniform(-1, 1, (rows, k))), bits(rng.uniform(-1, 1, (rows, n)))
    weight = bits(rng.uniform(-1, 1, (n, k) if transposed else (k, n)))
    dx, dweight, dbias = np.empty_like(x), np.empty_like(weight), np.empty(n, np.uint16)
    run("linear_backward_bf16", dx, dweight, dbias, g, x, weight, transposed)
    check_bits(dx, wide(g) @ turned(wide(weight), transposed).T, n)
    check_bits(dweight, turned(wide(x).T @ wide(g), transposed), rows)
    check_bits(dbias, wide(g).sum(0), rows)


@pytest.mark.parametrize("slopes", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(70, 900, 410), (1, 90, 300), (300, 20, 1), (20, 7000, 20), (5, 0, 40)]
)
def test_gates_behind_a_product(m, k, n, place, slopes):
    rng = np.random.default_rng(place)
    x, weight = rng.normal(size=(m, k)).astype("f4"), rng.normal(size=(n, k)).astype("f4") / max(k, 1) ** 0.5
    bias = rng.normal(size=n).astype("f4")
    z = x.astype("f8") @ weight.T.astype("f8") + bias
    if place == 0:
        inner, growth = z + 0.044715 * z**3, 1 + 3 * 0.044715 * z**2
        gate = 0.5 * (1 + np.tanh((2 / np.pi) ** 0.5 * inner))
        slope = 2 * gate * (1 - gate) * (2 / np.pi) ** 0.5 * growth
    elif place == 1:
        gate = np.array([0.5 * math.erfc(-v / 2**0.5) for v in z.ravel()]).reshape(z.shape)
        slope = np.exp(-z * z / 2) / (2 * np.pi) ** 0.5
    else:
        gate = 1 / (1 + np.exp(-z))
        slope = gate * (1 - gate)
    y, kept = np.full((m, n), np.nan, "f4"), np.full((m, n), np.nan, "f4")
    for threads in (1, 2):
        tt.set_num_threads(threads)
        run("linear_gelu", y, kept if slopes else None, x, weight, bias, place, True, True)
        np.testing.assert_allclose(y, z * gate, rtol=1e-5, atol=1e-5)
        if slopes:
            np.testing.assert_allclose(kept, gate + z * slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("who", ["own", "vendor", "auto"])
def test_who_multiplies(who, monkeypatch):
    tt.config.matmul = who
    called = []
    original = kernels.matmul
    monkeypatch.setitem(kernels.__dict__, "matmul", lambda *x: called.append(original(*x)) or called[-1])
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (70, 80)), rng.uniform(-1, 1, (80, 90))
    y = tt.tensor(a, dtype=tt.float32) @ tt.tensor(b, dtype=tt.float32)
    check(y.numpy(), a @ b, 80)
    assert bool(called) is (who != "vendor")
    assert who != "own" or called == [True]


def test_bfloat16_is_not_widened_and_uint16_is_no_bfloat16(monkeypatch):
    called = []
    original = kernels.matmul_bf16
    monkeypatch.setitem(kernels.__dict__, "matmul_bf16", lambda *x: called.append(x[1].dtype) or original(*x))
    rng = np.random.default_rng(0)
    a, b = bits(rng.uniform(-1, 1, (70, 80))), bits(rng.uniform(-1, 1, (80, 90)))
    x, z = (tt.tensor(wide(v), dtype=tt.bfloat16) for v in (a, b))
    for who, mode, times in (
        ("auto", "auto", 1),
        ("own", "auto", 2),
        ("vendor", "auto", 2),
        ("auto", "off", 2),
    ):
        tt.config.matmul, tt.config.host_kernels = who, mode
        check_bits(bits((x @ z).astype(tt.float32).numpy()), wide(a) @ wide(b), 80)
        assert called == [np.uint16] * times
    tt.config.host_kernels = "auto"
    whole = tt.tensor([[3, 4]], dtype=tt.uint16) @ tt.tensor([[5], [6]], dtype=tt.uint16)
    half = tt.tensor([[3, 4]], dtype=tt.float16) @ tt.tensor([[5], [6]], dtype=tt.float16)
    assert whole.tolist() == half.tolist() == [[39]]
    assert len(called) == 2


def test_additions_begin_with_what_is_there():
    """A product that is added has the bits of one whose first piece is what y holds."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (50, 60)).astype("f4"), rng.uniform(-1, 1, (60, 70)).astype("f4")
    y, z = np.zeros((50, 70), "f4"), np.full((50, 70), np.nan, "f4")
    for _ in range(3):
        run("matmul", y, a, b, False, False, True, True)
    run("matmul", z, a, b, False, False, False, True)
    np.testing.assert_array_equal(y, z + z + z)


def test_it_compiles_for_a_processor_with_avx512_bf16():
    flags = ("-march=cooperlake", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-O1", "-w")
    flags = (*flags, f"-DTT_OBJECT_HEAD={object.__basicsize__}")
    text = '#include "matmul_bf16.cpp"\n#ifndef __AVX512BF16__\n#error no pairs\n#endif\n'
    shared_library(Recipe("with_pairs", text, (KERNELS / "matmul", KERNELS, NATIVE), flags), "host")


def test_subnormal_bfloat16_numbers_count_as_written_or_as_0():
    """As documented: the instructions of AVX512-BF16 take them for 0, NumPy's code does not."""
    a, b = tt.full((26, 8), 2.0**-127, dtype=tt.bfloat16), tt.full((8, 62), 2.0**126, dtype=tt.bfloat16)
    assert set((a @ b).astype(tt.float32).numpy().flat) in ({4.0}, {0.0})
    tt.config.host_kernels = "off"
    assert set((a @ b).astype(tt.float32).numpy().flat) == {4.0}
    assert set(tt.outer(a[:, 0], b[0]).astype(tt.float32).numpy().flat) == {0.5}
