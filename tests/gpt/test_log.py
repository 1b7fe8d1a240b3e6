"""The log of a run, cut back to the step from which it goes on."""

import os

import pytest

from gpt.checkpoint import truncate_log
from tinytensor.errors import FormatError


def test_truncate_log(tmp_path):
    log = tmp_path / "log.jsonl"
    lines = ['{"seed": 1}', *(f'{{"step": {step}, "loss": 0.5}}' for step in range(1, 6))]
    log.write_text("\n".join(lines) + "\n" + '{"step": 6, "lo')
    assert truncate_log(log, 3) == 4
    assert log.read_text().splitlines() == lines[:4]
    assert truncate_log(log, 3) == 4
    assert truncate_log(log, 0) == 1
    assert os.listdir(tmp_path) == ["log.jsonl"]


def test_a_log_cut_inside_a_character(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes('{"step": 1}\n{"step": 2, "text": "ü'.encode()[:-1])
    assert truncate_log(log, 9) == 1
    assert log.read_text() == '{"step": 1}\n'


def test_no_log(tmp_path):
    assert truncate_log(tmp_path / "log.jsonl", 3) == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("line", ["{", "[1]", '{"step": "2"}', '{"step": null}', "", "[" * 100_000])
def test_a_broken_log_is_left_alone(tmp_path, line):
    log = tmp_path / "log.jsonl"
    content = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
    log.write_text(content)
    with pytest.raises(FormatError, match="line 2"):
        truncate_log(log, 1)
    assert log.read_text() == content
