"""The logic of the benchmarks with contestants that pretend: no time is measured here, none is asserted."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.contest import machine, windows
from benchmarks.contest.contest import Plan, Report, Result, agree, statistics_of
from benchmarks.contest.contestants import BenchmarkError, Case, LazySuite, Local, Process
from benchmarks.contest.gpu_clock import CupyClock, EngineClock, TorchClock
from benchmarks.contest.tables import text
from benchmarks.contest.windows import Window, measure
from benchmarks.report import compare
from benchmarks.suites import dispatch
from benchmarks.suites.train import SHAPES
from gpt.presets import preset
from tests.helpers.cupy_fixtures import cupy, lazy, needs_nvrtc, pretended  # noqa: F401 - fixtures
from tests.helpers.fake_cupy import FakeCupy


class Fake:
    """A contestant that takes the seconds it is given, one window after the other."""

    def __init__(
        self,
        seconds: list[float],
        foreign: list[float] | None = None,
        says: Any = 1.0,
        device: str = "cpu",
    ) -> None:
        self.seconds, self.says, self.device = seconds, says, device
        self.foreign = foreign or [0.0] * len(seconds)
        self.windows = 0

    def cases(self) -> list[str]:
        return ["work"]

    def devices(self) -> list[str]:
        return [self.device]

    def check(self, case: str) -> Any:
        return self.says

    def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
        at = self.windows % len(self.seconds)
        self.windows += 1
        return Window(self.seconds[at], 10, 1.0, self.foreign[at])

    def about(self) -> dict[str, Any]:
        return {"threads": 1}


def held(ours: Fake, peer: Fake, plan: Plan) -> tuple[Report, Result]:
    report = Report("pretended", "peer")
    (result,) = report.compete({"ours": ours, "peer": peer}, plan, quiet=True)
    return report, result


# ---- agreement ---------------------------------------------------------------------------------------------


def test_contestants_that_disagree_are_not_timed() -> None:
    ours, peer = Fake([1.0], says=[1.0, 2.0]), Fake([1.0], says=[1.0, 2.1])
    with pytest.raises(BenchmarkError, match=r"work: peer and ours disagree at \[1\]: 2\.1 and 2\.0"):
        held(ours, peer, Plan())
    assert ours.windows == peer.windows == 0


@pytest.mark.parametrize("wrong", [[1.0], [float("nan"), 2.0], [1.0, float("inf")], [[1.0, 2.0]]])
def test_other_shapes_and_nan_are_no_agreement_and_rounding_is(wrong: Any) -> None:
    agree("work", {"ours": [1.0, 0.0], "peer": [1.0 + 5e-6, 5e-7]}, Plan(rtol=1e-5, atol=1e-6))
    with pytest.raises(BenchmarkError):
        agree("work", {"ours": [1.0, 2.0], "peer": wrong}, Plan())


# ---- rounds and statistics ---------------------------------------------------------------------------------


def test_statistics_are_medians_and_quartiles() -> None:
    found = statistics_of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.median, found.q1, found.q3, found.min, found.count) == (3.0, 2.0, 4.0, 1.0, 5)
    assert found.spread == pytest.approx(2 / 3)
    assert statistics_of([7.0]).q1 == 7.0


@pytest.mark.parametrize(
    ("seconds", "foreign", "plan", "clean", "median", "said"),
    [
        ([1.0, 9.0, 1.0, 1.0], [0.0, 0.9, 0.0, 0.0], Plan(rounds=3, retries=5), 3, 1.0, "3/4"),
        ([1.0, 3.0], [0.5, 0.5], Plan(rounds=2, retries=2), 0, 2.0, "0/4 noisy"),  # they had to be used
        ([1.0, 3.0, 3.0, 3.0, 3.0], [0.0, *[0.9] * 4], Plan(rounds=3, retries=2), 1, 3.0, "1/5 noisy"),
    ],
)
def test_disturbed_rounds_are_repeated_and_left_out(
    seconds: list[float], foreign: list[float], plan: Plan, clean: int, median: float, said: str
) -> None:
    report, result = held(Fake(seconds, foreign), Fake([2.0]), plan)
    assert (len(result.clean()), result.noisy) == (clean, "noisy" in said)
    assert result.times("ours").median == median
    assert said in report.table()
    assert "noisy" in said or (len(result.rounds), result.times("ours").q3) == (4, 1.0)


def test_the_ratio_is_taken_within_rounds() -> None:
    # the machine is ten times as slow in the second round: the ratio does not see it
    _, result = held(Fake([1.0, 10.0, 1.0]), Fake([2.0, 20.0, 2.0]), Plan(rounds=3))
    assert result.ratio("ours", "peer").median == 2.0
    assert result.ratio("ours", "peer").spread == 0.0


def test_the_grain_of_the_clock_is_not_a_disturbance() -> None:
    assert Window(1e-6, 1, 0.1, 0.02).clean(0.08)
    assert not Window(1e-6, 1, 0.1, 0.04).clean(0.08)
    assert Window(1e-6, 1, 0.1, None).clean(0.08)


def test_each_round_begins_with_another_contestant() -> None:
    turns: list[str] = []

    class Noted(Fake):
        def window(self, case: str, **how: Any) -> Window:
            turns.append(str(self.says))
            return super().window(case)

    report = Report("pretended")
    contestants = {"a": Noted([1.0], says=1.0), "b": Noted([1.0], says=1.0 + 1e-7)}
    report.compete(contestants, Plan(rounds=2), quiet=True)
    assert turns == ["1.0", "1.0000001", "1.0000001", "1.0"]


# ---- devices -----------------------------------------------------------------------------------------------


class Ticking:
    """The clock of a device that takes a quarter of a second from mark to mark."""

    def __init__(self) -> None:
        self.marks = self.waits = 0

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def seconds(self, begin: int, end: int) -> float:
        self.waits += 1
        return 0.25 * (end - begin)

    def wait(self) -> None:
        self.waits += 1


def test_time_of_the_host_and_of_the_device_stand_beside_each_other() -> None:
    clock = Ticking()
    contestant = Local({"work": Case(lambda: None, lambda: 1.0, "cuda", clock)})
    report = Report("on a device")
    report.compete({"ours": contestant}, Plan(rounds=2, retries=0, calls=3), quiet=True)
    (result,) = report.to_dict()["results"]
    assert result["device_seconds"]["ours"]["median"] == 0.25
    assert 0 <= result["host_seconds"]["ours"]["median"] <= result["seconds"]["ours"]["median"]
    assert clock.marks == 2 * clock.waits - 2 * 2  # two marks and a wait for each call, one more for a window
    assert all(len(window) == 6 for window in result["windows"]["ours"])


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_emulated_time_never_stands_beside_real_time(device: str) -> None:
    with pytest.raises(BenchmarkError, match="its seconds say nothing about a GPU"):
        EngineClock(device)
    emulated, real = Fake([1.0], device=device), Fake([1.0])
    with pytest.raises(BenchmarkError, match="emulated time of ours"):
        held(emulated, real, Plan(rounds=1))
    assert emulated.windows == real.windows == 0
    report = Report("one after the other")
    report.compete({"ours": real}, Plan(rounds=1), quiet=True)
    with pytest.raises(BenchmarkError, match="emulated time"):
        report.compete({"ours": emulated}, Plan(rounds=1), quiet=True)
    alone = Report("alone")
    alone.compete({"ours": emulated}, Plan(rounds=1), quiet=True)
    assert alone.to_dict()["clock"] == "emulated"
    assert report.to_dict()["clock"] == "real"


@needs_nvrtc
def test_the_engines_clock_counts_what_the_gpu_counts(lazy: str) -> None:  # noqa: F811 - a fixture
    window = measure(lambda: None, calls=4, group=2, clock=EngineClock(lazy))
    assert window.device == pytest.approx(2.5e-3 / 2)  # what the pretended GPU says
    assert window.host is not None
    assert 0 <= window.host <= window.seconds


def test_the_clock_of_cupy_counts_in_its_own_stream(cupy: FakeCupy) -> None:  # noqa: F811
    stream = cupy.get_current_stream()
    done: list[int] = []
    local = Local({"work": Case(lambda: stream.add(lambda: done.append(1)), None, "cuda", CupyClock(cupy))})
    window = local.window("work", calls=3)
    assert window.device == pytest.approx(2.5e-3)
    assert len(done) == 3  # the window has waited for all of it


def test_the_clock_of_pytorch_asks_its_events() -> None:
    events: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            events.append("mark")

        def synchronize(self) -> None:
            events.append("wait")

        def elapsed_time(self, later: object) -> float:
            assert events[-1] == "wait"
            return 4.0  # milliseconds

    torch = SimpleNamespace(
        cuda=SimpleNamespace(Event=Event, synchronize=lambda: events.append("wait for all"))
    )
    window = measure(lambda: events.append("work"), calls=2, group=2, clock=TorchClock(torch))
    assert events == ["wait for all", "mark", "work", "work", "mark", "wait"]
    assert window.device == pytest.approx(2e-3)


# ---- one process -------------------------------------------------------------------------------------------


def test_busy_time_is_read_from_our_cpus_alone() -> None:
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 3 999 999 4 5 6 0 0\ncpu1 700 0 0 0 0 0 0 0 0 0\nintr 5\n"
    assert windows.busy_seconds(stat, {0}) == pytest.approx(1.38)
    assert windows.busy_seconds(stat, {0, 1}) == pytest.approx(8.38)


def test_a_local_contestant_checks_what_it_calls() -> None:
    class Number:
        def tolist(self) -> float:
            return 4.0

    local = Local({"one": Case(Number), "two": Case(Number, lambda: [5.0])})
    assert local.cases() == ["one", "two"]
    assert (local.check("one"), local.check("two")) == (4.0, [5.0])
    assert local.window("one", calls=3).calls == 3


def test_of_a_lazy_suite_one_case_is_kept() -> None:
    made: list[str] = []

    def make(name: str) -> Case:
        made.append(name)
        return Case(lambda: None, lambda: [1.0])

    local = Local(LazySuite(["a", "b"], make, "cpu"))
    assert (local.cases(), local.devices()) == (["a", "b"], ["cpu"])
    for name in ("a", "a", "b", "b", "a"):
        local.window(name, calls=1)
    assert made == ["a", "b", "a"]


def suite(factor: float) -> dict[str, Case]:
    """For a process of its own; it prints, which must not disturb the talk between the processes."""
    print("a word on standard output")
    return {"threads": Case(lambda: None, lambda: [factor * int(os.environ["OPENBLAS_NUM_THREADS"])])}


def broken() -> dict[str, Case]:
    raise ValueError("this suite is broken on purpose")


def test_a_process_of_its_own_has_its_own_threads() -> None:
    with Process("tests.benchmarks.test_benchmarks:suite", {"factor": 2.0}, threads=3) as process:
        assert process.cases() == ["threads"]
        assert process.check("threads") == [6.0]
        assert process.window("threads", calls=5).calls == 5
        assert process.about()["threads"] == 3


@pytest.mark.parametrize("before", [False, True])
def test_a_process_that_breaks_is_an_error(before: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(BenchmarkError, match="the process ended"),
        Process("tests.benchmarks.test_benchmarks:broken") as p,
    ):
        _ = (before and p._process.wait(), p.cases())  # or it ends after it was asked
    assert "broken on purpose" in capfd.readouterr().err


# ---- reports -----------------------------------------------------------------------------------------------


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    report, _ = held(Fake([1e-6, 2e-6]), Fake([3e-6]), Plan(rounds=2))
    report.findings["loss"] = {"ours": 1.5}
    path = report.write(tmp_path)
    saved = compare.load(path)
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert text(saved) == report.table()
    assert saved["results"][0]["windows"]["ours"] == [[1e-6, 10, 1.0, 0.0], [2e-6, 10, 1.0, 0.0]]
    assert saved["results"][0]["ratio"]["ours"]["median"] == pytest.approx(2.25)


def test_the_machine_and_settings_of_blas_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    about = machine.describe()
    assert about["cpus"] >= 1
    assert about["libraries"]["numpy"]
    assert {"cpu", "blas", "python", "date", "commit", "dirty", "environment"} <= about.keys()
    assert about["environment"]["OPENBLAS_CORETYPE"] == "Haswell"
    json.dumps(about)
    assert "OPENBLAS_CORETYPE=Haswell" in held(Fake([1.0]), Fake([1.0]), Plan(rounds=1))[0].table()


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main([])
    listed = capsys.readouterr().out
    assert all(f"\n    {name} " in listed for name in ("quick", "ops", "kernels_lab", "compare"))


def test_compare_says_that_machines_differ() -> None:
    old, new = (held(Fake([1.0]), Fake([1.0]), Plan(rounds=1))[0].to_dict() for _ in range(2))
    new["machine"] = new["machine"] | {"cpu": "another one"}
    assert "not the same cpu" in compare.compare(old, new)
    new["machine"]["libraries"] = new["machine"]["libraries"] | {"a new one": "1.0"}
    assert "not the same libraries" not in compare.compare(old, new)
    new["machine"]["libraries"] |= {"numpy": "0.1"}
    assert "not the same libraries" in compare.compare(old, new)


def test_wrong_files_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("[]")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "is not a benchmark report" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["dispatch", "--rounds", "0"],
        ["train", "--retries", "-1"],
        ["ops", "--threads", "none"],
        ["kernel_traffic", "--rounds", "3"],  # counted once
    ],
)
def test_options_that_mean_nothing_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert words[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--shapes", "S,X"], "train: X is unknown; shapes are S, M, L"),
        (["train", "--threads", "3"], "train: 3 is unknown; threads are 2, 1"),
        (["generate", "--others", "captured"], "generate: captured is unknown; others are NumPy alone"),
        (["generate", "--shapes", ","], "generate: --shapes names none of S, M, L"),
    ],
)
def test_unknown_words_are_explained(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


# ---- what is measured --------------------------------------------------------------------------------------


def test_our_small_ops_run() -> None:
    contestant = Local(dispatch.ours())
    for case in contestant.cases():
        contestant.check(case)


@pytest.mark.parametrize(
    ("shape", "name"), [("S", "shakespeare-char-cpu"), ("M", "shakespeare-char"), ("L", "gpt2")]
)
def test_shapes_are_those_of_presets(shape: str, name: str) -> None:
    sizes, model = SHAPES[shape][0], preset(name)[0]
    for field in ("n_layer", "n_head", "n_embd"):
        assert sizes[field] == getattr(model, field)
