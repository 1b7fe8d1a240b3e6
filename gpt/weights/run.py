"""Run directories: which there are, their configs, and their weights as a source."""

from collections.abc import Sequence
from pathlib import Path

from gpt.config import GPTConfig, TrainConfig
from gpt.fields import closest, from_dict
from gpt.weights.checkpoint import checkpoint_folder, list_checkpoints, load_checkpoint, read_state
from gpt.weights.hf_names import OURS, Place
from gpt.weights.source import Source
from gpt.weights.weight_tensor import tensors_of
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import PathLike, read_json
from tinytensor.interop.safetensors_file import read_safetensors

RUNS = Path("runs")  # default parent folder of runs
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_WEIGHTS, _STATE = "model.safetensors", "state.json"
CHATBOT, STAGES = "chatbot.json", ("base", "instruct", "grpo")  # state and runs of `python -m gpt chatbot`


class RunFolder(Source):
    """A checkpoint of a run directory."""

    naming = OURS

    def __init__(self, path: Path, run: Path, writable: bool) -> None:
        step = _step_in(path)
        if step is None:
            step = checkpoint_folder(run, "best" if (run / "best").exists() else "latest")
        state = read_state(step)
        self.path, self.folder, self._step = path, run, step
        self.kind = str(state.get("kind", "GPT"))  # absent in imported and fine-tuned runs
        self.config = from_dict(GPTConfig, state.get("model"), source=str(step / _STATE))
        self.tensors = tensors_of(read_safetensors(step / _WEIGHTS, writable=writable))

    def verify(self) -> None:
        """Compare the checksums."""
        number = self._step.name.removeprefix("step_")
        load_checkpoint(self.folder, int(number) if number.isdecimal() else 0)

    def places(self) -> dict[str, Place]:
        """File and name of each tensor; for other kinds of models, of all tensors in the file."""
        if self.kind == "GPT":
            return super().places()
        shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        return {name: Place(shape, (name,), shape[-1:], False, (0,)) for name, shape in shapes.items()}


def _step_in(path: Path) -> Path | None:
    """Folder of the checkpoint that a path, a folder or its weights, is; None if it is none."""
    step = path.parent if path.name == _WEIGHTS else path
    return step if (step / _STATE).is_file() else None


def run_of(path: PathLike) -> Path | None:
    """Run directory of a path, which is a run, one of its checkpoints, or a folder of `chatbot` (its last
    run); None for another path.
    """
    folder = last_stage(Path(path))
    if list_checkpoints(folder):
        return folder
    step = _step_in(folder)
    return None if step is None else step.parent


def last_stage(folder: Path) -> Path:
    """Last run of a folder of `python -m gpt chatbot`; another folder itself."""
    runs = [folder / name for name in STAGES if (folder / CHATBOT).is_file()]
    return next((run for run in reversed(runs) if list_checkpoints(run)), folder)


def no_such_run(path: str, who: str) -> ArgumentError:
    """Error for a missing run, with a list of the existing ones."""
    if (Path(path) / CONFIG).is_file():
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
    """The available runs, as a clause of a message."""
    here = _runs_here()
    return f"the runs here are {_some(here)}" if here else "no run was trained here yet"


def near_run(path: str) -> str:
    """Suggestion of a run with a similar name; empty if there is none."""
    near = closest(path.removeprefix(f"{RUNS}/"), [run.removeprefix(f"{RUNS}/") for run in _runs_here()])
    return f"did you mean {RUNS}/{near[0]}?" if near else ""


def _runs_here() -> list[str]:
    """Names of the runs in `runs/`, also of folders of `chatbot`."""
    paths = RUNS.iterdir() if RUNS.is_dir() else ()
    return sorted([str(path) for path in paths if list_checkpoints(last_stage(path))])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def read_configs(run_dir: PathLike) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a run directory."""
    path = Path(run_dir) / CONFIG
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
