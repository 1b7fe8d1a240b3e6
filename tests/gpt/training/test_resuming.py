"""A run that is stopped and resumed has the bits of an uninterrupted one, whatever it trains."""

import itertools
import json

import pytest

from gpt.finetuning.finetune import METHODS, begin
from gpt.lessons.masked import MaskedRun
from gpt.lessons.translate import _BEGIN, TranslateRun
from gpt.presets import preset
from gpt.training.command import configs_of
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.train import Trainer
from gpt.weights.checkpoint import load_checkpoint
from tests.helpers.runs import assert_same
from tests.helpers.stopped import train_until

TUNED = "--learning_rate=1e-3 --batch_size=4 --dropout=0.1"
ALL = "--optimizer=muon --dropout=0.2 --health_interval=3"
ROWS = [
    ("train", ""),
    ("train", "--optimizer=muon --matrix_learning_rate=0.01 --init=scaled"),
    ("train", "--checkpoint_blocks=1 --dropout=0.2"),
    ("train", f"{ALL} --checkpoint_blocks=2 --gradient_accumulation_steps=2"),
    ("train", f"{ALL} --checkpoint_blocks=1 --dtype=float16"),
    ("masked", "--health_interval=3"),
    ("translate", "--dropout=0.1 --health_interval=3"),
    ("translate", "--optimizer=muon"),
    ("lora", TUNED),
    ("instruct", TUNED),
    ("instruct", f"{TUNED} --optimizer=muon --matrix_learning_rate=2e-3"),
    ("dpo", TUNED),
]
TINY = ["--preset=tiny"]
TRANSLATE = ["--n_layer=1", "--n_embd=48", "--block_size=8", "--batch_size=32"]


def trainer_of(command, words):
    """The training of a command line."""
    if command in METHODS:
        return Trainer(begin(command, words), quiet=True)
    kind = {"train": Run, "masked": MaskedRun, "translate": TranslateRun}[command]
    beginning = _BEGIN if command == "translate" else preset("tiny")
    return Trainer(kind(*configs_of(words, beginning)), quiet=True)


@pytest.fixture
def beginning(base, tmp_path):
    """The words that begin a run of a command."""
    letters = ["".join(w) for n in range(1, 6) for w in itertools.product("abc", repeat=n)]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"source": w, "target": w.upper()}) + "\n" for w in letters))
    own = {"translate": [*TRANSLATE, f"--data={pairs}"], "train": TINY, "masked": TINY}
    steps = ["--max_steps=8", "--warmup_steps=2", "--checkpoint_interval=4", "--eval_interval=0"]
    return lambda command: [*own.get(command, [f"--init_from={base}"]), *steps]


@pytest.mark.parametrize(("command", "more"), ROWS)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(command, more, beginning, tmp_path):
    words = [*beginning(command), *more.split()]
    folders = whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer_of(command, [*words, f"--out_dir={whole}"]).train()
    train_until(trainer_of(command, [*words, f"--out_dir={parts}"]), 4)
    trainer_of(command, ["--init_from=resume", f"--out_dir={parts}"]).train()
    assert_same(parts, whole)
    wanted, found = [load_checkpoint(folder) for folder in folders]
    assert wanted.step == found.step == 8
    assert wanted.state.get("scaler") == found.state.get("scaler")
    kept = ("step", "loss", "grad_norm", "health")
    logs = [[{k: line.get(k) for k in kept} for line in RunLog(folder).read()] for folder in folders]
    assert logs[0] == logs[1]
    parts_of = {part["part"] for line in logs[0] for part in line["health"] or ()}
    assert ({"h.0", "wte"} <= parts_of) == ("health" in more)
    assert ("encoder" in parts_of) == ("health" in more and command == "translate")
