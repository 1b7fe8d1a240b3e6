"""The kernels of matrix products where the op table is too small: tiles with several blocks and with ragged
edges, parts, one row, batches, addresses between vectors, dtypes.
"""

from itertools import product

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import DEVICE, RUNTIME, close, device, host, launches, normal
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.ops.matmul import gemm
from tinytensor.runtime.cuda.occupancy import LIMITS

pytestmark = pytest.mark.usefixtures("nan_memory")
LAUNCH = Launch(RUNTIME, "matmul")
TENSOR_CORES, TURING = gemm.tensor_tiles(80), gemm.tensor_tiles(75)


def matrix(m, n, dtype, *, transposed=False, lead=0, gap=0):
    """Random numbers; `gap` more elements lie between the lines, `lead` before the first one."""
    rows, columns = (n, m) if transposed else (m, n)
    values = normal(rows, columns + gap, seed=m * 1000 + n)
    if dtype.startswith(("int", "uint")):
        values = np.round(values * 50) % 100
    x = device(values, dtype, lead)[:, :columns]
    return x.mT if transposed else x


def exact(a, b):
    """The product of what is stored: in float64, or in the integers of the dtype, which wrap around."""
    if a.dtype.is_inexact:
        return host(a) @ host(b)
    return np.matmul(a.cpu().numpy(), b.cpu().numpy())


def run(choice, p, a, b, bias=None):
    """One product by one kernel."""
    y = tt.empty(*((p.matrices,) if p.batch else ()), p.rows, p.columns, dtype=a.dtype, device=DEVICE)
    operands = view_of(a), view_of(b), None if bias is None else view_of(bias)
    gemm.start(LAUNCH, gemm.plan_of(p, a.dtype, choice), view_of(y), operands)
    return y


def by_tile(tile, a, b, bias=None, parts=1):
    p = gemm.product_of(a.layout, b.layout, False, False)
    if tile in TENSOR_CORES + TURING:
        return run(gemm.by_tensor_cores(p, a.dtype, tile, parts), p, a, b, bias)
    template = (a.dtype, tile.rows, tile.columns, *tile.shape)
    choice = gemm.Choice("matmul", "matmul_tiles", template, gemm.tile_count(p, tile), tile.threads, parts)
    return run(choice, p, a, b, bias)


def sizes(tile, depth):
    """rows, columns and inner elements: one tile, less than one, several, and almost none."""
    return [
        (tile.rows, tile.columns, 2 * depth),
        (tile.rows - 1, 3, depth - 1),
        (2 * tile.rows + 3, tile.columns + 6, 3 * depth + 5),
        (2, 2 * tile.columns, 1),
        (3, 5, 0),
    ]


