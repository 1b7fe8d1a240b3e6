"""The benchmark of matrix products: it has all products of a step, and a wrong number stops it."""

import numpy as np
import pytest

from benchmarks.contest.contest import Plan
from benchmarks.contest.contestants import BenchmarkError, Local
from benchmarks.suites import matmul_cpu
from benchmarks.suites.matmul_cpu import (
    NUMPY,
    OURS,
    Operands,
    Work,
    as_bits,
    products,
    turned,
    wide,
)
from tinytensor.ops.matmul.matmul import kernels


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_a_wrong_element_is_found(ta: bool, tb: bool, dtype: str) -> None:
    x = Operands(Work("small", 30, 40, 50, ta=ta, tb=tb), dtype)
    y = (turned(wide(x.a), ta) @ turned(wide(x.b), tb)).astype(np.float32)
    x.y[...] = y if dtype == "float32" else as_bits(y)
    assert len(x.check()) == 64
    for wrong in (100.0, np.nan):
        x.y[17, 31] = wrong if dtype == "float32" else as_bits(np.array(wrong, np.float32))
        with pytest.raises(BenchmarkError, match="off by"):
            x.check()


@pytest.mark.parametrize(
    ("shape", "layers", "wide", "tokens", "context", "vocabulary"),
    [("S", 4, 128, 768, 64, 65), ("M", 6, 384, 2048, 256, 65), ("L", 12, 768, 256, 256, 50257)],
)
def test_all_products_of_a_step(
    shape: str, layers: int, wide: int, tokens: int, context: int, vocabulary: int
) -> None:
    weights = layers * 12 * wide * wide + vocabulary * wide
    attention = layers * tokens * context * wide
    counted = sum(w.flops * w.count for w in products(shape))
    assert counted == 6 * tokens * weights + 12 * attention  # each weight 3 times, each square 6 times


def test_contestants_agree_and_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernels.matmul(*[np.ones((1, 1), np.float32)] * 3, False, False, False, True):
        pytest.skip("there is no compiler")
    small = [Work("S tiny", 20, 30, 40, tb=True, count=3), Work("S batch", 5, 6, 7, ta=True, matrices=4)]
    monkeypatch.setattr(matmul_cpu, "products", lambda shape: small if shape == "S" else [])
    monkeypatch.setattr(
        matmul_cpu,
        "Process",
        lambda suite, arguments, **options: Here(
            getattr(matmul_cpu, suite.partition(":")[2])("S", "float32")
        ),
    )
    plan = Plan(rounds=2, retries=0, calls=2, foreign_limit=1e9)
    report = matmul_cpu.run(plan, shapes=["S"], variants=["1 thread"], alone=True)
    assert [r.case for r in report.results] == [f"float32, 1 thread, {work}" for work in small]
    ours, numpy = (
        sum(r.times(n).median * w.count for r, w in zip(report.results, small)) for n in (OURS, NUMPY)
    )
    assert report.findings["S, float32, 1 thread"]["tinytensor : NumPy"] == pytest.approx(
        numpy / ours, abs=1e-3
    )
    assert "float32, 1 thread, S batch: 4 x 5 x 6 x 7 TN" in report.table()
    gigaflop = (2 * 20 * 30 * 40 * 3 + 2 * 4 * 5 * 6 * 7) / 1e9
    rate = report.findings["S, float32, 1 thread"]["tinytensor GFLOP/s"]
    assert rate == pytest.approx(gigaflop / ours, abs=0.1)


class Here(Local):
    """A contestant of this process in the place of one in its own."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass
