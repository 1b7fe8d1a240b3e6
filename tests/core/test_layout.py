"""The integer algebra of views against its definition; against NumPy's views: ops/test_view_programs.py."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.test_errors import check_wrong_call
from tinytensor import layout as layout_module
from tinytensor.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinytensor.layout import Layout, contiguous, contiguous_strides, ordered

SHAPES = st.lists(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 5]), max_size=4).map(tuple)
WIDE_LAYOUTS = st.lists(st.tuples(st.integers(0, 4), st.integers(-7, 7)), max_size=3).map(
    lambda axes: Layout(tuple(n for n, _ in axes), tuple(s for _, s in axes), 40)
)


def positions(layout: Layout) -> list[int]:
    """Storage positions in C order, straight from the definition."""
    return [
        layout.offset + sum(i * s for i, s in zip(index, layout.strides, strict=True))
        for index in itertools.product(*map(range, layout.shape))
    ]


@pytest.mark.parametrize(
    ("layout", "shape", "strides"),
    [
        (Layout((3, 4), (1, 3), 0), (12,), None),  # a transpose
        (Layout((3, 4), (1, 3), 0), (3, 2, 2), (1, 6, 3)),  # splitting one of its axes
        (Layout((2, 3, 4), (24, 4, 1), 5), (2, 12), (24, 1)),  # rows with a gap
        (Layout((2, 3, 4), (24, 4, 1), 5), (6, 4), None),
        (Layout((3, 4), (0, 1), 0), (12,), None),  # repeated rows
        (Layout((3, 4), (0, 0), 0), (2, 6), (0, 0)),  # one element repeated
        (Layout((6,), (-1,), 5), (2, 3), (-3, -1)),  # backwards
        (Layout((2, 1, 3), (3, 77, 1), 0), (6,), (1,)),  # the stride of a size-1 axis says nothing
        (Layout((0, 3), (5, 7), 2), (4, 0, 9), (9, 9, 1)),  # nothing to copy
        (Layout((1, 1), (5, 7), 2), (), ()),
        (Layout((), (), 2), (1, 1), (1, 1)),
    ],
)
def test_reshape_of_chosen_layouts(layout, shape, strides):
    view = layout.reshape(shape)
    if strides is None:
        assert view is None
    else:
        assert view == Layout(shape, strides, layout.offset)
        assert positions(view) == positions(layout)


@given(WIDE_LAYOUTS)
@example(Layout((3, 0, 2), (1, 2, 3), 40))
def test_extent_is_the_range_of_positions(layout):
    reached = positions(layout)
    assert layout.extent == ((min(reached), max(reached)) if reached else (40, 39))


@given(WIDE_LAYOUTS)
@example(Layout((2, 3), (3, 2), 0))  # strides interleave, no position twice
@example(Layout((3, 3), (3, 2), 0))  # strides interleave, 6 is reached twice
@example(Layout((2, 2), (1, -1), 1))
def test_overlaps_is_exact_for_small_layouts(layout):
    reached = positions(layout)
    assert layout.overlaps() == (len(set(reached)) < len(reached))


def test_overlaps_of_large_layouts_never_misses():
    n = 300
    assert Layout((n, n), (0, 1), 0).overlaps()
    assert not Layout((n, n), (1, n), 0).overlaps()
    assert Layout((n, n), (1, 2), 0).overlaps()
    assert Layout((2, n * n), (2 * n * n + 1, 2), 0).overlaps() is False
    undecided = Layout((n, n), (n + 1, n), 0)  # no position twice, but only enumeration shows it
    assert undecided.overlaps()


@given(WIDE_LAYOUTS)
def test_merge_dims_visits_the_same_positions_with_fewest_axes(layout):
    merged = layout.merge_dims()
    assert positions(merged) == positions(layout)
    if layout.size:
        assert 1 not in merged.shape
        assert len(merged.blocking_axes()) == max(0, merged.ndim - 1)


@given(WIDE_LAYOUTS)
def test_axes_block_exactly_when_flattening_needs_a_copy(layout):
    assert bool(layout.blocking_axes()) == (layout.reshape((layout.size,)) is None)


def test_blocking_axes_name_the_pairs():
    assert contiguous((2, 3, 4)).blocking_axes() == ()
    assert contiguous((2, 3, 4)).permute((0, 2, 1)).blocking_axes() == ((0, 1), (1, 2))
    assert contiguous((2, 3, 4)).permute((2, 0, 1)).blocking_axes() == ((0, 1),)
    assert contiguous((2, 1, 4)).index((slice(None), slice(None), slice(2))).blocking_axes() == ((0, 2),)


@given(WIDE_LAYOUTS, st.integers(0, 90))
def test_validate_accepts_exactly_what_stays_inside(layout, storage_size):
    # An empty layout reaches nothing, yet its offset may not point beyond the end.
    inside = all(0 <= p < storage_size for p in positions(layout)) and (layout.size or storage_size >= 40)
    if inside:
        layout.validate(storage_size)
    else:
        with pytest.raises(ShapeError, match="leave the storage"):
            layout.validate(storage_size)


def test_a_view_of_nothing_never_points_beyond_its_storage():
    nothing = contiguous((5, 0))
    for view in (nothing.index((3,)), nothing.flip((0,)), nothing.index((slice(4, None),))):
        view.validate(0)


def test_a_new_axis_keeps_dense_strides_as_in_pytorch():
    assert contiguous((2, 3)).unsqueeze(0).strides == (6, 3, 1)
    assert contiguous((2, 3)).unsqueeze(1).strides == (3, 3, 1)
    assert contiguous((2, 3)).unsqueeze(2).strides == (3, 1, 1)


# -- layouts of new memory -----------------------------------------------------------------------------------


@given(SHAPES)
def test_contiguous_strides_are_numpys(shape):
    layout = contiguous(shape)
    assert layout == Layout(shape, contiguous_strides(shape), 0)
    if layout.size:
        assert layout.strides == np.empty(shape, np.int8).strides


def test_contiguous_strides_of_empty_layouts_are_pytorchs():
    assert contiguous_strides((2, 0, 3)) == (3, 3, 1)
    assert contiguous_strides((0,)) == (1,)


@given(SHAPES, st.data())
def test_ordered_is_dense_in_the_order_given(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    layout = ordered(shape, order)
    assert layout.shape == shape
    assert layout.permute(order).is_contiguous
    assert sorted(positions(layout)) == list(range(layout.size))


def test_contiguous_layouts_are_interned():
    assert contiguous((2, 3)) is contiguous((2, 3))
    assert Layout((2, 3), (3, 1), 0) == contiguous((2, 3))
    assert hash(Layout((2, 3), (3, 1), 0)) == hash(contiguous((2, 3)))
    assert contiguous((2, 3)) != contiguous((3, 2))
    assert contiguous((2,)) != (2,)


def test_the_table_of_interned_layouts_is_bounded(monkeypatch):
    monkeypatch.setattr(layout_module, "_interned", {})
    monkeypatch.setattr(layout_module, "MAX_INTERNED", 5)
    for n in range(50):
        assert contiguous((n,)).shape == (n,)
        assert len(layout_module._interned) <= 5


@pytest.mark.parametrize("layout", [contiguous((2, 3)), contiguous((99, 99)), Layout((2, 3), (1, 2), 7)])
def test_copies_equal_the_original(layout):
    for twin in (copy.copy(layout), copy.deepcopy(layout), pickle.loads(pickle.dumps(layout))):
        assert twin == layout


def test_repr_shows_all_three():
    assert repr(Layout((2, 3), (1, 2), 7)) == "Layout(shape=(2, 3), strides=(1, 2), offset=7)"


L34 = contiguous((3, 4))
WRONG = [  # beside the calls of tensors in test_errors.py and ops/test_indexing.py
    (lambda: L34.index((0, -5), "take"), IndexRangeError, ["take: index -5", "axis 1 of size 4"]),
    (lambda: contiguous((0,)).index((0,)), IndexRangeError, ["has no elements"]),
    (lambda: L34.expand((-1, 3, 4)), ShapeError, ["negative size"]),
    (lambda: L34.expand((2.0, 3, 4)), DTypeError, ["float"]),
    (lambda: L34.expand((2**60, 3, 4)), ShapeError, ["too large"]),
    (lambda: L34.unfold(1, -1, 1), ArgumentError, ["size -1"]),
    (lambda: Layout.as_strided((-3,), (1,), 0), ShapeError, ["negative size"]),
    (lambda: Layout((3,), (1, 1), 0).validate(9), ShapeError, ["1 sizes (3,)", "2 strides (1, 1)"]),
    (lambda: Layout((-3,), (1,), 0).validate(9), ShapeError, ["negative size"]),
    (lambda: Layout((3,), (-1,), 1).validate(9, "view"), ShapeError, ["view: ", "positions -1 to 1"]),
    (lambda: Layout((3,), (4,), 1).validate(9), ShapeError, ["positions 1 to 9", "9 elements"]),
    (lambda: ordered((2**62, 2), (1, 0)), ShapeError, ["too large"]),
]


@pytest.mark.parametrize(("call", "kind", "texts"), WRONG, ids=range(len(WRONG)))
def test_wrong_calls_say_what_is_wrong(call, kind, texts):
    check_wrong_call(call, kind, texts, exact=True)
