"""Checkpoints are whole at every moment: killed between system calls or at random, and on full disks."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gpt.weights.checkpoint import list_checkpoints, load_checkpoint, prune_checkpoints
from tests.gpt.weights.test_checkpoint import assert_is, save
from tests.helpers.source import ROOT
from tinytensor.errors import SaveError


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the product may catch it."""


SYSTEM_CALLS = [(os, "rename"), (os, "replace"), (os, "fsync"), (os, "mkdir"), (os, "unlink"), (os, "rmdir")]


def fail_at(monkeypatch, count, failure):
    """Let the system call number `count` raise; return the calls seen so far."""
    seen = []

    def wrapped(name, real):
        def call(*args, **kwargs):
            seen.append(name)
            if len(seen) == count:
                raise failure
            return real(*args, **kwargs)

        return call

    for owner, name in SYSTEM_CALLS:
        monkeypatch.setattr(owner, name, wrapped(name, getattr(owner, name)))
    return seen


def scenario_calls(tmp_path, monkeypatch, action):
    """Count the system calls of an action."""
    run = tmp_path / "count"
    prepare(run)
    with monkeypatch.context() as patch:
        seen = fail_at(patch, -1, None)
        action(run)
    return len(seen)


def prepare(run):
    save(run, 1, best=True)
    save(run, 2)


ACTIONS = {
    "a new step": (lambda run: save(run, 3, keep=1), (2, 3)),
    "a new best": (lambda run: save(run, 3, keep=1, best=True), (2, 3)),
    "the same step": (lambda run: save(run, 2, keep=1), (2,)),
}


def killed_runs(tmp_path, monkeypatch, action):
    """Runs in which an action was killed, one for each of its system calls."""
    total = scenario_calls(tmp_path, monkeypatch, action)
    assert total > 10
    for count in range(1, total + 1):
        run = tmp_path / str(count)
        prepare(run)
        with monkeypatch.context() as patch:
            fail_at(patch, count, Killed())
            with pytest.raises(Killed):
                action(run)
        yield run


@pytest.mark.parametrize("name", ACTIONS)
def test_killed_at_every_system_call(tmp_path, monkeypatch, name):
    action, allowed = ACTIONS[name]
    for run in killed_runs(tmp_path, monkeypatch, action):
        latest, best = load_checkpoint(run), load_checkpoint(run, "best")
        assert latest.step in allowed
        assert best.step in (1, *allowed)
        assert_is(best, best.step)
        if name == "a new best" and latest.step == 3:
            assert best.step == 3  # a state never knows of a best loss whose weights are not named
        for step in list_checkpoints(run):
            assert_is(load_checkpoint(run, step), step)
        save(run, 4, keep=1)  # the run goes on, and cleans up
        assert_is(load_checkpoint(run), 4)
        expected = {"latest", "best", "step_4", f"step_{load_checkpoint(run, 'best').step}"}
        assert set(os.listdir(run)) == expected


@pytest.mark.parametrize("name", ACTIONS)
def test_what_a_killed_save_left_goes_without_another_save(tmp_path, monkeypatch, name):
    users = {"step_1.mine", ".checkpoint-mine", "step_9.old"}
    for run in killed_runs(tmp_path, monkeypatch, ACTIONS[name][0]):
        for user in users:
            (run / user).mkdir()
        latest, best = load_checkpoint(run).step, load_checkpoint(run, "best").step
        prune_checkpoints(run, latest, keep=1)
        assert_is(load_checkpoint(run), latest)
        assert_is(load_checkpoint(run, "best"), best)
        later = {
            f"step_{step}" for step in list_checkpoints(run) if step > latest
        }  # `latest` was not written
        assert set(os.listdir(run)) == {"latest", "best", f"step_{latest}", f"step_{best}", *later, *users}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_failing_system_call_is_explained_and_harmless(tmp_path, monkeypatch, name):
    action, allowed = ACTIONS[name]
    total = scenario_calls(tmp_path, monkeypatch, action)
    errors = []
    for count in range(1, total + 1):
        run = tmp_path / str(count)
        prepare(run)
        with monkeypatch.context() as patch:
            fail_at(patch, count, OSError(28, "No space left on device"))
            try:
                action(run)  # a failure to remove old ones is no failure
            except SaveError as error:
                errors.append(error)
        latest = load_checkpoint(run)
        assert latest.step in allowed
        assert_is(latest, latest.step)
    assert len(errors) > 8
    assert all("No space left on device" in error.why for error in errors)
    assert all("complete checkpoints there: 1" in error.fix for error in errors)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a Unix notion")
def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    save(tmp_path, 1)
    code = """
        import resource, sys
        import numpy as np
        from gpt.weights.checkpoint import save_checkpoint
        from tinytensor.errors import SaveError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            save_checkpoint(sys.argv[1], 2, {"w": np.zeros(9)}, {"m": np.zeros(9_000)}, {})
        except SaveError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "step 2 could not be saved" in done.stdout
    assert "complete checkpoints there: 1" in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["latest", "step_1"]
    assert_is(load_checkpoint(tmp_path), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_sigkill_at_random_moments(tmp_path):
    code = """
        import sys
        import numpy as np
        from gpt.weights.checkpoint import list_checkpoints, save_checkpoint
        run, step = sys.argv[1], max(list_checkpoints(sys.argv[1]), default=0)
        print("ready", flush=True)
        while True:
            for step in (step + 1, step + 1):  # each step twice: replacing is a case of its own
                full = {"w": np.full(20_000, step, np.float32), "m": np.full(9, step)}
                save_checkpoint(run, step, full, full, {"best_loss": step / 2}, keep=2, best=step % 5 == 0)
                print("saved", flush=True)
    """
    rng = random.Random(0)
    last = 0
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), tmp_path], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
            for _ in range(rng.randint(3, 6)):
                assert process.stdout.readline() == b"saved\n"
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait()
        latest = load_checkpoint(tmp_path)
        assert_is(latest, latest.step)
        assert latest.step >= last
        last = latest.step
        if (tmp_path / "best").exists():
            best = load_checkpoint(tmp_path, "best")
            assert_is(best, best.step)
    assert last > 8
