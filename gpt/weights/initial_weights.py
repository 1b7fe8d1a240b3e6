"""Initialization of a model from the weights of another run or model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import to_dict
from gpt.models.gpt import GPT
from gpt.weights.checkpoint import load_checkpoint, read_state, require_kind
from gpt.weights.init_from import last_stage
from gpt.weights.sources import is_foreign, open_source
from tinytensor.interop.safetensors_file import Array, read_safetensors


def load_weights(model: GPT, origin: str) -> None:
    """Copy weights into a model from a .safetensors file, a checkpoint folder, a run directory (its best), a
    Hugging Face model folder, a GGUF file, a package or a name on the hub.

    Raises:
        ArgumentError, ShapeError: names or shapes differ from the model's.
        FormatError: the file is damaged, or has a model of another kind.
    """
    path = last_stage(Path(origin))
    if is_foreign(origin):
        source = open_source(origin)
        _require_shape(model.config, source.config, path)
        found = source.weights()
        if "wpe.weight" in found:
            found["wpe.weight"] = found["wpe.weight"][: model.config.block_size]
        arrays: Mapping[str, Array] = found
    elif path.is_dir() and not (path / "model.safetensors").is_file():
        checkpoint = load_checkpoint(path, "best" if (path / "best").exists() else "latest")
        require_kind(checkpoint.state, type(model).__name__, checkpoint.folder)
        arrays = checkpoint.weights
    else:
        step = path if path.is_dir() else path.parent
        require_kind(read_state(step), type(model).__name__, step)
        arrays = read_safetensors(step / "model.safetensors").arrays()
    model.load_state_dict({name: tt.tensor(np.asarray(a)) for name, a in arrays.items()})


def _require_shape(config: GPTConfig, saved: GPTConfig, path: Path) -> None:
    """Raise ArgumentError unless the configs match, up to dropout, initial weights and a shorter context."""
    free = {"dropout", "init"} | ({"block_size"} if config.block_size <= saved.block_size else set())
    now, before = to_dict(config), to_dict(saved)
    if differing := [name for name in before if name not in free and now[name] != before[name]]:
        name = differing[0]
        raise tt.ArgumentError(
            f"train: --init_from={path}: its model has {name}={before[name]}, not {now[name]}",
            why="the weights have the shapes of that model",
            fix=f"leave --{name} and --preset out: the model is that of the folder",
        )
