"""What is appended to logs, piece by piece, against the whole files."""

import json
import os
import random

import pytest

from gpt.live import follow
from gpt.live.follow import Follower


def the(answer):
    (run,) = answer["runs"]
    return run


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text('{"model": {"n_layer": 2}, "train": {"max_steps": 9}}')
    return folder


def test_pieces_of_any_length_are_the_log(run, monkeypatch):
    monkeypatch.setattr(follow, "MOST_BYTES", 200)
    rng = random.Random(1)
    text = "".join(
        json.dumps({"step": i, "loss": rng.random(), "sample": "é\n" * (i % 3)}) + "\n" for i in range(90)
    )
    data = text.encode()
    follower, found, position, written, more = Follower([run]), [], "", 0, True
    with (run / "log.jsonl").open("wb", buffering=0) as log:
        while written < len(data) or more:
            piece = data[written : written + rng.randrange(80)]
            log.write(piece)
            written += len(piece)
            said = the(follower.answer({str(run): position}))
            assert said["fresh"] == (position == "")
            found += said["lines"]
            position, more = said["position"], said["more"]
    assert found == lines_of(run / "log.jsonl")


def test_a_rewritten_log_is_sent_anew(run):
    def lines(first, last, divisor):
        return "".join(f'{{"step": {i}, "loss": {i / divisor}}}\n' for i in range(first, last))

    log, follower = run / "log.jsonl", Follower([run])
    log.write_text(lines(0, 50, 7))
    position = the(follower.answer({}))["position"]
    assert the(follower.answer({str(run): position}))["lines"] == []
    for text in (lines(0, 20, 7), lines(0, 20, 7) + lines(20, 99, 3)):  # shorter, then longer than before
        log.write_text(text)
        said = the(follower.answer({str(run): position}))
        assert said["fresh"]
        assert said["lines"] == lines_of(log)


def test_a_new_config_is_sent(run):
    (run / "log.jsonl").write_text('{"step": 1}\n')
    follower = Follower([run])
    first = the(follower.answer({}))
    assert first["config"]["train"] == {"max_steps": 9}
    assert "config" not in the(follower.answer({str(run): first["position"]}))
    (run / "config.json").write_text('{"train": {"max_steps": 20}}')
    os.utime(run / "config.json", (1, 1))
    said = the(follower.answer({str(run): first["position"]}))
    assert said["fresh"]
    assert said["config"] == {"train": {"max_steps": 20}}
    assert said["lines"] == [{"step": 1}]


@pytest.mark.parametrize(
    "position",
    ["", ".", "0.0", "x.1.2", "0.-1.0", "0.9e9.0", "1" * 99, "0." + "9" * 30 + ".0", "٣.٣.٣", "0.²."],
)
def test_unknown_positions_begin_anew(run, position):
    (run / "log.jsonl").write_text('{"step": 1}\n')
    said = the(Follower([run]).answer({str(run): position}))
    assert said["fresh"]
    assert said["lines"] == [{"step": 1}]


def test_lines_that_are_no_objects(run):
    broken = [
        "{",
        "7",
        "[1]",
        "[" * 100_000,
        "\0",
        '{"step": 1}',
        '{"a": NaN, "b": 1e999, "c": -Infinity}',
        "\xff",
    ]
    (run / "log.jsonl").write_bytes("\n".join([*broken, '{"cut": ']).encode("latin-1"))
    said = the(Follower([run]).answer({}))
    assert said["lines"] == [{"step": 1}, {"a": None, "b": None, "c": None}]
    json.dumps(said, allow_nan=False)


def test_a_line_without_an_end_does_not_hold_it_up(run, monkeypatch):
    monkeypatch.setattr(follow, "MOST_BYTES", 100)
    (run / "log.jsonl").write_text("x" * 1000 + "\n" + '{"step": 2}\n')
    follower, position, found = Follower([run]), "", []
    for _ in range(20):
        said = the(follower.answer({str(run): position}))
        found, position = found + said["lines"], said["position"]
    assert found == [{"step": 2}]


def test_folders_of_runs(tmp_path, monkeypatch):
    follower = Follower([tmp_path])
    assert follower.folders() == []
    for i, name in enumerate(("b", "a", "deep/c", "a/step_5", "too/far/away/d")):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.jsonl").write_text('{"step": 1}\n')
        os.utime(folder / "log.jsonl", (i, i))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"vocab_size": 3}')
    assert [str(folder.relative_to(tmp_path)) for folder in follower.folders()] == ["a", "b", "deep/c"]
    monkeypatch.setattr(follow, "MOST_RUNS", 2)  # the newest ones
    assert [folder.name for folder in follower.folders()] == ["a", "c"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["log.jsonl", "config.json"])
def test_a_named_pipe_is_not_waited_for(run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    follower = Follower([run])
    assert [said["lines"] for said in follower.answer({})["runs"]] in ([], [[]])
