"""Validation of init_from, data and tokenizer paths before loading."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpt.config import GPTConfig, TrainConfig
from gpt.fields import closest, from_dict
from gpt.weights.checkpoint import list_checkpoints
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import PathLike, read_json

RUNS = Path("runs")  # default parent folder of runs
CHATBOT, STAGES = "chatbot.json", ("base", "instruct", "grpo")  # state and runs of `python -m gpt chatbot`


def runs_here() -> list[str]:
    """Names of the runs in `runs/`, also of folders of `chatbot`."""
    paths = RUNS.iterdir() if RUNS.is_dir() else ()
    return sorted([str(path) for path in paths if list_checkpoints(last_stage(path))])


def no_such_run(path: str, who: str) -> ArgumentError:
    """Error for a missing run, with a list of the existing ones.

    Example:
        >>> no_such_run("runs/none", "sample").what
        "sample: there is no run 'runs/none'"
    """
    if (Path(path) / "config.json").is_file():
        return ArgumentError(
            f"{who}: the run {path!r} has no checkpoint",
            why="it ended before the first one",
            fix="repeat the command that began it, without --init_from=resume",
        )
    return ArgumentError(
        f"{who}: there is no run {path!r}",
        why=existing_runs(),
        fix=near_run(path) or "check the path, or train one: python -m gpt demo",
    )


def existing_runs() -> str:
    """Which runs there are, as a clause."""
    here = runs_here()
    return f"the runs here are {_some(here)}" if here else "no run was trained here yet"


def near_run(path: str) -> str:
    """Suggestion of a run with a similar name; empty if there is none."""
    near = closest(path.removeprefix(f"{RUNS}/"), [run.removeprefix(f"{RUNS}/") for run in runs_here()])
    return f"did you mean {RUNS}/{near[0]}?" if near else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def run_of(origin: str) -> Path | None:
    """Run directory of a path, which is a run, one of its checkpoints, or a folder of `chatbot` (its last
    run); None for another path.
    """
    path = last_stage(Path(origin))
    places = (path, path.parent) if path.exists() else ()
    folders = [folder for folder in places if (folder / "config.json").is_file()]
    return folders[0] if folders and list_checkpoints(folders[0]) else None


def last_stage(folder: Path) -> Path:
    """Last run of a folder of `python -m gpt chatbot`; another folder itself."""
    runs = [folder / name for name in STAGES if (folder / CHATBOT).is_file()]
    return next((run for run in reversed(runs) if list_checkpoints(run)), folder)


def read_configs(run_dir: PathLike) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a run directory.

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
            why="it is not of a training run",
            fix="check the path",
        )
    return from_dict(GPTConfig, model, source=str(path)), from_dict(TrainConfig, train, source=str(path))


def with_tokenizer_of(folder: Path, config: TrainConfig) -> TrainConfig:
    """Config with the tokenizer of a run or model, if it has one, since its weights depend on it."""
    if (folder / "tokenizer.json").is_file():
        return replace(config, tokenizer=str(folder / "tokenizer.json"))
    has_others = any((folder / name).is_file() for name in ("vocab.bpe", "merges.txt", "tokenizer.model"))
    return replace(config, tokenizer=str(folder)) if has_others else config


def require_origin(config: TrainConfig) -> None:
    """Check that the run of `init_from` exists; `open_source` checks other weights.

    Raises:
        ArgumentError: there is no such run.
    """
    origin = config.init_from
    if origin == "resume" and not list_checkpoints(config.out_dir):
        raise no_such_run(config.out_dir, "train --init_from=resume")
    if origin.startswith(f"{RUNS}/") and not Path(origin).exists():
        raise no_such_run(origin, "train")


def require_data(config: TrainConfig) -> None:
    """Check that the data and the tokenizer of a config exist.

    Raises:
        ArgumentError: one of them does not exist.
    """
    if config.data != "shakespeare" and not Path(config.data).exists():
        folder = not Path(config.data).suffix
        raise ArgumentError(
            f"train: --data={config.data}: there is no such file or folder",
            why="it must be a text, a folder of texts, or token files",
            fix="--data=FILE --tokenizer=char trains on a text; make token files with python -m gpt data "
            f"prepare TEXTS --tokenizer=tokenizer.json --out {config.data}"
            if folder
            else "check the path; --data=shakespeare is the text that is bundled",
        )
    tokenized = (Path(config.data) / "tokenizer.json").is_file()
    texts = Path(config.data).is_dir() and not (Path(config.data) / "train.bin").is_file()
    if config.pattern != TrainConfig.pattern and not texts:
        raise ArgumentError(
            f"train: --pattern={config.pattern} with --data={config.data}",
            why="it selects files in a folder of texts",
            fix="leave it out, or give a folder: --data=FOLDER",
        )
    known = config.tokenizer in ("char", "word") or Path(config.tokenizer).exists()
    if not known and not tokenized and Path(config.tokenizer).suffix:  # without one, it may be a model's name
        raise ArgumentError(
            f"train: --tokenizer={config.tokenizer}: there is no such file",
            why="it is char, word, a saved tokenizer, or a model such as smollm2",
            fix="--tokenizer=char, or make one: python -m gpt tokenizer train FILE --vocab-size 1024 "
            "--out tokenizer.json",
        )
