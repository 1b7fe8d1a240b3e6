"""Shapes, axes and keys as users give them, against NumPy."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.test_errors import check_wrong_call
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.layout import contiguous
from tinytensor.shapes import (
    broadcast_shapes,
    check_shape,
    normalize_axes,
    normalize_axis,
    normalize_key,
    resolve_shape,
)

SHAPES = st.lists(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 5]), max_size=4).map(tuple)


@given(st.lists(SHAPES, max_size=3))
@example([(2, 3), (4, 3)])
@example([(1,), (0,), (5, 1)])
@example([])
def test_broadcast_shapes_is_numpys(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match=r"^broadcast: shapes .* do not broadcast"):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == expected


def test_broadcast_error_is_written_as_promised():
    with pytest.raises(ShapeError) as caught:
        broadcast_shapes((2, 3), (4, 3))
    assert str(caught.value) == (
        "broadcast: shapes (2, 3), (4, 3) do not broadcast\n"
        "  why: axis -2 would need sizes [2, 4] at once\n"
        "  fix: reshape one operand so that each axis is equal or 1"
    )
    with pytest.raises(ShapeError, match=r"^add: "):
        broadcast_shapes((2,), (3,), what="add")


def test_axes_and_shapes_become_plain_ints():
    assert normalize_axis(np.int8(-1), 3, "f") == 2
    assert normalize_axes(None, 3, "f") == (0, 1, 2)
    assert normalize_axes(-1, 3, "f") == (2,)
    assert normalize_axes([2, np.int64(-3)], 3, "f") == (2, 0)
    assert normalize_axes((), 3, "f") == ()
    assert resolve_shape([2, -1], 6, "f") == (2, 3)
    assert resolve_shape(np.int64(6), 6, "f") == (6,)
    assert resolve_shape(-1, 6, "f") == (6,)
    assert resolve_shape((), 1, "f") == ()
    assert resolve_shape((0, 5), 0, "f") == (0, 5)
    assert resolve_shape((-1, 5), 0, "f") == (0, 5)
    assert check_shape(np.int64(3), "f") == (3,)
    results = [
        *(normalize_axis(np.int8(-1), 3, "f"), *normalize_axes([np.int64(-3)], 3, "f")),
        *(*resolve_shape((np.int32(6),), 6, "f"), *check_shape((np.int32(6),), "f")),
        *(*contiguous((np.int32(777),)).shape, *normalize_key(np.int16(1), (5,))),  # type: ignore[arg-type]
    ]
    assert all(type(n) is int for n in results)


@given(st.lists(st.integers(-2, 6), max_size=4), st.integers(0, 24))
def test_resolve_shape_is_numpys(shape, size):
    array = np.empty(size, np.int8)
    try:
        # NumPy takes every negative number for -1; here only -1 is.
        expected = array.reshape(shape).shape if min(shape, default=0) >= -1 else None
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(ShapeError, match=r"^reshape: "):
            resolve_shape(shape, size, "reshape")
    else:
        assert resolve_shape(shape, size, "reshape") == expected


def test_keys_are_expanded():
    full = slice(None)
    assert normalize_key(1, (2, 3)) == (1,)
    assert normalize_key(..., (2, 3)) == (full, full)
    assert normalize_key((..., 1), (2, 3, 4)) == (full, full, 1)
    assert normalize_key((0, ..., None), (2, 3)) == (0, full, None)
    assert normalize_key((0, ..., 1), (2, 3)) == (0, 1)
    assert normalize_key((), ()) == ()
    (part,) = normalize_key(slice(np.int8(1), None, np.int8(2)), (9,))
    assert part == slice(1, None, 2)


WRONG = [  # beside the calls of tensors in test_errors.py and ops/test_errors.py
    (lambda: normalize_key(True, (3,)), DTypeError, ["bool"]),
    (lambda: normalize_key([0, 1], (3,)), DTypeError, ["list"]),
    (lambda: normalize_key(slice(0.0, 2), (3,)), DTypeError, ["slice bound", "float"]),
    (lambda: check_shape("23", "zeros"), DTypeError, ["zeros: a shape of type str"]),
    (lambda: resolve_shape((0, -1), 0, "reshape"), ShapeError, ["ambiguous -1"]),
    (lambda: resolve_shape((-2, -6), 12, "reshape"), ShapeError, ["negative size"]),
    (lambda: resolve_shape((2.0,), 2, "reshape"), DTypeError, ["float"]),
    (lambda: normalize_axes("01", 2, "sum"), DTypeError, ["str"]),
    (lambda: normalize_axes({0, 1}, 2, "sum"), DTypeError, ["set"]),
]


@pytest.mark.parametrize(("call", "kind", "texts"), WRONG, ids=range(len(WRONG)))
def test_wrong_calls_say_what_is_wrong(call, kind, texts):
    check_wrong_call(call, kind, texts, exact=True)
