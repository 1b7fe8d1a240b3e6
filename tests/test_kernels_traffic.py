"""Kernels that wait for memory move what they must, and hardly more: counted on the device `checked`."""

import pytest

import tinytensor as tt
from benchmarks.bench_traffic import Case, cases, count, optimizer_cases


def ids(found: list[Case]) -> list[str]:
    return [case.name for case in found]


@pytest.mark.parametrize("at", range(len(cases(tt.float32))), ids=ids(cases(tt.float32)))
def test_a_tenth_above_the_floor_at_most(at: int) -> None:
    case = cases(tt.float32)[at]
    counted = count(case, "float32")
    assert counted.ratio >= 0.99, "the floor is a floor"
    assert counted.ratio <= (2.2 if case.reason else 1.1)


@pytest.mark.parametrize("case", optimizer_cases(), ids=ids(optimizer_cases()))
def test_one_step_of_an_optimizer(case: Case) -> None:
    counted = count(case, "float32")
    assert 0.99 <= counted.ratio <= 1.1
    assert counted.launches <= 2
