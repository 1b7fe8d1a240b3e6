"""`python -m gpt chatbot`: stages, resuming after kill -9 in each of them, and the conversation."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gpt.chatbot
from gpt.chatbot import ChatbotConfig, main, stages
from gpt.data.command import embedded_shakespeare
from gpt.depth import of_depth
from gpt.tasks.registry import TASKS
from gpt.training.run_log import RunLog
from gpt.weights.load import open_source
from tests.helpers.runs import assert_same
from tinytensor.errors import ArgumentError, FormatError

RUNS = ("base", "instruct", "grpo")
SMALL = ["--depth=1", "--instruct_steps=22", "--grpo_steps=22", "--held_out=4"]


def command(*words):
    return [sys.executable, "-m", "gpt", "chatbot", *words]


def output(*words):
    done = subprocess.run(command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A short text: its validation part is read eight times."""
    path = tmp_path_factory.mktemp("texts") / "play.txt"
    path.write_text(embedded_shakespeare()[:40_000])
    return str(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text):
    """Folder and output of an undisturbed run."""
    folder = tmp_path_factory.mktemp("chatbot") / "whole"
    return folder, output(*SMALL, f"--data={text}", f"--out_dir={folder}")


def test_each_stage_prints_its_command_and_the_model_talks(whole, text):
    folder, printed = whole
    config = ChatbotConfig(1, text, instruct_steps=22, grpo_steps=22, held_out=4, out_dir=str(folder))
    for stage in stages(config):
        assert stage.command in printed
        assert f"| {stage.name} | " in printed.partition("report.md\n")[2]
    assert "> How do you spell harbour?\n" in printed.partition("=== conversation")[2]


def test_the_report_has_what_the_stages_printed(whole):
    """Its accuracies are those of the table; below what is expected is each of so small a model."""
    folder, printed = whole
    report = (folder / "report.md").read_text()
    assert re.match(r"5 stages, about \d+ minutes on this machine: tokenizer, pretraining, ", printed)
    table = printed.partition("right (with shuffled questions)")[2]
    for run in RUNS:
        losses = [line["val_loss"] for line in RunLog(folder / run).read() if "val_loss" in line]
        assert f" | {losses[-1]:.4f} |\n" in report
    for task in TASKS:
        row = next(line for line in table.splitlines() if line.startswith(f"{task} "))
        right = [round(float(share)) for share in re.findall(r"([\d.]+)% \(", row)]
        (cells,) = re.findall(rf"\| {task} \|(.*)\|", report)
        assert [int(share) for share in re.findall(r"(\d+)%", cells)][1:] == [*right, 90]
        for part, share in zip(("instruction tuning", "reinforcement learning"), right[1:], strict=True):
            assert f"{task} {share}%: expected >= 90% after {part}\n" in report
    assert report in printed


