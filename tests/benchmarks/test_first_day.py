"""The first day on a GPU: its steps, limits and page, rehearsed without one; and the suites that it runs."""

from __future__ import annotations

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
from benchmarks import first_day
from benchmarks.__main__ import main
from benchmarks.contest.contest import RESULTS, Plan, agree
from benchmarks.peers.op_libraries import Engine, Library
from benchmarks.suites import bits, gpu_kernels, ncu
from benchmarks.suites.gpu_kernels import Work, works
from benchmarks.suites.train import configs
from gpt.training.plan import plan
from tests.helpers.source import ROOT


def test_a_short_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of the nine steps, on both stand-ins; a second call adds to what the first has found."""
    assert main(["first_day", str(tmp_path), "--rehearse", "--only", "gpu_peaks"]) == 0
    assert "gpu_peaks, dry: done" in capsys.readouterr().out
    first_day.run(tmp_path, ["sanitizer"], rehearse=True)
    logs = {path.name for path in tmp_path.glob("*.log")}
    assert logs == {"gpu_peaks-dry.log", "gpu_peaks-emulated.log", "sanitizer-emulated.log"}
    assert len(list(tmp_path.glob("gpu_peaks-*.json"))) >= 1
    text = (tmp_path / "first_day.md").read_text(encoding="utf-8")
    assert (
        text.index("## sanitizer, emulated") < text.index("nothing was measured") < text.index("## gpu_peaks")
    )
    assert "\nbits: not run.\n" in text
    assert str(tmp_path) not in text.split("```")[0]


def test_all_steps_fit_into_their_time() -> None:
    assert sum(step.seconds for step in first_day.STEPS.values()) <= 45 * 60
    assert all(step.seconds <= 10 * 60 for step in first_day.STEPS.values())


@pytest.mark.parametrize("device", ["cuda", "emulated", "dry"])
def test_the_suites_of_all_steps_know_their_options(device: str) -> None:
    from benchmarks.commands import parser

    suites = [
        command[3:]
        for name, step in first_day.STEPS.items()
        if device in ("cuda", *step.rehearsed)
        for command in first_day.commands(name, device, Path("OUT"))
        if command[2:3] == ["benchmarks"]
    ]
    assert len(suites) >= 6
    for words in suites:
        assert parser("").parse_args(words).device == device


@pytest.mark.skipif(tt.cuda.is_available(), reason="with a GPU, steps would run")
@pytest.mark.parametrize(
    ("folder", "words", "said"),
    [
        ("out", ["--only", "kernel"], "kernel is no step; steps are machine, selftest"),
        ("out", [], "there is no GPU"),
        ("a file", ["--rehearse"], "cannot be made"),
    ],
)
def test_what_cannot_run_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, words: list[str], said: str
) -> None:
    (tmp_path / "a file").touch()
    assert main(["first_day", str(tmp_path / folder), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe_whose_reader_is_gone_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "benchmarks", "compare", str(RESULTS), str(RESULTS)]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=100)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_ctrl_c_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(first_day, "run", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main(["first_day", "OUT", "--rehearse"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_commands_end_at_the_limit_of_their_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sleep = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    fails = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(first_day, "commands", lambda *_: [fails, ["no-such-tool"], sleep, sleep])
    monkeypatch.setitem(first_day.STEPS, "bits", first_day.Step("?", 3))
    begun = time.monotonic()
    first_day.one(tmp_path, "bits", "emulated")
    assert time.monotonic() - begun < 30
    ended = [
        *("exit code 3", "left out: no-such-tool is missing"),
        *("ended at its limit", "left out for lack of time"),
    ]
    assert f"bits, emulated: {'; '.join(ended)}, " in capsys.readouterr().out
    assert "begun\n" in (tmp_path / "bits-emulated.log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_call_that_is_ended_ends_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`one` ends its process on any exception; SIGTERM alone would leave it behind."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(first_day, "one", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit, match="ended"):
        first_day.run(tmp_path, ["bits"], rehearse=True)
    assert signal.getsignal(signal.SIGTERM) is before


# ---- suites ------------------------------------------------------------------------------------------------

NCU = """==PROF== Connected to process 7
"ID","Kernel Name","dram__bytes_read.sum","gpu__time_duration.sum"
"","","byte","nsecond"
"0","void adamw<float>(int)","1,024","2,500"
==PROF== Disconnected
"1","softmax, and more","0","1.5"
"""


def test_what_ncu_prints_is_read() -> None:
    assert ncu.read(NCU) == [
        {"dram__bytes_read.sum": 1024.0, "gpu__time_duration.sum": 2500.0},
        {"dram__bytes_read.sum": 0.0, "gpu__time_duration.sum": 1.5},
    ]
    assert ncu.read("==ERROR== ERR_NVGPUCTRPERM") == []


def test_bits_that_differ_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(device: str, dtype: str, steps: int, **how: Any) -> list[Any]:
        return [1.0 + (device == "emulated") + 1e-6 * how.get("captured", False), "digest"]

    monkeypatch.setattr(bits, "train", train)
    rows = {row["what"]: row["verdict"] for row in bits.run("cpu").findings["bits"]}
    assert rows["20 steps, float32, twice"] == "equal"
    assert rows["20 steps, float32, captured and eager"] == "DIFFERENT"
    assert rows["losses of 3 steps, bfloat16, cpu and emulated"] == "DIFFERENT"
    assert rows["randn, cpu and cpu"] == "equal"


def test_the_products_are_those_of_the_model() -> None:
    """Twelve layers and the head, without attention, as `gpt plan` counts them from the model's sizes."""
    config, train = configs("gpt2")
    costs = plan(config, train, flops_per_second=1.0)
    attention = 4 * config.block_size * config.n_embd * config.n_layer
    tokens, cases = train.batch_size * config.block_size, works()

    def flops(way: str) -> float:
        layers = [cases[f"gpt2 {layer} {way} bfloat16"].flops for layer in ("qkv", "proj", "fc", "fcproj")]
        return 12 * sum(layers) + cases[f"gpt2 head 50257 {way} bfloat16"].flops

    assert flops("forward") == tokens * (costs.forward_flops_per_token - attention)
    assert flops("dx") + flops("dw") == tokens * (costs.backward_flops_per_token - 2 * attention)
    assert next(iter(cases)) == "gpt2 qkv forward bfloat16"


