"""The integer algebra of views against NumPy's own views of an arange."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from tests.core.test_errors import check_wrong_call
from tinytensor import layout as layout_module
from tinytensor.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from tinytensor.layout import Layout, contiguous, contiguous_strides, ordered
from tinytensor.shapes import normalize_key

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


def check_same_view(base: np.ndarray, layout: Layout, array: np.ndarray) -> None:
    """`layout` over `base` is the view `array`: shape, memory, contiguity and values."""
    assert layout.shape == array.shape
    assert layout.size == array.size
    assert layout.ndim == array.ndim
    assert layout.is_contiguous == array.flags.c_contiguous
    layout.validate(base.size)
    if array.size == 0:
        return
    start = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    assert layout.offset * base.itemsize == start
    for length, stride, nbytes in zip(layout.shape, layout.strides, array.strides, strict=True):
        assert length == 1 or stride * base.itemsize == nbytes
    nbytes = tuple(stride * base.itemsize for stride in layout.strides)
    np.testing.assert_array_equal(as_strided(base[layout.offset :], layout.shape, nbytes), array)


# -- one step of a random chain: (data, layout, array) -> (layout, array) ------------------------------------


def step_permute(data, layout, array):
    axes = data.draw(st.permutations(range(array.ndim)))
    named = [axis - array.ndim if data.draw(st.booleans()) else axis for axis in axes]
    return layout.permute(named), array.transpose(axes)


def step_expand(data, layout, array):
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    sizes = [data.draw(st.integers(0, 3)) if n == 1 else n for n in array.shape]
    asked = [
        -1 if n == old and data.draw(st.booleans()) else n for n, old in zip(sizes, array.shape, strict=True)
    ]
    return layout.expand((*lead, *asked)), np.broadcast_to(array, (*lead, *sizes))


def step_index(data, layout, array):
    bound = st.none() | st.integers(-6, 6)
    parts = st.builds(slice, bound, bound, st.none() | st.sampled_from([1, 2, 3, -1, -2, -3]))
    first = data.draw(st.integers(0, array.ndim))
    last = data.draw(st.integers(first, array.ndim))
    key = [
        data.draw(parts | st.integers(-n, n - 1) if n else parts)
        for axis, n in enumerate(array.shape)
        if axis < first or axis >= last
    ]
    key.insert(
        first, ...
    )  # stands for the axes from first to last; with it NumPy gives an array, not a number
    for _ in range(data.draw(st.integers(0, 2))):
        key.insert(data.draw(st.integers(0, len(key))), None)
    return layout.index(normalize_key(tuple(key), layout.shape)), array[tuple(key)]


def step_flip(data, layout, array):
    axes = [axis for axis in range(array.ndim) if data.draw(st.booleans())]
    key = [slice(None, None, -1) if axis in axes else slice(None) for axis in range(array.ndim)]
    return layout.flip(axes), array[(*key, ...)]


def step_diagonal(data, layout, array):
    if array.ndim < 2:
        return layout, array
    a, b, *_ = data.draw(st.permutations(range(array.ndim)))
    k = data.draw(st.integers(-6, 6))
    return layout.diagonal(k, a, b), np.diagonal(array, k, a, b)


def step_unfold(data, layout, array):
    if not 0 < array.ndim < 6:
        return layout, array
    axis = data.draw(st.integers(0, array.ndim - 1))
    size, step = data.draw(st.integers(0, array.shape[axis])), data.draw(st.integers(1, 3))
    windows = sliding_window_view(array, size, axis)
    return layout.unfold(axis, size, step), windows[(*[slice(None)] * axis, slice(None, None, step))]


def step_squeeze(data, layout, array):
    axes = tuple(axis for axis, n in enumerate(array.shape) if n == 1 and data.draw(st.booleans()))
    return layout.squeeze(axes), np.squeeze(array, axes)


def step_unsqueeze(data, layout, array):
    axis = data.draw(st.integers(0, array.ndim))
    return layout.unsqueeze(axis), np.expand_dims(array, axis)


def draw_shape_of_size(data, size: int) -> tuple[int, ...]:
    """Any shape with so many elements: its prime factors, grouped at random, with ones between them."""
    if size == 0:
        shape = list(data.draw(SHAPES))
        return (*shape, 0) if math.prod(shape) else tuple(shape)
    primes, rest = [], size
    for p in range(2, size + 1):
        while rest % p == 0:
            primes.append(p)
            rest //= p
    shape = [1]
    for p in data.draw(st.permutations(primes)):
        if data.draw(st.booleans()):
            shape.append(p)
        else:
            shape[-1] *= p
    if data.draw(st.booleans()):
        shape.insert(data.draw(st.integers(0, len(shape))), 1)
    return tuple(shape) if shape[0] != 1 or data.draw(st.booleans()) else tuple(shape[1:])


def step_reshape(data, layout, array):
    shape = draw_shape_of_size(data, array.size)
    view = layout.reshape(shape)
    reshaped = array.reshape(shape)
    # Without an element there is nothing to copy; otherwise memory that differs tells that NumPy copied.
    shares = array.size == 0 or np.may_share_memory(array, reshaped)
    assert (view is not None) == shares, (layout, shape)
    return (layout, array) if view is None else (view, reshaped)


STEPS = [
    *(step_permute, step_expand, step_index, step_flip, step_diagonal),
    *(step_unfold, step_squeeze, step_unsqueeze, step_reshape),
]


@given(SHAPES, st.lists(st.sampled_from(STEPS), min_size=1, max_size=6), st.data())
def test_chains_of_views_are_the_views_of_numpy(shape, steps, data):
    layout = contiguous(shape)
    base = np.arange(layout.size)
    array = base.reshape(shape)
    check_same_view(base, layout, array)
    for step in steps:
        layout, array = step(data, layout, array)
        if array.size > 5000 or array.ndim > 8:
            return
        check_same_view(base, layout, array)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__[5:])
@given(shape=SHAPES, data=st.data())
def test_each_view_of_a_permuted_slice_is_numpys(step, shape, data):
    base = np.arange(math.prod(shape))
    layout, array = step_permute(data, contiguous(shape), base.reshape(shape))
    if data.draw(st.booleans()):
        layout, array = step_index(data, layout, array)
    check_same_view(base, *step(data, layout, array))


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
WRONG = [
    (lambda: L34.index((3,)), IndexRangeError, ["index 3", "axis 0 of size 3", "(3, 4)", "-3 to 2"]),
    (lambda: L34.index((0, -5), "take"), IndexRangeError, ["take: index -5", "axis 1 of size 4"]),
    (lambda: contiguous((0,)).index((0,)), IndexRangeError, ["has no elements"]),
    (lambda: L34.index((slice(0, 2, 0),)), IndexRangeError, ["step 0", "axis 0"]),
    (lambda: L34.permute((0,)), ShapeError, ["permute: 1 axes (0,)", "(3, 4)"]),
    (lambda: L34.permute((0, 0)), ShapeError, ["twice"]),
    (lambda: L34.permute((0, 2), "transpose"), IndexRangeError, ["transpose: axis 2"]),
    (lambda: L34.expand((4,)), ShapeError, ["expand", "(3, 4)", "(4,)"]),
    (lambda: L34.expand((3, 5)), ShapeError, ["axis 1 of size 4 cannot become 5"]),
    (lambda: L34.expand((-1, 3, 4)), ShapeError, ["negative size"]),
    (lambda: L34.expand((2.0, 3, 4)), DTypeError, ["float"]),
    (lambda: L34.expand((2**60, 3, 4)), ShapeError, ["too large"]),
    (lambda: L34.diagonal(0, 1, 1), ShapeError, ["axes 1 and 1", "(3, 4)"]),
    (lambda: L34.unfold(1, 5, 1), ShapeError, ["size 5", "axis 1", "(3, 4)"]),
    (lambda: L34.unfold(1, 2, 0), ArgumentError, ["step 0"]),
    (lambda: L34.unfold(1, -1, 1), ArgumentError, ["size -1"]),
    (lambda: L34.reshape((5,)), ShapeError, ["12 elements", "(5,)"]),
    (lambda: L34.squeeze((1,)), ShapeError, ["axis 1 of shape (3, 4)", "size 4"]),
    (lambda: Layout.as_strided((3, 4), (1,), 0), ShapeError, ["2 sizes", "1 strides"]),
    (lambda: Layout.as_strided((3,), (1.0,), 0), DTypeError, ["a stride", "float"]),
    (lambda: Layout.as_strided((-3,), (1,), 0), ShapeError, ["negative size"]),
    (lambda: Layout((3,), (1, 1), 0).validate(9), ShapeError, ["1 sizes (3,)", "2 strides (1, 1)"]),
    (lambda: Layout((-3,), (1,), 0).validate(9), ShapeError, ["negative size"]),
    (lambda: Layout((3,), (-1,), 1).validate(9, "view"), ShapeError, ["view: ", "positions -1 to 1"]),
    (lambda: Layout((3,), (4,), 1).validate(9), ShapeError, ["positions 1 to 9", "9 elements"]),
    (lambda: contiguous((2**62, 2)), ShapeError, ["too large", str(2**63)]),
    (lambda: ordered((2**62, 2), (1, 0)), ShapeError, ["too large"]),
    (lambda: contiguous((-1,)), ShapeError, ["negative size"]),
    (lambda: contiguous((1.5,)), DTypeError, ["float"]),
]


@pytest.mark.parametrize(("call", "kind", "texts"), WRONG, ids=range(len(WRONG)))
def test_wrong_calls_say_what_is_wrong(call, kind, texts):
    check_wrong_call(call, kind, texts, exact=True)
