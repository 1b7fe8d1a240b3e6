"""The commands in README and docs are real: each is read by its parser, and stops there."""

import argparse
import importlib
import re
import shlex
import sys

import pytest

import gpt.__main__
import tinytensor.__main__
from gpt.console import Parser
from tests.helpers.source import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("paths/*.md")),
]
PROGRAMS = {"gpt": gpt.__main__, "tinytensor": tinytensor.__main__}
FIELDS = ("train", "demo", "ablate", "masked", "translate", "chat", "incontext")  # may stand alone


class Parsed(Exception):
    """The command line was understood."""


def stopping(parse):
    def parsed(*args, **kwargs):
        parse(*args, **kwargs)
        raise Parsed

    return parsed


def commands():
    """Each `python -m PROGRAM …` in backticks; of `a|b` both; what `…` stands for is left out."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        line = " ".join(span.split())
        found = re.search(r"python -m (gpt|tinytensor) (.+)", line)
        if found is None:
            continue
        words = [word for word in shlex.split(found[2].replace("\\|", "|")) if word != "…"]
        choices = next((word for word in words if "|" in word), "")
        for choice in choices.split("|"):
            yield found[1], [choice if word == choices else word for word in words]


COMMANDS = [(program, list(words)) for program, words in dict.fromkeys((p, tuple(w)) for p, w in commands())]


def test_the_documents_were_read():
    assert {words[0] for program, words in COMMANDS if program == "gpt"} > {"train", "attention", "data"}
    assert {words[0] for program, words in COMMANDS if program == "tinytensor"} > {"explain", "check"}
    assert ("gpt", ["finetune", "dpo"]) in COMMANDS


@pytest.mark.parametrize(("program", "words"), COMMANDS, ids=[" ".join(c[1]) for c in COMMANDS])
def test_a_command_is_understood(program, words, monkeypatch, tmp_path):
    main = PROGRAMS[program]
    assert words[0] in main.COMMANDS
    if len(words) == 1 and words[0] not in FIELDS:
        words = [*words, "--help"]  # only the name is told
    command = main.COMMANDS[words[0]]
    importlib.import_module(command.module if program == "gpt" else command[0].partition(":")[0])
    monkeypatch.chdir(tmp_path)
    for parser in (argparse.ArgumentParser, Parser):
        for name in ("parse_args", "parse_intermixed_args"):
            monkeypatch.setattr(parser, name, stopping(getattr(parser, name)))
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match=r"^0$"):
            sys.exit(main.main(words))
    else:
        with pytest.raises(Parsed):
            main.main(words)
