"""Packing into rows: nothing is lost, nothing overflows, and the rows are few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.data.examples import best_fit


@given(lengths=st.lists(st.integers(1, 20), max_size=40))
def test_each_goes_where_the_least_room_is_left(lengths):
    """By the definition, with a search through all rows."""
    rows: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        rooms = [20 - sum(lengths[k] for k in row) for row in rows]
        fitting = [(room, row) for row, room in enumerate(rooms) if room >= lengths[i]]
        if fitting:
            rows[min(fitting)[1]].append(i)
        else:
            rows.append([i])
    assert best_fit(lengths, 20) == rows


def test_a_sequence_that_is_too_long():
    with pytest.raises(tt.ArgumentError, match="a sequence of 21 in rows of 20"):
        best_fit([3, 21], 20)
