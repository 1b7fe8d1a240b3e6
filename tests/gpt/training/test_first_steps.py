"""What a new user tries: built-in examples on any model, one's own text, other programs' names of fields."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.finetuning.finetune import METHODS
from gpt.models.gpt import GPT
from gpt.presets import preset
from gpt.tokenizers.bpe import BPETokenizer
from gpt.training.command import configs_of, train
from gpt.training.run import Run
from gpt.training.train import Trainer
from gpt.weights.load import load
from gpt.weights.save import save_pretrained
from tests.helpers.runs import tiny
from tinytensor.interop.safetensors_file import write_safetensors


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of a model whose context is half as long as the longest built-in example."""
    words = ("--block_size=40", "--max_steps=2", "--warmup_steps=1", "--eval_interval=0")
    return train(*tiny(tmp_path_factory.mktemp("short") / "run", *words), quiet=True).folder


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"grpo"}))  # which refuses long questions
def test_built_in_examples_fit_a_short_context(name, short, tmp_path, told):
    words = [f"--init_from={short}", f"--out_dir={tmp_path / 'run'}", "--max_steps=2", "--warmup_steps=1"]
    assert "--- at step 2 ---" in told("finetune", name, *words, "--eval_interval=0")


@pytest.fixture
def place(short, tmp_path, monkeypatch):
    """A folder with a run in runs/ and a text of other characters than that one begins with."""
    shutil.copytree(short, tmp_path / "runs" / "demo")
    (tmp_path / "my.txt").write_text("abcabcaab " * 400)
    monkeypatch.chdir(tmp_path)
    return tmp_path


STEPS = ("--max_steps=2", "--warmup_steps=1", "--eval_interval=0", "--eval_batches=2", "--log_interval=1")


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], "runs/shakespeare-char-cpu"),
        (["--data=my.txt"], "runs/my-char-cpu"),
        (["--data=.", "--preset=shakespeare-char"], "runs/plays-char"),
        (["--data=my.txt", "--out_dir=runs/mine"], "runs/mine"),
        (["--data=my.txt", "--depth=4"], "runs/depth-4"),
    ],
)
def test_a_run_is_named_by_its_data(words, folder, tmp_path, monkeypatch):
    (tmp_path / "plays").mkdir()
    monkeypatch.chdir(tmp_path / "plays")
    assert configs_of(words, preset("shakespeare-char-cpu"))[1].out_dir == folder


@pytest.mark.parametrize("origin", ["runs/demo", "runs/demo/step_2"])
def test_a_run_is_trained_on_with_ones_own_text(origin, place, told):
    said = told("train", f"--init_from={origin}", "--data=my.txt", "--out_dir=runs/mine", *STEPS)
    assert "context 40, vocabulary 64" in said
    steps = [line for line in said.splitlines() if line.startswith("step") and "loss" in line]
    assert [bool(re.search(r"  eta \d+:\d\d$", line)) for line in steps] == [True, False]
    assert said.splitlines()[-1].endswith("python -m gpt sample runs/mine")
    ours, theirs = [(place / f"runs/{name}/tokenizer.json").read_bytes() for name in ("mine", "demo")]
    assert ours == theirs


def test_a_finished_run_says_how_it_goes_on(place, told):
    words = ["train", "--init_from=resume", "--out_dir=runs/demo"]
    assert "--max_steps=1: runs/demo is at step 2" in told(*words, "--max_steps=1", code=2)
    assert "finished: step 2 of 2; go on with --max_steps=N" in told(*words)


def test_a_run_that_diverges_at_once_is_not_resumed(place, told):
    wild = ["--learning_rate=1e30", "--min_learning_rate=1e29", "--grad_clip=0", "--out_dir=runs/wild"]
    said = told("train", "--preset=tiny", *wild, code=2)
    assert all(text in said for text in ("nothing was saved", "start again"))
    assert "resume" not in said, "there is nothing to resume"


def test_a_folder_of_chatbot_is_one_of_the_runs_that_are_there(place, told):
    shutil.copytree("runs/demo", "runs/chat/base")
    Path("runs/chat/chatbot.json").write_text("{}")
    assert "the runs here are runs/chat, runs/demo" in told("sample", "runs/nope", code=2)
    for n in range(3, 10):  # runs, of which eight are named
        shutil.copytree("runs/demo", f"runs/{n}")
        assert (", …" in told("sample", "runs/nope", code=2)) == (n > 8)


