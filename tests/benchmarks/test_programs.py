"""Benchmarks of tokenizers, memory and ranks measure what they say: equal results, counted bytes."""

import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contest.contest import Plan, agree
from benchmarks.contest.contestants import BenchmarkError, Local, installed
from benchmarks.contest.windows import Window
from benchmarks.suites import distributed, memory, tokenizer
from benchmarks.suites.distributed import Launched, hidden
from benchmarks.suites.tokenizer import CASES, OURS, PLAIN, plain_merges
from benchmarks.suites.train import SHAPES, configs
from gpt import BPETokenizer, embedded_shakespeare
from gpt.presets import preset
from gpt.training.plan import plan

MPI = installed("mpi4py") and Path(sys.executable).with_name("mpiexec").is_file()


class Here(Local):
    """A contestant of this process in the place of one in its own."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass


# ---- tokenizer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [embedded_shakespeare()[:4000], "aaaa aaa aa a", "ab ab ba ba", "é é ü 🙂🙂🙂"]
)
def test_the_plain_trainer_learns_what_ours_learns(text: str) -> None:
    assert plain_merges(text, 300) == BPETokenizer.train(text, 300, special_tokens=[]).merges


def test_the_plain_trainer_takes_the_most_frequent_pair() -> None:
    text = embedded_shakespeare()[:2000]
    words = tokenizer.pieces(text, "gpt2")
    counts = Counter(pair for word in words for pair in itertools.pairwise(word.encode()))
    (first, second), *_ = plain_merges(text, 257)
    assert counts[first[0], second[0]] == max(counts.values())


def test_a_run_of_the_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(path: str, arguments: dict[str, Any], **how: Any) -> Here:
        return Here(getattr(tokenizer, path.partition(":")[2])(**arguments))

    monkeypatch.setattr(tokenizer, "Process", process)
    plan = Plan(rounds=2, retries=0, calls=1, foreign_limit=1e9)
    report = tokenizer.run(plan, kilobytes=3, vocab_size=270, alone=True)
    assert [r.case for r in report.results] == list(CASES)
    assert report.findings["text"]["characters"] == 3000
    assert report.findings[f"train, {OURS} is so many times as fast as"].keys() == {PLAIN}
    with pytest.raises(BenchmarkError, match="must exceed the 256 bytes"):
        tokenizer.run(plan, vocab_size=256)
    with pytest.raises(BenchmarkError, match="there is no file"):
        tokenizer.run(plan, text="no such file")


# ---- memory ------------------------------------------------------------------------------------------------


def test_kept_bytes_are_those_that_the_plan_predicts() -> None:
    weights, kept = Local(memory.ours("S")).check(memory.COUNTED)
    predicted = plan(*configs("S"), flops_per_second=1.0)
    assert weights == 4 * predicted.total_parameters
    assert kept == pytest.approx(predicted.activation_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "name"), [("S", "shakespeare-char-cpu"), ("M", "shakespeare-char"), ("L", "gpt2")]
)
def test_shapes_are_those_of_presets(shape: str, name: str) -> None:
    sizes, model = SHAPES[shape][0], preset(name)[0]
    for field in ("n_layer", "n_head", "n_embd"):
        assert sizes[field] == getattr(model, field)


# ---- ranks -------------------------------------------------------------------------------------------------


def test_what_is_hidden_is_what_is_not_waited_for() -> None:
    assert hidden(waited=0.0, alone=2.0) == 1.0
    assert hidden(waited=0.5, alone=2.0) == 0.75
    assert hidden(waited=3.0, alone=2.0) == 0.0
    assert hidden(waited=0.0, alone=0.0) == 0.0


def test_speed_and_overlap_of_ranks_follow_from_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretended(Launched):
        def check(self, case: str) -> list[float]:
            return [4.0, 3.5]

        def window(self, case: str, *, seconds: float = 0.0, calls: int | None = None) -> Window:
            took = 1.0 / self.ranks / self.threads * (1.0 if self.overlap else 1.2)
            self.said = {"bytes": 1 << 20, "alone": 0.4, "waited": 0.1}
            return Window(took, calls or 1, 1.0, 0.0)

    monkeypatch.setattr(distributed, "mpiexec", lambda: None)
    report = distributed.run(Plan(rounds=1), shapes=["S"], ranks=4, make=Pretended)
    found = report.findings["S"]
    assert found["speed of 4 ranks"] == 4.0
    assert found["efficiency"] == 1.0
    assert found["gained_by_overlap"] == pytest.approx(1.2)
    assert found["hidden"] == 0.75
    with pytest.raises(BenchmarkError, match="at least 2"):
        distributed.run(Plan(), ranks=1)
    with pytest.raises(BenchmarkError, match="batch of L, 1, does not split into 2"):
        distributed.run(Plan(), shapes=["L"])


@pytest.mark.mpi
@pytest.mark.skipif(not MPI, reason="mpi4py and the mpiexec of MPICH are not installed (extra [mpi])")
def test_ranks_have_the_losses_of_one_process() -> None:
    everyone = {"1": Launched("S", 1), "2": Launched("S", 2), "late": Launched("S", 2, overlap=False)}
    agree("S", {name: ranks.check("S") for name, ranks in everyone.items()}, Plan(rtol=1e-4))
    window = everyone["2"].window("S", calls=2)
    assert window.calls == 2
    assert 0 < window.seconds <= window.wall
    assert everyone["2"].said["bytes"] >= 4 * plan(*configs("S"), flops_per_second=1.0).total_parameters
