"""Setup of a run: data, tokenizer and vocabulary; checks before it is resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import note
from gpt.data.command import embedded_shakespeare
from gpt.data.prepare import describe_files, prepare, prepare_text, read_texts, require_data
from gpt.data.token_file import TokenFile, open_split
from gpt.fields import from_dict, to_dict
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.weights.checkpoint import Checkpoint, list_checkpoints
from gpt.weights.load import named_tokenizer
from gpt.weights.run import TOKENIZER, read_configs
from tinytensor.distributed import Communicator
from tinytensor.interop.safetensors_file import Array


def splits(
    config: TrainConfig, prepared: Path, prepared_before: bool
) -> tuple[TrainConfig, Tokenizer | None, TokenFile, TokenFile | None]:
    """Config with the tokenizer of the data, the tokenizer, and both splits; a text is converted to token
    files in the folder `prepared`, once.
    """
    require_data(config)
    source = Path(config.data)
    if config.data != "shakespeare" and (source / "train.bin").is_file():
        name = _tokenizer_beside(source, config)
        tokenizer = None if name is None else load_tokenizer(Path(name))
        config = config if name is None else replace(config, tokenizer=name)
        return config, tokenizer, open_split(source, "train"), _validation(source)
    if prepared_before:
        tokenizer = load_tokenizer(prepared / TOKENIZER)
        return config, tokenizer, open_split(prepared, "train"), _validation(prepared)
    if config.data == "shakespeare":
        text = embedded_shakespeare()
        tokenizer = named_tokenizer(config.tokenizer, text)
        return config, tokenizer, *prepare_text(text, tokenizer, prepared)
    if source.is_dir():
        note(describe_files(source, config.pattern))
    tokenizer = named_tokenizer(config.tokenizer, read_texts(config.data, config.pattern))
    return config, tokenizer, *prepare(config.data, tokenizer, prepared, pattern=config.pattern)


def _validation(folder: Path) -> TokenFile | None:
    return open_split(folder, "val") if (folder / "val.bin").is_file() else None


def vocabulary_of(config: TrainConfig) -> int | None:
    """Vocabulary size of the data of a config, without preparing them; None if token files do not say it."""
    require_data(config)
    source = Path(config.data)
    if config.data == "shakespeare":
        return named_tokenizer(config.tokenizer, embedded_shakespeare()).vocab_size
    if not (source / "train.bin").is_file():
        return named_tokenizer(config.tokenizer, read_texts(source, config.pattern)).vocab_size
    name = _tokenizer_beside(source, config)
    return open_split(source, "train").vocab_size if name is None else named_tokenizer(name, ()).vocab_size


def _tokenizer_beside(source: Path, config: TrainConfig) -> str | None:
    """Tokenizer of token files: theirs, or else that of the config."""
    if (source / TOKENIZER).is_file():
        return str(source / TOKENIZER)
    return None if config.tokenizer == "char" else config.tokenizer


def with_vocabulary(model: GPTConfig, size: int | None, source: object, extra: int = 0) -> GPTConfig:
    """Config with vocab_size resolved for data of so many ids (None: not known), and extra ones."""
    if size is not None:
        return model.with_vocab_size(size + extra)
    if model.vocab_size:
        return model
    raise tt.ArgumentError(
        f"the vocabulary of {source} is not known",
        why="the token files have neither meta.json nor a tokenizer",
        fix="set its size (GPT-2: --vocab_size=50257; nanoGPT's shakespeare_char: 65), "
        "or the tokenizer: --tokenizer=tokenizer.json",
    )


def refuse_fields(config: TrainConfig, names: Sequence[str], command: str) -> None:
    """Raise ArgumentError if a field is set that a command ignores, and not by an earlier version of it."""
    resumes = config.init_from == "resume" and list_checkpoints(config.out_dir)
    before = read_configs(config.out_dir)[1] if resumes else TrainConfig()
    for name in names:
        default = getattr(TrainConfig, name)
        if getattr(config, name) not in (default, getattr(before, name)):
            raise tt.ArgumentError(
                f"--{name}={getattr(config, name)}: {command} has no use for it",
                why="it would be ignored",
                fix=f"leave it out, or set --{name}={default}",
            )


def refuse_ranks(ranks: Communicator, command: str) -> None:
    """Raise ArgumentError if a single-process command runs on several ranks."""
    if ranks.size > 1:
        raise tt.ArgumentError(
            f"{command}: started on {ranks.size} ranks",
            why="it supports a single rank",
            fix="run it without mpiexec",
        )


def refuse_to_overwrite(folder: Path, command: str) -> None:
    """Raise ArgumentError if a folder, locked by the caller (see `alone_in`), has checkpoints."""
    if (folder / "latest").exists() or list_checkpoints(folder):
        raise tt.ArgumentError(
            f"{command}: {folder} holds a run already",
            why="its checkpoints and log would be mixed with new ones",
            fix=f"resume it with --init_from=resume, choose another --out_dir, or remove {folder}",
        )


def refuse_other_ways(checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise ArgumentError if a resumed run would change its data, optimizer or other fixed fields."""
    saved = checkpoint.state["train"]
    own = (Path(config.data) / TOKENIZER).is_file()  # token files have their own, which overrides the config
    for name in ("data", "optimizer") if own else ("data", "pattern", "tokenizer", "optimizer"):
        if saved.get(name) != getattr(config, name):
            raise tt.ArgumentError(
                f"train: --{name}={getattr(config, name)}, but the run was started with {saved.get(name)}",
                why="the next steps would differ",
                fix=f"leave --{name} out, or start a new run from its weights: "
                f"--init_from={checkpoint.folder} --out_dir=NEW",
            )


def resumed_model(checkpoint: Checkpoint, wanted: GPTConfig) -> GPTConfig:
    """Model config of the checkpoint; ArgumentError if the command line differs from it."""
    saved = from_dict(GPTConfig, checkpoint.state["model"], source=str(checkpoint.folder))
    asked = wanted if wanted.vocab_size else replace(wanted, vocab_size=saved.vocab_size)
    if asked != saved:
        differing = [k for k, v in to_dict(saved).items() if v != to_dict(asked)[k]]
        raise tt.ArgumentError(
            f"train: the checkpoint's model differs in {', '.join(differing)}",
            why="a run is resumed with the model that it was started with",
            fix="leave these fields out, or start a new run from its weights: "
            f"--init_from={checkpoint.folder} --out_dir=NEW",
        )
    return saved


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Split an optimizer state into arrays by name and JSON values."""
    arrays: dict[str, Array] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, tt.Tensor):
                arrays[f"{index}.{key}"] = value.cpu().numpy()
            else:
                scalars.setdefault(str(index), {})[key] = value
    return arrays, {"state": scalars, "param_groups": state["param_groups"]}


def join_state(arrays: Mapping[str, Array], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `split_state`."""
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in saved["state"].items()}
    for name, array in arrays.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tt.tensor(np.asarray(array))
    return {"state": state, "param_groups": saved["param_groups"]}
