"""Benchmarks of tokenizers and memory measure what they say: equal results, counted bytes."""

from typing import Any

import pytest

from benchmarks.contest.contest import Plan
from benchmarks.contest.contestants import BenchmarkError, Local
from benchmarks.suites import memory, tokenizer
from benchmarks.suites.tokenizer import CASES
from benchmarks.suites.train import SHAPES, configs
from gpt.presets import preset
from gpt.training.plan import plan


class Here(Local):
    """A contestant of this process in the place of one in its own."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass


# ---- tokenizer ---------------------------------------------------------------------------------------------


def test_a_run_of_the_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(path: str, arguments: dict[str, Any], **how: Any) -> Here:
        return Here(getattr(tokenizer, path.partition(":")[2])(**arguments))

    monkeypatch.setattr(tokenizer, "Process", process)
    plan = Plan(rounds=2, retries=0, calls=1, foreign_limit=1e9)
    report = tokenizer.run(plan, kilobytes=3, vocab_size=270, alone=True)
    assert [r.case for r in report.results] == list(CASES)
    assert report.findings["text"]["characters"] == 3000
    assert report.findings["train, MB/s"].keys() == {"tinytensor"}
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
