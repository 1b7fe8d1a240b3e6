"""Training: learns, resumes with equal bits, stops on Ctrl-C, accumulates, logs, and says what is wrong."""

import json
from itertools import product
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.config import TrainConfig
from gpt.presets import configs_from
from gpt.training.command import main, train
from gpt.training.measures import evaluate
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.terminal import Terminal, describe
from gpt.training.train import Trainer
from gpt.weights.load import load
from tests.helpers import cupy_fixtures

no_gpu = cupy_fixtures.no_gpu  # fixture

TEXT = (
    "The cat sat on the mat. The dog ran in the park. The cat and dog played together. They became friends. "
    * 30
)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(TEXT)
    return path


def configs(text, folder, *words):
    return configs_from(["--preset=tiny", f"--data={text}", f"--out_dir={folder}", *words], default="tiny")


def weights(run):
    return {n: p.numpy() for n, p in run.model.state_dict().items()}


def test_tf32_holds_while_it_trains(text, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Trainer, "_train", lambda self: seen.append(tt.config.tf32))
    for words in (("--tf32", "--device=emulated"), ()):
        train(*configs(text, tmp_path / "run", *words), quiet=True)
    assert seen == [True, False]
    assert tt.config.tf32 is False
    with pytest.raises(tt.ArgumentError, match="tf32 with device=cpu"):
        configs(text, tmp_path / "run", "--tf32")


def test_kernels_are_compiled_at_once_before_the_first_step(text, tmp_path, monkeypatch):
    told, step = [], Trainer.step
    monkeypatch.setattr(tt, "compile_kernels", lambda: told.append("kernels"))
    monkeypatch.setattr(Trainer, "step", lambda self: told.append("step") or step(self))
    train(*configs(text, tmp_path / "run", "--max_steps=1", "--eval_interval=1"), quiet=True)
    assert told == ["kernels", "step"]


@pytest.mark.parametrize(("words", "products"), [
    ((), "float32"),
    (("--tf32",), "TF32"),
    (("--tf32", "--dtype=bfloat16"), "bfloat16, those of float32 in TF32"),
])  # fmt: skip
def test_it_says_how_products_are_computed(text, tmp_path, words, products):
    run = Run(*configs(text, tmp_path / "run", "--device=emulated", "--capture=false", *words))
    assert describe(run).splitlines()[-1] == f"device emulated, products in {products}"


def test_the_time_left_is_that_of_the_last_lines(text, tmp_path, monkeypatch):
    clock, left = [0.0], {}
    monkeypatch.setattr("gpt.training.train.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def step(self):
        clock[0] += 1.0 if self.run.step else 500.0  # the first one compiles
        self.run.step += 1
        return {"step": self.run.step, "loss": 1.0}

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(
        Terminal, "show", lambda _, values: left.setdefault(values["step"], values.get("seconds_left"))
    )
    words = ("--max_steps=60", "--log_interval=2", "--eval_interval=0")
    model, config = configs(text, tmp_path / "run", *words)
    Trainer(Run(model, config))._train()
    assert left[2] == 58 * 501 / 2
    assert left[24] == 36.0


def test_it_learns_and_leaves_its_files(text, tmp_path):
    words = ("--max_steps=60", "--eval_interval=30", "--learning_rate=3e-3", "--min_learning_rate=1e-3")
    run = train(*configs(text, tmp_path / "run", *words), quiet=True)
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]
    vals = [line["val_loss"] for line in lines if "val_loss" in line]
    assert vals[-1] < vals[0]
    steps = [line for line in lines if "loss" in line]
    assert all(line["tokens_per_second"] > 0 for line in steps)
    assert "mfu" not in steps[0]
    assert all(0 < line["mfu"] <= 1 for line in steps[1:])
    for name in ("config.json", "tokenizer.json", "log.jsonl", "latest", "best", "step_60"):
        assert (run.folder / name).exists(), name
    model, tokenizer = load(run.folder)
    assert tokenizer.decode(tokenizer.encode("The cat")) == "The cat"
    assert evaluate(model, run.val_tokens, 16, 2) == pytest.approx(vals[-1], rel=1e-6)


