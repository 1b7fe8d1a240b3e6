"""Configs: what they refuse, how the command line and JSON are read, and the published recipes."""

import contextlib
import json
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, parse_fields
from gpt.depth import of_depth
from gpt.fields import from_dict, to_dict
from gpt.finetuning.dpo import DpoConfig
from gpt.finetuning.grpo import GrpoConfig
from gpt.finetuning.lora import LoraConfig
from gpt.generation.sampling import SamplingConfig
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import PRESETS, configs_from, preset
from gpt.training.command import configs_of, train
from gpt.weights.hf_config import naming_for
from tests.gpt.models.test_variants import VARIANTS
from tinytensor.errors import ArgumentError, FormatError

SMALL = GPTConfig(vocab_size=65, block_size=8, n_layer=2, n_head=2, n_embd=16)


@dataclass(frozen=True)
class Sample:
    """Fields of every kind."""

    limit: int | None = None  # at most so many, or none
    kind: Literal["a", "b"] = "a"  # the kind
    level: Literal[1, 2] = 1
    rate: float | None = 0.5


WRONG_MODELS = [
    ({"n_head": 3}, "n_head=3 does not divide n_embd=16", "n_embd=18"),
    ({"n_layer": 0}, "n_layer=0", "n_layer=1"),
    ({"block_size": -1}, "block_size=-1", "block_size=1"),
    ({"vocab_size": -1}, "vocab_size=-1", "vocab_size=0"),
    ({"dropout": 1.0}, "dropout=1.0", "dropout=0.1"),
    ({"dropout": float("nan")}, "dropout=nan", "float"),
    ({"norm_eps": 0.0}, "norm_eps=0.0", "1e-5"),
    ({"n_embd": "16"}, "n_embd='16'", "int"),
    ({"n_layer": True}, "n_layer=True", "int"),
    ({"bias": 1}, "bias=1", "bool"),
    ({"activation": "gulu"}, "activation='gulu'", "gelu_erf"),
    ({"n_embd": 2**70}, "n_embd=1180591620717411303424", "int"),
    ({"n_embd": 15, "n_head": 5, "position": "sinusoidal"}, "n_embd=15 is odd", "n_embd=20"),
]

WRONG_TRAINS = [
    ({"batch_size": 0}, "batch_size=0", "batch_size=1"),
    ({"seed": -1}, "seed=-1", "seed=0"),
    ({"beta2": 1.0}, "beta2=1.0", "beta2=0.9"),
    ({"learning_rate": 0.0, "min_learning_rate": 0.0}, "learning_rate=0.0", "min_learning_rate"),
    ({"learning_rate": 1e-5}, "min_learning_rate=0.0001", "min_learning_rate=1e-06"),
    ({"warmup_steps": 3000}, "warmup_steps=3000", "warmup_steps=200"),
    ({"schedule": "wsd", "warmup_steps": 1601}, "warmup_steps=1601", "warmup_steps=160"),
    ({"out_dir": ""}, "out_dir is empty", "default"),
    ({"keep_checkpoints": 0}, "keep_checkpoints=0", "keep_checkpoints=1"),
    ({"schedule": "cos"}, "schedule='cos'", "cosine"),
]


WRONG_OTHERS = [
    (SamplingConfig(), {"temperature": -0.1}, "SamplingConfig: temperature", ""),
    (SamplingConfig(), {"temperature": float("nan")}, "SamplingConfig: temperature", ""),
    (SamplingConfig(), {"temperature": float("inf")}, "SamplingConfig: temperature", ""),
    (SamplingConfig(), {"top_k": 0}, "SamplingConfig: top_k", ""),
    (SamplingConfig(), {"top_k": 1.5}, "SamplingConfig: top_k", ""),
    (SamplingConfig(), {"top_p": 0.0}, "SamplingConfig: top_p", ""),
    (SamplingConfig(), {"top_p": 1.01}, "SamplingConfig: top_p", ""),
    (GrpoConfig(), {"group_size": 1}, "group_size=1", ""),
    (GrpoConfig(), {"temperature": 0.0}, "temperature=0.0", "temperature=1.0"),
    (GrpoConfig(), {"held_out": 0}, "held_out=0", ""),
    (DpoConfig(), {"beta": 0.0}, "beta", ""),
    (LoraConfig(), {"lora_rank": -1}, "LoraConfig", ""),
    (LoraConfig(), {"lora_alpha": 0.0}, "LoraConfig", ""),
]
WRONG = [
    *[(SMALL, *row) for row in WRONG_MODELS],
    *[(TrainConfig(), *row) for row in WRONG_TRAINS],
    *WRONG_OTHERS,
]