@pytest.mark.parametrize("way", ["forward", "dx", "dw"])
@pytest.mark.parametrize("layer", ["fc", "head 65"])
def test_a_product_is_the_same_in_all_libraries(layer: str, way: str) -> None:
    name = f"gpt2 {layer} {way} float32"
    values = {who: gpu_kernels.suite(who, "emulated")[name].check() for who in ("tinytensor", "CuPy")}
    agree(name, values, Plan(rtol=1e-5))
    work = works(small=True)[name]
    assert gpu_kernels.call_of(Library(), work)()[0].shape == (work.sizes[0], work.sizes[2])


def test_every_case_can_be_called() -> None:
    suite = gpu_kernels.suite("tinytensor", "emulated")
    for name, work in works(small=True).items():
        if work.op != "product":
            assert np.isfinite(suite[name].check()).all()


def test_causal_attention_is_that_of_numpy() -> None:
    work, at = Work("attention", "attention", "forward", "float32", (1, 2, 9, 8), 0, 0), Engine()
    (y,) = gpu_kernels.call_of(at, work)()
    q, k, v = [gpu_kernels.matrix(at, 18, 8, "float32", s).reshape(2, 9, 8).numpy() for s in (0, 2, 4)]
    scores = np.where(np.tri(9, dtype=bool), q @ k.transpose(0, 2, 1) / np.sqrt(8), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(y.detach().numpy()[0], expected, rtol=1e-5)
