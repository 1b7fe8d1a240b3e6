"""Training: learns, resumes with equal bits, stops on Ctrl-C, accumulates, logs, and says what is wrong."""

import json
import os
from itertools import product
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.training import measures
from gpt.training.command import train
from gpt.training.measures import LOOKS, Utilization, evaluate, product_speed
from gpt.training.optimizer_setup import schedule_of
from gpt.training.run import Run
from gpt.training.run_log import truncate_log
from gpt.training.terminal import Terminal, describe
from gpt.training.train import Trainer
from gpt.weights.load import load
from tests.helpers.runs import assert_same, logged, tiny

TEXT = "The cat sat on the mat. The dog ran in the park. The cat and dog played. They became friends. " * 30


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(TEXT)
    return path


def configs(text, folder, *words):
    return tiny(folder, f"--data={text}", *words)


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
    assert_same(second, first)


def test_a_run_is_not_overwritten(text, tmp_path):
    train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)
    with pytest.raises(tt.ArgumentError, match="n_layer"):
        train(*configs(text, tmp_path / "run", "--init_from=resume", "--n_layer=3"), quiet=True)
    for lost in ("nothing", "latest"):  # the checkpoints are there
        (tmp_path / "run" / lost).unlink(missing_ok=True)
        with pytest.raises(tt.ArgumentError, match="holds a run already"):
            train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True)


def test_a_validation_may_be_that_of_the_first_batches(text, tmp_path):
    run = Run(*configs(text, tmp_path / "run"))
    first = run.val_tokens.ids[: 8 * run.model_config.block_size + 1]
    assert evaluate(run.model, run.val_tokens, 4, 2) == pytest.approx(evaluate(run.model, first, 1), rel=1e-5)


def test_the_schedules_reach_their_ends():
    for kind in get_args(get_type_hints(TrainConfig)["schedule"]):
        rates = {"learning_rate": 1.0, "min_learning_rate": 0.1}
        config = TrainConfig(max_steps=100, warmup_steps=10, schedule=kind, **rates)
        lr = [schedule_of(config).lr_at(s) for s in range(101)]
        assert lr[0] < 0.2
        assert max(lr) == pytest.approx(1.0)
        assert lr[100] == pytest.approx(1.0 if kind == "constant" else 0.1)


def test_batches_come_in_the_order_asked_for(text, tmp_path):
    found = [
        Run(*configs(text, tmp_path / order, f"--batch_order={order}")).batches.batch(0)[0]
        for order in ("consecutive", "random")
    ]
    ids = Run(*configs(text, tmp_path / "run")).train_tokens.ids
    wanted = ids[: found[0].size].reshape(found[0].shape)
    assert [np.array_equal(inputs, wanted) for inputs in found] == [True, False]


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


def test_a_sample_begins_with_the_first_token_of_a_text_without_newlines(tmp_path):
    (tmp_path / "line.txt").write_text("q" + "uick brown fox " * 40)
    words = ("--sample_interval=1", "--max_steps=1")
    run = train(*configs(tmp_path / "line.txt", tmp_path / "run", *words), quiet=True)
    (sample,) = logged(run, "sample")
    assert sample.startswith("q")


def test_samples_are_drawn_without_dropout(text, tmp_path):
    run = Run(*configs(text, tmp_path / "run", "--dropout=0.5"))
    run.model.train()
    samples = set()
    for seed in range(3):
        tt.manual_seed(seed)  # dropout would draw from it
        samples.add(run.sample())
    assert len(samples) == 1
    assert run.model.training


# ---- the log, cut back to the step from which a run goes on ------------------------------------------------


LINES = ['{"seed": 1}', *(f'{{"step": {step}, "loss": 0.5}}' for step in range(1, 6))]
LOG = "\n".join(LINES).encode()
BROKEN = [b"{", b"[1]", b'{"step": "2"}', b'{"step": null}', b"", b"[" * 100_000, b"\0" * 50]


@pytest.mark.parametrize(
    ("log", "step", "kept", "dropped"),
    [
        (LOG + b'\n{"step": 6, "lo', 3, LINES[:4], ""),
        (LOG + b"\n", 0, LINES[:1], ""),
        ('{"step": 1}\n{"step": 2, "text": "ü'.encode()[:-1], 9, ['{"step": 1}'], ""),  # inside a character
        *[  # lines that a power cut broke
            (b'{"step": 1}\n%b\n{"step": 2}\n{"step": 3}\n' % line, 2, ['{"step": 1}', '{"step": 2}'], "2")
            for line in BROKEN
        ],
    ],
)
def test_a_log_is_cut_back(tmp_path, capsys, log, step, kept, dropped):
    path = tmp_path / "log.jsonl"
    path.write_bytes(log)
    for note in (f"note: not a log line, dropped from {path}: {dropped}\n" if dropped else "", ""):  # twice
        assert truncate_log(path, step) == len(kept)
        assert path.read_text() == "".join(f"{line}\n" for line in kept)
        assert capsys.readouterr().err == note
    assert os.listdir(tmp_path) == ["log.jsonl"]


def test_no_log(tmp_path):
    assert truncate_log(tmp_path / "log.jsonl", 3) == 0
    assert os.listdir(tmp_path) == []


# ---- MFU: a share of the fastest products that were seen, whatever disturbed the others --------------------


def test_the_largest_peak_is_kept_and_the_first_answer_left_out(monkeypatch):
    speeds = iter([2e9, 8e9, 1e9, 4e9])  # a busy machine, a free one, a busy one
    monkeypatch.setattr(measures, "product_speed", lambda: next(speeds))
    used = Utilization(1e6, ranks=2)
    assert used.share(1e9) is None  # and is no peak
    assert [used.share(800.0) for _ in range(LOOKS)] == pytest.approx([0.05] * LOOKS)
    assert used.share(32e3) == 1.0  # faster than any product: that is the peak from now on
    assert used.share(800.0) == pytest.approx(0.025)


def test_products_are_counted_and_computed_as_autocast_says(monkeypatch):
    seen = []
    times = iter(np.cumsum([0, 9, 0, 0.5, 0, 0.25, 0, 1.0]).tolist())  # before and after each product
    monkeypatch.setattr(measures, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    monkeypatch.setattr(
        tt.Tensor, "__matmul__", lambda a, b, matmul=tt.matmul: seen.append(matmul(a, b).dtype)
    )
    with tt.no_grad(), tt.autocast(tt.bfloat16):
        assert product_speed(size=8, repeats=4) == 2 * 8**3 / 0.25
    assert seen == [tt.bfloat16] * 4
