"""Presets: named model and training configs, with the sources of their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser
from gpt.depth import of_depth
from gpt.fields import closest, with_changes
from tinytensor.errors import ArgumentError


@dataclass(frozen=True)
class Preset:
    """Model config, training config, and a one-line description."""

    about: str
    model: GPTConfig
    train: TrainConfig


def preset(name: str) -> tuple[GPTConfig, TrainConfig]:
    """Model and training config of a preset; a vocab_size of 0 is resolved by the tokenizer.

    Example:
        >>> model, train = preset("gpt2")
        >>> model.n_layer, model.n_embd
        (12, 768)
    """
    if name not in PRESETS:
        near = closest(name, PRESETS)
        raise ArgumentError(
            f"--preset={name}: no such preset",
            why=f"there are {', '.join(PRESETS)}",
            fix=f"did you mean --preset={near[0]}?" if near else "choose one of them",
        )
    return PRESETS[name].model, PRESETS[name].train


def add_presets(parser: Parser) -> None:
    """Options that set all fields: `--preset=NAME` and `--depth=N`."""
    parser.add_argument("--preset", metavar="NAME", help="set all fields: see presets below")
    parser.add_argument("--depth", metavar="N", help="set all fields by a number of layers: one dial")


def named_configs(given: Mapping[str, Any]) -> tuple[GPTConfig, TrainConfig] | None:
    """Configs of the options of `add_presets`, by name; None if neither is given.

    With `--max_steps`, warmup and intervals of a depth follow from it.
    """
    name, depth = given.get("preset"), given.get("depth")
    if depth is None:
        return None if name is None else preset(name)
    if name is not None:
        raise ArgumentError(
            f"--preset={name} with --depth={depth}",
            why="each of them sets all fields",
            fix="give one of them, and further fields one by one: --n_layer=6",
        )
    if not depth.isdecimal():
        raise ArgumentError(f"--depth={depth}: not a number", why="it counts layers", fix="write --depth=4")
    return of_depth(int(depth), max_steps=given.get("max_steps", 0))


def with_warmup(given: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Options, and a warmup of at most a tenth of `--max_steps` if they set these steps but no warmup."""
    return (
        {"warmup_steps": min(most, given["max_steps"] // 10), **given} if "max_steps" in given else {**given}
    )


def configs_from(argv: Sequence[str], default: str) -> tuple[GPTConfig, TrainConfig]:
    """Configs from `--preset=NAME` or `--depth=N`, and `--field=value …` of a command line.

    Example:
        >>> model, train = configs_from(["--preset=tiny", "--n_layer=3"], default="demo")
        >>> model.n_layer, train.max_steps
        (3, 20)
    """
    parser = Parser(add_help=False, prog="python -m gpt train")
    add_presets(parser)
    parser.add_fields(*preset(default))
    given = vars(parser.parse_args(argv))
    model, train = named_configs(given) or preset(default)
    return with_changes(with_warmup(given, train.warmup_steps), model, train)


def describe_presets() -> str:
    """Table of the presets, one per line."""
    return "\n".join(f"  {name:<22} {entry.about}" for name, entry in PRESETS.items())


# --- characters of Shakespeare --------------------------------------------------------------------------
# nanoGPT's CPU recipe, whose values are the defaults of TrainConfig: README, "I only have a macbook";
# published validation loss 1.88.

_CPU_MODEL = GPTConfig(vocab_size=0, block_size=64, n_layer=4, n_head=4, n_embd=128, bias=False)
_CPU_TRAIN = TrainConfig(out_dir="runs/shakespeare-char-cpu")

# The dial at depth 3, with smaller steps and fewer of them: the text is read one and a half times.
_DEMO_MODEL, _DEMO_TRAIN = of_depth(3)

_CHAR: dict[str, Preset] = {
    "demo": Preset(
        "a first run: embedded Shakespeare by characters, a minute on two CPU cores",
        _DEMO_MODEL,
        replace(
            _DEMO_TRAIN,
            out_dir="runs/demo",
            batch_size=6,
            max_steps=2000,
            eval_interval=500,
            sample_interval=500,
            health_interval=500,
            keep_checkpoints=2,
        ),
    ),
    "tiny": Preset(
        "seconds: to see whether everything works",
        GPTConfig(vocab_size=0, block_size=32, n_layer=2, n_head=2, n_embd=32),
        TrainConfig(
            out_dir="runs/tiny",
            batch_size=4,
            max_steps=20,
            warmup_steps=2,
            eval_interval=10,
            eval_batches=2,
            log_interval=1,
            sample_tokens=20,
        ),
    ),
    "shakespeare-char-cpu": Preset(
        "nanoGPT's CPU recipe: 0.8 M parameters, 2000 steps", _CPU_MODEL, _CPU_TRAIN
    ),
    # nanoGPT, config/train_shakespeare_char.py; published best validation loss 1.4697.
    "shakespeare-char": Preset(
        "nanoGPT's GPU recipe: 10.7 M parameters, 5000 steps",
        GPTConfig(vocab_size=0, block_size=256, n_layer=6, n_head=6, n_embd=384, dropout=0.2, bias=False),
        replace(_CPU_TRAIN, out_dir="runs/shakespeare-char", batch_size=64, max_steps=5000),
    ),
}

# --- GPT-2 -----------------------------------------------------------------------------------------------
# Sizes: Radford et al. 2019, table 2, with the heads of the released models. Training: nanoGPT's
# config/train_gpt2.py on one machine (12 × 40 × 1024 = 491,520 tokens a step).

_OPENWEBTEXT = TrainConfig(
    data="data/openwebtext",
    tokenizer="data/openwebtext/tokenizer.json",
    beta2=0.95,
    eval_interval=1000,
    eval_batches=200,
)
_GPT2_SIZES = {
    "gpt2": (12, 12, 768, "124 M"),
    "gpt2-medium": (24, 16, 1024, "355 M"),
    "gpt2-large": (36, 20, 1280, "774 M"),
    "gpt2-xl": (48, 25, 1600, "1.56 B"),
}


def _gpt2(name: str) -> Preset:
    n_layer, n_head, n_embd, size = _GPT2_SIZES[name]
    return Preset(
        f"GPT-2 with {size} parameters",
        GPTConfig(50257, block_size=1024, n_layer=n_layer, n_head=n_head, n_embd=n_embd),
        replace(
            _OPENWEBTEXT,
            out_dir=f"runs/{name}",
            batch_size=12,
            gradient_accumulation_steps=40,
            max_steps=600_000,
            learning_rate=6e-4,
            min_learning_rate=6e-5,
            warmup_steps=2000,
        ),
    )


# --- GPT-3 -----------------------------------------------------------------------------------------------
# Brown et al. 2020, table 2.1 and appendix B: 300 B tokens, warmup over 375 M, cosine down to a tenth over
# 260 B, betas 0.9 and 0.95, weight decay 0.1. The layers have full attention here; the paper alternates them
# with locally banded ones, which changes no parameter.

_GPT3_STEP = 1536 * 2048  # tokens
_GPT3 = Preset(
    "GPT-3 with 175B parameters (shape for `plan`)",
    GPTConfig(50257, block_size=2048, n_layer=96, n_head=96, n_embd=12288),
    replace(
        _OPENWEBTEXT,
        out_dir="runs/gpt3",
        batch_size=1,
        gradient_accumulation_steps=1536,
        max_steps=round(300e9 / _GPT3_STEP),
        learning_rate=6e-5,
        min_learning_rate=6e-6,
        warmup_steps=round(375e6 / _GPT3_STEP),
        decay_steps=round(260e9 / _GPT3_STEP),
    ),
)

PRESETS: dict[str, Preset] = {
    **_CHAR,
    **{name: _gpt2(name) for name in _GPT2_SIZES},
    "gpt3": _GPT3,
}
"""All presets by name."""