@pytest.mark.parametrize(("config", "changes", "what", "fix"), WRONG)
def test_a_config_refuses(config, changes, what, fix):
    with pytest.raises(ArgumentError) as caught:
        replace(config, **changes)
    assert caught.value.what.startswith(f"{type(config).__name__}: ")
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_phases_of_the_learning_rate():
    assert TrainConfig(max_steps=500).decay_length == 500
    assert TrainConfig(max_steps=500, decay_steps=300).decay_length == 300
    assert TrainConfig(max_steps=500, schedule="wsd").decay_length == 100
    assert TrainConfig(max_steps=10, warmup_steps=50, schedule="constant").warmup_steps == 50


def test_the_vocabulary_is_settled_by_the_tokenizer():
    assert replace(SMALL, vocab_size=0).with_vocab_size(100).vocab_size == 100
    assert replace(SMALL, vocab_size=128).with_vocab_size(100).vocab_size == 128
    with pytest.raises(ArgumentError, match=r"vocab_size=65 is too small[^$]*100 ids"):
        SMALL.with_vocab_size(100)


# --- the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--max_steps=1_000"], {"max_steps": 1000}),
        (["--max_steps=1e3"], {"max_steps": 1000}),
        (["--max_steps", "2.5e2"], {"max_steps": 250}),
        (["--max-steps=700"], {"max_steps": 700}),
        (
            ["--learning_rate=3e-4", "--min_learning_rate=0"],
            {"learning_rate": 3e-4, "min_learning_rate": 0.0},
        ),
        (["--capture"], {"capture": True}),
        (["--capture", "--seed=1"], {"capture": True, "seed": 1}),
        (["--capture=no"], {"capture": False}),
        (["--schedule=wsd"], {"schedule": "wsd"}),
        (["--data=--x=1"], {"data": "--x=1"}),
        ([], {}),
    ],
)
def test_overrides(words, expected):
    model, train = parse_fields(words, SMALL, TrainConfig())
    assert train == replace(TrainConfig(), **expected)
    assert model is SMALL


def test_overrides_reach_the_config_that_declares_the_field():
    words = ["--n_embd=32", "--seed=2", "--bias=false", "--n_head", "4"]
    model, train = parse_fields(words, SMALL, TrainConfig())
    assert model == replace(SMALL, n_embd=32, n_head=4, bias=False)
    assert train == replace(TrainConfig(), seed=2)


def test_optional_and_literal_fields():
    (sample,) = parse_fields(["--limit=3", "--level=2", "--rate=none"], Sample())
    assert sample == Sample(limit=3, level=2, rate=None)
    assert parse_fields(["--limit=None"], Sample(limit=1)) == (Sample(),)


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["--n_lyer=3"], "--n_lyer: no such option", "--n_layer"),
        (["--zzzzzz=3"], "--zzzzzz: no such option", "COMMAND --help"),
        (["--out=runs/x"], "--out: no such option", "did you mean --out_dir?"),
        (["--n_layer=3", "--n-layer=3"], "--n_layer: given twice", "keep one"),
        (["--n_layer"], "--n_layer: has no value", "--n_layer=64"),
        (["--n_layer", "--seed=1"], "--n_layer: has no value", "--n_layer=64"),
        (["--n_layer="], "--n_layer=: not an int", "--n_layer=64"),
        (["--n_layer=3.5"], "--n_layer=3.5: not an int", "--n_layer=64"),
        (["--n_layer=1e30"], "not an int", "--n_layer=64"),
        (["--n_layer=1e999999999"], "not an int", "--n_layer=64"),
        (["--n_layer=nan"], "not an int", "--n_layer=64"),
        (["--n_layer=four"], "not an int", "--n_layer=64"),
        (["--learning_rate=fast"], "--learning_rate=fast: not a float", "--learning_rate=3e-4"),
        (["--learning_rate=inf"], "not a float", "3e-4"),
        (["--bias=maybe"], "--bias=maybe: not a bool", "--bias=true"),
        (["--schedule=wds"], "not one of cosine, ", "--schedule=wsd"),
        (["n_layer=3"], "n_layer=3: unexpected word", "--n_layer=3"),
        (["-n_layer=3"], "-n_layer=3: unexpected word", "--n_layer=3"),
        (["hello"], "hello: unexpected word", "leave it out"),
        (["--n_head=3"], "GPTConfig: n_head=3 does not divide", "n_embd"),
    ],
)
def test_wrong_overrides(words, what, fix):
    with pytest.raises(ArgumentError) as caught:
        parse_fields(words, SMALL, TrainConfig())
    assert what in caught.value.what
    assert fix in caught.value.fix


