"""Ablation study: `python -m gpt ablate [--grid="position=learned,rope activation=gelu,swiglu"] [--seeds=3]`.

Trains a model for each variant, all from the same seeds on the same batches, and prints a table: parameters,
validation loss, tokens/s; with several seeds means, deviations, and the p-value of Welch's t test against the
first variant. Without --grid it changes one field at a time. `--grid="depth=2,3,4"` takes model and training
from the dial of --depth, and fits a scaling law. After Ctrl-C or a kill the same command resumes.
"""

import json
import os
import platform
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, counted
from gpt.experiments.statistics import ScalingLaw, fit_scaling_law, welch
from gpt.fields import check_types, to_dict, with_changes
from gpt.live.watch import WatchConfig, watching
from gpt.presets import named_configs, preset, with_warmup
from gpt.training.command import configs_of, train
from gpt.training.plan import plan
from gpt.training.run import Run
from gpt.training.run_lock import alone_in
from gpt.training.run_log import RunLog
from gpt.training.run_setup import refuse_ranks
from gpt.training.stopping import Stopped
from gpt.weights.checkpoint import list_checkpoints
from gpt.weights.run import read_configs
from tinytensor.distributed import init
from tinytensor.files import atomic_write, read_json

BASE = "as it is"
_RESULT = "result.json"
_MODEL, _TRAIN = preset("shakespeare-char-cpu")
_BEGIN = (
    _MODEL,
    replace(
        _TRAIN, out_dir="runs/ablate", max_steps=300, warmup_steps=30, eval_interval=0, keep_checkpoints=1
    ),
)


@dataclass(frozen=True)
class AblateConfig:
    """Variants of an ablation study."""

    # fields of model and training with their values, "position=learned,rope activation=gelu,swiglu": trains
    # every combination. Several grids are separated by `;`, and an empty one is the base: "; qk_norm=true;
    # optimizer=adamw,muon". Empty: changes one field of the model at a time
    grid: str = ""
    seeds: int = 1  # runs of each variant, with seed, seed + 1, …

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.seeds <= 1000:
            raise tt.ArgumentError(
                f"AblateConfig: seeds={self.seeds}",
                why="each variant is trained from 1 to 1,000 seeds",
                fix="use seeds=3",
            )


@dataclass(frozen=True)
class Cell:
    """One variant: its name, model config and training config, with its own run directory."""

    name: str
    model: GPTConfig
    train: TrainConfig

    @property
    def folder(self) -> Path:
        """Run directory."""
        return Path(self.train.out_dir)


