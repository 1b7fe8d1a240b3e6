"""gpt/minimal.py and `Trainer`, written apart from each other, train the same weights."""

import inspect
import runpy
import sys
import textwrap
from dataclasses import fields

import numpy as np
import pytest

from gpt import minimal
from gpt.data import batches
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.presets import configs_from
from gpt.training import optimizer_setup
from gpt.training.run import Run
from gpt.training.train import Trainer
from tinytensor.optim import schedule

# The norm of the gradient lies between 0.65 and 0.84: some steps are clipped, others are not.
MODEL = ["--preset=tiny", "--bias=false", "--n_layer=2", "--n_head=2", "--n_embd=16", "--block_size=16"]
STEPS = ["--batch_size=4", "--max_steps=12", "--warmup_steps=4", "--grad_clip=0.7", "--eval_interval=6"]
ADAMW = ["--weight_decay=0.5", "--beta1=0.8", "--beta2=0.9"]
TWO_PARTS = "--gradient_accumulation_steps=2"


def trained(folder, *words):
    """A trained run, and its config as minimal.py's."""
    text = folder / "text.txt"
    text.write_text("The cat sat on the mat. The dog ran in the park. They became friends. " * 20)
    words = [*MODEL, *STEPS, *ADAMW, f"--data={text}", f"--out_dir={folder}/run", *words]
    run = Run(*configs_from(words, "tiny"))
    values = vars(run.train_config) | vars(run.model_config)
    config = minimal.Config(**{field.name: values[field.name] for field in fields(minimal.Config)})
    return Trainer(run, quiet=True).train(), config


def trained_by_hand(run, config):
    """The model that minimal.py trains on the data of a run."""
    ids = [np.asarray(tokens.ids).astype(np.int64) for tokens in (run.train_tokens, run.val_tokens)]
    return minimal.train(config, *ids, run.tokenizer.vocab_size)


def difference(run, config):
    """Largest difference between weights of the run and those that minimal.py trains."""
    model = trained_by_hand(run, config)
    ours, theirs = model.state_dict(), run.model.state_dict()
    assert list(ours) == list(theirs)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@pytest.mark.parametrize("words", [(TWO_PARTS,), (TWO_PARTS, "--capture=false"), ("--seed=7",)])
def test_the_trainer_trains_the_same_weights(tmp_path, capsys, words):
    run, config = trained(tmp_path, *words)
    assert difference(run, config) < 1e-6
    losses = [
        float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if "validation" in line
    ]
    assert len(losses) == 2
    assert run.best_loss == pytest.approx(min(losses), abs=1e-4)


def test_it_samples_the_same_tokens(tmp_path):
    run, config = trained(tmp_path, "--learning_rate=1e-2")
    ids = minimal.generate(trained_by_hand(run, config), [1, 2], 40, config, temperature=1e-4)
    assert list(ids) == list(generate(run.model, [1, 2], 40, temperature=0.0))


@pytest.mark.parametrize(("owner", "name", "right", "wrong"), [
    (Trainer, "step", "lr_at(run.step)", "lr_at(run.step + 1)"),
    (Trainer, "_gradients", "run.optimizer.zero_grad()", "None"),
    (Trainer, "_gradients", "self.config.grad_clip or math.inf", "math.inf"),
    (Trainer, "_gradients", "loss / divisor", "loss"),
    (Trainer, "_gradients", "range(parts)", "range(1)"),
    (Trainer, "_gradients", "part * width : (part + 1) * width", ": width"),
    (Trainer, "_update", "step(self.run.optimizer, factor)", "step(self.run.optimizer, None)"),
    (optimizer_setup, "optimizer_of", "config.beta1, config.beta2", "config.beta1, 0.99"),
    (optimizer_setup, "optimizer_of", "config.beta1, config.beta2", "0.9, config.beta2"),
    (optimizer_setup, "optimizer_of", "groups(config.weight_decay)", "groups(0.1)"),
    (optimizer_setup, "schedule_of", '{"warmup_steps": warmup', '{"warmup_steps": 3'),
    (optimizer_setup, "schedule_of", "WarmupCosine(peak, low", "WarmupCosine(peak, 0.0"),
    (schedule.WarmupCosine, "_after", "cos(pi * x)", "1 - 2 * x"),
    (GPT, "parameter_groups", '"weight_decay": 0.0', '"weight_decay": weight_decay'),
    (batches, "_shifted", "block[:, 1:]", "block[:, :-1]"),
    (batches.Batches, "batch", "self.seed, step", "self.seed, step // 2"),
])  # fmt: skip
def test_a_mistake_in_the_trainer_is_found(tmp_path, monkeypatch, owner, name, right, wrong):
    original = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(right) == 1
    names = vars(sys.modules[original.__module__]).copy()
    exec(source.replace(right, wrong), names)
    users = [module for key, module in sys.modules.items() if key.startswith("gpt.")]
    for user in [owner, *[module for module in users if vars(module).get(name) is original]]:
        monkeypatch.setattr(user, name, names[name])
    assert difference(*trained(tmp_path, TWO_PARTS)) > 1e-5


@pytest.mark.parametrize(
    ("word", "code", "said"), [("--help", 0, "nanoGPT's recipe"), ("--n_layer=3", 2, "")]
)
def test_options_are_answered(word, code, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["minimal.py", word])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(minimal.__file__, run_name="__main__")
    shown = capsys.readouterr()
    assert ended.value.code == code
    assert "usage: python -m gpt.minimal" in shown.out + shown.err
    assert said in shown.out
