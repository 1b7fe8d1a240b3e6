"""Ablation study: `python -m gpt ablate [--grid="position=learned,rope activation=gelu,swiglu"]`.

Trains a model for each variant, all with the same seed on the same batches, and prints a table: parameters,
validation loss, tokens/s. Without --grid it changes one field at a time. After Ctrl-C or a kill the same
command resumes.
"""

import csv
import io
import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import counted
from gpt.fields import check_types, describe_fields, parse_overrides, to_dict
from gpt.presets import describe_presets, preset
from gpt.training.run import refuse_ranks
from gpt.training.run_lock import alone_in
from gpt.training.run_log import RunLog
from gpt.training.stopping import Stopped
from gpt.training.train import configs_of, train
from gpt.weights.checkpoint import list_checkpoints
from gpt.weights.init_from import read_configs
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
    """Variants of an ablation study.

    Args:
        grid: fields of model and training with their values, "position=learned,rope activation=gelu,swiglu":
            trains every combination. Empty: changes one field of the model at a time.

    Raises:
        ArgumentError: a field of a wrong type.
    """

    grid: str = ""

    def __post_init__(self) -> None:
        check_types(self)


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
    """Single changes of a model config to train; last, all changes of Llama together.

    Returns:
        Texts like "position=rope"; a gated activation has a smaller n_inner, for equal parameters.

    Example:
        >>> one_at_a_time(preset("tiny")[0])[:2]
        ['position=sinusoidal', 'position=rope']
    """
    heads, gated = model.n_head, f"activation=swiglu n_inner={round(model.inner_size * 2 / 3 / 8) * 8}"
    shared = [f"n_kv_head={n}" for n in (heads // 2, 1) if n and heads % n == 0 and n < heads]
    return [
        *[f"position={x}" for x in ("sinusoidal", "rope", "alibi", "none")],
        *("norm=rms_norm", "norm_position=post"),
        *[f"activation={x}" for x in ("gelu_erf", "relu", "relu2")],
        gated,
        *dict.fromkeys(shared),
        *(f"sliding_window={max(model.block_size // 4, 1)}", "qk_norm=true", "logit_soft_cap=15"),
        *(f"tied_head={not model.tied_head}".lower(), f"bias={not model.bias}".lower(), "n_expert=4"),
        f"position=rope norm=rms_norm {gated} tied_head=false bias=false",
    ]


def cells(model: GPTConfig, config: TrainConfig, grid: str) -> list[Cell]:
    """Variants to train.

    Args:
        model: the base config.
        config: training config of all; its out_dir gets a folder for each.
        grid: see `AblateConfig`.

    Returns:
        The variants; the first is the baseline.

    Raises:
        ArgumentError: an entry of the grid without a value, an unknown field, or an invalid value.

    Example:
        >>> model, config = preset("tiny")
        >>> [cell.name for cell in cells(model, config, "position=rope,none n_layer=1")]
        ['position=rope n_layer=1', 'position=none n_layer=1']
    """
    if grid.strip():
        axes = [_values(word) for word in grid.split()]
        names = [" ".join(choice) for choice in product(*axes)]
    else:
        names = ["", *one_at_a_time(model)]
    found = []
    for name in names:
        changed, train_config = parse_overrides([f"--{word}" for word in name.split()], model, config)
        folder = Path(config.out_dir) / re.sub(r"[^\w=.,+-]", "_", name or "base")
        found.append(Cell(name or BASE, changed, replace(train_config, out_dir=str(folder))))
    return found


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
    return [f"{name}={value}" for value in values.split(",")]


def train_cell(cell: Cell) -> dict[str, Any]:
    """Train a variant, or resume it, or return its result if it is complete.

    Returns:
        variant, parameters, val_loss (nats per token, on the validation split), tokens_per_second (median of
        the log).

    Raises:
        ArgumentError: its folder has a run with other settings, or the data have no validation split.
        Stopped: Ctrl-C, or another signal; the run is saved.
    """
    if (cell.folder / "config.json").is_file():
        _require_same(cell)
    if (cell.folder / _RESULT).is_file():
        return read_json(cell.folder / _RESULT, "ablate")
    begun = bool(list_checkpoints(cell.folder))
    run = train(cell.model, replace(cell.train, init_from="resume") if begun else cell.train, quiet=True)
    if run.stopped_by:
        raise Stopped(run.stopped_by)
    lines = RunLog(run.folder).read()
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    if not losses:
        raise tt.ArgumentError(
            f"ablate: {cell.train.data} has no validation split",
            why="variants are compared by their validation loss",
            fix="use a text, or token files with val.bin",
        )
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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of results, lowest loss first.

    Args:
        rows: results of `train_cell`, at least one; losses are compared with that of the first.

    Example:
        >>> print(table([{"variant": "a", "parameters": 1000, "val_loss": 2.0, "tokens_per_second": 50.0}]))
        | variant | parameters | validation loss | to the first | tokens/s |
        | :-- | --: | --: | --: | --: |
        | a | 1,000 | 2.0000 | +0.0000 | 50 |
    """
    first = rows[0]["val_loss"]
    lines = ["| variant | parameters | validation loss | to the first | tokens/s |", "| :-- |" + " --: |" * 4]
    for row in sorted(rows, key=lambda row: float(row["val_loss"])):
        loss, speed = row["val_loss"], row["tokens_per_second"]
        size = f"{row['parameters']:,}"
        lines.append(f"| {row['variant']} | {size} | {loss:.4f} | {loss - first:+.4f} | {speed:,.0f} |")
    return "\n".join(lines)


def _describe(model: GPTConfig, config: TrainConfig) -> str:
    """Common settings of all variants, as text."""
    return (
        f"{counted(model.n_layer, 'layer')}, {counted(model.n_head, 'head')}, {model.n_embd} wide, "
        f"context {model.block_size}; "
        f"{config.data}, {config.max_steps} steps of {config.sequences_per_step} sequences, seed "
        f"{config.seed}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, tinytensor {tt.__version__}, "
        f"{os.cpu_count()} CPUs"
    )


def _write(folder: Path, about: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write ablation.json, ablation.csv and ablation.md."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    for name, content in (
        ("ablation.json", json.dumps({"about": about, "rows": rows}, indent=2)),
        ("ablation.csv", text.getvalue()),
        ("ablation.md", f"{about}\n\n{table(rows)}\n"),
    ):
        with atomic_write(folder / name) as file:
            file.write(content.encode())


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt ablate`, with the fields of `train` and of AblateConfig."""
    if {"-h", "--help"} & set(argv):
        print(f"{__doc__}\nPresets:\n{describe_presets()}\n\n{describe_fields(AblateConfig(), *_BEGIN)}")
        return 0
    refuse_ranks(init(), "ablate")
    model, config, own = configs_of(argv, _BEGIN, AblateConfig())
    with alone_in(config.out_dir, "ablate"):
        return _train_all(cells(model, config, own.grid), _describe(model, config), Path(config.out_dir))


def _train_all(variants: Sequence[Cell], about: str, folder: Path) -> int:
    rows = []
    print(f"{len(variants)} variants, {about}", flush=True)
    for number, cell in enumerate(variants, 1):
        try:
            rows.append(train_cell(cell))
        except KeyboardInterrupt:
            print("\nstopped; run the same command to resume")
            raise
        row = rows[-1]
        print(
            f"{number:>3}  {row['variant']:<32} loss {row['val_loss']:.4f}  "
            f"{row['tokens_per_second']:>9,.0f} tok/s",
            flush=True,
        )
        _write(folder, about, rows)
    print(f"\n{table(rows)}\n\nfiles  {folder}/: ablation.md, ablation.csv, ablation.json")
    return 0
