"""python -m benchmarks checked: a small run, and what ends it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tinytensor as tt
from benchmarks.__main__ import main
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.on_emulator import checked


def test_a_small_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "CASES", {"copy": lambda device: checked.along("copy", 1024, device=device)})
    monkeypatch.setattr(checked, "STEPS", 2)
    assert main(["checked", "--rounds", "2", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "\ncopy " in text
    assert "\ntraining " in text
    (path,) = tmp_path.glob("checked-*.json")
    found = json.loads(path.read_text())["findings"]
    (row,) = found["rows"]
    assert all(
        row[f"{way} seconds"]["min"] > 0 and row[f"{way} seconds"]["count"] == 2 for way in checked.WAYS
    )
    assert found["compilation"].keys() == {"emulated", "checked"}


def test_the_first_round_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Callable[[], object]] = []

    def seconds_of(call: Callable[[], object], calls: int = 1) -> float:
        timed.append(call)
        return 1.0 if timed.count(call) == 1 else 0.25

    monkeypatch.setattr(checked, "seconds_of", seconds_of)
    row = checked.measured("copy", lambda device: checked.along("copy", 1024, device=device), 1)
    assert [row[f"{way} seconds"]["median"] for way in checked.WAYS] == [0.25] * 3
    assert row["check : emulated"]["count"] == 1


def test_other_results_end_it() -> None:
    def make(device: str) -> Callable[[], tt.Tensor]:
        y = tt.full((4,), 2.0 if device == "checked" else 1.0, device=device)
        return lambda: y

    with pytest.raises(BenchmarkError, match="work: checked and emulated disagree"):
        checked.measured("work", make, 1)


def test_findings_end_it() -> None:
    kernel = tt.cuda.kernel("__global__ void one(float* y) { y[0] = threadIdx.x; }")

    def call() -> tt.Tensor:
        y = tt.zeros(1, device="emulated")
        kernel[1, 64](y)
        return y

    with pytest.raises(BenchmarkError, match="work: global race"):
        checked.under_check("work", call)()