@given(st.lists(st.text(max_size=20) | st.sampled_from(["--n_layer", "--bias", "--seed=1", "3"]), max_size=4))
def test_any_command_line_gives_configs_or_an_explained_error(words):
    with contextlib.suppress(ArgumentError):
        model, train = parse_fields(words, SMALL, TrainConfig())
        assert isinstance(model, GPTConfig)
        assert isinstance(train, TrainConfig)


def test_help_names_every_field_with_its_docstring(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # nothing is wrapped
    parser = Parser(add_help=False)
    parser.add_fields(SMALL, TrainConfig(), Sample())
    shown = [line.strip() for line in parser.format_help().splitlines() if line.startswith("  --")]
    lines = dict((f"{line} ").split(maxsplit=1) if " " in line else (line, "") for line in shown)
    fields = to_dict(SMALL) | to_dict(TrainConfig()) | to_dict(Sample())
    assert [line.partition("=")[0] for line in lines] == [f"--{name}" for name in fields]
    assert [option for option, about in lines.items() if not about] == ["--level=1", "--rate=0.5"]
    assert lines["--max_steps=2000"].strip() == "optimizer steps"
    assert lines["--limit=none"].strip() == "at most so many, or none"
    assert "--capture=true" in lines


# --- JSON ---------------------------------------------------------------------------------------------


CONFIGS = [replace(SMALL, n_head=4, dropout=0.1 + 0.2, **fields) for fields in VARIANTS.values()]


@pytest.mark.parametrize(
    "config", [*CONFIGS, *[config for name in PRESETS for config in preset(name)]], ids=str
)
def test_json_round_trip(config):
    assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config


def test_json_takes_defaults_and_whole_floats():
    values = {"vocab_size": 65, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16, "dropout": 0}
    model = from_dict(GPTConfig, values)
    assert model == SMALL
    assert type(model.dropout) is float


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_lyer": 1}, "no field 'n_lyer'"),
        ({"n_layer": None}, "n_layer=None"),
        ({"n_layer": 2.0}, "of type float"),
        ({"n_layer": True}, "of type bool"),
        ({"bias": "true"}, "of type str"),
        ({"activation": "tanh"}, "choices are gelu"),
        ({"n_layer": [1] * 1000}, "of type list"),
        ({"dropout": 10**400}, "below 2^63"),
        ({"n_head": 3}, "does not divide"),
    ],
)
def test_wrong_json(changes, why):
    with pytest.raises(FormatError) as caught:
        from_dict(GPTConfig, to_dict(SMALL) | changes, source="run/config.json")
    assert caught.value.what.startswith("run/config.json: not a GPTConfig")
    assert why in caught.value.why
    assert len(caught.value.why) < 200


@pytest.mark.parametrize("values", [{"level": True}, {"level": 1.0}, {"kind": None}, {"limit": "none"}])
def test_choices_and_optional_fields_are_strict_in_json(values):
    with pytest.raises(FormatError, match="not a Sample"):
        from_dict(Sample, values)


@pytest.mark.parametrize("name", ["vocab_size", "block_size", "n_layer", "n_head", "n_embd"])
def test_json_without_a_needed_field(name):
    values = to_dict(SMALL)
    del values[name]
    with pytest.raises(FormatError, match=f"'{name}' is missing"):
        from_dict(GPTConfig, values)


