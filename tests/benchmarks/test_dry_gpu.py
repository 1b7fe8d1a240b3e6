"""What the engine asks of a GPU, counted on one that computes nothing."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.dry_gpu import gpu as dry
from benchmarks.dry_gpu.record import Launch
from benchmarks.dry_gpu.stand_in import Memory, OutOfMemoryError
from benchmarks.dry_gpu.steps import CARD, DTYPES, SHAPES, least_seconds
from benchmarks.dry_gpu.traffic import Measured
from gpt.config import TrainConfig
from gpt.training.plan import plan
from tests.helpers.dry_steps import FILE, name_of
from tests.helpers.source import ROOT

WRITE = "python -m tests.helpers.dry_steps"


def in_a_process(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_steps_ask_what_is_written_down() -> None:
    """Fails when a change alters launches, copies, waits, allocations or compilations of a step."""
    found = in_a_process("-m", "tests.helpers.dry_steps", "--print")
    expected = FILE.read_text(encoding="utf-8")
    changed = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), "written", "found"))
    assert found == expected, f"\n{changed}\nif this is what the change is for: {WRITE}, and commit the file"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return counts


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_captured_step_is_the_eager_one_in_one_replay(written: Any, shape: str, dtype: str) -> None:
    eager, captured = [written[name_of(shape, dtype, graph)] for graph in (False, True)]
    assert captured["kernels"] == eager["kernels"]
    assert sum(eager["kernels"].values()) == eager["step"]["launches"] == captured["step"]["launches"]
    assert (eager["step"]["launch_calls"], eager["step"]["replays"]) == (eager["step"]["launches"], 0)
    assert (captured["step"]["launch_calls"], captured["step"]["replays"]) == (0, 1)
    assert captured["start"]["peak_bytes"] < 1.1 * eager["start"]["peak_bytes"]
    for step in (eager["step"], captured["step"]):  # all was allocated and compiled by the first ones
        assert (step["allocations"], step["pinned"], step["compilations"]) == (0, 0, 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_those_of_the_plan(written: Any, shape: str) -> None:
    """`gpt plan` counts products by the sizes of the model, with attention over the whole context."""
    case = SHAPES[shape]
    costs = plan(case.config, TrainConfig(), flops_per_second=1.0)
    layers, width, context = case.config.n_layer, case.config.n_embd, case.config.block_size
    pairs = case.batch * context**2 * width * layers
    whole = case.tokens * (costs.forward_flops_per_token + costs.backward_flops_per_token)
    expected = whole + 15 * costs.total_parameters  # AdamW's, and those of the norm
    # each pair of positions up to the diagonal: two products forward, five backward
    expected += 7 * pairs * (context + 1) / context - 12 * pairs
    found = written[name_of(shape, "float32", False)]["step"]["megaflops"]
    assert found == pytest.approx(expected / 1e6, rel=1e-6)


TRAINER = """
import sys
from pathlib import Path
from benchmarks.dry_gpu.gpu import install
gpu = install()
from gpt.presets import configs_from
from gpt.training.run import Run
from gpt.training.train import Trainer
words = ["--preset=tiny", "--device=cuda", "--max_steps=40", "--log_interval=20", f"--out_dir={sys.argv[1]}"]
trainer = Trainer(Run(*configs_from(words, default="tiny")), quiet=True)
for number in range(1, 20):
    with gpu.counting() as counted:
        trainer.step()
    totals = counted.totals()
    if number > 2:
        assert (totals["replays"], totals["launch_calls"], totals["d2h"]) == (1, 0, 0), totals
with gpu.counting() as counted:
    trainer.step()
assert counted.totals()["d2h"] > 0
"""


def test_steps_of_the_trainer_are_replays_that_read_nothing_until_one_is_logged(tmp_path: Path) -> None:
    in_a_process("-c", TRAINER, str(tmp_path / "run"))


ADDITION = """
import numpy as np
from benchmarks.dry_gpu.gpu import install
gpu = install(capacity=1 << 34)
import tinytensor as tt
with gpu.counting() as upload:
    x = tt.from_numpy(np.arange(1024, dtype=np.float32)).to("cuda")
