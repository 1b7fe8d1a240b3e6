"""The log of a run, cut back to the step from which it goes on."""

import os

import pytest

from gpt.training.run_log import truncate_log


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


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"step": "2"}', '{"step": null}', "", "[" * 100_000, "\0" * 50]
)
def test_lines_that_a_power_cut_broke_are_left_out(tmp_path, capsys, line):
    log = tmp_path / "log.jsonl"
    log.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n{{"step": 3}}\n')
    assert truncate_log(log, 2) == 2
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert capsys.readouterr().err == f"note: not a log line, dropped from {log}: 2\n"
