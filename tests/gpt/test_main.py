"""`python -m gpt`: the help, unknown commands, and exit codes."""

import io
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import gpt.__main__ as entry
from gpt.console import command
from gpt.tokenizers.bpe import BPETokenizer
from tests.helpers.source import ROOT


def run(*words):
    command = [sys.executable, "-m", "gpt", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_help_fits_on_a_screen(capsys, words):
    assert entry.main(words) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in entry.COMMANDS)
    assert "python -m gpt demo" in out
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("command", entry.COMMANDS)
def test_every_command_has_a_help_page(command, capsys):
    assert entry.main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert len(out) > 100
    assert f"python -m gpt {command}" in out


def with_command(monkeypatch, main):
    """Make `train` call a function of the test."""
    module = types.ModuleType("a_command")
    module.main = main
    monkeypatch.setitem(sys.modules, "a_command", module)
    monkeypatch.setitem(entry.COMMANDS, "train", entry.Command("a_command", ""))


def test_words_and_exit_codes_are_passed_on(monkeypatch):
    with_command(monkeypatch, lambda argv: len(argv))
    assert entry.main(["train", "--a=1", "b", "c"]) == 3
    with_command(monkeypatch, lambda argv: None)
    assert entry.main(["train"]) == 0


def test_a_command_to_type_works_where_it_is_printed(monkeypatch, tmp_path):
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(own))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    assert command("plan", tmp_path / "a b") == f".venv/bin/python -m gpt plan '{tmp_path}/a b'"
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    assert command("plan") == f"{own} -m gpt plan"
    monkeypatch.setenv("PATH", str(own.parent))
    assert command("plan") == "python -m gpt plan"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("package", ["gpt", "tinytensor"])
def test_ctrl_c_during_the_imports_ends_it_quietly(package):
    command = [sys.executable, "-X", "importtime", "-m", package, "--help"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stderr:  # one for each module that was imported
            if "tinytensor." in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in said


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    with_command(monkeypatch, interrupted)
    assert entry.main(["train"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch):
    def wrong(argv):
        raise ZeroDivisionError

    with_command(monkeypatch, wrong)
    with pytest.raises(ZeroDivisionError):
        entry.main(["train"])


def test_a_missing_library_names_the_extra(monkeypatch, capsys, tmp_path):
    (tmp_path / "needs_more.py").write_text("import no_such_library_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(entry.COMMANDS, "train", entry.Command("needs_more", ""))
    assert entry.main(["train"]) == 2
    err = capsys.readouterr().err
    assert "train: the library no_such_library_at_all is missing" in err
    assert 'pip install ".[gpt]"' in err


def test_the_process():
    assert run("plan", "--preset=gpt2", "--flops=1e12").stdout.count("124,439,808") == 1
    failed = run("plan", "--n_head=5")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: GPTConfig: n_head=5 does not divide n_embd=128")


@pytest.mark.skipif(sys.platform == "win32", reason="the shell is a Unix one")
def test_a_reader_that_leaves_early_gets_no_traceback():
    command = f'"{sys.executable}" -m gpt plan --preset=gpt3 --flops=1e12 | true'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written_gets_no_traceback():
    for words in ("", "plan --preset=gpt3 --flops=1e12"):
        command = f'"{sys.executable}" -m gpt {words} > /dev/full'
        done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {words.partition(' ')[0] or 'help'}: ")
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="its shell closes no streams")
def test_closed_streams_are_empty_ones(tmp_path):
    (tmp_path / "text").write_text("to be")
    words = ["tokenizer", "train", str(tmp_path / "text"), "--kind=char", f"--out={tmp_path / 'tokenizer'}"]
    assert entry.main(words) == 0
    command = f'"$0" -m gpt tokenizer encode "{tmp_path / "tokenizer"}" <&- "$@"'
    for closed, said in (("", "\n"), (">&-", ""), ("2>&-", "\n")):
        words = ["sh", "-c", f"{command} {closed}", sys.executable]
        ended = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, said, "")


class Terminal(io.StringIO):
    """Takes what is written to it for shown."""

    def isatty(self):
        return True


EVIL = "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b[31mred\r\x9b2J"
SHOWN = r"\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b[31mred\x0d\x9b2J"


@pytest.mark.parametrize("command", ["info", "tokenizer decode", "error"])
def test_a_terminal_obeys_no_file(tmp_path, monkeypatch, command):
    """Names of tensors, special tokens, what a model or a tokenizer writes, and errors: shown, not obeyed."""
    weights, tokenizer = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    save_file({EVIL: np.ones(2, np.float32)}, weights)
    BPETokenizer.train("a cat", 258, special_tokens=[EVIL]).save(tokenizer)
    words = {
        "info": ["info", str(weights)],
        "tokenizer decode": ["tokenizer", "decode", str(tokenizer), "256"],
        "error": ["train", f"--data={tmp_path / EVIL}"],
    }[command]
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    assert entry.main(words) == (2 if command == "error" else 0)
    assert sys.stdout is out
    said = out.getvalue() + err.getvalue()
    assert SHOWN in said
    assert not set(said) - {"\n"} & {chr(c) for c in (*range(32), *range(127, 160))}


def test_a_pipe_gets_the_text_as_it_is(tmp_path, capsys):
    tokenizer = tmp_path / "tokenizer.json"
    BPETokenizer.train("a cat", 258, special_tokens=[EVIL]).save(tokenizer)
    assert entry.main(["tokenizer", "decode", str(tokenizer), "256"]) == 0
    assert capsys.readouterr().out == EVIL


def test_a_line_counts_the_kernels_that_are_compiled(monkeypatch, tmp_path):
    (tmp_path / "compiles.py").write_text(
        "from tinytensor.runtime.compile_reports import compiling\n"
        "def main(argv):\n"
        "    with compiling(2) as finished:\n"
        "        finished()\n"
        "        finished()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("train", "sample"):
        monkeypatch.setitem(entry.COMMANDS, name, entry.Command("compiles", ""))
    said = {}
    for name in ("train", "sample"):
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert entry.main([name]) == 0
        said[name] = sys.stderr.getvalue()
    lines = said["train"].split("\r\x1b[K")[1:]
    assert lines == [*[f"compiling CPU kernels (once per machine): {n} of 2" for n in (0, 1)], ""]
    assert said["sample"] == ""  # it may be in the middle of a line
