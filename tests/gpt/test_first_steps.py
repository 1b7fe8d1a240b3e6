"""What a new user tries: built-in examples on any model, one's own text, other programs' names of fields."""

import pytest

from gpt.__main__ import main
from gpt.finetune import METHODS
from gpt.presets import configs_from
from gpt.train import train


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of a model whose context is half as long as the longest built-in example."""
    folder = tmp_path_factory.mktemp("short") / "run"
    words = ("--preset=tiny", "--block_size=40", "--max_steps=2", "--warmup_steps=1", "--eval_interval=0")
    return train(*configs_from([*words, f"--out_dir={folder}"], default="tiny"), quiet=True).folder


@pytest.mark.parametrize("name", METHODS)
def test_built_in_examples_fit_a_short_context(name, short, tmp_path, capsys):
    words = [f"--init_from={short}", f"--out_dir={tmp_path / 'run'}", "--max_steps=2", "--warmup_steps=1"]
    assert main(["finetune", name, *words, "--eval_interval=0"]) == 0
    assert "--- at step 2 ---" in capsys.readouterr().out
