"""Fine-tuning that is killed between two files: it resumes."""

import pytest

from gpt.finetuning.base import Tuner
from gpt.finetuning.finetune import begin
from tests.gpt.weights.test_killed_saves import Killed, fail_at
from tests.helpers.tuned import base

__all__ = ["base"]


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
    Tuner(begin("lora", words), quiet=True).train()


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