def test_json_that_is_no_object():
    with pytest.raises(FormatError, match="an object is expected"):
        from_dict(GPTConfig, [1, 2])


# --- presets ------------------------------------------------------------------------------------------


NANOGPTS = {
    "shakespeare-char-cpu": {
        "n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "bias": False, "dropout": 0.0,
        "tied_head": True, "activation": "gelu", "batch_size": 12, "max_steps": 2000, "warmup_steps": 100,
        "learning_rate": 1e-3, "min_learning_rate": 1e-4, "schedule": "cosine", "beta1": 0.9,
        "beta2": 0.99, "weight_decay": 0.1, "grad_clip": 1.0, "eval_batches": 0,  # the whole validation split
    },
    "shakespeare-char": {
        "n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "dropout": 0.2, "bias": False,
        "batch_size": 64, "max_steps": 5000,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NANOGPTS)
def test_recipes_are_nanogpts(name):
    model, train = preset(name)
    values = to_dict(model) | to_dict(train)
    assert {field: values[field] for field in NANOGPTS[name]} == NANOGPTS[name]
    assert train.decay_length == train.max_steps


def test_presets_on_the_command_line():
    assert all(preset(name)[1].out_dir == f"runs/{name}" for name in PRESETS)
    assert configs_from([], default="tiny") == preset("tiny")
    model, train = configs_from(["--preset=gpt2", "--n_layer=6", "--seed", "5"], default="tiny")
    assert model == replace(preset("gpt2")[0], n_layer=6)
    assert train == replace(preset("gpt2")[1], seed=5)
    with pytest.raises(ArgumentError, match="did you mean --preset=gpt2-large"):
        configs_from(["--preset=gpt-large"], default="tiny")


# ---- one dial: what a depth sets, and that it trains -------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4, 7, 12])
def test_everything_follows_from_the_depth(depth):
    model, config = of_depth(depth)
    assert (model.n_layer, model.n_embd, model.head_size) == (depth, 32 * depth, 32)
    shapes = parameter_shapes(model.with_vocab_size(65))
    matrices = [shape for name, shape in shapes.items() if name[:2] == "h." and len(shape) > 1]
    assert sum(rows * columns for rows, columns in matrices) == pytest.approx(12 * 1024 * depth**3, rel=0.05)
    tokens = config.max_steps * config.sequences_per_step * model.block_size
    assert tokens == pytest.approx(10 * 12 * 1024 * depth**3, rel=0.02)
    # muP: an update of Muon has a spectral norm of rate x sqrt(width), which is to be the same
    base_model, base = of_depth(4)
    assert config.matrix_learning_rate * model.n_embd**0.5 == pytest.approx(
        base.matrix_learning_rate * base_model.n_embd**0.5
    )
    assert config.learning_rate == base.learning_rate


def test_it_is_a_llama_for_others():
    assert naming_for(of_depth(2)[0].with_vocab_size(300))[0] == "llama"


def test_fields_override_the_dial(tmp_path):
    words = ["--depth=1", "--max_steps=4", "--eval_interval=0", "--block_size=16"]
    words += [f"--out_dir={tmp_path}/run"]
    assert configs_from(words, default="demo") == configs_of(words, of_depth(2))
    run = train(*configs_of(words, of_depth(2)), quiet=True)
    assert (run.step, run.model_config.block_size, run.model_config.n_embd) == (4, 16, 32)
    assert run.best_loss is not None


def test_intervals_follow_the_steps_unless_they_are_given():
    _, config = configs_from(["--depth=4", "--max_steps=1_600", "--sample_interval=5"], default="demo")
    assert (config.max_steps, config.eval_interval, config.sample_interval) == (1600, 200, 5)
    assert configs_of(["--depth=4", "--max_steps=1.6e3"], of_depth(2))[1] == of_depth(4, max_steps=1600)[1]
    assert of_depth(4)[1].eval_interval == of_depth(4)[1].max_steps // 8


def test_plan_tells_the_cost_of_a_depth(told):
    said = told("plan", "--depth=3", "--flops=1e11")
    assert "3 layers × 3 heads × 96 channels" in said
    assert "minutes" in said