def test_a_model_that_is_neither_here_nor_on_the_hub_is_answered_with_the_runs(place, told, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    said = told("sample", "dmo", code=2)
    assert "the runs here are runs/demo; a name on the Hugging Face hub needs" in said
    assert "did you mean runs/demo?" in said
    assert "fix: check the path, or pip install huggingface_hub" in told("sample", "nosuch", code=2)


SMALL = ["--n_layer=1", "--n_embd=8", "--n_head=1", "--block_size=16", "--eval_batches=1"]
SMALL += ["--sample_tokens=20", "--warmup_steps=0", "--eval_interval=0"]


@pytest.mark.parametrize("interval", [0, 2])
def test_the_demo_shows_its_last_sample_once(interval, tmp_path, monkeypatch, told):
    monkeypatch.chdir(tmp_path)
    assert told("demo", *SMALL, "--max_steps=2", f"--sample_interval={interval}").count("--- sample") == 1
    assert preset("demo")[1].health_interval > 0


def test_an_interrupted_demo_goes_on(tmp_path, monkeypatch, told, capsys):
    monkeypatch.chdir(tmp_path)
    step = Trainer.step

    def asked(self):
        numbers = step(self)
        if numbers["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return numbers

    monkeypatch.setattr(Trainer, "step", asked)
    assert main(["demo", *SMALL, "--max_steps=4", "--sample_interval=0"]) == 130
    monkeypatch.setattr(Trainer, "step", step)
    capsys.readouterr()
    said = told("demo")
    assert "going on with the run in runs/demo at step 2" in said
    assert "run    steps 2 to 4" in said
    assert main(["demo", *SMALL, "--max_steps=1", "--sample_interval=0"]) == 0
    assert "an earlier run is kept as runs/demo.1" in capsys.readouterr().out


def test_the_model_may_stand_anywhere(place, told):
    options = ["--max_new_tokens", "3", "--prompt=To"]
    said = set()
    for at in (0, 2, 3, 4):
        said.add(told("sample", *options[:at], "runs/demo", *options[at:]))
    assert len(said) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="its files have no such modes")
def test_files_of_weights_have_the_mode_of_others(tmp_path):
    before = os.umask(0o027)
    try:
        write_safetensors(tmp_path / "w.safetensors", {"w": np.zeros(2, np.float32)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o640


@pytest.mark.parametrize("columns", [80, 100])
def test_help_is_as_wide_as_the_terminal(columns, monkeypatch, told):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = told("sample", "--help").split("\n\n")[-1].splitlines()
    assert columns - 20 < max(map(len, lines)) <= columns
    assert all(line.startswith(("  --", " " * 37)) for line in lines if line)


def test_one_is_not_many(capsys):
    assert main(["plan", "--n_layer=1", "--n_head=1", "--flops=1e12"]) == 0
    assert "model: 1 layer × 1 head × 128 channels" in capsys.readouterr().out


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder as transformers writes it, its model, and a text."""
    text = "low lower lowest, 2024. " * 40
    words = BPETokenizer.train(text, 264)
    size = GPTConfig(words.vocab_size, block_size=64, n_layer=2, n_head=2, n_embd=8, dropout=0.0)
    model = GPT(size)
    save_pretrained(model, tmp_path / "theirs", words)
    (tmp_path / "my.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    return model


def test_a_model_from_elsewhere_is_trained_on(elsewhere, capsys):
    words = ["--init_from=theirs", "--data=my.txt", "--block_size=16", "--batch_size=2", *STEPS]
    begun = Run(*configs_of([*words, "--out_dir=runs/begun"], preset("tiny")))
    for (name, p), q in zip(begun.model.named_parameters(), elsewhere.parameters(), strict=True):
        wanted = q.detach().numpy()
        np.testing.assert_array_equal(p.detach().numpy(), wanted[:16] if name == "wpe.weight" else wanted)
    assert main(["train", *words, "--out_dir=runs/mine"]) == 0
    assert main(["train", "--init_from=resume", "--out_dir=runs/mine", "--max_steps=3"]) == 0
    assert main(["sample", "runs/mine", "--prompt=low", "--max_new_tokens=3"]) == 0
    capsys.readouterr()
    assert main(["train", *words, "--n_layer=3", "--out_dir=runs/other"]) == 2
    assert "its model has n_layer=2, not 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "source", ["run", "run/step_1", "run/step_1/model.safetensors", "bot", "hf", "one.safetensors", "m.gguf"]
)
def test_each_form_of_a_model_is_planned_trained_and_scored(source, forms, tmp_path, monkeypatch, told):
    monkeypatch.chdir(forms)
    words = ["--data=my.txt", "--max_steps=1", "--warmup_steps=0", "--eval_batches=1", "--batch_size=2"]
    assert "2 heads × 8 channels, context 64, vocabulary 264" in told("plan", source, "--flops=1e9")
    said = told("train", f"--init_from={source}", f"--out_dir={tmp_path / 'new'}", *words)
    assert "2 heads, 8 wide, context 64, vocabulary 264" in said
    assert main(["eval", source, "--data=tokens"]) == 0
    assert main(["sample", source, "--prompt=low", "--max_new_tokens=3"]) == 0


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """A folder with a run, in all forms of a model."""
    folder, text = tmp_path_factory.mktemp("forms"), "low lower lowest, 2024. " * 40
    with contextlib.chdir(folder):
        Path("my.txt").write_text(text)
        BPETokenizer.train(text, 264).save("tokenizer.json")
        words = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=64", "--max_steps=1"]
        begin = ["--data=my.txt", "--tokenizer=tokenizer.json", "--batch_size=2", "--warmup_steps=0"]
        assert main(["train", *words, *begin, "--out_dir=run"]) == 0
        assert main(["data", "prepare", "my.txt", "--tokenizer=tokenizer.json", "--out=tokens"]) == 0
        shutil.copytree("run", "bot/base")
        Path("bot/chatbot.json").write_text("{}")
        for out in (["hf", "--format=hf"], ["one.safetensors"], ["m.gguf"]):
            assert main(["convert", "run", *out]) == 0
    return folder


def test_a_short_text_tunes_a_model_with_a_long_context(elsewhere, tmp_path, told):
    (tmp_path / "short.txt").write_text("low lower lowest, 2024. " * 6)
    words = ["finetune", "lora", "--init_from=theirs", "--data=short.txt", "--out_dir=runs/lora", *STEPS[:3]]
    found = re.search(r"block_size <= (\d+)", told(*words, code=2))
    assert main([*words, f"--block_size={found[1]}"]) == 0
    assert load("runs/lora")[0].config.block_size == int(found[1])


def test_a_short_run_has_a_short_warmup(tmp_path):
    text = tmp_path / "text"
    text.write_text("low lower lowest " * 99)
    words = [f"--data={text}", "--max_steps=20", "--n_layer=1", "--n_embd=8", "--n_head=1"]
    assert configs_of(words, preset("shakespeare-char-cpu"))[1].warmup_steps == 2
    assert configs_of([*words, "--warmup_steps=7"], preset("shakespeare-char-cpu"))[1].warmup_steps == 7
    assert configs_of(["--max_steps=9999"], preset("shakespeare-char-cpu"))[1].warmup_steps == 100
    resumed = ["--init_from=resume", f"--out_dir={tmp_path / 'run'}"]
    configs = configs_of([*words, *STEPS[1:], resumed[1], "--block_size=8"], preset("tiny"))
    train(*configs, quiet=True)
    assert configs_of([*resumed, "--max_steps=30"], preset("tiny"))[1].warmup_steps == 1  # as it was begun


def test_a_folder_of_texts_says_what_is_read(tmp_path, monkeypatch, told, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts" / "more").mkdir(parents=True)
    for name in ("b.txt", "more/a.txt", "c.py", "d.md"):
        (tmp_path / "texts" / name).write_text("low lower lowest " * 50)
    assert main(["train", "--preset=tiny", "--data=texts", "--out_dir=run", *STEPS]) == 0
    said = capsys.readouterr().err
    assert "b.txt, more/a.txt are read, and 2 other files (.md, .py) are not" in said
    assert "--pattern selects others" in said
    (tmp_path / "texts" / "c.py").write_text("qqq xyz " * 50)
    assert main(["train", "--preset=tiny", "--data=texts", "--pattern=*.py", "--out_dir=py", *STEPS]) == 0
    assert "c.py is read" in capsys.readouterr().err
    assert json.loads((tmp_path / "py" / "tokenizer.json").read_text())["alphabet"] == [*" qxyz"]
    resume = ["train", "--init_from=resume", "--out_dir=py", "--max_steps=3"]
    assert "the run was started with *.py" in told(*resume, "--pattern=*.md", code=2)
    assert main(resume) == 0


def test_a_run_on_token_files_names_their_tokenizer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("low lower lowest " * 99)
    assert main(["data", "prepare", "text", "--tokenizer=char", "--out=tokens"]) == 0
    words = ["train", "--preset=tiny", "--block_size=8", "--data=tokens", "--out_dir=run"]
    assert main([*words, *STEPS]) == 0
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["train"]["tokenizer"] == "tokens/tokenizer.json"
    assert main([*words, "--init_from=resume", "--max_steps=3", "--warmup_steps=1"]) == 0
    assert main(["train", "--out_dir=run", "--init_from=resume", "--max_steps=4"]) == 0
