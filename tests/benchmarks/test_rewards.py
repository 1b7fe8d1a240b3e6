"""python -m benchmarks rewards: the table, a small run, and where it goes."""

from pathlib import Path

import pytest

from benchmarks.suites import rewards
from benchmarks.suites.rewards import Curve, table


def test_a_table() -> None:
    curves = [
        Curve("sorting", 1, False, 60.0, [0, 50], [0.5, 1.0], [0.25, 0.75], [0.5, 1.0]),
        Curve("sorting", 2, False, 80.0, [0, 50], [0.5, 0.9], [0.25, 0.85], [0.5, 0.8]),
        Curve("sorting", 1, True, 9.0, [0, 10], [0.5, 0.0], [0.25, 0.0], [0.5, 0.1]),
    ]
    assert table(curves).split("\n")[2:] == [
        "| sorting | 1 | 50 | 50 → 100 % | 25 → 75 % | 50 → 100 % | 60 s |",
        "| sorting | 2 | 50 | 50 → 90 % | 25 → 85 % | 50 → 80 % | 80 s |",
        "| **sorting** | mean | 50 | 50 → 95 % | 25 → 80 % | 50 → 90 % | 70 s |",
        "| sorting, shuffled rewards | 1 | 10 | 50 → 0 % | 25 → 0 % | 50 → 10 % | 9 s |",
    ]


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{rewards.BEGIN}\nold\n{rewards.END}\nafter\n")
    small = {"n_layer": 1, "n_head": 1, "n_embd": 8, "batch_size": 2, "max_steps": 2, "warmup_steps": 0}
    for name, value in {
        "STARTS": {"spelling": 1},
        "SEEDS": (1, 2),
        "BASE": {**rewards.BASE, **small, "checkpoint_interval": 1},
        "SETTING": {**rewards.SETTING, "max_steps": 2, "eval_interval": 1, "batch_size": 1, "held_out": 2},
        "CONTROL": {"control": "shuffled", "max_steps": 1},
        "PAGE": page,
        "PICTURE": tmp_path / "curves.svg",
    }.items():
        monkeypatch.setattr(rewards, name, value)
    found = rewards.run(tmp_path / "runs", page=True)
    rows = [line for line in found.splitlines() if line.startswith("| spelling")]
    assert [row.split(" | ")[1:3] for row in rows] == [["1", "2"], ["2", "2"], ["1", "1"]]
    text = page.read_text()
    assert text == f"before\n{rewards.BEGIN}\n\n{found}\n\n{rewards.END}\nafter\n"
    assert "seed 2" in (tmp_path / "curves.svg").read_text()
    # Finished runs are not trained again, and one that was stopped is.
    curve = tmp_path / "runs" / "spelling-1" / "curve.json"
    (tmp_path / "runs" / "spelling-2" / "curve.json").unlink()
    before = curve.stat().st_mtime_ns
    again = rewards.run(tmp_path / "runs", page=False)
    assert curve.stat().st_mtime_ns == before
    assert [line.rsplit("|", 2)[0] for line in again.splitlines()[2:]] == [
        line.rsplit("|", 2)[0] for line in found.splitlines()[2:]
    ]
