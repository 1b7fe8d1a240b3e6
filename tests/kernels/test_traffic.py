"""Kernels that wait for memory move what they must, and hardly more: counted on the device `checked`."""

import pytest

from benchmarks.op_cases.traffic import COUNTED, optimizer_cases, without_rows
from benchmarks.suites.kernel_traffic import DTYPES, count


def checked(case, dtype):
    row = count(case, dtype)
    assert 0.99 <= row.least <= case.most, f"{case.name}, {dtype}: distinct bytes"
    assert row.most >= 0.99, f"{case.name}, {dtype}: the floor is a floor"
    return row


@pytest.mark.parametrize("counted", COUNTED, ids=lambda counted: counted.name)
def test_a_tenth_above_the_floor_at_most(counted):
    rows = [checked(counted.case(dtype), dtype) for dtype in DTYPES]
    is_high = any(row.most > 1.1 for row in rows)
    assert is_high == bool(counted.reason), "a reason for each high case, and for no other"
    assert counted.most == 1.1 or counted.name == "x[i, j] backward"


@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_and_fills(dtype):
    assert all(checked(case, dtype).most <= 1.1 for case in without_rows(dtype))


def test_one_step_of_an_optimizer():
    adamw, norm, clip = [count(case, "float32") for case in optimizer_cases()]
    for row in (adamw, norm, clip):
        assert 0.99 <= row.least <= row.most <= 1.1, row.name
    assert (adamw.launches, norm.launches) == (1, 2)
