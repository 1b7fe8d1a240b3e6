"""Training with products in 16 bits."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.presets import configs_from
from gpt.training.command import train
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.train import Trainer

WORDS = (
    *("--preset=tiny", "--max_steps=30", "--eval_interval=15", "--checkpoint_interval=15"),
    *("--log_interval=1", "--sample_interval=0", "--keep_checkpoints=3"),
)


def configs(folder, *words):
    return configs_from([*WORDS, f"--out_dir={folder}", *words], default="tiny")


def losses(run):
    return [line["loss"] for line in RunLog(run.folder).read() if "loss" in line]


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.03), ("float16", 0.01)])
def test_the_losses_follow_those_of_float32(dtype, bound, tmp_path):
    wide = train(*configs(tmp_path / "wide"), quiet=True)
    narrow = train(*configs(tmp_path / "narrow", f"--dtype={dtype}"), quiet=True)
    assert all(p.dtype is tt.float32 for p in narrow.model.parameters())
    np.testing.assert_allclose(losses(narrow), losses(wide), atol=bound)
    assert losses(narrow) != losses(wide)


def test_a_step_that_overflows_is_skipped(tmp_path):
    run = Run(*configs(tmp_path / "run", "--dtype=float16"))
    run.scaler.load_state_dict({"scale": 1e38, "good_steps": 0})
    trainer = Trainer(run, quiet=True)
    before = [p.detach().numpy().copy() for p in run.model.parameters()]
    numbers = trainer.step()
    assert numbers["grad_norm"] is None
    assert np.isfinite(numbers["loss"])
    for p, old in zip(run.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old)
    assert run.scaler.get_scale() == 0.5e38
