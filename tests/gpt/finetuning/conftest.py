"""What the tests of fine-tuning share: a small model that has read Shakespeare for some seconds."""

import pytest

from gpt.presets import configs_from
from gpt.training.command import train

WORDS = (
    "--preset=tiny", "--n_layer=2", "--n_embd=64", "--n_head=4", "--block_size=96", "--batch_size=12",
    "--max_steps=200", "--warmup_steps=20", "--learning_rate=4e-3", "--min_learning_rate=4e-4",
    "--eval_interval=0", "--eval_batches=2", "--log_interval=100",
)  # fmt: skip


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "run"
    return train(*configs_from([*WORDS, f"--out_dir={folder}"], default="tiny"), quiet=True).folder
