"""Kernels that wait for memory move what they must, and hardly more: counted on the device `checked`."""

import pytest

import tinytensor as tt
from benchmarks.op_cases.traffic import GROUPS, Draw, optimizer_cases
from benchmarks.suites.traffic import DTYPES, count


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_a_tenth_above_the_floor_at_most(group) -> None:  # type: ignore[no-untyped-def]
    counted = [(case, count(case, name)) for name in DTYPES for case in group(Draw(getattr(tt, name)))]
    for case, row in counted:
        assert 0.99 <= row.least <= case.most, f"{row.name}, {row.dtype}: distinct bytes"
        assert row.most >= 0.99, f"{row.name}, {row.dtype}: the floor is a floor"
    rows = [row for _, row in counted]
    assert {case.name for case, _ in counted if case.most > 1.1} <= {"x[i, j] backward"}
    high = {row.name for row in rows if row.most > 1.1}
    assert high == {row.name for row in rows if row.reason}, "a reason for each high row, and for no other"


def test_one_step_of_an_optimizer() -> None:
    adamw, norm, clip = [count(case, "float32") for case in optimizer_cases()]
    for row in (adamw, norm, clip):
        assert 0.99 <= row.least <= row.most <= 1.1, row.name
    assert (adamw.launches, norm.launches) == (1, 2)