with gpu.counting() as outer:
    with gpu.counting() as add:
        y = x + x
    with gpu.counting() as back:
        same = (x.to("cpu").numpy() == np.arange(1024)).all()
        zeros = y.sum().item()
with gpu.counting() as graph:
    step = tt.capture(lambda: y.copy_(x * x), device="cuda", warmup=1)
    for _ in range(3):
        step.replay()
    tt.cuda.synchronize()
large = tt.empty(3 << 30, dtype=tt.float32, device="cuda")  # 12 GiB, which nothing backs
rows = open("/proc/self/status").read().split()
try:
    tt.empty(1 << 30, dtype=tt.float32, device="cuda")
    refused = ""
except tt.AllocationError as error:
    refused = str(error)
import json
print(json.dumps({
    "upload": upload.totals(), "add": add.totals(), "kernels": add.kernels(), "back": back.totals(),
    "outer": outer.totals(), "same": bool(same), "zeros": zeros, "graph": graph.totals(),
    "launches": step.launches, "kib": int(rows[rows.index("VmRSS:") + 1]), "refused": refused,
}))
"""


def test_an_addition_a_graph_and_memory() -> None:
    found = json.loads(in_a_process("-c", ADDITION))
    upload, add, back = found["upload"], found["add"], found["back"]
    assert (upload["h2d"], upload["h2d_bytes"], upload["launches"]) == (1, 4096, 0)
    assert (add["launches"], add["compilations"], add["h2d"], add["waits"]) == (1, 1, 0, 0)
    assert add["allocated_bytes"] == 4096
    assert [name.split("<")[0] for name in found["kernels"]] == ["elementwise_contiguous"]
    assert (back["d2h"], back["d2h_bytes"], back["waits"]) == (2, 4096 + 4, 2)
    assert found["outer"]["launches"] == add["launches"] + back["launches"]
    assert found["same"], "copies are carried out"
    assert found["zeros"] == 0, "kernels are not"
    graph = found["graph"]  # it counts what its replays execute
    assert found["launches"] == 1
    assert (graph["captures"], graph["replays"], graph["launch_calls"], graph["launches"]) == (1, 3, 1, 4)
    assert (graph["d2d"], graph["waits"]) == (4, 1)
    assert found["kib"] < 1 << 20, "memory is address space alone"
    assert "out of memory" in found["refused"]


def test_blocks_do_not_overlap() -> None:
    memory = Memory(1 << 20)
    first, second = memory.alloc(1000), memory.alloc(1)
    assert second >= first + 1000
    assert (memory.held, memory.peak) == (1024 + 512, 1024 + 512)
    memory.free(first, 1000)
    assert memory.alloc(1024) == first
    with pytest.raises(OutOfMemoryError):
        memory.alloc(1 << 20)


def test_it_is_installed_in_a_new_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", object())
    with pytest.raises(BenchmarkError, match="new process"):
        dry.install()


def test_the_least_time_of_a_launch_is_that_of_bytes_or_of_operations() -> None:
    launch = Launch("matmul_hopper<float>", Measured(CARD.bandwidth / 2, CARD.single))
    assert least_seconds(launch, "float32") == 1.0
    assert least_seconds(launch, "bfloat16") == 0.5  # tensor cores: then the bytes are the limit


def test_the_command_says_that_nothing_was_timed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = in_a_process("-m", "benchmarks", "dry", "shakespeare")
    assert "matrix products" in printed
    assert "nothing was timed" in printed
    assert main(["dry", "gpt9"]) == 2
    assert "gpt9 is unknown; shape is one of shakespeare, gpt2" in capsys.readouterr().err
