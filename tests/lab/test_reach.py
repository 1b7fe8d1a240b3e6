"""Which positions a layout reaches, and how many lines and sectors these touch: against brute force."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinytensor.lab.explain import footprint as module
from tinytensor.lab.explain.footprint import Reach
from tinytensor.layout import Layout


@st.composite
def layouts(draw):
    """Up to four axes with any strides, far enough from 0 that no position is negative."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    near, far = st.integers(-6, 6), st.integers(-70, 70)
    strides = tuple([draw(st.one_of(near, far)) for _ in shape])
    low, _ = Layout(shape, strides, 0).extent
    return Layout(shape, strides, draw(st.integers(0, 40)) - min(low, 0))


def positions(layout):
    """All positions, as NumPy's own strides lead to them."""
    counter = np.arange(max(layout.extent[1] + 1, 1))
    steps = [8 * s for s in layout.strides]
    return np.ndarray(layout.shape, counter.dtype, counter, 8 * layout.offset if layout.size else 0, steps)


def touched(layout, itemsize, block, start):
    """Blocks, by walking over every byte."""
    first = start + itemsize * np.unique(positions(layout))
    return np.unique((first[:, None] + np.arange(itemsize)) // block).size


@given(layouts(), st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([32, 64]), st.integers(0, 63))
@example(Layout((6, 4), (100, 32), 0), 4, 64, 0)  # the last line of a row is the first one of the next
@example(Layout((3, 3), (2, 3), 0), 4, 64, 0)  # axes that interleave
@example(Layout((2, 2, 2), (2, 3, 5), 0), 4, 64, 0)  # 5 is reached in two ways
def test_counts_are_those_of_brute_force(layout, itemsize, block, start):
    reach = Reach(layout)
    there = set(positions(layout).ravel().tolist())
    assert reach.distinct == len(there)
    assert reach.blocks(itemsize, block, start) == touched(layout, itemsize, block, start)
    around = range(reach.low - 3, reach.high + 4)
    assert [p for p in around if reach.covers(p)] == sorted(there)


@given(layouts())
def test_only_axes_that_interleave_are_enumerated(layout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENUMERATED", 0)
        reach, there = Reach(layout), np.unique(positions(layout))
        said = reach.distinct, reach.blocks(4, 64)
        assert said in [(None, None), (there.size, touched(layout, 4, 64, 0))]
        covers = [reach.covers(int(p)) for p in there]
        assert set(covers) <= ({None} if said[0] is None else {True})


@pytest.mark.parametrize("strides", [(100, 32), (17, 1), (16, 1), (4096, 1), (-100, 32), (100, 0)])
def test_sizes_that_no_memory_holds(strides):
    """What one more period of the first axis adds is the same each time; 16 rows are a period."""
    few, more = [touched(Layout((16 * n, 4), strides, 99_999), 4, 64, 0) for n in (1, 2)]
    periods = 10**12
    huge = Layout((16 * periods, 4), strides, 99_999 + 2 * 10**15)
    assert Reach(huge).blocks(4, 64) == few + (more - few) * (periods - 1)


def test_many_axes():
    layout = Layout((2,) * 60, tuple([2**axis for axis in range(60)]), 0)
    assert Reach(layout).distinct == 2**60
    assert Reach(layout).blocks(1, 64) == 2**54
    spread = Layout((2,) * 60, tuple([3**axis for axis in range(60)]), 0)  # ternary numbers without a 2
    assert Reach(spread).distinct == 2**60
    assert Reach(spread).covers(3**59 + 9 + 1)
    assert Reach(spread).covers(3**59 + 2) is False
