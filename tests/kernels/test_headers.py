"""The headers that kernels share: reductions, random numbers; on `emulated`, against NumPy."""

import math

import numpy as np
import pytest

from tests.helpers.kernel_calls import Memory, computed, emulated
from tests.helpers.source import ROOT
from tinytensor.dtypes import bool_, float16, float32, float64, int8, int32, int64, uint8
from tinytensor.ops.random.inverse_normal import inverse_normal
from tinytensor.runtime.cpu.arrays import NUMPY

SOURCE = ROOT / "tests" / "device_code" / "headers.cu"
REDUCED = (float32, float64, float16, int32, int64, int8, uint8, bool_)
INSTANCES = [
    *[("row_extremes", (d,)) for d in REDUCED],
    *[("warp_extremes", (d,)) for d in (float32, int32)],
    ("normal_cells", ()),
]


def run(name, *types, grid=1, block=32, args):
    emulated().kernel(SOURCE, name, *types, together=INSTANCES)(grid, block, args)


@pytest.mark.parametrize("order", [0, 1, 5])
@pytest.mark.parametrize("block", [32, 64, (32, 3), 1024], ids=str)
@pytest.mark.parametrize("dtype", REDUCED, ids=str)
def test_block_reductions(dtype, block, order):
    """In any order of the threads: a missing barrier would show."""
    rng = np.random.default_rng(0)
    rows, width, threads = 3, 333, math.prod(block) if isinstance(block, tuple) else block
    x = (rng.normal(size=(rows, width)) * 40).astype(NUMPY[dtype])
    wide = computed(x, dtype)
    sums = Memory(np.zeros((rows, threads), wide.dtype if dtype.is_floating else np.int64))
    high, low = (Memory(np.zeros((rows, threads), wide.dtype)) for _ in range(2))
    source = Memory(x)
    with emulated().schedule(order=order):
        run("row_extremes", dtype, grid=rows, block=block, args=(sums, high, low, source, width))
    expected = wide.sum(1, dtype=sums.values.dtype, keepdims=True)
    np.testing.assert_allclose(sums.read(), np.broadcast_to(expected, sums.values.shape), rtol=0, atol=2e-3)
    assert (sums.read() == sums.read()[:, :1]).all()  # the same bits in all threads
    np.testing.assert_array_equal(high.read(), np.broadcast_to(wide.max(1, keepdims=True), high.values.shape))
    np.testing.assert_array_equal(low.read(), np.broadcast_to(wide.min(1, keepdims=True), low.values.shape))


def test_a_nan_is_the_extreme():
    x = np.ones((2, 100), np.float32)
    x[1, 77] = np.nan
    out = [Memory(np.zeros((2, 64), np.float32)) for _ in range(3)]
    run("row_extremes", float32, grid=2, block=64, args=(*out, Memory(x), 100))
    for memory in out:
        assert np.isnan(memory.read()[1]).all()
        assert not np.isnan(memory.read()[0]).any()


@pytest.mark.parametrize("dtype", [float32, int32], ids=str)
def test_warp_reductions(dtype):
    x = np.random.default_rng(1).permutation(32).astype(NUMPY[dtype]) - 11
    out = Memory(np.zeros((3, 32), x.dtype))
    run("warp_extremes", dtype, args=(out, Memory(x)))
    assert out.read().tolist() == [[int(x.sum())] * 32, [20] * 32, [-11] * 32]


def test_normal_numbers_have_equal_bits_from_end_to_end():
    """2**18 of the 2**24 float32 numbers, from the smallest on; float64 numbers of the same words, which also
    reach the outermost of the three rational functions.
    """
    n, step = 1 << 18, 1 << 14
    narrow, wide = Memory(np.zeros(n, np.float32)), Memory(np.zeros(n))
    run("normal_cells", grid=8, block=128, args=(narrow, wide, step, n))
    words = np.arange(n, dtype=np.uint64) * np.uint64(step)
    q = (words >> np.uint64(8)).astype(np.float32) - np.float32(2**23 - 0.5)
    q *= np.float32(2**-24)
    inverse_normal(q)
    np.testing.assert_array_equal(narrow.read(), q)
    pairs = (words << np.uint64(32)) | np.uint64(12345)
    q = ((pairs >> np.uint64(11)).astype(np.float64) - (2.0**52 - 0.5)) * 2.0**-53
    inverse_normal(q)
    np.testing.assert_array_equal(wide.read(), q)
    assert abs(wide.read()[0]) > 5.7  # sqrt(-log p) > 4: p is 1.6e-9 and less
