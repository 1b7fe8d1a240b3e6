"""The grid of variants: which are trained, that nothing is trained twice, and what the table says."""

import json

import pytest

import gpt.experiments.ablate as ablate
import tinytensor as tt
from gpt.config import GPTConfig
from gpt.experiments.ablate import cells, main, one_at_a_time, scaling_law, table, train_cell
from gpt.experiments.statistics import welch
from gpt.models.gpt import GPT
from gpt.presets import configs_from, preset
from gpt.training.command import train
from gpt.training.run_log import RunLog
from gpt.training.train import Trainer


def words(folder, *more):
    return ["--preset=tiny", f"--out_dir={folder}", "--max_steps=4", "--eval_interval=0", *more]


def test_each_change_is_one_of_the_base():
    model, config = preset("shakespeare-char-cpu")
    found = cells(model, config, "")
    assert found[0].model == model
    fields = [{k for k, v in vars(c.model).items() if v != getattr(model, k)} for c in found]
    assert fields[0] == set()
    assert [len(f) for f in fields[1:-1]] == [2 if "swiglu" in c.name else 1 for c in found[1:-1]]
    assert fields[-1] == {"position", "norm", "activation", "n_inner", "tied_head"}  # bias=False is its own
    tried = set().union(*fields)
    assert {"position", "norm", "norm_position", "activation", "n_kv_head", "sliding_window"} <= tried
    assert {"qk_norm", "logit_soft_cap", "tied_head", "n_expert", "bias"} <= tried
    assert len({c.train.out_dir for c in found}) == len(found)
    sizes = {c.name: GPT(c.model.with_vocab_size(65)).num_parameters() for c in found}
    base = sizes[found[0].name]
    (gated,) = [name for name in sizes if name.startswith("activation=swiglu")]
    assert sizes[gated] == pytest.approx(base, rel=0.01)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_changes_fit_other_sizes(heads):
    model = GPTConfig(vocab_size=5, block_size=2, n_layer=1, n_head=heads, n_embd=4 * heads)
    names = one_at_a_time(model)
    assert len(set(names)) == len(names)
    for cell in cells(model, preset("tiny")[1], ""):
        GPT(cell.model)


def test_a_grid_is_every_combination():
    model, config = preset("tiny")
    found = cells(model, config, " position=learned,rope  optimizer=adamw,muon n_layer=1")
    assert [(c.model.position, c.train.optimizer, c.model.n_layer) for c in found] == [
        ("learned", "adamw", 1), ("learned", "muon", 1), ("rope", "adamw", 1), ("rope", "muon", 1),
    ]  # fmt: skip
    for grid, message in (
        ("position", "no value"), ("position=", "no value"), ("position=rope,", "no value"),
        ("positon=rope", "did you mean --position"), ("n_head=3", "n_head"),
        ("bias=true bias=false", "twice"), ("seed=1 out-dir=x", "has its own folder"),
        ("init_from=resume", "starts from scratch"),
        ("position=rope,rope", "one result would count twice"), ("n_layer=1; n_layer=1", "count twice"),
        ("data=a,b", "bits per byte"), ("n_layer=1 tokenizer=char,word", "bits per byte"),
    ):  # fmt: skip
        with pytest.raises(tt.ArgumentError, match=message):
            cells(model, config, grid)


def test_grids_may_be_listed():
    model, config = preset("tiny")
    found = cells(model, config, "; qk_norm=true; position=rope,none bias=false")
    names = ["qk_norm=true", "position=rope bias=false", "position=none bias=false"]
    assert [c.name for c in found] == [ablate.BASE, *names]
    assert found[0].model == model


def test_a_cell_is_the_same_training(tmp_path):
    (cell,) = cells(*configs_from(words(tmp_path / "grid"), default="tiny"), "norm=rms_norm")
    result = train_cell(cell)
    run = train(*configs_from([*words(tmp_path / "run"), "--norm=rms_norm"], default="tiny"), quiet=True)
    losses = [line["val_loss"] for line in RunLog(run.folder).read() if "val_loss" in line]
    assert result["val_loss"] == losses[-1]
    assert result["parameters"] == run.model.num_parameters()
    assert result["tokens_per_second"] > 0