def test_nanogpt_files_train_with_a_given_vocabulary(tmp_path):
    ids = np.random.default_rng(0).integers(0, 20, 2000).astype(np.uint16)
    (tmp_path / "data").mkdir()
    ids[:1800].tofile(tmp_path / "data" / "train.bin")
    ids[1800:].tofile(tmp_path / "data" / "val.bin")
    words = ("--max_steps=2", "--vocab_size=20")
    assert train(*configs(tmp_path / "data", tmp_path / "run", *words), quiet=True).step == 2
    with pytest.raises(tt.ArgumentError, match="vocabulary"):
        train(*configs(tmp_path / "data", tmp_path / "other", "--max_steps=2"), quiet=True)


def test_weights_of_one_run_can_start_another(text, tmp_path):
    first = train(*configs(text, tmp_path / "a", "--max_steps=3"), quiet=True)
    second = Run(*configs(text, tmp_path / "b", f"--init_from={first.folder}"))
    for name, array in weights(first).items():
        np.testing.assert_array_equal(array, weights(second)[name])


def test_a_run_is_not_overwritten(text, tmp_path):
    train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)
    with pytest.raises(tt.ArgumentError, match="n_layer"):
        train(*configs(text, tmp_path / "run", "--init_from=resume", "--n_layer=3"), quiet=True)
    for lost in ("nothing", "latest"):  # the checkpoints are there
        (tmp_path / "run" / lost).unlink(missing_ok=True)
        with pytest.raises(tt.ArgumentError, match="holds a run already"):
            train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)


def test_the_whole_validation_split_counts_once(text, tmp_path):
    run = Run(*configs(text, tmp_path / "run"))
    losses = [evaluate(run.model, run.val_tokens, size) for size in (1, 7, 64)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    first = run.val_tokens.ids[: 8 * run.model_config.block_size + 1]
    assert evaluate(run.model, run.val_tokens, 4, 2) == pytest.approx(evaluate(run.model, first, 1), rel=1e-5)


@pytest.mark.parametrize(("word", "error"), [
    ("--data=/no/such/file.txt", tt.ArgumentError), ("--learning_rate=fast", tt.ArgumentError),
    ("--laerning_rate=1", tt.ArgumentError), ("--init_from=/no/such", tt.TinyTensorError),
    ("--n_head=3", tt.ArgumentError), ("--device=tpu", tt.TinyTensorError), ("--device=cuda", tt.DeviceError),
])  # fmt: skip
def test_wrong_words_say_so(text, tmp_path, word, error, no_gpu):
    words = ["--preset=tiny", f"--data={text}", f"--out_dir={tmp_path / 'run'}", "--max_steps=2"]
    words = [w for w in words if w.split("=")[0] != word.split("=")[0]]
    with pytest.raises(error):
        main([*words, word])


def test_the_schedules_reach_their_ends():
    for kind in get_args(get_type_hints(TrainConfig)["schedule"]):
        from gpt.training.optimizer_setup import schedule_of

        config = TrainConfig(
            max_steps=100, warmup_steps=10, schedule=kind, learning_rate=1.0, min_learning_rate=0.1
        )
        lr = [schedule_of(config).lr_at(s) for s in range(101)]
        assert lr[0] < 0.2
        assert max(lr) == pytest.approx(1.0)
        assert lr[100] == pytest.approx(1.0 if kind == "constant" else 0.1)


@pytest.mark.parametrize("words", [
    ("--batch_order=consecutive",), ("--batch_order=random",),
])  # fmt: skip
def test_batches_come_in_the_order_asked_for(text, tmp_path, words):
    run = Run(*configs(text, tmp_path / "run", *words))
    inputs, targets = run.batches.batch(0)
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    ids = run.train_tokens.ids
    if words == ("--batch_order=consecutive",):
        np.testing.assert_array_equal(inputs, [ids[i * 32 : i * 32 + 32] for i in range(len(inputs))])


def test_a_run_with_a_moving_average_is_not_resumed(text, tmp_path):
    """Of an older version: its weights are the average, from which no step goes on."""
    run = train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)
    path = run.folder / "step_2" / "state.json"
    path.write_text(path.read_text().replace('"tf32": ', '"ema_decay": 0.9, "tf32": '))
    with pytest.raises(tt.FormatError, match="keeps a moving average"):
        Run(*configs(text, run.folder, "--init_from=resume"))


