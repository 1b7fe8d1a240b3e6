"""Loading of trained models, with their tokenizer, from runs, folders, files and names."""

from pathlib import Path

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import from_dict
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.weights.checkpoint import load_checkpoint, require_kind
from gpt.weights.init_from import no_such_run
from gpt.weights.pretrained import from_pretrained
from tinytensor.files import PathLike

CONFIG, TOKENIZER = "config.json", "tokenizer.json"


def load_model(
    run_dir: PathLike, which: str | int = "best", kind: type[GPT] = GPT
) -> tuple[GPT, Tokenizer | None]:
    """Load the model of a run directory, in evaluation mode, and its tokenizer.

    Args:
        run_dir: run directory.
        which: "best", "latest", or a step.
        kind: class of the model.

    Returns:
        model, tokenizer; the tokenizer is None if the run has none.

    Raises:
        ArgumentError: there is no such folder.
        FormatError: there is no usable checkpoint, its config is damaged, or its model is of another kind.

    Example:
        >>> import tempfile
        >>> from gpt.presets import configs_from
        >>> from gpt.training.train import train
        >>> words = ["--preset=tiny", "--max_steps=1", f"--out_dir={tempfile.mkdtemp()}/run"]
        >>> run = train(*configs_from(words, default="tiny"), quiet=True)
        >>> model, tokenizer = load_model(run.folder)
        >>> model.num_parameters(), tokenizer.vocab_size
        (28544, 64)
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise no_such_run(str(run_dir), "load_model")
    if which == "best" and not (folder / "best").exists():
        which = "latest"
    checkpoint = load_checkpoint(folder, which)
    require_kind(checkpoint.state, kind.__name__, checkpoint.folder)
    config = from_dict(GPTConfig, checkpoint.state.get("model"), source=str(checkpoint.folder))
    model = kind(config)
    model.load_state_dict({k: tt.tensor(np.asarray(a)) for k, a in checkpoint.weights.items()})
    saved = folder / TOKENIZER
    return model.eval(), load_tokenizer(saved) if saved.is_file() else None


def require_tokenizer(tokenizer: Tokenizer | None, who: str, path: PathLike) -> Tokenizer:
    """The tokenizer; raises if it is None.

    Raises:
        ArgumentError: the tokenizer is None.
    """
    if tokenizer is None:
        folder = Path(path).parent if Path(path).is_file() else path
        raise tt.ArgumentError(
            f"{who}: {path} has no {TOKENIZER}",
            why="it is needed to encode text",
            fix=f"copy the tokenizer to {folder}/{TOKENIZER}",
        )
    return tokenizer


def open_model(path: str, *, packed: bool = False) -> tuple[GPT, Tokenizer]:
    """Load a trained model and its tokenizer.

    Args:
        path: a run directory, or any other path of `gpt.weights.from_pretrained`.
        packed: whether matrices that are quantised in a GGUF file stay so.

    Returns:
        model in evaluation mode, tokenizer.

    Raises:
        FormatError: no usable weights.
        ArgumentError: the model has no tokenizer.
    """
    model, tokenizer = from_pretrained(path, packed=packed)
    return model, require_tokenizer(tokenizer, "open_model", path)
