"""Training that is killed at any moment, or meets a full disk: its run loads, and goes on with equal bits."""

import random
import shutil
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import gpt.weights.checkpoint as checkpoint
from gpt.training.command import train
from gpt.training.run_log import RunLog
from gpt.weights.checkpoint import list_checkpoints, load_checkpoint
from gpt.weights.load import load
from tests.gpt.weights.test_killed_saves import Killed
from tests.helpers.runs import assert_same, tiny
from tests.helpers.source import ROOT

STEPS, INTERVAL = 36, 3
WORDS = (
    *(f"--max_steps={STEPS}", f"--checkpoint_interval={INTERVAL}", "--eval_interval=12"),
    *("--dropout=0.1", "--optimizer=muon"),
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL, and no limits")

# Trains, and kills itself in a save: before the call of this number, counted from the first step on; or, if
# the number is negative, just before (-1) or after (-2) `latest` begins to name the new checkpoint.
CHILD = """
    import os, signal, sys
    from gpt.__main__ import main
    from gpt.training.train import Trainer

    count, left = int(sys.argv[1]), [1 << 30]

    def counted(real):
        def call(*args, **kwargs):
            if left[0] < 0 and str(args[-1]).endswith("latest"):
                left[0] = -count
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "open"):
        setattr(os, name, counted(getattr(os, name)))
    step = Trainer.step

    def first_step(self):
        left[0] = count
        Trainer.step = step
        print("training", flush=True)
        return step(self)

    Trainer.step = first_step
    sys.exit(main(sys.argv[2:]))
"""


def start(script, *words):
    command = [sys.executable, "-c", textwrap.dedent(script), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(*tiny(folder, *WORDS), quiet=True)


def assert_loadable(folder, at_least):
    """Every checkpoint that is there can be read, to its last byte; the latest is no older than before."""
    for step in list_checkpoints(folder):
        assert load_checkpoint(folder, step).step == step
    if (folder / "best").exists():
        load_checkpoint(folder, "best")
    latest = load_checkpoint(folder)
    assert latest.step >= at_least
    assert all(np.isfinite(a).all() for a in latest.weights.values())
    return latest.step


def assert_same_as(whole, folder):
    for which in ("latest", "best"):
        ours, theirs = [load_checkpoint(f, which) for f in (folder, whole.folder)]
        assert ours.step == theirs.step
        assert_same(ours, theirs)
    kept = ("step", "loss", "val_loss", "grad_norm", "skipped", "skipped_loss")
    logs = [[{k: line.get(k) for k in kept} for line in RunLog(f).read()] for f in (folder, whole.folder)]
    assert logs[0] == logs[1]


def test_killed_at_any_moment_it_goes_on_with_equal_bits(whole, tmp_path):
    rng, folder, latest = random.Random(0), tmp_path / "run", 0
    for attempt in range(8):
        resuming = list_checkpoints(folder) != []
        count = (-1, rng.randrange(1, 40), 0, -2)[attempt % 4]  # 0: whenever the clock says
        words = (*WORDS, f"--out_dir={folder}", *(["--init_from=resume"] if resuming else []))
        with start(CHILD, str(count), "train", "--preset=tiny", *words) as process:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and line != "training\n":
                pass
            if not count:
                time.sleep(rng.uniform(0, 0.2))
                process.kill()
            _, said = process.communicate(timeout=60)
        if list_checkpoints(folder):
            latest = assert_loadable(folder, latest)
        if process.returncode == 0:
            break
        assert process.returncode == -9, said
    assert attempt >= 3
    train(*tiny(folder, *WORDS, "--init_from=resume"), quiet=True)
    assert_same_as(whole, folder)


# A limit on the size of files is a disk that fills up while weights are written.
FULL = """
    import resource, sys
    from gpt.__main__ import main
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_leaves_the_checkpoint_before(whole, tmp_path):
    folder = tmp_path / "run"
    words = [w for w in WORDS if not w.startswith("--max_steps")]
    first = tiny(folder, *words, "--max_steps=15")
    train(*first, quiet=True)
    before, _ = load(folder)
    with start(
        FULL, "train", "--preset=tiny", *WORDS, f"--out_dir={folder}", "--init_from=resume"
    ) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "step 18 could not be saved" in said
    assert "complete checkpoints there: " in said
    assert not list(folder.glob(".checkpoint*"))
    assert assert_loadable(folder, 15) == 15
    assert_same(load(folder)[0], before)
    resumed = tiny(folder, *words, "--max_steps=18", "--init_from=resume")
    train(*resumed, quiet=True)
    assert assert_loadable(folder, 18) == 18


def test_a_damaged_latest_checkpoint_is_made_again(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    (folder / f"step_{STEPS}" / "model.safetensors").write_bytes(b"damaged")
    train(*tiny(folder, *WORDS, "--init_from=resume"), quiet=True)
    assert f"resuming from {folder / f'step_{STEPS - INTERVAL}'}\n" in capsys.readouterr().err
    assert_same_as(whole, folder)


def test_a_finished_run_that_was_killed_in_its_last_save_is_cleaned_up(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    words = ["--max_steps=4", "--checkpoint_interval=1", "--keep_checkpoints=1", "--eval_interval=0"]
    real = checkpoint._prune

    def killed(run_dir, step, keep):
        if step == 4:
            raise Killed
        real(run_dir, step, keep)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_prune", killed)
        with pytest.raises(Killed):
            train(*tiny(folder, *words), quiet=True)
    (folder / ".checkpoint-step_2.tmp").mkdir()  # of a kill while step 2 was removed
    (folder / "step_3.mine").mkdir()
    assert list_checkpoints(folder) == [3, 4]
    train(*tiny(folder, *words, "--init_from=resume"), quiet=True)
    names = {path.name for path in folder.iterdir()}
    assert {name for name in names if "step_" in name} == {"step_4", "step_3.mine"}
