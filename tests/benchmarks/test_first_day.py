"""The first day on a GPU: its steps, limits and page, rehearsed without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from benchmarks.__main__ import main
from benchmarks.contest.contest import Plan, agree
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.first_day import correctness, kernels, page, profile, run, steps, training
from benchmarks.first_day.day import DRY, EMULATED, Day
from benchmarks.first_day.kernels import Work, works
from gpt.config import TrainConfig
from gpt.training.plan import plan
from tests.helpers.source import ROOT


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path / "findings.jsonl", EMULATED, 60)


def findings(day: Day) -> list[Any]:
    text = day.file.read_text(encoding="utf-8") if day.file.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def rows(day: Day, table: str) -> list[Any]:
    return [finding["row"] for finding in findings(day) if finding.get("table") == table]


def said(day: Day) -> str:
    return "\n".join(finding["say"] for finding in findings(day) if "say" in finding)


# ---- the whole ---------------------------------------------------------------------------------------------


def test_a_short_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of the nine steps, on both stand-ins; the second call adds to what the first has found."""
    assert main(["first_day", str(tmp_path), "--rehearse", "--only", "peaks"]) == 0
    assert main(["first_day", str(tmp_path), "--rehearse", "--only", "sanitizer"]) == 0
    lines = capsys.readouterr().out
    assert "peaks-dry: done" in lines
    assert not {"\r", "\033"} & set(lines)  # those are for terminals
    found = json.loads((tmp_path / "first_day.json").read_text(encoding="utf-8"))
    assert set(found["steps"]) == {"peaks", "sanitizer"}
    for step in found["steps"].values():
        assert set(step) == {DRY, EMULATED}
        assert {where["status"] for where in step.values()} == {"done"}
    copies = [f["row"] for f in found["steps"]["peaks"][DRY]["findings"] if f.get("table") == "memory"]
    assert {row["call"] for row in copies} >= {"add", "cast to bfloat16", "transposed copy"}
    assert {row["seconds"] for row in copies} == {None}
    text = (tmp_path / "first_day.md").read_text(encoding="utf-8")
    assert text.index("This is a rehearsal") < text.index("## 4. sanitizer") < text.index("## 6. peaks")
    assert "Not run: machine, selftest, tests, bits, kernels, training, profile." in text
    assert " ms" not in text
    with pytest.raises(BenchmarkError, match="has a rehearsal"):
        run.run(tmp_path, ["peaks"])


def test_all_steps_fit_into_their_time() -> None:
    assert sum(step.seconds for step in steps.STEPS.values()) <= steps.MOST
    groups = steps.calls(list(steps.STEPS))
    assert [name for group in groups for name in group] == list(steps.STEPS)
    assert all(sum(steps.STEPS[name].seconds for name in group) <= steps.CALL for group in groups)


def test_calls_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["first_day", "OUT", "--calls"]) == 0
    first, *others, last = capsys.readouterr().out.splitlines()
    assert first == "python -m benchmarks first_day OUT --only machine selftest"
    assert last.endswith("profile")
    assert len(others) >= 3


def test_an_unknown_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["first_day", str(tmp_path / "out"), "--only", "kernel"]) == 2
    assert "kernel is no step; steps are machine, selftest" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(tt.cuda.is_available(), reason="with a GPU, steps would run")
def test_without_a_gpu_nothing_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["first_day", str(tmp_path / "out")]) == 2
    assert "there is no GPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ['{"rehears', "[]", "\0"])
