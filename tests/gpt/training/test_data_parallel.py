"""Training on several ranks of MPI: as one process on the joined batch; failures and Ctrl-C end all."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt.weights.checkpoint import load_checkpoint
from tests.helpers.cupy_fixtures import needs_nvrtc
from tests.helpers.source import ROOT
from tinytensor.runtime.cuda.runtime import device_count

MPIEXEC = Path(sys.executable).with_name("mpiexec")
MISSING = importlib.util.find_spec("mpi4py") is None or not MPIEXEC.is_file()
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(MISSING, reason="mpi4py and the mpiexec of MPICH are not installed (extra [mpi])"),
]
# 5 rows for 2 ranks: their shares are not equal
TRAIN = ["train", "--preset=tiny", "--batch_size=5", "--gradient_accumulation_steps=2", "--log_interval=1"]
TRAIN += ["--eval_interval=10", "--learning_rate=3e-3", "--warmup_steps=2"]


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name != "TINYTENSOR_NUM_THREADS"}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", **more}


def command(ranks, *words):
    started = [] if ranks == 1 else [str(MPIEXEC), "-n", str(ranks)]
    return [*started, sys.executable, "-m", *map(str, words)]


def run(ranks, *words, code=0, **more):
    done = subprocess.run(
        command(ranks, *words), cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=100
    )
    assert (done.returncode == 0) is (code == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


def train(ranks, folder, *words, program="gpt"):
    said = run(ranks, program, *TRAIN, f"--out_dir={folder}", *words)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return said, log, load_checkpoint(folder)


def losses(log, name="loss"):
    return [line[name] for line in log if name in line]


def assert_equal_weights(found, expected):
    for name, weight in expected.weights.items():
        np.testing.assert_allclose(found.weights[name], weight, rtol=1e-3, atol=3e-5, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(1, tmp_path_factory.mktemp("alone") / "run", "--max_steps=20")


def test_two_ranks_are_one_process_on_the_joined_batch(alone, tmp_path):
    _, log, checkpoint = alone
    said, log_of_two, checkpoint_of_two = train(2, tmp_path / "run", "--max_steps=20")
    assert len(losses(log_of_two)) == 20
    np.testing.assert_allclose(losses(log_of_two), losses(log), rtol=1e-5)
    np.testing.assert_allclose(losses(log_of_two, "val_loss"), losses(log, "val_loss"), rtol=1e-5)
    np.testing.assert_allclose(losses(log_of_two, "grad_norm"), losses(log, "grad_norm"), rtol=1e-4)
    assert_equal_weights(checkpoint_of_two, checkpoint)
    assert checkpoint_of_two.state["batches"] == checkpoint.state["batches"]
    assert said.count("step     20  loss") == 1
    assert "2 ranks of" in said


def test_state_is_resumed_by_one_process(alone, tmp_path):
    _, log, checkpoint = alone
    folder = tmp_path / "run"
    schedule = ["--decay_steps=20"]
    _, first, half = train(2, folder, "--max_steps=10", *schedule)
    assert half.optimizer.keys() == checkpoint.optimizer.keys()
    _, both, found = train(1, folder, "--max_steps=20", "--init_from=resume")
    assert len(losses(first)) == 10
    np.testing.assert_allclose(losses(both), losses(log), rtol=1e-5)
    assert_equal_weights(found, checkpoint)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("tests.helpers.nccl_program", marks=needs_nvrtc),
        pytest.param("gpt", marks=pytest.mark.gpu),
    ],
)
def test_ranks_with_a_gpu_each_are_one_process_on_the_joined_batch(program, tmp_path):
    """Over a CuPy and an NCCL that pretend, or on two GPUs; resumed by one process on the CPU."""
    if program == "gpt" and device_count() < 2:
        pytest.skip("needs a second GPU")
    words = ["--n_layer=1", "--decay_steps=6"]
    _, log, checkpoint = train(1, tmp_path / "alone", *words, "--max_steps=6")
    gpus = ["--device=cuda", "--max_steps=4"]
    said, _, half = train(2, tmp_path / "run", *words, *gpus, program=program)
    if program != "gpt":
        first, second = re.findall(r"launches, (\d+) calls of NCCL", said)
        assert int(first) == int(second) > 4  # a rank's gradients in each step, at least
    assert half.state["train"]["device"] == "cuda"
    more = ["--init_from=resume", "--device=cpu", "--max_steps=6"]
    _, both, found = train(1, tmp_path / "run", *words, *more)
    np.testing.assert_allclose(losses(both), losses(log), rtol=1e-5)
    np.testing.assert_allclose(losses(both, "grad_norm"), losses(log, "grad_norm"), rtol=1e-4)
    assert_equal_weights(found, checkpoint)


@pytest.mark.parametrize(
    ("ranks", "device", "words"),
    [
        (3, "cuda", "init: 3 ranks on this machine, and 2 GPUs"),
        (2, "cuda:1", "train: device=cuda:1 with 2 ranks"),
    ],
)
def test_gpus_that_ranks_cannot_have_are_refused_in_one_voice(ranks, device, words, tmp_path):
    asked = [*TRAIN, f"--device={device}", f"--out_dir={tmp_path / 'run'}"]
    said = run(ranks, "tests.helpers.nccl_program", *asked, code=1)
    assert said.count(words) == 1


def test_a_bucket_has_arrived_before_backward_ends():
    assert run(2, "tests.helpers.mpi_program", "overlap").count("arrived before backward ended: True") == 2


def test_operations_are_those_of_numpy_and_cores_are_shared():
    for more, threads in (({}, None), ({"TINYTENSOR_NUM_THREADS": "5"}, 5)):
        said = run(3, "tests.helpers.mpi_program", "operations", **more)
        for rank in range(3):
            (line,) = [line for line in said.splitlines() if line.startswith(f"rank {rank} of 3")]
            assert "share 0.333" in line
            expected = max(1, len(os.sched_getaffinity(0)) // 3) if threads is None else threads
            assert int(line.split()[-1]) <= expected


@pytest.mark.parametrize(
    ("how", "words"), [("raise", "error on rank 1 of 2, which ends all"), ("kill", "signal 9")]
)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_nvrtc)])
def test_a_rank_that_fails_ends_all(how, words, device, tmp_path):
    program = "tests.helpers.mpi_program" if device == "cpu" else "tests.helpers.nccl_program"
    asked = [*TRAIN, f"--device={device}", f"--out_dir={tmp_path}", "--max_steps=99"]
    said = run(2, program, "fail", how, *asked, code=1)
    assert words in said
    assert ("bad luck" in said) is (how == "raise")
    assert "step      3  loss" in said
    assert "step      5  loss" not in said


def test_ctrl_c_saves_once(tmp_path):
    words = [*TRAIN, f"--out_dir={tmp_path / 'run'}", "--max_steps=100000"]
    process = subprocess.Popen(
        command(2, "gpt", *words),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            if line.startswith("step      3  loss"):
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does
                break
        said = process.stdout.read()
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert said.count("stopped at step") == 1
    step = load_checkpoint(tmp_path / "run").step
    assert f"stopped at step {step}," in said


def test_a_batch_smaller_than_the_team_is_refused_in_one_voice(tmp_path):
    said = run(2, "gpt", "train", "--preset=tiny", "--batch_size=1", f"--out_dir={tmp_path}", code=1)
    assert said.count("batch_size=1 with 2 ranks") == 1
