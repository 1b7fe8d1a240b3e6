"""What the benchmarks time does the same in both libraries."""

import pytest

from benchmarks.contest.contest import Plan, agree
from benchmarks.contest.contestants import Local
from benchmarks.op_cases import LAYOUTS, catalogue
from benchmarks.peers.op_libraries import Engine, Torch, case_of
from benchmarks.suites import dispatch, train

pytestmark = pytest.mark.oracle


def test_small_ops_agree() -> None:
    ours, peer = Local(dispatch.ours()), Local(dispatch.peer())
    assert ours.cases() == peer.cases()
    for case in ours.cases():
        agree(case, {"tinytensor": ours.check(case), "PyTorch": peer.check(case)}, Plan())


def test_training_steps_agree() -> None:
    ours, peer = Local(train.ours("S")), Local(train.peer("S"))
    agree("S", {"tinytensor": ours.check("S"), "PyTorch": peer.check("S")}, Plan(rtol=1e-5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ops_agree(layout: str) -> None:
    cases = [c for c in catalogue().values() if c.in_torch and (c.layouts or layout == "contiguous")]
    assert len(cases) > 50
    for case in cases:
        ours, peer = (case_of(library, case, 1024, layout).check for library in (Engine(), Torch()))
        assert ours is not None
        assert peer is not None
        agree(f"{case.name}, {layout}", {"tinytensor": ours(), "PyTorch": peer()}, Plan(rtol=1e-4, atol=1e-5))
