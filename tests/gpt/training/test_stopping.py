"""A training that is asked to stop saves first, whatever asks; and no other one may write into its folder."""

import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager

import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.training.command import main
from gpt.training.run_lock import alone_in
from gpt.training.run_log import truncate_log
from gpt.training.terminal import Terminal
from gpt.training.train import Trainer
from gpt.weights.checkpoint import load_checkpoint
from tests.helpers.source import ROOT

TINY = ("--preset=tiny", "--eval_interval=0", "--log_interval=1")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are those of Unix")


@contextmanager
def training(folder, *words, **more):
    """A process that trains, at the line of its fifth step."""
    text = folder.with_name("text")
    text.write_text("the cat and the dog\n" * 99)
    command = [sys.executable, "-m", "gpt", "train", *TINY, f"--data={text}", f"--out_dir={folder}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "--max_steps=100000", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        **more,
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        with process:
            for line in process.stdout:
                if line.startswith("step      5"):
                    break
            yield process
    finally:
        timer.cancel()


@pytest.mark.parametrize(
    ("name", "times", "beside", "command"),
    [
        ("SIGINT", 1, "notes.json", "train --init_from=resume --out_dir={}/run"),
        ("SIGTERM", 2, "notes.json", "train --init_from=resume --out_dir={}/run"),  # as batch systems do
        ("SIGHUP", 2, "chatbot.json", "chatbot --out_dir={}"),  # which resumes all its stages
    ],
)
def test_a_signal_saves_and_says_how_to_go_on(name, times, beside, command, tmp_path):
    number = getattr(signal, name)
    (tmp_path / beside).touch()
    with training(tmp_path / "run") as process:
        for _ in range(times):
            process.send_signal(number)
        said = process.stdout.read()
    assert process.wait() == 128 + number
    step = load_checkpoint(tmp_path / "run").step
    assert step >= 5
    assert f"stopped at step {step}, saved in" in said
    assert said.splitlines()[-1].startswith("go on with: ")
    assert said.splitlines()[-1].endswith(f"python -m gpt {command.format(tmp_path)}")
    log = tmp_path / "run" / "log.jsonl"
    assert json.loads(log.read_text().splitlines()[-1]) == {
        "step": step,
        "stopped": said.splitlines()[-1].removeprefix("go on with: "),
    }
    assert truncate_log(log, step) > 0
    assert "stopped" not in log.read_text(), "the run goes on"


def test_a_reader_that_leaves_saves(tmp_path):
    with training(tmp_path / "run") as process:
        process.stdout.close()
        assert process.wait() == 128 + signal.SIGPIPE
        assert process.stderr.read() == ""
    assert load_checkpoint(tmp_path / "run").step >= 5


def test_another_process_waits_and_what_is_ignored_stays_so(tmp_path):
    run, story = tmp_path / "run", tmp_path / "story.txt"
    story.write_text("another text " * 200)

    def nohup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def files():
        return {path.name: path.read_bytes() for path in [*(run / "data").iterdir(), run / "config.json"]}

    with training(run, preexec_fn=nohup) as process:
        process.send_signal(signal.SIGHUP)
        before = files()
        for words in (
            ["train", *TINY, f"--data={story}"],
            ["masked", *TINY, f"--data={story}"],
            ["translate", "--max_steps=1"],
            ["demo", "--max_steps=1"],
            ["finetune", "lora", "--max_steps=1"],
            ["ablate", "--max_steps=1"],
        ):
            assert command_line([*words, f"--out_dir={run}"]) == 2
        assert files() == before
        assert "stopped" not in "".join([process.stdout.readline() for _ in range(3)])
        process.terminate()
        process.stdout.read()
    assert process.wait() == 128 + signal.SIGTERM


def test_a_folder_is_held_by_one_thread(tmp_path):
    refused = []

    def another():
        with pytest.raises(tt.ArgumentError, match="another run is writing"), alone_in(tmp_path / "a"):
            pass
        refused.append(True)

    with alone_in(tmp_path / "a"), alone_in(tmp_path / "a"):
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
    assert refused == [True]
    with alone_in(tmp_path / "a"):
        pass


@pytest.mark.parametrize("command", ["masked", "translate", "demo", "ablate", "finetune lora"])
def test_every_trainer_saves_on_a_signal(command, tmp_path, monkeypatch, capsys):
    words = [*command.split(), f"--out_dir={tmp_path / 'run'}", "--n_layer=1", "--n_head=1", "--n_embd=8"]
    words += ["--block_size=16", "--batch_size=4", "--max_steps=9", "--warmup_steps=0", "--eval_interval=0"]
    if command == "finetune lora":
        base = tmp_path / "base"
        assert main(["--preset=tiny", "--max_steps=1", "--warmup_steps=0", f"--out_dir={base}"]) == 0
        words = [w for w in words if not w.startswith(("--n_", "--block"))] + [f"--init_from={base}"]
    step = Trainer.step

    def asked(self):
        numbers = step(self)
        if numbers["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return numbers

    monkeypatch.setattr(Trainer, "step", asked)
    assert command_line(words) == 128 + signal.SIGTERM
    (folder,) = [path.parent for path in (tmp_path / "run").rglob("latest")]
    assert load_checkpoint(folder).step == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert "--- at step 3 ---" not in capsys.readouterr().out


class Broken(io.TextIOBase):
    """A stream of a terminal that is gone, on a file of its own."""

    def __init__(self, file):
        self.file = file

    def fileno(self):
        return self.file.fileno()

    def flush(self):
        """Nothing is kept."""

    def write(self, text):
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_is_gone_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    asked = []
    with (tmp_path / "out").open("w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(file))
        Terminal(quiet=False, ask=asked.append).say("it cannot be shown")
    assert asked == []
    assert "training continues without output: Input/output error" in capsys.readouterr().err


def screen(said):
    """The lines that a terminal shows in the end."""
    rows, row, column = [[]], 0, 0
    for part in re.findall(r"\x1b\[A|\x1b\[K|(?s:.)", said):
        if part == "\x1b[A":
            row -= 1
        elif part == "\x1b[K":
            del rows[row][column:]
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            rows += [[]] * (row == len(rows))
        else:
            rows[row] += " " * (column - len(rows[row]))
            rows[row][column : column + 1] = part
            column += 1
    return ["".join(cells).rstrip() for cells in rows]


def test_a_terminal_gets_lines_above_its_bar(tmp_path):
    pytest.importorskip("tqdm")
    words = [*TINY[:1], "--max_steps=4", "--eval_interval=2", "--sample_interval=2", "--sample_tokens=3"]
    words += ["--log_interval=1", "--warmup_steps=0", f"--out_dir={tmp_path / 'run'}"]
    (tmp_path / "text").write_text("the cat and the dog\n" * 99)
    words += [f"--data={tmp_path / 'text'}"]
    shown, there = pty.openpty()
    termios.tcsetwinsize(there, (40, 100))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "gpt", "train", *words]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=env) as process:
        os.close(there)
        said = b""
        while True:
            try:
                part = os.read(shown, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        os.close(shown)
    assert process.returncode == 0
    lines = screen(said.decode())
    losses = [line for line in lines if re.fullmatch(r"step +\d+  loss .*val .*lr .*\|g\| .*", line)]
    assert [int(line.split()[1]) for line in losses] == [2, 4]
    assert [line for line in lines if "sample at" in line] == [f"--- sample at step {n} ---" for n in (2, 4)]
    assert sum("| 4/4 [" in line for line in lines) == 1
    vals = [float(line.split("val ")[1].split()[0]) for line in losses]
    beside = rf"val={vals[0]:.3f}, lr=\d\.\de-\d\d, \|g\|=\d+\.\d\d, tok/s="
    assert re.search(beside, said.decode())
    assert not [line for line in lines if line.startswith(("val", "lr"))]  # it is gone in the end


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_pipe_gets_all_lines_while_a_terminal_shows_the_bar(monkeypatch, capsys, is_terminal):
    pytest.importorskip("tqdm")
    shown = io.StringIO()
    shown.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", shown)
    terminal = Terminal(quiet=False, ask=print)
    with terminal.progress(0, 2):
        for step in (1, 2):
            terminal.move(step)
            terminal.show({"step": step, "loss": 2.5})
    assert capsys.readouterr().out == "step      1  loss 2.5000\nstep      2  loss 2.5000\n"
    assert ("| 2/2 [" in shown.getvalue()) == is_terminal
