"""What the tests of runs share: configs of a small model, and arrays that must have equal bits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.presets import configs_from
from gpt.training.run_log import RunLog
from gpt.weights.checkpoint import Checkpoint, load_checkpoint

__all__ = ["arrays_of", "assert_same", "logged", "tiny"]


def tiny(folder: Path, *words: str) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a run of the preset tiny in a folder, changed by words of a command line."""
    return configs_from(["--preset=tiny", f"--out_dir={folder}", *words], default="tiny")


def logged(run: Any, name: str) -> list[Any]:
    """Values of a name in the lines of a run's log that have it; the run may be given by its folder."""
    return [line[name] for line in RunLog(getattr(run, "folder", run)).read() if name in line]


def arrays_of(owner: Any) -> dict[str, Any]:
    """Arrays by name: of a module, a run, a folder's latest checkpoint with the optimizer's, or a mapping."""
    if isinstance(owner, Path):
        owner = load_checkpoint(owner)
    if isinstance(owner, Checkpoint):
        return {**owner.weights, **{f"optimizer: {name}": array for name, array in owner.optimizer.items()}}
    if not isinstance(owner, Mapping):
        owner = (owner if isinstance(owner, tt.nn.Module) else owner.model).state_dict()
    return {name: a.numpy() if isinstance(a, tt.Tensor) else np.asarray(a) for name, a in owner.items()}


def assert_same(found: Any, wanted: Any) -> None:
    """The same names, and equal bits of each array."""
    ours, theirs = arrays_of(found), arrays_of(wanted)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