def test_the_folder_stands_for_its_last_run(whole, tmp_path):
    folder, _ = whole
    assert open_source(folder).path == folder / "grpo"
    for name in ("base", "instruct"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(FormatError, match=r"no config\.json"):  # any folder of runs is not meant
        open_source(tmp_path)
    (tmp_path / "chatbot.json").touch()
    assert open_source(tmp_path).path == tmp_path / "instruct"


def test_stages_killed_halfway_resume_with_equal_bits(whole, text, tmp_path):
    """The first command has all fields; the next have the folder alone."""
    folder = tmp_path / "cut"
    words = [*SMALL, f"--data={text}", f"--out_dir={folder}"]
    for run in RUNS:
        process = subprocess.Popen(
            command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 300
        while not (folder / run / "latest").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"{run} ended before it was killed"
        words = [f"--out_dir={folder}"]
    assert output(*words).count("done before") == 3  # the tokenizer and the first two runs
    for run in RUNS:
        assert_same(folder / run, whole[0] / run)


@pytest.mark.parametrize(
    ("runs", "steps", "word", "refused"),
    [
        (RUNS, 22, "--depth=2", "chatbot --depth=2 --out_dir=NEW"),
        (RUNS, 22, "--instruct_steps=30", "--instruct_steps=30 --out_dir=NEW --init_from={}/base"),
        (RUNS, 22, "--task=sorting", "--task=sorting --out_dir=NEW --init_from={}/base"),
        (RUNS[:2], 22, "--grpo_steps=5", ""),
        (RUNS[:1], 22, "--instruct_steps=5", ""),
        (RUNS[:2], 90, "--instruct_steps=30", ""),  # begun, at step 22 of 90
        (RUNS[:2], 90, "--instruct_steps=5", "--instruct_steps=5 --out_dir=NEW --init_from={}/base"),
    ],
)
def test_options_of_stages_that_ran_are_fixed(whole, tmp_path, monkeypatch, runs, steps, word, refused):
    for name in ("tokenizer.json", *runs):
        (shutil.copytree if name in RUNS else shutil.copy)(whole[0] / name, tmp_path / name)
    saved = json.loads((whole[0] / "chatbot.json").read_text())
    saved["config"]["instruct_steps"] = steps
    (tmp_path / "chatbot.json").write_text(json.dumps(saved))
    if "instruct" in runs:
        path = tmp_path / "instruct" / "config.json"
        config = json.loads(path.read_text())
        config["train"]["max_steps"] = steps
        path.write_text(json.dumps(config))
    begun = []
    monkeypatch.setattr(gpt.chatbot, "_MAINS", {"finetune": lambda words: begun.append(words) or 130})
    if refused:
        with pytest.raises(ArgumentError) as caught:
            main([word, f"--out_dir={tmp_path}"])
        assert refused.format(tmp_path) in caught.value.fix
        assert not begun
    else:
        assert main([word, f"--out_dir={tmp_path}"]) == 130
        assert f"--max_steps={word.partition('=')[2]}" in begun[0]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ArgumentError("x", why="x", fix="x")])
def test_an_interrupted_stage_says_how_to_resume_and_its_seconds_count(end, tmp_path, monkeypatch, capsys):
    clock = iter(range(0, 1000, 10))

    def stopped(words):
        raise end

    monkeypatch.setattr(gpt.chatbot, "_MAINS", {"tokenizer": stopped})
    monkeypatch.setattr(gpt.chatbot.time, "perf_counter", lambda: next(clock))
    folder = tmp_path / "a b"
    for words, seconds in ((["--depth=1"], 10.0), ([], 20.0)):
        with contextlib.suppress(KeyboardInterrupt, ArgumentError):
            main([*words, f"--out_dir={folder}"])
        assert f"python -m gpt chatbot '--out_dir={folder}'\n" in capsys.readouterr().out
        saved = json.loads((folder / "chatbot.json").read_text())
        assert saved["seconds"] == {"tokenizer": seconds}
        assert saved["config"]["depth"] == 1


def test_the_tokenizer_reads_the_files_that_are_trained_on(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text("to be")
    words = stages(ChatbotConfig(data=str(tmp_path)))[0].words
    assert [Path(word).name for word in words if word.startswith(str(tmp_path))] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("depth", [1, 4, 6])
def test_a_step_has_the_tokens_of_the_dial(depth):
    model, train = of_depth(depth)
    (rows,) = [word for word in stages(ChatbotConfig(depth))[1].words if word.startswith("--batch_size=")]
    assert int(rows.partition("=")[2]) * 256 == pytest.approx(train.batch_size * model.block_size, abs=255)


def test_a_chat_model_begins_with_instruction_tuning():
    found = stages(ChatbotConfig(init_from="smollm2"))
    assert [stage.words[0] for stage in found] == ["finetune", "finetune", "eval"]
    assert "--init_from=smollm2" in found[0].words
    assert Path("runs/chat/instruct") == found[0].result


def test_of_a_larger_model_adapters_are_trained(tmp_path):
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "state.json").touch()  # a run
    larger, own = (stages(ChatbotConfig(init_from=str(name)))[:2] for name in ("smollm2", tmp_path))
    assert all("--lora_rank=8" in stage.words and "--batch_size=2" in stage.words for stage in larger)
    assert "--optimizer=muon" in own[0].words
    assert not any("lora" in word for stage in own for word in stage.words)
