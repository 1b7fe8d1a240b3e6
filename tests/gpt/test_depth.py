"""One dial: what a depth sets, that it trains, and what is refused."""

import pytest

from gpt.__main__ import main as command_line
from gpt.depth import of_depth
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import configs_from
from gpt.training.command import configs_of, train
from gpt.weights.hf_config import naming_for


@pytest.mark.parametrize("depth", [1, 2, 4, 7, 12])
def test_everything_follows_from_the_depth(depth):
    model, config = of_depth(depth)
    assert (model.n_layer, model.n_embd, model.head_size) == (depth, 32 * depth, 32)
    shapes = parameter_shapes(model.with_vocab_size(65))
    weights = sum(
        shape[0] * shape[1] for name, shape in shapes.items() if name[:2] == "h." and len(shape) > 1
    )
    assert weights == pytest.approx(12 * 1024 * depth**3, rel=0.05)
    tokens = config.max_steps * config.sequences_per_step * model.block_size
    assert tokens == pytest.approx(10 * 12 * 1024 * depth**3, rel=0.02)
    # muP: an update of Muon has a spectral norm of rate x sqrt(width), which is to be the same
    base_model, base = of_depth(4)
    assert config.matrix_learning_rate * model.n_embd**0.5 == pytest.approx(
        base.matrix_learning_rate * base_model.n_embd**0.5
    )
    assert config.learning_rate == base.learning_rate


def test_it_is_a_llama_for_others():
    assert naming_for(of_depth(2)[0].with_vocab_size(300))[0] == "llama"


def test_fields_override_the_dial(tmp_path):
    words = [
        "--depth=1",
        "--max_steps=4",
        "--eval_interval=0",
        f"--out_dir={tmp_path}/run",
        "--block_size=16",
    ]
    assert configs_from(words, default="demo") == configs_of(words, of_depth(2))
    run = train(*configs_of(words, of_depth(2)), quiet=True)
    assert (run.step, run.model_config.block_size, run.model_config.n_embd) == (4, 16, 32)
    assert run.best_loss is not None


def test_intervals_follow_the_steps_unless_they_are_given():
    _, config = configs_from(["--depth=4", "--max_steps=1_600", "--sample_interval=5"], default="demo")
    assert (config.max_steps, config.eval_interval, config.sample_interval) == (1600, 200, 5)
    assert configs_of(["--depth=4", "--max_steps=1.6e3"], of_depth(2))[1] == of_depth(4, max_steps=1600)[1]
    assert of_depth(4)[1].eval_interval == of_depth(4)[1].max_steps // 8


def test_plan_tells_the_cost_of_a_depth(capsys):
    assert command_line(["plan", "--depth=3", "--flops=1e11"]) == 0
    said = capsys.readouterr().out
    assert "3 layers × 3 heads × 96 channels" in said
    assert "minutes" in said
