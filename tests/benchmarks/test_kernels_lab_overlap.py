"""The ladder of streams: rungs give equal bits, what they ask for is counted, and the times of the model are
those that one works out by hand.
"""

import numpy as np
import pytest

import tinytensor as tt
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.kernels_lab import overlap
from benchmarks.kernels_lab.run import run
from benchmarks.kernels_lab.timeline import Timeline
from tests.helpers import cupy_fixtures
from tinytensor.runtime import runtime_of

cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures
device = cupy_fixtures.device


@pytest.mark.parametrize("size", [(5, 2), (1003, 4), (4096, 1)])
def test_rungs_agree_with_numpy_and_with_each_other(device: str, size: tuple[int, int]) -> None:
    assert len(overlap.check(device, size)) == len(overlap.RUNGS)


def test_a_rung_that_forgets_a_part_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap.Job, "parts", lambda job: [slice(0, job.size // 2)])
    with pytest.raises(BenchmarkError, match="parts, 1 stream: differs"):
        overlap.check("emulated", (100, 2))


def test_what_rungs_ask_for() -> None:
    counts = {row.rung: (row.streams, row.copies, row.launches) for row in overlap.count()}
    n = overlap.PARTS
    assert counts == {
        "ordinary memory": (1, 2, 1),
        "pinned": (1, 2, 1),
        "parts, 1 stream": (1, 2 * n, n),
        "parts, 2 streams": (2, 2 * n, n),
        "parts, 3 streams": (3, 2 * n, n),
        "parts, 4 streams": (4, 2 * n, n),
        "streams by role": (3, 2 * n, n),
    }


def test_times_of_the_model() -> None:
    size, rounds = overlap.LARGE
    n, copy = overlap.PARTS, 4 * size / overlap.PINNED
    kernel = 2 * size * rounds / overlap.CARD.single
    assert kernel < copy
    seconds = {row.rung: row.seconds for row in overlap.count((8 * n, 1))}
    expected = {
        "ordinary memory": 2 * 4 * size / overlap.ORDINARY + kernel,
        "pinned": 2 * copy + kernel,
        "parts, 1 stream": 2 * copy + kernel,
        "parts, 2 streams": (2 * copy + kernel) / n + (n // 2 - 1) * (2 * copy + kernel) / n + copy / n,
        "parts, 3 streams": 2 * copy / n + kernel / n + (n - 1) * copy / n,
        "parts, 4 streams": 2 * copy / n + kernel / n + (n - 1) * copy / n,
        "streams by role": 2 * copy / n + kernel / n + (n - 1) * copy / n,
    }
    for title, wanted in expected.items():
        np.testing.assert_allclose(seconds[title], wanted, rtol=1e-6, err_msg=title)


def test_a_timeline_by_hand() -> None:
    """Two streams; the second waits for the copy of the first, the engines for what they are doing."""
    t = Timeline()
    t.enter(1)
    t.add("in", 2.0)
    t.leave()
    t.enter(2)
    t.add("in", 1.0)
    t.order(2, 1)
    t.add("kernel", 3.0)
    t.leave()
    assert t.steps == [("in", 0.0, 2.0), ("in", 2.0, 3.0), ("kernel", 3.0, 6.0)]
    t.wait(1)
    t.add("out", 1.0)
    assert t.steps[-1] == ("out", 2.0, 3.0), "the host waited for the first stream alone"
    t.wait(2)
    t.add("out", 1.0, host_waits=True)
    assert (t.steps[-1], t.seconds) == (("out", 6.0, 7.0), 7.0)
    assert t.drawing(7.0, 14) == ["  in      000011", "  kernel        000000", "  out         00      11"]


def test_the_runtime_is_itself_again_after_counting() -> None:
    runtime = runtime_of(tt.Device("emulated"))
    before = set(vars(runtime))
    overlap.count((16, 1))
    assert set(vars(runtime)) == before


def test_the_emulator_is_not_timed() -> None:
    with pytest.raises(BenchmarkError, match="emulated is not timed"):
        overlap.time_rungs(device="emulated")


def test_a_report_says_that_its_times_are_a_model() -> None:
    text = run([overlap.LADDER], timed=False).table()
    assert "its seconds come from a model of a GPU" in text
    assert overlap.MODEL.splitlines()[0] in text
    assert "kernel" in text
