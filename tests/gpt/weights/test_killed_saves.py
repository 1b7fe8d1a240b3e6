"""Checkpoints are whole at every moment: killed between system calls, and where one of these fails."""

import os

import pytest

from gpt.weights.checkpoint import list_checkpoints, load_checkpoint, prune_checkpoints
from tests.gpt.weights.test_checkpoint import assert_is, save
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
