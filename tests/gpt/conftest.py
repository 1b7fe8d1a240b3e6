"""What the tests share: what a command said, and a small model that has read Shakespeare for some seconds."""

import pytest

from gpt.__main__ import main
from gpt.training.command import train
from tests.helpers.runs import tiny

WORDS = (
    "--n_layer=2", "--n_embd=64", "--n_head=4", "--block_size=96", "--batch_size=12",
    "--max_steps=200", "--warmup_steps=20", "--learning_rate=4e-3", "--min_learning_rate=4e-4",
    "--eval_interval=0", "--eval_batches=2", "--log_interval=100",
)  # fmt: skip


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return train(*tiny(tmp_path_factory.mktemp("base") / "run", *WORDS), quiet=True).folder


@pytest.fixture
def told(capsys):
    """Function that runs a command and returns what it said: its output, or its error if there is a code."""

    def run(*words, code=0):
        capsys.readouterr()  # what was said before
        assert main([*map(str, words)]) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run
