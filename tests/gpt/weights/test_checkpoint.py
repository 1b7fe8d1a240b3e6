"""Checkpoints: bit-identical, and explained when they cannot be used."""

import json
import os
import shutil

import numpy as np
import pytest

import gpt.weights.checkpoint as module
from gpt.weights.checkpoint import (
    checkpoint_folder,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from tinytensor.errors import ArgumentError, DTypeError, FormatError


def save(run, step, **options):
    """Save a checkpoint whose every number is its step."""
    weights = {"w": np.full((3, 4), step, np.float32)}
    optimizer = {"m": np.full(12, step, np.float32), "step": np.array(step)}
    return save_checkpoint(run, step, weights, optimizer, {"best_loss": step / 2}, **options)


def assert_is(checkpoint, step):
    assert checkpoint.step == step
    assert (checkpoint.weights["w"] == step).all()
    assert (checkpoint.optimizer["m"] == step).all()
    assert checkpoint.state == {"best_loss": step / 2}


def test_round_trip_is_bit_identical(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (5, 3), np.uint32)  # NaNs of all kinds among them
    weights = {"wte.weight": bits.view(np.float32), "transposed": rng.standard_normal((4, 6)).T}
    optimizer = {"count": np.array(7, np.int64), "empty": np.zeros((0, 2), np.float32)}
    state = {"a": [1, 2.5, None, "ü", {"b": True}], "generator": [2**64 - 1, 3], "float": 0.1 + 0.2}
    save_checkpoint(tmp_path / "new" / "run", 3, weights, optimizer, state)
    got = load_checkpoint(tmp_path / "new" / "run")
    for mine, theirs in ((weights, got.weights), (optimizer, got.optimizer)):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype
            assert array.shape == theirs[name].shape
            assert array.tobytes() == theirs[name].tobytes()
    assert got.state == state
    assert got.folder == tmp_path / "new" / "run" / "step_3"


def test_which(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2, best=True)
    save(tmp_path, 3)
    assert_is(load_checkpoint(tmp_path), 3)
    assert_is(load_checkpoint(tmp_path, "best"), 2)
    assert_is(load_checkpoint(tmp_path, 2), 2)
    assert (tmp_path / "latest").read_text() == "step_3\n"
    assert (tmp_path / "best").read_text() == "step_2\n"


def test_keep(tmp_path):
    for step in range(1, 9):
        save(tmp_path, step, keep=2, best=step == 3)
    assert list_checkpoints(tmp_path) == [3, 7, 8]
    save(tmp_path, 10, keep=1, best=True)
    assert list_checkpoints(tmp_path) == [10]
    assert sorted(os.listdir(tmp_path)) == ["best", "latest", "step_10"]


def test_a_run_that_goes_back_keeps_what_lies_ahead(tmp_path):
    for step in (1, 5, 9):
        save(tmp_path, step, keep=3)
    save(tmp_path, 6, keep=2)
    assert list_checkpoints(tmp_path) == [5, 6, 9]
    assert_is(load_checkpoint(tmp_path), 6)


def test_a_step_is_replaced(tmp_path):
    save(tmp_path, 4)
    save_checkpoint(tmp_path, 4, {"w": np.ones(1)}, {}, {})
    assert load_checkpoint(tmp_path, 4).weights["w"].tolist() == [1]
    assert sorted(os.listdir(tmp_path)) == ["latest", "step_4"]


def test_remainders_are_ignored_then_removed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step_1", tmp_path / ".checkpoint-step_2.tmp")
    shutil.copytree(tmp_path / "step_1", tmp_path / ".checkpoint-step_1.old")
    (tmp_path / ".checkpoint-step_3.tmp").touch()
    assert list_checkpoints(tmp_path) == [1]
    assert_is(load_checkpoint(tmp_path), 1)
    save(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["latest", "step_1", "step_3"]


def test_what_the_user_put_there_stays(tmp_path):
    """Whatever its name; what takes the name of a checkpoint gets another one."""
    files = ["step_2.tmp", "step_2", "latest.tmp", "step_9.old", "step_1.old", ".checkpoint-mine"]
    folders = ["step_3.tmp", "step_3", "step_1.tmp", "step_5", "step_8.old", "best.tmp"]
    for name in files:
        (tmp_path / name).write_text(name)
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes").write_text(name)
    for step in range(1, 7):
        save(tmp_path, step, keep=2, best=step == 1)
        assert_is(load_checkpoint(tmp_path), step)
    assert list_checkpoints(tmp_path) == [1, 5, 6]
    files_left = sorted(p.read_text() for p in tmp_path.iterdir() if p.is_file())
    assert files_left == sorted([*files, "step_1\n", "step_6\n"])
    assert sorted(p.read_text() for p in tmp_path.glob("*/notes")) == sorted(folders)


def test_a_mapped_checkpoint_survives_its_removal(tmp_path):
    save(tmp_path, 1)
    old = load_checkpoint(tmp_path)
    save(tmp_path, 2, keep=1)
    assert list_checkpoints(tmp_path) == [2]
    assert_is(old, 1)


# --- damage -------------------------------------------------------------------------------------------


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "no model": (lambda d: (d / "model.safetensors").unlink(), "model.safetensors"),
    "no state": (lambda d: (d / "state.json").unlink(), "state.json"),
    "a bit of a weight": (lambda d: flip(d / "model.safetensors", -1), "bytes of its files have changed"),
    "a bit of the optimizer": (lambda d: flip(d / "optimizer.safetensors", -1), "have changed"),
    "half an optimizer": (lambda d: cut(d / "optimizer.safetensors"), "have changed"),
    "half a state": (lambda d: cut(d / "state.json"), "delimiter"),
    "state not UTF-8": (lambda d: (d / "state.json").write_bytes(b"\xff"), "utf-8"),
    "state is a list": (lambda d: (d / "state.json").write_text("[]"), "lacks version"),
    "deep state": (lambda d: (d / "state.json").write_text("[" * 100_000), "recursion"),
    "another version": (lambda d: edit(d / "state.json", version=2), "version 2"),
    "another step": (lambda d: edit(d / "state.json", step=7), "step 7"),
    "state of a wrong kind": (lambda d: edit(d / "state.json", state=[]), "state.json"),
    "no folder": (shutil.rmtree, "no folder step_4"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_explained_and_a_resume_goes_on_from_the_newest_that_is_whole(tmp_path, name):
    for step in (1, 2, 3, 9, 4):  # 9 belongs to a run that went back
        save(tmp_path, step, keep=9)
    damage, why = DAMAGE[name]
    damage(tmp_path / "step_4")
    with pytest.raises(FormatError) as caught:
        load_checkpoint(tmp_path)
    assert "no usable checkpoint 'latest'" in caught.value.what
    assert why in caught.value.why
    assert "complete checkpoints there: 1, 2" in caught.value.fix
    flip(tmp_path / "step_3" / "model.safetensors", -1)
    said = []
    assert_is(newest_checkpoint(tmp_path, said.append), 2)
    (text,) = said
    assert text.startswith(f"load_checkpoint: no usable checkpoint 'latest' in {tmp_path}: ")
    assert text.endswith(f"; resuming from {tmp_path / 'step_2'}")


def test_a_resume_without_any_whole_checkpoint(tmp_path):
    save(tmp_path, 1)
    flip(tmp_path / "step_1" / "model.safetensors", -1)
    with pytest.raises(FormatError, match="bytes of its files have changed"):
        newest_checkpoint(tmp_path, pytest.fail)


def test_weights_that_match_a_forged_checksum_are_still_checked(tmp_path):
    folder = save(tmp_path, 1)
    (folder / "model.safetensors").write_bytes(b"not a weight file")
    checksums = {n: module._checksum(folder / n) for n in ("model.safetensors", "optimizer.safetensors")}
    edit(folder / "state.json", crc32=checksums)
    with pytest.raises(FormatError, match="not a safe weight file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "step_", "step_1.tmp", "../step_1", "step_01", "step_" + "9" * 40, "x" * 10**6]
)
def test_a_wrong_pointer(tmp_path, content):
    save(tmp_path, 1)
    (tmp_path / "latest").write_text(content)
    for look in (load_checkpoint, checkpoint_folder):
        with pytest.raises(FormatError, match=r"instead of step_N[^$]*complete checkpoints there: 1"):
            look(tmp_path)
    (tmp_path / "best").write_text(content)  # nothing is removed while the best is unknown
    save(tmp_path, 2, keep=1)
    assert list_checkpoints(tmp_path) == [1, 2]


def test_nothing_to_load(tmp_path):
    for run in (tmp_path, tmp_path / "none"):
        for which in ("latest", "best", 3):
            with pytest.raises(FormatError, match="complete checkpoints there: none"):
                load_checkpoint(run, which)
    save(tmp_path, 1)
    with pytest.raises(FormatError, match="there is no file 'best'"):
        load_checkpoint(tmp_path, "best")


@pytest.mark.parametrize("which", ["newest", -1, True, 1.0, None, "step_1"])
def test_wrong_which(tmp_path, which):
    save(tmp_path, 1)
    with pytest.raises(ArgumentError, match="which="):
        load_checkpoint(tmp_path, which)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"state": {"loss": float("nan")}}, ValueError),
        ({"state": {"loss": np.float32(1)}}, TypeError),
        ({"weights": {"w": np.array(["a"])}}, DTypeError),
    ],
)
def test_wrong_saves(tmp_path, options, error):
    save(tmp_path, 1)
    with pytest.raises(error):
        save_checkpoint(tmp_path, **({"step": 2, "weights": {}, "optimizer": {}, "state": {}} | options))
    assert_is(load_checkpoint(tmp_path), 1)