# ---- tiles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tile", gemm.ORDINARY, ids=lambda t: str(t.rows))
def test_tiles_of_every_size_and_alignment(tile, ta, tb):
    for m, n, k in sizes(tile, tile.shape[0]):
        for lead, gap in ((0, 0), (1, 0), (0, 4), (4, 3)):
            a = matrix(m, k, "float32", transposed=ta, lead=lead, gap=gap)
            b = matrix(k, n, "float32", transposed=tb, lead=lead, gap=gap)
            bias = device(normal(n), lead=lead)
            close(by_tile(tile, a, b), exact(a, b), factor=4)
            close(by_tile(tile, a, b, bias), exact(a, b) + host(bias), factor=4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint16", "int32", "int64"])
def test_tiles_of_other_dtypes(dtype):
    tile = gemm.ORDINARY[2 if dtype == "uint16" else 1]
    for m, n, k in sizes(tile, tile.shape[0]):
        for ta, tb, lead in ((False, False, 0), (True, True, 0), (False, True, 1)):
            a, b = matrix(m, k, dtype, transposed=ta, lead=lead), matrix(k, n, dtype, transposed=tb)
            y = by_tile(tile, a, b)
            if a.dtype.is_inexact:
                close(y, exact(a, b), dtype, 2)
            else:
                np.testing.assert_array_equal(y.cpu().numpy(), exact(a, b))


# ---- tensor cores ------------------------------------------------------------------------------------------


def tf32(x):
    """Elements rounded to 11 bits, ties away from zero."""
    bits = x.cpu().numpy().astype(np.float32).view(np.uint32)
    return ((bits + 0x1000) & 0xFFFFE000).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("dtype", "ta", "tb"),
    [
        pytest.param(dtype, ta, tb, marks=() if (i + ta + tb) % 2 else pytest.mark.slow)
        for i, dtype in enumerate(["float16", "bfloat16", "float32"])
        for ta, tb in product([False, True], repeat=2)
    ],
)
def test_tensor_cores(dtype, ta, tb):
    depth = 64 // tt.ones(1, dtype=dtype).itemsize
    tiles = {"float16": TURING, "bfloat16": TENSOR_CORES[:2], "float32": TENSOR_CORES[1:]}[dtype]
    for tile in tiles:
        for m, n, k in (*sizes(tile, depth), (tile.rows + 5, tile.columns + 8, 10 * depth + 3)):
            for lead, gap in ((0, 0), (1, 0), (8, 8)) if k <= 2 * depth else ((0, 0), (8, 8)):
                a = matrix(m, k, dtype, transposed=ta, lead=lead, gap=gap)
                b = matrix(k, n, dtype, transposed=tb, gap=gap)
                bias = device(normal(n), dtype, lead=lead)
                expected = tf32(a) @ tf32(b) if dtype == "float32" else exact(a, b)
                close(by_tile(tile, a, b), expected, dtype, 4)
                close(by_tile(tile, a, b, bias), expected + host(bias), dtype, 4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_last_tile_of_one_line_ends_with_the_buffer(dtype):
    """Rows of an odd number of elements: nothing behind the last one is read."""
    a, b = device(normal(128, 65), dtype), device(normal(128, 48, seed=1), dtype)
    close(a.mT @ b, host(a).T @ host(b), dtype)


def test_tf32_is_asked_for_and_rounds_to_nearest():
    a, b = device(normal(70, 80)), device(normal(80, 70, seed=1))
    plain = host(a @ b)
    before, tt.config.tf32 = tt.config.tf32, True
    try:
        rounded = a @ b
        close(rounded, tf32(a) @ tf32(b), factor=4)
        special = device(np.array([[np.inf, 1.0], [np.nan, 1.0], [3e38, 1.0]]))
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(host(special @ device(np.eye(2)))[:, 1], [np.nan, np.nan, 1.0])
        worst = np.uint32(0x7FFFFFFF).view(np.float32)  # the nan that GPUs make: rounding up would give -0
        assert np.isnan(
            host(tt.full((4, 4), float("nan"), device=DEVICE) @ tt.ones(4, 4, device=DEVICE))
        ).all()
        nans = tt.tensor(np.full((4, 4), worst)).to(DEVICE)
        assert np.isnan(host(nans @ tt.ones(4, 4, device=DEVICE))).all()
    finally:
        tt.config.tf32 = before
    close(a @ b, exact(a, b), factor=4)
    assert 1e-4 < np.abs(host(rounded) - plain).max() < 1e-1


# ---- parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int16", "float64"])
@pytest.mark.parametrize("columns", [64, 33])
def test_parts_of_the_inner_axis_are_added_up(dtype, columns):
    a, b = matrix(40, 500, dtype, transposed=True), matrix(500, columns, dtype)
    bias = matrix(1, columns, dtype)[0]
    tile = TENSOR_CORES[-1] if dtype == "bfloat16" else gemm.ORDINARY[1]
    for parts in (2, 3, 7):
        y, z = by_tile(tile, a, b, parts=parts), by_tile(tile, a, b, bias, parts)
        if a.dtype.is_inexact:
            close(y, exact(a, b), dtype, 2)
            close(z, exact(a, b) + host(bias), dtype, 2)
        else:
            np.testing.assert_array_equal(y.cpu().numpy(), exact(a, b))
            np.testing.assert_array_equal(z.cpu().numpy(), exact(a, b) + bias.cpu().numpy())


def test_tiles_and_parts_are_chosen_by_shape():
    def chosen(m, n, k, multiprocessors):
        tile, parts = gemm.cut(gemm.ORDINARY, plain(m, n, k), multiprocessors)
        return tile.rows, parts

    assert chosen(32768, 3072, 768, 132) == (128, 1)
    assert chosen(256, 256, 256, 132) == (32, 1)
    rows, parts = chosen(768, 768, 32768, 132)  # the gradient of a weight: 36 tiles, so each in several parts
    assert rows == 128
    assert parts * 36 >= 132
    assert chosen(128, 64, 64, 2) == (64, 1)
    assert chosen(40, 40, 300, 132)[1] == 1  # a second launch would take longer than it saves


def plain(m, n, k):
    return gemm.Product(m, n, k, 1, (), k, 1, n, 1, (), ())


def test_the_last_round_of_blocks_is_nearly_full():
    """Products of GPT-2 with 16,384 tokens, and gradients of weights: an H100, an A100, an RTX 4090."""
    for multiprocessors in (132, 108, 128):
        for c in (384, 768):
            for n, k in ((3 * c, c), (c, c), (4 * c, c), (c, 4 * c)):
                for p in (plain(16384, n, k), plain(n, k, 16384)):
                    tile, parts = gemm.cut(TENSOR_CORES, p, multiprocessors)
                    blocks, slots = gemm.tile_count(p, tile) * parts, tile.resident * multiprocessors
                    assert tile.rows >= 128
                    assert blocks / (-(-blocks // slots) * slots) > (0.47 if tile.resident > 1 else 0.8)


def test_large_tiles_read_shared_memory_less_often():
    """Bytes for each multiplication: 2/3 of those of the tile before Ampere, whose warps are half as wide."""

    def traffic(tile):
        warp = tile.shape[0] * tile.shape[1]
        lines = tile.rows + tile.columns + (tile.shape[0] + tile.shape[1]) * tile.rows * tile.columns // warp
        return lines / (tile.rows * tile.columns)

    assert traffic(TENSOR_CORES[0]) < 0.69 * traffic(TURING[0])
    assert TENSOR_CORES[0].rate == gemm.MULTIPLICATIONS  # so that tensor cores are the limit
    by_wgmma = 128 + 256 + 2 * (64 + 256)  # lines: each of two warpgroups reads 64 of a and 256 of b
    assert by_wgmma / (128 * 256) == traffic(TURING[0]) / 2


@pytest.mark.parametrize("architecture", LIMITS)
def test_tiles_fit_into_shared_memory(architecture):
    limits = LIMITS[architecture]
    for tile in gemm.tensor_tiles(architecture):
        assert 2 <= tile.shape[-1] <= 3
        assert tile.resident * (tile.shared + limits.reserved) <= limits.shared
    large = gemm.tensor_tiles(architecture)[0]
    assert large.shape[-1] == (3 if limits.shared > 160 << 10 else 2)  # a third stage where there is memory


# ---- one row -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "int8", "int64"])
@pytest.mark.parametrize("transposed", [False, True])
def test_one_row(dtype, transposed):
    for n, k in ((1, 1), (33, 7), (70, 300), (5, 1029), (64, 0)):
        for lead, gap in ((0, 0), (1, 0), (16, 16)):
            a = matrix(k, 1, dtype, lead=lead, gap=gap).mT  # elements lie apart
            row = a.contiguous()
            b = matrix(k, n, dtype, transposed=transposed, lead=lead, gap=gap)
            bias = matrix(1, n, dtype)[0]
            p = gemm.product_of(row.layout, b.layout, False, False)
            for x, choice in (
                (row, gemm.choose(p, a.dtype, RUNTIME)),
                (a, gemm.choose(p, a.dtype, RUNTIME)),
                (row, gemm.Choice("matmul", "matmul_row_by_lines", (a.dtype, 256), n, 256, 3)),
                (row, gemm.Choice("matmul", "matmul_row_by_columns", (a.dtype,), -(-n // 32), 1024, 3)),
            ):
                if ("lines" in choice.kernel) == (p.b_inner == 1):
                    p = gemm.product_of(x.layout, b.layout, False, False)
                    y = run(choice, p, x, b, bias)
                    if a.dtype.is_inexact:
                        close(y, exact(a, b) + host(bias), dtype, 4)
                    else:
                        np.testing.assert_array_equal(y.cpu().numpy(), exact(a, b) + bias.cpu().numpy())


@pytest.mark.parametrize("transposed", [False, True])
def test_one_row_is_summed_up_in_float32(transposed):
    """The sum is rounded once, to the nearest bfloat16."""
    rng = np.random.default_rng(3)
    a = device(rng.uniform(0.5, 1.0, (1, 4099)), "bfloat16")
    b = device(rng.uniform(0.5, 1.0, (33, 4099) if transposed else (4099, 33)), "bfloat16")
    b = b.mT if transposed else b
    np.testing.assert_allclose(host(a @ b), exact(a, b), rtol=1.01 * 2.0**-8)


def test_one_row_is_read_by_as_many_threads_as_it_takes():
    def chosen(n, k, transposed):
        b = (1, k) if transposed else (n, 1)
        p = gemm.Product(1, n, k, 1, (), 0, 1, *b, (), ())
        gpu = type("GPU", (), {"multiprocessors": 132, "architecture": 90})
        return gemm.choose(p, tt.float32, gpu)

    assert chosen(50257, 768, True).template == (tt.float32, 8)
    assert chosen(768, 3072, True).template == (tt.float32, 256)
    assert chosen(1, 1 << 20, True).parts > 50
    assert chosen(2304, 768, False).block == 1024
    assert chosen(768, 1 << 15, False).parts > 5  # the gradient of a bias


def test_a_column_is_a_row_of_the_transposed_product():
    a, x = device(normal(300, 90)), device(normal(90, 1, seed=1))
    assert launches(lambda: a @ x) == 1
    close(a @ x, exact(a, x), factor=4)
    close(a.mT.contiguous().mT @ x, exact(a, x), factor=4)
    close(a @ x[:, 0], exact(a, x)[:, 0], factor=4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_gate_at_the_end_changes_no_bit(dtype):
    """Of what linear and gelu give one after the other: in tiles, in parts, and in one row."""
    for m, k, n in ((70, 33, 66), (3, 4000, 5), (1, 70, 64), (1, 1, 1)):
        x, w, b = matrix(m, k, dtype), matrix(k, n, dtype), matrix(1, n, dtype)[0]
        for approximate in ("tanh", "none"):
            for t in (False, True):
                weight = w.mT.contiguous() if t else w
                z = tt.linear(x, weight, b, transposed=t).requires_grad_()
                y = tt.gelu(z, approximate=approximate)
                with tt.no_grad():  # nothing is kept
                    found = tt.linear_gelu(x, weight, b, approximate=approximate, transposed=t)
                np.testing.assert_array_equal(host(found), host(y))
                kept = tt.linear_gelu(x, weight, bias := b.clone().requires_grad_(),
                                      approximate=approximate, transposed=t)  # fmt: skip
                np.testing.assert_array_equal(host(kept), host(y))
                (slope,), (expected,) = tt.grad(kept.sum(), bias), tt.grad(y.sum(), z)
                close(slope, host(expected).sum(0), dtype, 4)
    assert launches(lambda: tt.linear_gelu(x, w, b)) == 1


# ---- layouts and batches -----------------------------------------------------------------------------------


def test_batches_are_read_through_their_strides():
    qkv = device(normal(2, 7, 3 * 3 * 16))  # (B, T, 3 C), three heads of 16
    q, k, _ = (qkv[..., i * 48 : i * 48 + 48].reshape(2, 7, 3, 16).permute(0, 2, 1, 3) for i in range(3))
    assert launches(lambda: q @ k.mT) == 1  # two batch axes that do not merge, and no copy
    close(q @ k.mT, host(q) @ host(k).swapaxes(-1, -2), factor=4)
    a, b = device(normal(5, 1, 4, 3, 6)), device(normal(2, 1, 6, 8, seed=1))
    assert launches(lambda: a @ b) == 1
    close(a @ b, host(a) @ host(b), factor=4)
    axes = device(normal(2, 1, 3, 1, 2, 1, 2, 3)), device(normal(1, 2, 1, 3, 1, 2, 3, 2, seed=1))
    close(axes[0] @ axes[1], host(axes[0]) @ host(axes[1]), factor=4)


def test_many_small_matrices():
    a, b = device(normal(700, 3, 5)), device(normal(700, 5, 4, seed=1))
    close(a @ b, host(a) @ host(b), factor=4)
    close(a[:, :1] @ b, host(a)[:, :1] @ host(b), factor=4)
    close(tt.vecdot(a, a), (host(a) ** 2).sum(-1), factor=4)


def test_strict_layout_forbids_the_copy():
    x = device(normal(8, 8))
    before, tt.config.strict_layout = tt.config.strict_layout, True
    try:
        x.mT @ x.mT
        with pytest.raises(tt.ShapeError, match="strides"):
            x[::2, ::2] @ x[:4]
    finally:
        tt.config.strict_layout = before


def test_products_merge_rows_and_axes():
    a, b = tt.ones(4, 5, 6, 7), tt.ones(7, 3)
    p = gemm.product_of(a.layout, b.layout, False, False)
    assert (p.rows, p.columns, p.inner, p.batch) == (120, 3, 7, ())
    p = gemm.product_of(a.permute(0, 2, 1, 3).layout, b.layout, False, False)
    assert (p.rows, p.batch, p.a_row) == (5, (4, 6), 42)
    p = gemm.product_of(a.layout, tt.ones(4, 5, 2, 7).layout, False, True)
    assert (p.rows, p.batch, p.a_batch, p.b_batch) == (6, (20,), (42,), (14,))
    p = gemm.product_of(a[:, :, :1].layout, b.layout, False, False)
    assert (p.rows, p.batch, p.a_row) == (20, (), 42)


# ---- linear ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_linear_takes_few_launches(transposed):
    weight = device(normal(*((48, 20) if transposed else (20, 48)))).requires_grad_()
    bias = device(normal(48, seed=1)).requires_grad_()
    x = device(normal(3, 50, 40, seed=2))[..., :20].detach().requires_grad_()
    assert launches(lambda: tt.linear(x, weight, bias, transposed=transposed)) == 1
    y = tt.linear(x, weight, bias, transposed=transposed)
    w = host(weight).T if transposed else host(weight)
    close(y, host(x) @ w + host(bias), factor=4)
    g = device(normal(3, 50, 48, seed=3))
    wanted = [x, weight, bias]
    assert launches(lambda: tt.grad([y], wanted, [g], retain_graph=True)) == 3
    dx, dweight, dbias = tt.grad([y], wanted, [g])
    rows, grads = host(x).reshape(-1, 20), host(g).reshape(-1, 48)
    close(dx, host(g) @ w.T, factor=4)
    close(dweight, (rows.T @ grads).T if transposed else rows.T @ grads, factor=8)
    close(dbias, grads.sum(0), factor=4)


def test_sums_of_columns():
    for m, n in ((1, 1), (70, 33), (0, 5), (5000, 9)):
        for dtype in ("float32", "float16", "int64"):
            for x in (matrix(m, n, dtype), matrix(m, n, dtype, transposed=True), matrix(m, n, dtype, gap=1)):
                y = tt.empty(n, dtype=dtype, device=DEVICE)
                gemm.sum_columns(LAUNCH, view_of(y), view_of(x))
                close(y, host(x).sum(0), "float32" if dtype == "int64" else dtype, 4)
