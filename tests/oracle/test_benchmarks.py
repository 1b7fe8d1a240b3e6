"""What the benchmarks time does the same in both libraries."""

import pytest

from benchmarks import bench_dispatch, bench_train
from benchmarks.contestants import Local
from benchmarks.harness import Plan, agree

pytestmark = pytest.mark.oracle


def test_small_ops_agree() -> None:
    ours, peer = Local(bench_dispatch.ours()), Local(bench_dispatch.peer())
    assert ours.cases() == peer.cases()
    for case in ours.cases():
        agree(case, {"tinytensor": ours.check(case), "PyTorch": peer.check(case)}, Plan())


def test_training_steps_agree() -> None:
    ours, peer = Local(bench_train.ours("S")), Local(bench_train.peer("S"))
    agree("S", {"tinytensor": ours.check("S"), "PyTorch": peer.check("S")}, Plan(rtol=1e-5))