def one_at_a_time(model: GPTConfig) -> list[str]:
    """Single changes of a model config to train, like "position=rope"; last, all changes of Llama together. A
    gated activation has a smaller n_inner, for equal parameters.
    """
    heads, gated = model.n_head, f"activation=swiglu n_inner={round(model.inner_size * 2 / 3 / 8) * 8}"
    named = [
        gated if value == "swiglu" else f"{name}={value}"
        for name in ("position", "norm", "norm_position", "activation")
        for value in get_args(get_type_hints(GPTConfig)[name])
        if value != getattr(model, name)
    ]
    shared = [f"n_kv_head={n}" for n in (heads // 2, 1) if n and heads % n == 0 and n < heads]
    return [
        *named,
        *dict.fromkeys(shared),
        *(f"sliding_window={max(model.block_size // 4, 1)}", "qk_norm=true", "logit_soft_cap=15"),
        *(f"tied_head={not model.tied_head}".lower(), f"bias={not model.bias}".lower(), "n_expert=4"),
        f"position=rope norm=rms_norm {gated} tied_head=false bias=false",
    ]


def cells(model: GPTConfig, config: TrainConfig, grid: str, seeds: int = 1) -> list[Cell]:
    """Variants of a base config to train, the baseline first, each with all seeds and with a folder of its
    own.

    Args:
        grid: see `AblateConfig`; `depth=N` takes both configs from `of_depth`, except data, tokenizer, device
            and seed.

    Example:
        >>> model, config = preset("tiny")
        >>> [cell.name for cell in cells(model, config, "position=rope,none n_layer=1; bias=false")]
        ['position=rope n_layer=1', 'position=none n_layer=1', 'bias=false']
    """
    if grid.strip():
        names = [
            " ".join(choice) for part in grid.split(";") for choice in product(*map(_values, part.split()))
        ]
    else:
        names = ["", *one_at_a_time(model)]
    found = []
    for name in names:
        changed, train_config = _configs_of(name, model, config)
        folder = Path(config.out_dir) / re.sub(r"[^\w=.,+-]", "_", name or "base")
        for seed in range(train_config.seed, train_config.seed + seeds):
            own = folder if seed == train_config.seed else folder.with_name(f"{folder.name}-seed={seed}")
            found.append(Cell(name or BASE, changed, replace(train_config, seed=seed, out_dir=str(own))))
    folders = Counter(cell.train.out_dir for cell in found)
    if twice := [folder for folder, times in folders.items() if times > 1]:
        raise tt.ArgumentError(
            f"ablate: two variants would be {twice[0]}",
            why="one result would count twice, as if of two seeds",
            fix="give each value once; --seeds=3 trains each variant from several seeds",
        )
    return found


def _configs_of(name: str, model: GPTConfig, config: TrainConfig) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a variant; those of the dial are on the data and with the seed of a config."""
    parser = Parser(add_help=False, prog="python -m gpt ablate")
    parser.add_argument("--depth")
    parser.add_fields(model, config)
    given = vars(parser.parse_args([f"--{word}" for word in name.split()]))
    if dial := named_configs({"depth": given["depth"]}):
        shared = {name: getattr(config, name) for name in ("data", "tokenizer", "device", "seed")}
        model, config = dial[0], replace(dial[1], eval_interval=0, sample_interval=0, **shared)
    return with_changes(with_warmup(given, config.warmup_steps), model, config)


def _values(word: str) -> list[str]:
    """Split `position=learned,rope` into position=learned and position=rope."""
    name, _, values = word.partition("=")
    if not name or not all(values.split(",")):
        raise tt.ArgumentError(
            f"ablate: {word!r} in the grid has no value",
            why="an entry is a field with comma-separated values, without spaces",
            fix='--grid="position=learned,rope activation=gelu,swiglu"',
        )
    if name.replace("-", "_") in ("out_dir", "init_from"):
        raise tt.ArgumentError(
            f"ablate: {word!r} in the grid",
            why="each variant has its own folder, and starts from scratch or resumes there",
            fix="leave it out of the grid",
        )
    if name.replace("-", "_") in ("data", "pattern", "tokenizer"):
        raise tt.ArgumentError(
            f"ablate: {word!r} in the grid",
            why="losses of other texts or tokens are no comparison: each would count other things",
            fix="train both with `train`, and compare their bits per byte on one text: "
            "python -m gpt eval RUN RUN --data=FILE",
        )
    return [f"{name}={value}" for value in values.split(",")]


class _Compared(Run):
    """Run of a variant, which needs a validation loss."""

    def read_data(self, prepared_before: bool) -> None:
        """Set tokenizer and data; raises ArgumentError without a validation split."""
        super().read_data(prepared_before)
        if self.val_tokens is None:
            raise tt.ArgumentError(
                f"ablate: {self.train_config.data} has no validation split",
                why="variants are compared by their validation loss",
                fix="use a text, or token files with val.bin",
            )


def train_cell(cell: Cell) -> dict[str, Any]:
    """Train a variant, or resume it, or return its result if it is complete."""
    if (cell.folder / "config.json").is_file():
        _require_same(cell)
    if (cell.folder / _RESULT).is_file():
        return read_json(cell.folder / _RESULT, "ablate")
    begun = bool(list_checkpoints(cell.folder))
    config = replace(cell.train, init_from="resume") if begun else cell.train
    run = train(cell.model, config, quiet=True, kind=_Compared)
    if run.stopped_by:
        raise Stopped(run.stopped_by)
    lines = RunLog(run.folder).read()
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    result = {
        "variant": cell.name,
        "parameters": run.model.num_parameters(),
        "val_loss": losses[-1],
        "tokens_per_second": statistics.median([x["tokens_per_second"] for x in lines if "loss" in x]),
    }
    with atomic_write(cell.folder / _RESULT) as file:
        file.write(json.dumps(result).encode())
    return result


def _require_same(cell: Cell) -> None:
    """Raise ArgumentError if the run in the folder of a variant has other settings."""
    model, config = read_configs(cell.folder)
    wanted = replace(cell.model, vocab_size=cell.model.vocab_size or model.vocab_size)
    before = to_dict(model) | to_dict(replace(config, init_from=cell.train.init_from))
    now = to_dict(wanted) | to_dict(cell.train)
    if differing := [name for name in now if now[name] != before[name]]:
        raise tt.ArgumentError(
            f"ablate: {cell.folder} was trained with {differing[0]}={before[differing[0]]}",
            why="the rows of a table must have the same recipe",
            fix=f"choose another --out_dir, or remove {cell.folder}",
        )


def summary(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of `train_cell` in rows of a table: for each variant the mean loss and the median speed, with
    several seeds also val_losses, deviation (of the sample) and p_value (against the first variant; None for
    itself).
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["variant"], []).append(result)
    rows: list[dict[str, Any]] = []
    for same in groups.values():
        losses = [float(result["val_loss"]) for result in same]
        speed = statistics.median([result["tokens_per_second"] for result in same])
        row = {**same[0], "val_loss": statistics.fmean(losses), "tokens_per_second": speed}
        if len(results) > len(groups):
            first = rows[0]["val_losses"] if rows else losses
            row["val_losses"] = losses
            row["deviation"] = statistics.stdev(losses) if len(losses) > 1 else None
            row["p_value"] = welch(losses, first) if rows else None
        rows.append(row)
    return rows


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown table of results of `train_cell`, lowest loss first; losses are compared with the first
    variant.
    """
    rows = summary(results)
    first, several = rows[0]["val_loss"], "val_losses" in rows[0]
    titles = ["variant", "parameters", "validation loss", "to the first", "tokens/s"]
    titles[4:4] = ["p"] if several else []
    lines = [f"| {' | '.join(titles)} |", "| :-- |" + " --: |" * (len(titles) - 1)]
    for row in sorted(rows, key=lambda row: float(row["val_loss"])):
        loss, p = row["val_loss"], row.get("p_value")
        spread = f" ± {row['deviation']:.4f}" if row.get("deviation") is not None else ""
        words = [row["variant"], f"{row['parameters']:,}", f"{loss:.4f}{spread}", f"{loss - first:+.4f}"]
        speed = f"{row['tokens_per_second']:,.0f}"
        words += [] if not several else ["" if p is None else f"{p:.1g}" if p < 0.1 else f"{p:.2f}"]
        lines.append(f"| {' | '.join([*words, speed])} |")
    return "\n".join(lines)


def scaling_law(variants: Sequence[Cell], results: Sequence[dict[str, Any]]) -> ScalingLaw | None:
    """Scaling law in the weights of the blocks, if the variants differ in depth: of at least three depths."""
    losses: dict[int, list[float]] = {}
    for cell, result in zip(variants, results, strict=False):
        if "depth=" in cell.name:
            weights = plan(cell.model.with_vocab_size(1), cell.train, flops_per_second=1.0).parameters
            losses.setdefault(weights["attn"] + weights["mlp"], []).append(float(result["val_loss"]))
    return fit_scaling_law(list(losses), list(losses.values())) if len(losses) > 2 else None


def _describe(model: GPTConfig, config: TrainConfig, seeds: int, *, dial: bool) -> str:
    """Common settings of all variants, as text; `dial`: each has the model and the training of its depth."""
    last = config.seed + seeds - 1
    sizes = (
        f"{counted(model.n_layer, 'layer')}, {counted(model.n_head, 'head')}, {model.n_embd} wide, "
        f"context {model.block_size}"
    )
    steps = f"{config.max_steps} steps of {config.sequences_per_step} sequences"
    return (
        f"{'model and training of --depth' if dial else sizes}; "
        f"{config.data}, {'' if dial else f'{steps}, '}"
        f"{f'seed {config.seed}' if seeds == 1 else f'seeds {config.seed} to {last}'}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, tinytensor {tt.__version__}, "
        f"{os.cpu_count()} CPUs"
    )


def _write(folder: Path, about: str, results: Sequence[dict[str, Any]], law: ScalingLaw | None) -> None:
    fitted = {} if law is None else {"scaling_law": asdict(law)}
    for name, content in (
        ("ablation.json", json.dumps({"about": about, "rows": summary(results), **fitted}, indent=2)),
        ("ablation.md", f"{about}\n\n{table(results)}\n" + ("" if law is None else f"\n{law}\n")),
    ):
        with atomic_write(folder / name) as file:
            file.write(content.encode())


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt ablate`, with the fields of `train` and of AblateConfig."""
    configs = configs_of(argv, _BEGIN, WatchConfig(), AblateConfig(), name="ablate", about=__doc__)
    model, config, watch, own = configs
    refuse_ranks(init(), "ablate")
    variants = cells(model, config, own.grid, own.seeds)
    about = _describe(model, config, own.seeds, dial=all("depth=" in cell.name for cell in variants))
    with alone_in(config.out_dir, "ablate"), watching(watch, config.out_dir):
        return _train_all(variants, about, Path(config.out_dir))


def _train_all(variants: Sequence[Cell], about: str, folder: Path) -> int:
    results: list[dict[str, Any]] = []
    print(f"{counted(len(variants), 'run')}, {about}", flush=True)
    for number, cell in enumerate(variants, 1):
        try:
            results.append(train_cell(cell))
        except KeyboardInterrupt:
            print("\nstopped; run the same command to resume")
            raise
        row = results[-1]
        print(
            f"{number:>3}  {row['variant']:<32} seed {cell.train.seed}  loss {row['val_loss']:.4f}  "
            f"{row['tokens_per_second']:>9,.0f} tok/s",
            flush=True,
        )
        law = scaling_law(variants, results) if number == len(variants) else None
        _write(folder, about, results, law)
    print(f"\n{table(results)}" + ("" if law is None else f"\n\n{law}\nN: weights of the blocks"))
    print(f"\nfiles  {folder}/: ablation.md, ablation.json")
    return 0