def test_a_damaged_file_of_findings_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "first_day.json").write_text(text, encoding="utf-8")
    assert main(["first_day", str(tmp_path), "--rehearse"]) == 2
    assert "is not readable as findings" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["first_day", str(tmp_path / "file"), "--rehearse"]) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe_whose_reader_is_gone_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "benchmarks", "first_day", "OUT", "--calls"]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=100)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_ctrl_c_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "run", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main(["first_day", "OUT", "--rehearse"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_call_that_is_ended_ends_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`one` ends its process on any exception; SIGTERM alone would leave it behind."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "one", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit, match="ended"):
        run.run(tmp_path, ["bits"], rehearse=True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_step_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.STEPS, "bits", steps.Step("bits", "?", 0, "bits:run"))
    found = run.one(tmp_path, "bits", EMULATED)
    assert found["status"] == "ended at its limit of 0 s"
    assert found["findings"] == []


@pytest.mark.skipif(tt.cuda.is_available(), reason="with a GPU, the step does not fail")
def test_a_failed_step_says_why(tmp_path: Path) -> None:
    found = run.one(tmp_path, "peaks", "")
    assert found["status"] == "ended with exit code 1"
    assert 'device="emulated"' in found["why"]
    assert "DeviceError: device cuda" in (tmp_path / "peaks.log").read_text(encoding="utf-8")


# ---- programs that a step runs -----------------------------------------------------------------------------


def test_a_program_ends_at_its_limit_and_its_output_is_kept(day: Day) -> None:
    begun = time.monotonic()
    done = day.run([sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], 1.5)
    assert done.code is None
    assert done.output == "begun\n"
    assert time.monotonic() - begun < 30


def test_there_is_no_time_left(tmp_path: Path) -> None:
    late = Day(tmp_path / "findings.jsonl", "", 0)
    assert late.left() == 0.0
    assert not late.has(1, "everything")
    assert said(late) == "left out for lack of time: everything"


SANITIZER = """#!/bin/sh
echo "========= COMPUTE-SANITIZER"
echo "cuda float32 softmax: good"
echo "cuda float32 matmul: good"
if [ "$2" = memcheck ]; then
  echo "========= Invalid __global__ read of size 4 bytes"
  echo "=========     at softmax_forward<float>+0x90"
  echo "========= Invalid __global__ read of size 4 bytes"
  echo "========= ERROR SUMMARY: 2 errors (pool $TINYTENSOR_POOL)"
  exit 9
fi
echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
"""


def test_what_compute_sanitizer_says(day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(SANITIZER, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    correctness.sanitizer(day)
    checks = rows(day, "compute-sanitizer")
    tools = [(row["tool"], row["dtype"]) for row in checks]
    assert tools[:4] == [(tool, "float32") for tool in ("memcheck", "racecheck", "initcheck", "synccheck")]
    assert checks[0]["summary"] == "2 errors (pool off)"
    assert (checks[0]["ended"], checks[1]["ended"]) == ("with exit code 9", "with exit code 0")
    assert checks[0]["good_files"] == 2
    assert checks[1]["summary"] == "0 hazards displayed (0 errors, 0 warnings)"
    assert said(day).splitlines()[0] == "memcheck: Invalid __global__ read of size 4 bytes"


def test_a_missing_tool_is_said(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correctness, "find_tool", lambda name: None)
    correctness.sanitizer(day)
    assert "compute-sanitizer is missing" in said(day)


NCU = """==PROF== Connected to process 7
"ID","Kernel Name","dram__bytes_read.sum","gpu__time_duration.sum"
"","","byte","nsecond"
"0","void adamw<float>(int)","1,024","2,500"
==PROF== Disconnected
"1","softmax, and more","0","1.5"
"""


def test_what_ncu_prints_is_read() -> None:
    assert profile.read(NCU) == [
        {"dram__bytes_read.sum": 1024.0, "gpu__time_duration.sum": 2500.0},
        {"dram__bytes_read.sum": 0.0, "gpu__time_duration.sum": 1.5},
    ]
    assert profile.read("==ERROR== ERR_NVGPUCTRPERM") == []


# ---- the work ----------------------------------------------------------------------------------------------


def test_the_products_are_those_of_the_model() -> None:
    """Twelve layers and the head, without attention, as `gpt plan` counts them from the model's sizes."""
    config, batch = training.config_of("gpt2", small=False)
    costs = plan(config, TrainConfig(batch_size=batch), flops_per_second=1.0)
    attention = 4 * config.block_size * config.n_embd * config.n_layer
    tokens, cases = batch * config.block_size, works()

    def flops(way: str) -> float:
        layers = [cases[f"gpt2 {layer} {way} bfloat16"].flops for layer in ("qkv", "proj", "fc", "fcproj")]
        return 12 * sum(layers) + cases[f"gpt2 head 50257 {way} bfloat16"].flops

    assert flops("forward") == tokens * (costs.forward_flops_per_token - attention)
    assert flops("dx") + flops("dw") == tokens * (costs.backward_flops_per_token - 2 * attention)


def test_the_most_important_cases_come_first() -> None:
    names = list(works())
    assert names[0] == "gpt2 qkv forward bfloat16"
    assert names.index("gpt2 adamw float32") < names.index("gpt2 qkv forward float32")
    assert {work.op for work in works().values()} == {
        *("product", "attention", "layer_norm", "cross_entropy", "embedding", "adamw")
    }


@pytest.mark.parametrize("way", ["forward", "dx", "dw"])
@pytest.mark.parametrize("layer", ["fc", "head 65"])
def test_a_product_is_the_same_in_all_libraries(layer: str, way: str) -> None:
    name = f"gpt2 {layer} {way} float32"
    values = {
        library: kernels.suite(library, device, EMULATED)[name].check()
        for library, device in (("tinytensor", "emulated"), ("CuPy", "cpu"))
    }
    agree(name, values, Plan(rtol=1e-5))
    work = works(small=True)[name]
    assert kernels.call_of(kernels.Cupy("cpu"), work)()[0].shape == (work.sizes[0], work.sizes[2])


def test_causal_attention_is_that_of_numpy() -> None:
    work = Work("attention", "attention", (1, 2, 9, 8, 0), "float32", 0, 0)
    at = kernels.Ours("cpu")
    (y,) = kernels.call_of(at, work)()
    q, k, v = [at.matrix(18, 8, "float32", seed).reshape(2, 9, 8).numpy() for seed in (0, 2, 4)]
    scores = np.where(np.tri(9, dtype=bool), q @ k.transpose(0, 2, 1) / np.sqrt(8), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(y.detach().numpy()[0], expected, rtol=1e-5)


# ---- the page ----------------------------------------------------------------------------------------------


def test_the_page_of_a_gpu_keeps_empty_columns_and_says_each_thing_once() -> None:
    rows = [{"case": "a|b", "PyTorch": None, "FLOP/s": 3e14, "speed": 0.5}]
    found = {
        "rehearsal": False,
        "machine": {"commit": "0123456789abcdef", "dirty": False, "date": "2026-11-28"},
        "steps": {
            "kernels": {
                "": {
                    "status": "ended with exit code 1",
                    "why": "KernelError: x",
                    "seconds": 2.0,
                    "findings": [{"say": "once"}, {"table": "t", "row": rows[0]}, {"say": "once"}],
                }
            }
        },
    }
    text = page.page(found)
    assert "rehearsal" not in text
    assert text.count("once") == 1
    assert "| case | PyTorch | FLOP/s | speed |" in text
    assert "| a/b | – | 300 TFLOP/s | 0.500 |" in text
    assert "ended with exit code 1 in 2.0 s of 480: `KernelError: x`" in text
