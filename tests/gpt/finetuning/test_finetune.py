"""Fine-tuning from end to end: each method shows its effect on held-out examples and resumes to the bit."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gpt.__main__ import main
from gpt.data.command import embedded_shakespeare
from gpt.finetuning.builtin_conversations import builtin_conversations
from gpt.finetuning.finetune import begin
from gpt.finetuning.finetune import tune as run_of
from gpt.finetuning.text_task import Reading
from gpt.tokenizers.chat_template import IGNORED
from gpt.weights.checkpoint import load_checkpoint
from tests.helpers.runs import assert_same
from tinytensor.interop.safetensors_file import read_safetensors

# method → what to add to its defaults, the number that must change, and by what factor at most
METHODS = {
    "lora": (["--max_steps=60"], "val_loss", 0.9),
    "instruct": (["--max_steps=60"], "val_loss", 0.85),
    "dpo": (["--max_steps=30", "--learning_rate=3e-4", "--batch_size=8"], "val_loss", 0.9),
}


def tune(name, base, folder, *words):
    return main(["finetune", name, f"--init_from={base}", f"--out_dir={folder}", "--eval_interval=0", *words])


def numbers(said):
    """Held-out numbers: name → (before, after)."""
    table = said.split("held-out")[1].split("files")[0]
    return {
        name: (float(a), float(b))
        for name, a, b in re.findall(r"^(\w+) +([-\d.]+) +([-\d.]+)$", table, re.MULTILINE)
    }


@pytest.mark.parametrize("name", METHODS)
def test_each_method_shows_its_effect(name, base, tmp_path, capsys):
    words, key, most = METHODS[name]
    assert tune(name, base, tmp_path / "run", *words) == 0
    found = numbers(capsys.readouterr().out)
    before, after = found[key]
    assert after < most * before
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == int(words[0].partition("=")[2])
    assert main(["sample", str(tmp_path / "run"), "--prompt=The ", "--max_new_tokens=5"]) == 0
    # of a run that goes on
    assert tune("lora" if name == "dpo" else "dpo", base, tmp_path / "run") == 2
    assert "holds a run already" in capsys.readouterr().err


def test_a_resumed_run_compares_with_its_start_and_measures_each_step_once(
    base, tmp_path, monkeypatch, told, capsys
):
    measured = []
    metrics = Reading.metrics
    monkeypatch.setattr(Reading, "metrics", lambda task: measured.append(metrics(task)) or measured[-1])
    assert tune("lora", base, tmp_path / "run", "--max_steps=2", "--warmup_steps=0") == 0
    first = numbers(capsys.readouterr().out)["val_loss"]
    words = ["--init_from=resume", f"--out_dir={tmp_path / 'run'}", "--max_steps=4"]
    said = told("finetune", "lora", *words)
    assert re.search(r"held-out +step +0 +4\n", said)
    losses = [round(found["val_loss"], 4) for found in measured]
    assert first == (losses[0], losses[1])
    assert numbers(said)["val_loss"] == (losses[0], losses[2])
    assert len(set(losses)) == len(losses) == 3


def test_the_next_command_talks_to_the_model(base, tmp_path, monkeypatch, capsys):
    words = ["--max_steps=1", "--warmup_steps=0", f"--data={tmp_path / 'talks.json'}"]
    talks = [{"prompt": "Hi", "completion": answer} for answer in (*["Oh", "Ah"] * 8, "", " ", "€", "€")]
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    assert tune("instruct", base, tmp_path / "run", *words) == 0
    said = capsys.readouterr().out
    assert "of 20 conversations 2 are skipped: encode: unknown character '€'" in said
    assert "of 20 conversations 2 have an empty answer" in said
    command = shlex.split(said.split("python -m gpt ")[1])
    assert command == ["chat", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n"))
    assert main([*command, "--max_new_tokens=3"]) == 0
    capsys.readouterr()
    (tmp_path / "talks.json").write_text(json.dumps(talks[-2:]))
    assert tune("instruct", base, tmp_path / "none", *words) == 2
    assert "none of 2 conversations can be used" in capsys.readouterr().err


def test_conversations_that_cannot_be_used_take_no_place_in_the_validation(base, tmp_path):
    """Of 10 usable ones among 30 a tenth is held out: one, whatever the seed."""
    talks = [{"prompt": "Hi", "completion": answer} for answer in ["Oh"] * 10 + ["€"] * 20]
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    for seed in range(3):
        words = [f"--data={tmp_path / 'talks.json'}", f"--seed={seed}", f"--out_dir={tmp_path / 'run'}"]
        task = begin("instruct", [f"--init_from={base}", *words]).task
        assert (len(task.questions), sum((row[1] != IGNORED).any() for row in task.held_out)) == (1, 1)


def test_pairs_without_a_preference_are_counted(base, tmp_path, capsys):
    pairs = [{"prompt": "a", "chosen": "b", "rejected": said} for said in ("b", "c", "d", "b")]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    words = ["--max_steps=1", "--warmup_steps=0", f"--data={tmp_path / 'pairs.json'}"]
    assert tune("dpo", base, tmp_path / "run", *words) == 0
    assert "of 4 pairs 2 have equal answers" in capsys.readouterr().out


def test_new_tokens_are_not_frozen(base, tmp_path, capsys):
    assert tune("instruct", base, tmp_path / "run", "--lora_rank=2") == 2
    assert "its embeddings are frozen" in capsys.readouterr().err


def test_a_call_that_was_killed_is_repeated(base, tmp_path):
    """With the checkpoint of step 2 on the disk, the same call gives the bits of one that was not killed."""
    data = tmp_path / "talks.json"
    data.write_text(
        json.dumps([{"messages": m} for m in builtin_conversations(embedded_shakespeare(), 0, 100)])
    )
    fields = {"init_from": base, "data": data, "max_steps": 5, "warmup_steps": 0, "batch_size": 2}
    whole = run_of("instruct", tmp_path / "whole", quiet=True, **fields)
    kill = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, (base, tmp_path / "parts", data))], check=False, timeout=100
    )
    assert kill.returncode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "parts").step == 2
    again = run_of("instruct", tmp_path / "parts", quiet=True, **fields)
    assert again.step == whole.step == 5
    assert_same(again, whole)
    assert run_of("instruct", tmp_path / "parts", quiet=True, **fields).step == 5  # finished


KILLED = """
import os, signal, sys
from gpt.data.command import embedded_shakespeare
from gpt.training.train import Trainer
from gpt.finetuning.builtin_conversations import builtin_conversations
from gpt.finetuning.finetune import tune
step = Trainer.step
def dying(self):
    if self.run.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)