def test_the_command_leaves_a_table_and_trains_nothing_twice(tmp_path, told, monkeypatch):
    line = [*words(tmp_path), "--grid=position=learned,none"]
    said = told("ablate", *line)
    rows = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == ["position=learned", "position=none"]
    assert [row["val_loss"] for row in rows] == [
        json.loads((tmp_path / row["variant"] / "result.json").read_text())["val_loss"] for row in rows
    ]
    written = (tmp_path / "ablation.md").read_text()
    assert "4 steps of 4 sequences" in written
    assert written.endswith(said[said.index("| variant") : said.index("\n\nfiles")] + "\n")
    monkeypatch.setattr(ablate, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    assert said[said.index("| variant") :] == (again := told("ablate", *line))[again.index("| variant") :]
    with pytest.raises(tt.ArgumentError, match="max_steps=4"):
        main([*words(tmp_path, "--grid=position=learned,none")[:2], "--max_steps=5", "--eval_interval=0",
              "--grid=position=learned"])  # fmt: skip


def test_a_stopped_cell_goes_on_with_equal_bits(tmp_path, monkeypatch, capsys):
    (cell,), (whole,) = [
        cells(*configs_from(words(tmp_path / name, "--checkpoint_interval=2"), default="tiny"), "bias=true")
        for name in ("grid", "whole")
    ]
    step, count = Trainer.step, []

    def counted(self):
        count.append(self.run.step)
        if len(count) == 3:
            raise KeyboardInterrupt  # the second Ctrl-C: nothing is saved but the checkpoint of step 2
        return step(self)

    monkeypatch.setattr(Trainer, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        train_cell(cell)
    assert not (cell.folder / "result.json").exists()
    result = train_cell(cell)
    assert count == [0, 1, 2, 2, 3]
    assert result["val_loss"] == train_cell(whole)["val_loss"]


def test_the_lowest_loss_comes_first():
    rows = [
        {"variant": name, "parameters": 10_000, "val_loss": loss, "tokens_per_second": 1234.5}
        for name, loss in (("a", 2.0), ("b", 1.75), ("c", 2.25))
    ]
    lines = table(rows).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| b", "| a", "| c"]
    assert lines[0] == "| b | 10,000 | 1.7500 | -0.2500 | 1,234 |"


def test_without_validation_there_is_nothing_to_compare(tmp_path, told):
    (tmp_path / "train.bin").write_bytes(bytes(range(20)) * 200)
    line = ["--preset=tiny", f"--data={tmp_path}", "--vocab_size=5000", f"--out_dir={tmp_path / 'runs'}"]
    assert "validation" in told("ablate", *line, "--max_steps=2", "--grid=bias=true", code=2)


def test_seeds_give_means_and_p_values(tmp_path, told):
    line = [*words(tmp_path), "--grid=position=learned,rope", "--seeds=2", "--seed=5"]
    said = told("ablate", *line)
    assert "seeds 5 to 6" in said
    base, other = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    losses = [
        json.loads((tmp_path / f"position=learned{end}" / "result.json").read_text())["val_loss"]
        for end in ("", "-seed=6")
    ]
    assert base["val_losses"] == losses
    assert losses[0] != losses[1]
    assert base["val_loss"] == pytest.approx(sum(losses) / 2)
    assert base["deviation"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert base["p_value"] is None
    assert other["p_value"] == welch(other["val_losses"], losses)
    assert f"{base['val_loss']:.4f} ± {base['deviation']:.4f}" in said
    for seeds in ("0", "1e9"):
        with pytest.raises(tt.ArgumentError, match="seeds="):
            main([*line[:-2], f"--seeds={seeds}"])


def test_sizes_of_the_dial_are_not_those_of_the_preset(tmp_path, told):
    said = told("ablate", *words(tmp_path), "--grid=depth=1 max_steps=1").splitlines()[0]
    assert "model and training of --depth; " in said
    assert "layer" not in said
    assert "steps" not in said


def test_a_scaling_law_over_the_dial():
    """Losses by a known law give it back; the size is the weights of the blocks."""
    model, config = preset("tiny")
    found = cells(model, config, "depth=1,2,3,4 max_steps=9", seeds=2)
    assert [c.model.n_layer for c in found[::2]] == [1, 2, 3, 4]
    assert {c.train.max_steps for c in found} == {9}
    sizes = [sum(p.size for n, p in GPT(c.model.with_vocab_size(7)).named_parameters()
                 if n.startswith("h.") and p.ndim == 2) for c in found]  # fmt: skip
    law = scaling_law(found, [{"val_loss": 1.1 + 30 * n**-0.4} for n in sizes])
    assert (law.floor, law.alpha) == pytest.approx((1.1, 0.4), rel=0.02)
    assert scaling_law(found[:4], [{"val_loss": 1.0}] * 4) is None
    assert scaling_law(cells(model, config, "bias=true"), [{"val_loss": 1.0}]) is None
