"""The speedrun: its records are recipes that exist, its clock runs, and it writes what it measured."""

import json

import pytest

import gpt.experiments.speedrun as speedrun
import tinytensor as tt
from gpt.experiments.speedrun import RECORDS, Record, SpeedrunConfig, main, measure, table
from gpt.experiments.statistics import below, two_sided
from gpt.models.gpt import GPT
from gpt.presets import preset
from gpt.training.command import train

QUICK = "max_steps=5 warmup_steps=2 n_layer=1 n_embd=8 n_head=2 block_size=16 batch_size=2"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(
        speedrun, "RECORDS", (Record("first", QUICK), Record("next", f"{QUICK} position=rope"))
    )


def test_the_first_record_is_nanogpts_recipe():
    """All fields but the number of steps and the schedule over them, which end when the target is reached."""
    model, config = RECORDS[0].configs()
    base_model, base = preset("shakespeare-char-cpu")
    assert model == base_model
    changed = {k for k, v in vars(config).items() if v != getattr(base, k)}
    assert changed <= {"max_steps", "eval_interval"}


def test_every_record_is_a_small_model_on_the_same_text():
    for record in RECORDS:
        model, config = record.configs()
        assert (model.vocab_size, config.data, config.tokenizer) == (0, "shakespeare", "char")
        tt.manual_seed(0)
        assert GPT(model.with_vocab_size(65)).num_parameters() < 1e6
    assert len({record.fields for record in RECORDS}) == len(RECORDS)


def test_a_run_is_that_of_train(quick, tmp_path):
    result = measure(2, seeds=2)
    assert [run["seed"] for run in result["runs"]] == [1, 2]
    assert all(run["seconds"] > 0 for run in result["runs"])
    model, config = speedrun.RECORDS[1].configs()
    words = {"out_dir": str(tmp_path / "run"), "seed": 2}
    run = train(model, type(config)(**{**vars(config), **words}), quiet=True)
    assert result["runs"][1]["val_loss"] == run.best_loss
    assert result["val_loss"] == pytest.approx(sum(run["val_loss"] for run in result["runs"]) / 2)


def test_the_command_writes_json_and_prints_the_table(quick, tmp_path, capsys):
    assert main(["--record=all", "--seeds=1", f"--out_dir={tmp_path}/out"]) == 1  # 5 steps miss the target
    said = capsys.readouterr().out
    assert "above 1.88: record 1, 2" in said
    results = json.loads((tmp_path / "out" / "speedrun.json").read_text())["results"]
    assert [row["record"] for row in results] == [1, 2]
    assert table(results) in said


def test_a_loss_that_is_no_number_misses_the_target(tmp_path, monkeypatch, capsys):
    row = {"record": 1, "change": "", "steps": 5, "seconds": 1.0, "cpu_seconds": 1.0, "p_value": None}
    row |= {"val_loss": float("nan"), "runs": []}
    monkeypatch.setattr(speedrun, "measure", lambda number, seeds: row)
    assert main(["--record=1", f"--out_dir={tmp_path}"]) == 1
    assert "above 1.88: record 1" in capsys.readouterr().out


def test_a_record_is_chosen_by_number(told):
    assert SpeedrunConfig(record="all").chosen == list(range(1, len(RECORDS) + 1))
    assert SpeedrunConfig().chosen == [len(RECORDS)]
    assert RECORDS[0].change in told("speedrun", "--help")


def test_below_is_one_side_of_the_t_test():
    losses, mean = [1.86, 1.87, 1.88], 1.87
    error = 0.01 / 3**0.5
    assert below(losses, 1.90) == pytest.approx(two_sided((1.90 - mean) / error, 2) / 2)
    assert below(losses, mean) == pytest.approx(0.5)
    assert below(losses, 1.8) > 0.99
    assert below([1.0], 2.0) is None
    assert below([1.0, 1.0], 2.0) == 0.0
