"""The elementwise kernels on operands of every layout: sizes, offsets, strides, ranks, shared memory."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from tests.helpers.kernel_calls import Memory, computed, emulated, number, pack, stored, types
from tinytensor.dtypes import bfloat16, float32, float64, int8, uint8
from tinytensor.op import registry

ADD = registry["add"]
RANKS = (1, 2, 3, 4, 8)
DTYPES = (float32, float64, bfloat16, int8)


def values(rng, dtype, n):
    """Numbers whose sums are exact in every dtype of this module."""
    return stored(rng.integers(-30, 30, n).astype(np.float32), dtype)


def sums(a, b, dtype):
    return stored(np.add(computed(a, dtype), computed(b, dtype)), dtype)


def add(dtype, out, operands, n, grid=2, block=64, index="int"):
    """The contiguous kernel."""
    argument = (*types(ADD, dtype), index)
    kernel = emulated().kernel("arithmetic", "elementwise_contiguous", *argument)
    code = "i" if index == "int" else "q"
    kernel(grid, block, (pack(out, operands, (n,), [(1,)] * 3, code), n))


def add_strided(dtype, out, operands, shape, strides, index="int"):
    """The strided kernel of the next rank; axes of size 1 fill up."""
    rank = next(r for r in RANKS if r >= len(shape))
    missing = rank - len(shape)
    ones, zeros = (1,) * missing, (0,) * missing
    together = [("elementwise_strided", (*types(ADD, d), r, i)) for d, r, i in STRIDED]
    argument = (*types(ADD, dtype), rank, index)
    kernel = emulated().kernel("arithmetic", "elementwise_strided", *argument, together=together)
    code = "i" if index == "int" else "q"
    packed = pack(out, operands, (*ones, *shape), [(*zeros, *s) for s in strides], code)
    kernel(3, 32, (packed, int(np.prod(shape))))


STRIDED = [(d, rank, "int") for d in DTYPES for rank in RANKS]
STRIDED += [(float32, rank, "long long") for rank in RANKS]


@pytest.mark.parametrize("dtype", [float32, bfloat16, uint8], ids=str)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 203])
def test_every_size_and_alignment(dtype, n):
    rng = np.random.default_rng(n)
    a, b = values(rng, dtype, n), values(rng, dtype, n)
    for leads in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 3), (1, 1, 1), (2, 2, 2)]:
        x, y = Memory(a, leads[1]), Memory(b, leads[2])
        out = Memory(np.full(n + 8, 7).astype(a.dtype), leads[0])
        for grid, block in [(1, 32), (2, 64)]:
            add(dtype, out.ptr, [x.ptr, y.ptr], n, grid, block)
            np.testing.assert_array_equal(out.read()[:n], sums(a, b, dtype))
            np.testing.assert_array_equal(out.read()[n:], 7)  # nothing is written behind the end


def test_large_tensors_use_long_positions():
    rng = np.random.default_rng(0)
    a, b = values(rng, float32, 103), values(rng, float32, 103)
    x, y, out = Memory(a), Memory(b), Memory(np.zeros_like(a))
    add(float32, out.ptr, [x.ptr, y.ptr], a.size, index="long long")
    np.testing.assert_array_equal(out.read(), a + b)


def test_the_result_may_be_an_operand():
    rng = np.random.default_rng(1)
    a, b = values(rng, float32, 12 * 16), values(rng, float32, 12 * 16)
    for first in (True, False):
        x, y = Memory(a), Memory(b)
        add(float32, x.ptr, [x.ptr, y.ptr] if first else [y.ptr, x.ptr], a.size)
        np.testing.assert_array_equal(x.read(), a + b)
    x = Memory(a)
    add(float32, x.ptr, [x.ptr, x.ptr], a.size)
    np.testing.assert_array_equal(x.read(), a + a)
    x, y = Memory(a), Memory(b)  # x.T += y, both 16 x 12
    add_strided(float32, x.ptr, [x.ptr, y.ptr], (16, 12), [(1, 16), (1, 16), (12, 1)])
    expected = a.reshape(12, 16).T + b.reshape(16, 12)
    np.testing.assert_array_equal(x.read().reshape(12, 16).T, expected)


@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize(("width", "pitch"), [(32, 32), (30, 30), (32, 33), (30, 32)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_and_columns_repeat(dtype, width, pitch, lead):
    """Rows of vectors with a row, a column or a number beside them; rows into which vectors do not fit, or
    which lie so far apart that vectors would not be aligned.
    """
    rng = np.random.default_rng(width)
    block, row, column = values(rng, dtype, 6 * pitch), values(rng, dtype, width), values(rng, dtype, 6)
    x, r, c, out = Memory(block, lead), Memory(row), Memory(column), Memory(np.full_like(block, 7))
    rows = (pitch, 1)
    a = block.reshape(6, pitch)[:, :width]
    cases = [
        ([x.ptr, r.ptr], [rows, (0, 1)], sums(a, row, dtype)),
        ([c.ptr, x.ptr], [(1, 0), rows], sums(column[:, None], a, dtype)),
        ([r.ptr, c.ptr], [(0, 1), (1, 0)], sums(row, column[:, None], dtype)),
        ([x.ptr, number(3, dtype)], [rows, (0, 0)], sums(a, stored(np.full(1, 3), dtype), dtype)),
    ]
    for operands, strides, expected in cases:
        add_strided(dtype, out.ptr, operands, (6, width), [rows, *strides])
        found = out.read().reshape(6, pitch)
        np.testing.assert_array_equal(found[:, :width], expected)
        np.testing.assert_array_equal(found[:, width:], 7)


def random_view(rng, shape, repeats):
    """Size of a block of memory, and offset and strides of a view of it: axes permuted, stretched, turned
    round, and repeated only if `repeats`.
    """
    strides, step = [0] * len(shape), 1
    for axis in rng.permutation(len(shape)):
        stretch = int(rng.integers(1, 3))
        strides[axis] = step * stretch
        step *= stretch * shape[axis]
        if repeats and rng.random() < 0.3:
            strides[axis] = 0
    offset = 0
    for axis, length in enumerate(shape):
        if rng.random() < 0.4:
            offset += strides[axis] * (length - 1)
            strides[axis] = -strides[axis]
    return step, offset, strides


@pytest.mark.parametrize("axes", [1, 2, 3, 4, 5, 6, 7, 8])
def test_any_strides(axes):
    rng = np.random.default_rng(axes)
    for dtype, _, index in STRIDED[:: len(RANKS)] * 3:
        shape = tuple(int(n) for n in rng.integers(1, 9 if axes < 4 else 4, axes))
        placed, strides, views = [], [], []
        for k in range(3):
            size, offset, steps = random_view(rng, shape, repeats=k > 0)
            memory = Memory(values(rng, dtype, size))
            placed.append((memory, memory.at(offset)))
            strides.append(steps)
            itemsize = memory.values.itemsize
            views.append(as_strided(memory.values[offset:], shape, [s * itemsize for s in steps]))
        views[0][...] = sums(views[1], views[2], dtype)
        add_strided(dtype, placed[0][1], [at for _, at in placed[1:]], shape, strides, index)
        np.testing.assert_array_equal(placed[0][0].read(), placed[0][0].values)