def test_a_resumed_run_obeys_the_command_line(text, tmp_path):
    words = ("--max_steps=4", "--weight_decay=0.1")
    first = train(*configs(text, tmp_path / "run", *words), quiet=True)
    again = Run(*configs(text, first.folder, "--init_from=resume", "--weight_decay=0", "--beta1=0.5"))
    assert [g["weight_decay"] for g in again.optimizer.param_groups] == [0, 0]
    assert all(g["betas"][0] == 0.5 for g in again.optimizer.param_groups)
    with pytest.raises(tt.ArgumentError, match="started with"):
        Run(*configs(text.with_name("other.txt"), first.folder, "--init_from=resume"))


def test_a_state_that_no_run_has_written_is_explained(text, tmp_path):
    run = train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)
    path = run.folder / "step_2" / "state.json"
    record = json.loads(path.read_text())
    for name, value in product(["kind", "model", "train", "batches", "generator", "optimizer"], [3, [], {}]):
        path.write_text(json.dumps(record | {"state": record["state"] | {name: value}}))
        with pytest.raises(tt.TinyTensorError):
            Run(*configs(text, run.folder, "--init_from=resume"))
    path.write_text(json.dumps(record))
    assert Run(*configs(text, run.folder, "--init_from=resume")).step == 2


def test_tokens_that_are_gone_are_not_made_anew(text, tmp_path):
    first = train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)
    (first.folder / "data" / "train.bin").unlink()
    with pytest.raises(tt.ArgumentError, match=r"train\.bin"):
        Run(*configs(text, first.folder, "--init_from=resume"))


def test_a_run_that_diverges_saves_nothing_of_it(text, tmp_path):
    first = train(*configs(text, tmp_path / "run", "--max_steps=3"), quiet=True)
    wild = ("--init_from=resume", "--max_steps=9", "--learning_rate=1e30", "--min_learning_rate=1e30")
    with pytest.raises(tt.ArgumentError, match="diverged"):
        train(*configs(text, first.folder, *wild, "--eval_interval=1"), quiet=True)
    model, _ = load(first.folder / "step_3")
    assert all(np.isfinite(p.detach().numpy()).all() for p in model.parameters())
    assert (first.folder / "latest").read_text().strip() == "step_3"


def test_a_step_can_be_sampled(text, tmp_path, capsys):
    words = ("--max_steps=4", "--checkpoint_interval=2", "--eval_interval=0", "--keep_checkpoints=5")
    run = train(*configs(text, tmp_path / "run", *words), quiet=True)
    assert command_line(["sample", str(run.folder / "step_2"), "--max_new_tokens=3", "--prompt=The"]) == 0
    assert capsys.readouterr().out.startswith("The")
    assert command_line(["sample", str(tmp_path / "run"), "--prompt=§"]) == 2
    assert capsys.readouterr().out == ""


def test_a_sample_begins_with_the_first_token_of_a_text_without_newlines(tmp_path):
    (tmp_path / "line.txt").write_text("q" + "uick brown fox " * 40)
    words = ("--sample_interval=1", "--max_steps=1")
    run = train(*configs(tmp_path / "line.txt", tmp_path / "run", *words), quiet=True)
    (sample,) = [line["sample"] for line in RunLog(run.folder).read() if "sample" in line]
    assert sample.startswith("q")


def test_samples_are_drawn_without_dropout(text, tmp_path):
    run = Run(*configs(text, tmp_path / "run", "--dropout=0.5"))
    trainer = Trainer(run, quiet=True)
    run.model.train()
    samples = set()
    for seed in range(3):
        tt.manual_seed(seed)  # dropout would draw from it
        samples.add(trainer.sample())
    assert len(samples) == 1
    assert run.model.training
