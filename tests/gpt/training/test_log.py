"""The log of a run, cut back to the step from which it goes on."""

import os

import pytest

from gpt.training.run_log import truncate_log

STEPS = ['{"seed": 1}', *(f'{{"step": {step}, "loss": 0.5}}' for step in range(1, 6))]
LOG = "\n".join(STEPS).encode()
BROKEN = [b"{", b"[1]", b'{"step": "2"}', b'{"step": null}', b"", b"[" * 100_000, b"\0" * 50]


@pytest.mark.parametrize(
    ("log", "step", "kept", "dropped"),
    [
        (LOG + b'\n{"step": 6, "lo', 3, STEPS[:4], ""),
        (LOG + b"\n", 0, STEPS[:1], ""),
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