Trainer.step = dying
fields = {"max_steps": 5, "warmup_steps": 0, "batch_size": 2, "checkpoint_interval": 2}
tune("instruct", sys.argv[2], init_from=sys.argv[1], data=sys.argv[3], **fields)
"""


def test_adapters_leave_the_weights_they_stand_beside(base, tmp_path):
    """Those of the base and adapters' products, which the run has added to them, and nothing else."""
    assert tune("lora", base, tmp_path / "run", "--max_steps=3", "--warmup_steps=0") == 0
    before, after = [load_checkpoint(folder).weights for folder in (base, tmp_path / "run")]
    assert before.keys() == after.keys()
    adapters = read_safetensors(tmp_path / "run" / "adapters.safetensors").arrays()
    config = json.loads((tmp_path / "run" / "adapters.json").read_text())
    scale = config["lora_alpha"] / config["lora_rank"]
    changed = {name.removesuffix(".lora_a") for name in adapters if name.endswith(".lora_a")}
    for name, array in before.items():
        layer = name.removesuffix(".weight")
        if name.endswith(".weight") and layer in changed:
            added = scale * adapters[f"{layer}.lora_a"] @ adapters[f"{layer}.lora_b"]
            assert abs(added).max() > 1e-5
            np.testing.assert_allclose(after[name], array + added, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_weights_are_kept_without_the_safetensors_library(base, tmp_path, monkeypatch):
    (tmp_path / "text").write_text("the cat sat " * 9)
    learn = ["skipgram", str(tmp_path / "text"), f"--out={tmp_path / 'vectors'}", "--subsample=1"]
    monkeypatch.setitem(sys.modules, "safetensors", None)  # how Python marks what cannot be imported
    assert tune("lora", base, tmp_path / "run", "--max_steps=2", "--warmup_steps=0") == 0
    assert main(learn) == 0
    assert list((tmp_path / "run").rglob("*.safetensors"))
    assert list((tmp_path / "vectors").rglob("*.safetensors"))


def test_one_rank_alone_is_tuned(base, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gpt.finetuning.finetune.init", lambda: SimpleNamespace(size=2))
    assert tune("lora", base, tmp_path / "run") == 2
    assert "started on 2 ranks" in capsys.readouterr().err
