"""The plan against published parameter counts, and against counting by hand."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.config import GPTConfig, TrainConfig
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import PRESETS, configs_from, preset
from gpt.tokenizers.bpe import BPETokenizer
from gpt.training.command import train
from gpt.training.plan import Plan, main, plan
from tests.gpt.models.test_variants import VARIANTS
from tinytensor import lab
from tinytensor.errors import ArgumentError, TinyTensorError

SMALL = GPTConfig(vocab_size=65, block_size=8, n_layer=2, n_head=2, n_embd=16)


def plan_of(name):
    model, train = preset(name)
    return plan(model if model.vocab_size else model.with_vocab_size(65), train, flops_per_second=1e12)


GPT2 = {"gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200}
GPT3 = {"gpt3": 175e9}


@pytest.mark.parametrize("name", [*GPT2, *GPT3])
def test_published_sizes(name):
    p = plan_of(name)
    L, C, T = p.model.n_layer, p.model.n_embd, p.model.block_size
    assert p.total_parameters == L * (12 * C * C + 13 * C) + (50257 + T + 2) * C
    assert p.total_parameters == (GPT2[name] if name in GPT2 else pytest.approx(GPT3[name], rel=0.02))


def test_nanogpts_sizes_leave_out_the_positions():
    assert plan_of("shakespeare-char-cpu").non_embedding_parameters == 795_904
    assert plan_of("shakespeare-char").non_embedding_parameters == 10_646_784


@pytest.mark.parametrize("name", PRESETS)
def test_groups_add_up(name):
    p = plan_of(name)
    assert sum(p.parameters.values()) == p.total_parameters
    assert p.weight_bytes == p.gradient_bytes == 4 * p.total_parameters
    if p.train.optimizer == "adamw":
        assert p.optimizer_bytes == 2 * p.weight_bytes
    L = p.model.n_layer
    assert p.parameters["attn"] == L * p.parameters_per_block["attn"]
    assert p.parameters["mlp"] == L * p.parameters_per_block["mlp"]
    final_norm = p.parameters["norms"] - L * p.parameters_per_block["norms"]
    assert final_norm == p.model.n_embd * (2 if p.model.bias else 1)


def test_groups_by_hand():
    p = plan(SMALL, TrainConfig(), flops_per_second=1e9)
    assert dict(p.parameters) == {
        "wte": 65 * 16,
        "wpe": 8 * 16,
        "attn": 2 * (16 * 48 + 48 + 16 * 16 + 16),
        "mlp": 2 * (16 * 64 + 64 + 64 * 16 + 16),
        "norms": 2 * 2 * 32 + 32,
        "head": 0,
    }
    untied = plan(replace(SMALL, tied_head=False), TrainConfig(), flops_per_second=1e9)
    assert untied.total_parameters == p.total_parameters + 65 * 16
    assert untied.non_embedding_parameters == p.non_embedding_parameters
    waves = plan(replace(SMALL, position="sinusoidal"), TrainConfig(), flops_per_second=1e9)
    assert waves.parameters["wpe"] == 0
    assert "fixed waves" in waves.table()
    plain = plan(replace(SMALL, bias=False), TrainConfig(), flops_per_second=1e9)
    assert plain.parameters["attn"] == 2 * (16 * 48 + 16 * 16)


def test_flops_by_adding_up_every_matrix_product():
    B, T, C, V, L, nh, hs = 3, 8, 16, 65, 2, 2, 8
    products = []  # (rows, inner, columns) of one forward pass
    for _ in range(L):
        products += [(B * T, C, 3 * C), (B * T, C, C), (B * T, C, 4 * C), (B * T, 4 * C, C)]
        products += [(T, hs, T), (T, T, hs)] * (B * nh)
    products.append((B * T, C, V))
    forward = sum(2 * m * k * n for m, k, n in products)
    p = plan(SMALL, TrainConfig(batch_size=B, gradient_accumulation_steps=5), flops_per_second=1e9)
    assert p.forward_flops_per_token * B * T == forward
    assert p.backward_flops_per_token * B * T == 2 * forward
    assert p.tokens_per_step == B * 5 * T
    assert p.total_flops == 3 * forward * 5 * p.train.max_steps
    assert p.minutes == pytest.approx(p.total_flops / (1e9 * 0.4) / 60)


@pytest.mark.parametrize(
    ("change", "weights"),
    [
        ({"activation": "swiglu", "n_inner": 24}, 16 * 48 + 16 * 16 + 3 * 16 * 24),
        ({"n_kv_head": 1}, 16 * 32 + 16 * 16 + 8 * 16 * 16),
        ({"n_expert": 4, "n_expert_active": 2}, 16 * 48 + 16 * 16 + 16 * 4 + 2 * 8 * 16 * 16),
    ],
)
def test_flops_of_variants(change, weights):
    p = plan(replace(SMALL, **change), TrainConfig(), flops_per_second=1e9)
    assert p.forward_flops_per_token == 2 * (2 * weights + 2 * 2 * 8 * 16 + 16 * 65)


SIZES = [{"n_inner": 16}, {"n_inner": 16 * 16}, {"n_head": 1, "n_embd": 7}, {"dropout": 0.1}]


@pytest.mark.parametrize("variant", [*VARIANTS.values(), *SIZES], ids=str)
def test_activations_are_what_a_step_saves(variant):
    config = replace(SMALL, **{"n_layer": 3, "n_head": 4, **variant})
    counted_and_measured(config, 0)


@pytest.mark.parametrize(
    ("variant", "checkpoint_blocks"),
    [("plain", 1), ("plain", 2), ("plain", 9), ("norm_position=post", 2), ("experts", 2)],
)
def test_activations_of_checkpoints_are_the_peak_of_what_a_step_saves(variant, checkpoint_blocks):
    config = replace(SMALL, n_layer=5, n_head=4, dropout=0.1, **VARIANTS[variant])
    counted_and_measured(config, checkpoint_blocks)


def counted_and_measured(config, checkpoint_blocks):
    recipe = TrainConfig(batch_size=3, checkpoint_blocks=checkpoint_blocks)
    p = plan(config, recipe, flops_per_second=1e9)
    model = GPT(config)
    model.checkpoint_blocks = checkpoint_blocks
    rng, shape = np.random.default_rng(0), (3, config.block_size)
    ids, targets = [tt.tensor(rng.integers(0, config.vocab_size, shape)) for _ in range(2)]
    gc.collect()
    with lab.memory(model) as ledger:
        model.loss(ids, targets).backward()
    assert p.activation_bytes == ledger.at_most["saved for backward"]


def test_muon_keeps_one_moment_of_matrices():
    p = plan(SMALL, TrainConfig(optimizer="muon"), flops_per_second=1e9)
    matrices = 2 * (16 * 48 + 16 * 16 + 2 * 16 * 64)
    assert p.optimizer_bytes == 4 * (2 * p.total_parameters - matrices)
    plain = plan(SMALL, TrainConfig(), flops_per_second=1e9)
    assert p.training_bytes == plain.training_bytes - 4 * matrices


def test_large_models_are_not_allocated():
    tracemalloc.start()
    plan_of("gpt3").table()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000  # of 700 GB


def test_the_speed_is_measured():
    p = plan(SMALL, TrainConfig())
    assert 1e7 < p.flops_per_second < 1e15
    assert 0 < p.minutes < 1e4


@pytest.mark.parametrize(("load", "busy"), [(0.4, False), (6.5, True)])
def test_a_measured_speed_is_told_with_the_load_of_the_machine(load, busy, monkeypatch, told, capsys):
    monkeypatch.setattr("gpt.training.plan.product_speed", lambda: 18.6e9)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 1.0, 1.0), raising=False)
    said = told("plan", "--preset=gpt2")
    assert "18.6 GFLOP/s, measured now" in said
    assert f"{'FLOP/s of matrix products':<38}{'1.860e+10':>22}" in said
    assert ("it is busy: load 6.5 on 2 processors" in said) == busy
    main(["--preset=gpt2", "--flops=1e12"])
    assert "measured" not in capsys.readouterr().out


@pytest.mark.parametrize("speed", [0.0, float("nan")])
def test_wrong_speeds(speed):
    with pytest.raises(ArgumentError, match=f"flops_per_second={speed}"):
        Plan(SMALL, TrainConfig(), speed)


def test_an_open_vocabulary_is_refused():
    with pytest.raises(ArgumentError, match="vocab_size is 0"):
        parameter_shapes(replace(SMALL, vocab_size=0))


def test_the_command(told, capsys):
    out = told("plan", "--preset=gpt2", "--flops=1e12", "--n_layer=6")
    assert "6 layers × 12 heads × 768 channels" in out
    assert f"{124_439_808 - 6 * 7_087_872:,}" in out
    assert "vocabulary 64\n" in told("plan", "--flops=1e12")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--batch_size=12" in capsys.readouterr().out


def test_the_tokenizer_and_the_run_say_how_many_ids_there_are(tmp_path, monkeypatch, told, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("low lower lowest " * 50)
    BPETokenizer.train("low lower lowest " * 50, 270).save("tok.json")
    size = BPETokenizer.train("low lower lowest " * 50, 270).vocab_size
    words = ["--preset=tiny", "--data=text", "--flops=1e9"]
    assert f"vocabulary {size}" in told("plan", *words, "--tokenizer=tok.json")
    assert f"vocabulary {len(set('low lower lowest '))}\n" in told("plan", *words)
    assert command_line(["data", "prepare", "text", "--tokenizer=tok.json", "--out=tokens"]) == 0
    assert f"vocabulary {size}" in told("plan", "--preset=tiny", "--data=tokens", "--flops=1e9")
    for name in ("meta.json", "tokenizer.json"):
        (tmp_path / "tokens" / name).unlink()
    with pytest.raises(ArgumentError, match="the vocabulary of tokens is not known"):
        main(["--preset=tiny", "--data=tokens", "--flops=1e9"])
    with pytest.raises(ArgumentError, match=r"--data=no\.txt"):
        main(["--preset=tiny", "--data=no.txt", "--flops=1e9"])
    train(*configs_from([*words[:2], "--max_steps=1", "--warmup_steps=0", "--out_dir=run"], default="tiny"))
    capsys.readouterr()
    said = told("plan", "run", "--flops=1e9", "--max_steps=50")
    assert f"vocabulary {len(set('low lower lowest '))}" in said
    assert "training: 50 steps" in said
    assert main(["--flops=1e9", "run"]) == 0
    with pytest.raises(TinyTensorError, match="there is no file or folder 'none'"):
        main(["none"])
