"""Fine-tuning that is killed between two files: it resumes, with the adapters of its latest checkpoint."""

import numpy as np
import pytest

import gpt.finetuning.base as module
from gpt.finetuning.finetune import begin
from gpt.training.train import Trainer
from gpt.weights.checkpoint import load_checkpoint
from tests.gpt.weights.test_killed_saves import Killed, fail_at
from tinytensor.interop.safetensors_file import read_safetensors


@pytest.fixture
def words(base, tmp_path):
    """A run of four steps, with a checkpoint after every second one."""
    (tmp_path / "text").write_text("THE CAT SAT ON THE MAT.\n" * 40)
    return [
        *(f"--init_from={base}", f"--data={tmp_path / 'text'}", f"--out_dir={tmp_path / 'run'}"),
        *("--max_steps=4", "--checkpoint_interval=2", "--eval_interval=0", "--warmup_steps=0"),
        *("--lora_rank=2", "--batch_size=2"),
    ]


def tune(words):
    Trainer(begin("lora", words), quiet=True).train()


def resume(folder, *words):
    tune(["--init_from=resume", f"--out_dir={folder}", *words])


def kill_in_save(monkeypatch, name, number):
    """Raise instead of calling a function that writes files of the save of this number."""
    real, calls = getattr(module, name), []

    def call(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, call)


def assert_adapters_of_latest(folder, step):
    latest, found = load_checkpoint(folder), read_safetensors(folder / "adapters.safetensors").arrays()
    assert latest.step == step
    assert len(found) > 0
    for name, array in found.items():
        np.testing.assert_array_equal(array, latest.optimizer[f"trained.{name}"], err_msg=name)


def test_killed_while_configs_are_written_it_resumes(words, tmp_path, monkeypatch):
    tune(words)
    run = begin("lora", ["--init_from=resume", f"--out_dir={tmp_path / 'run'}"])
    with monkeypatch.context() as patch:
        seen = fail_at(patch, -1, None)
        run.write_config()
    assert len(seen) >= 4  # a file is flushed, then renamed
    for count in range(1, len(seen) + 1):
        with monkeypatch.context() as patch:
            fail_at(patch, count, Killed())
            with pytest.raises(Killed):
                run.write_config()
        begin("lora", ["--init_from=resume", f"--out_dir={tmp_path / 'run'}"])


@pytest.mark.parametrize("name", ["save_checkpoint", "save_adapters"])
@pytest.mark.parametrize("number", [1, 2])
def test_killed_in_a_save_it_ends_with_its_adapters(name, number, words, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_in_save(patch, name, number)
        with pytest.raises(Killed):
            tune(words)
    if (folder / "latest").exists():
        resume(folder)
    else:
        tune(words)
    assert_adapters_of_latest(folder, 4)


def test_adapters_are_never_older_than_the_latest_checkpoint(words, tmp_path, monkeypatch):
    kill_in_save(monkeypatch, "save_adapters", 2)
    with pytest.raises(Killed):
        tune(words)
    assert_adapters_of_latest(tmp_path / "run", 2)


def test_a_resume_without_a_step_writes_the_adapters_of_its_checkpoint(words, tmp_path, monkeypatch):
    """Those of a later step, whose checkpoint is missing, are replaced; missing ones are written."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_in_save(patch, "save_checkpoint", 2)
        with pytest.raises(Killed):
            tune(words)
    resume(folder, "--max_steps=2")
    assert_adapters_of_latest(folder, 2)
    (folder / "adapters.safetensors").unlink()
    resume(folder, "--max_steps=2")
    assert_adapters_of_latest(folder, 2)
