"""What a run begins with, looked for before anything is read: what is missing is said, and how to get it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpt.config import GPTConfig, TrainConfig
from gpt.fields import closest, from_dict
from gpt.weights.checkpoint import list_checkpoints
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import read_json

__all__ = [
    "no_such_run",
    "read_configs",
    "require_data",
    "require_origin",
    "run_of",
    "runs_here",
    "with_tokenizer_of",
]

RUNS = Path("runs")  # where commands put runs unless they are told otherwise


def runs_here() -> list[str]:
    """The runs in `runs/`, by name."""
    return sorted([str(path) for path in RUNS.iterdir() if list_checkpoints(path)]) if RUNS.is_dir() else []


def no_such_run(path: str, who: str) -> ArgumentError:
    """The error for a run that is not there; it names those that are.

    Args:
        path: what was named.
        who: the function or command that the user called.

    Example:
        >>> no_such_run("runs/none", "sample").what
        "sample: there is no run 'runs/none'"
    """
    here = runs_here()
    near = closest(path, here)
    return ArgumentError(
        f"{who}: there is no run {path!r}",
        why=f"those in {RUNS}/ are {_some(here)}" if here else "none was trained here yet",
        fix=f"did you mean {near[0]}?" if near else "check the path, or train one: python -m gpt demo",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def run_of(origin: str) -> Path | None:
    """The run directory that `init_from` names by itself, or by one of its checkpoints; None if neither."""
    path = Path(origin)
    folders = [folder for folder in (path, path.parent) if (folder / "config.json").is_file()]
    return folders[0] if folders and list_checkpoints(folders[0]) else None


def read_configs(run_dir: str | os.PathLike[str]) -> tuple[GPTConfig, TrainConfig]:
    """The configs that a run directory was made with.

    Args:
        run_dir: folder of a run.

    Returns:
        model config, training config.

    Raises:
        ArgumentError, FormatError: there is no config.json, or it is damaged.
    """
    path = Path(run_dir) / "config.json"
    if not path.is_file():
        raise no_such_run(str(run_dir), "read_configs")
    saved = read_json(path, "read_configs")
    model, train = saved.get("model"), saved.get("train")
    if not isinstance(model, dict) or not isinstance(train, dict):
        raise FormatError(
            f"read_configs: {path} lacks its model or train config",
            why="it is no run's",
            fix="check the path",
        )
    return from_dict(GPTConfig, model, source=str(path)), from_dict(TrainConfig, train, source=str(path))


def with_tokenizer_of(folder: Path, config: TrainConfig) -> TrainConfig:
    """The config with the tokenizer of a run or a model, if it has one: its weights know no other."""
    if (folder / "tokenizer.json").is_file():
        return replace(config, tokenizer=str(folder / "tokenizer.json"))
    has_others = any((folder / name).is_file() for name in ("vocab.bpe", "merges.txt", "tokenizer.model"))
    return replace(config, tokenizer=str(folder)) if has_others else config


def require_origin(config: TrainConfig) -> None:
    """Look for what `init_from` names.

    Args:
        config: of the run.

    Raises:
        ArgumentError: there is no run to go on with, or no such weights.
    """
    origin = config.init_from
    if origin == "resume" and not list_checkpoints(config.out_dir):
        raise no_such_run(config.out_dir, "train --init_from=resume")
    elsewhere = Path(origin).suffix in (".gguf", ".bin", ".pt", ".pth")
    if origin in ("scratch", "resume") or (Path(origin).exists() and not elsewhere):
        return
    if origin.startswith(f"{RUNS}/"):
        raise no_such_run(origin, "train")
    place = RUNS / Path(origin).stem
    raise ArgumentError(
        f"train: --init_from={origin}: {_no_origin(origin)}",
        why="training on begins with a run, a folder of a model of Hugging Face, or a .safetensors file",
        fix=f"a model from elsewhere becomes a run first: python -m gpt import {origin} --out_dir={place}, "
        f"then --init_from={place}",
    )


def _no_origin(origin: str) -> str:
    return (
        f"a {Path(origin).suffix} file" if Path(origin).exists() else "there is no such run, folder or file"
    )


def require_data(config: TrainConfig) -> None:
    """Look for the data and the tokenizer that a config names.

    Args:
        config: of the run.

    Raises:
        ArgumentError: one of them is not there.
    """
    if config.data != "shakespeare" and not Path(config.data).exists():
        raise ArgumentError(
            f"train: --data={config.data}: there is no such file or folder",
            why="a run reads a text, a folder of texts, or token files",
            fix="--data=FILE --tokenizer=char trains on a text; token files are made by python -m gpt data "
            f"prepare TEXTS --tokenizer=tokenizer.json --out {config.data}",
        )
    tokenized = (Path(config.data) / "tokenizer.json").is_file()
    if config.tokenizer not in ("char", "word") and not tokenized and not Path(config.tokenizer).exists():
        raise ArgumentError(
            f"train: --tokenizer={config.tokenizer}: there is no such file",
            why="it is char, word, or a saved tokenizer",
            fix="--tokenizer=char, or make one: python -m gpt tokenizer train FILE --vocab-size 1024 "
            "--out tokenizer.json",
        )
