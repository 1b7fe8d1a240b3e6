"""Locate, open, validate and memory-map folders and files of weights, which `pretrained.py` loads.

Nothing is unpickled: files that could execute code on loading are rejected.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import from_dict
from gpt.tokenizers.base import Texts, Tokenizer
from gpt.tokenizers.tokenizer import choose
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.weights.checkpoint import (
    checkpoint_folder,
    list_checkpoints,
    load_checkpoint,
    read_state,
    require_kind,
)
from gpt.weights.gguf_format.reader import read_gguf
from gpt.weights.hf_config import config_from_hf
from gpt.weights.hf_names import GPT2, LLAMA, OURS, Naming, Place, places
from gpt.weights.init_from import existing_runs, last_stage, near_run, no_such_run
from gpt.weights.installed_models import is_package, weights_in
from gpt.weights.weight_tensor import PackedRows, Stored, joined, tensors_of
from tinytensor.errors import ArgumentError, FormatError, MissingLibraryError
from tinytensor.files import PathLike, read_json
from tinytensor.interop.safetensors_file import Array, read_safetensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
METADATA = "gpt_config"  # metadata key of the config in a single file of ours
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TOKENIZERS = ("tokenizer.json", "vocab.bpe", "merges.txt", "tokenizer.model")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_HUB_FILES = ["*.safetensors", "*.json", "vocab.bpe", "merges.txt", "tokenizer.model"]


@dataclass(frozen=True)
class Source:
    """An open folder or file of weights, not yet read.

    Args:
        path: its path.
        config: config of the model.
        naming: naming scheme of its tensors.
        tensors: name in the file → tensor, mapped.
        tokenizer: function that loads the tokenizer, or returns None if there is none.
        verify: function with further checks beyond names and shapes.
    """

    path: Path
    config: GPTConfig
    naming: Naming
    tensors: Mapping[str, Stored]
    tokenizer: Callable[[], Tokenizer | None]
    verify: Callable[[], object] = lambda: None

    def weights(self) -> dict[str, Array]:
        """Tensors of the model under our names.

        Returns:
            Name → float32 array of our shape; on the mapped file if it has our layout.

        Raises:
            FormatError: tensors are missing, of another shape, not finite, or unused.
        """
        names, wanted = self._checked()
        return {name: self._gathered(place, names) for name, place in wanted.items()}

    def packed_weights(self) -> dict[str, Array | list[PackedRows]]:
        """As `weights`, but matrices of linear layers, token embeddings and the head stay in quantised
        blocks if the file has them so.

        Returns:
            Name → float32 array of our shape; or packed rows (out, bytes of a row), on the mapped file if
            the matrix is one tensor of it.

        Raises:
            FormatError: tensors are missing, of another shape, not finite, or unused.
        """
        names, wanted = self._checked()
        found: dict[str, Array | list[PackedRows]] = {}
        for name, place in wanted.items():
            kinds = [self.tensors[names[part]].dtype.lower() for part in place.parts]
            matrix = place.turned or name in ("wte.weight", "lm_head.weight")
            if not matrix or any([kind not in tt.QUANTIZED for kind in kinds]):
                found[name] = self._gathered(place, names)
                continue
            rows = place.gather_rows(lambda part: self.tensors[names[part]].array)
            parts = [PackedRows(kind, array) for kind, array in zip(kinds, rows, strict=True)]
            for part, packed in zip(place.parts, parts, strict=True):
                if not packed.is_finite():
                    self._refuse_infinite(names[part])
            found[name] = joined(parts)
        return found

    def _checked(self) -> tuple[dict[str, str], dict[str, Place]]:
        """Names in the file by those without prefix, and the places of the model's tensors, after checks."""
        self.verify()
        names = self._plain_names()
        wanted = places(self.config, self.naming)
        self._check_names(names, wanted)
        self._check_shapes(names, wanted)
        return names, wanted

    def _gathered(self, place: Place, names: Mapping[str, str]) -> Array:
        return place.gather(lambda part: self._finite(names[part]))

    def _plain_names(self) -> dict[str, str]:
        """Map from names without prefix to names in the file."""
        names = {self.naming.plain(name): name for name in self.tensors}
        if len(names) < len(self.tensors):
            self._refuse("some tensors come with and without their prefix", "keep one of each")
        return names

    def _check_names(self, names: Mapping[str, str], wanted: Mapping[str, Place]) -> None:
        parts = {part for place in wanted.values() for part in place.parts}
        missing = [part for part in parts if part not in names]
        extra = [
            name
            for part, name in names.items()
            if part not in parts and not self.naming.ignored.fullmatch(part) and not self._is_tied_head(part)
        ]
        if missing or extra:
            self._refuse(
                f"{len(missing)} tensors are missing ({_some(missing)}), "
                f"and {len(extra)} have no place in the model ({_some(extra)})",
                "the weights belong to another model than the config, or a part of the download is missing",
            )

    def _is_tied_head(self, part: str) -> bool:
        """Whether a tensor is a copy of the token embeddings, as some writers store a tied head."""
        head, table = (self.naming.theirs(name)[0] for name in ("lm_head.weight", "wte.weight"))
        if part != head or not self.config.tied_head:
            return False
        names = self._plain_names()
        if table in names and not np.array_equal(
            self.tensors[names[part]].read(), self.tensors[names[table]].read()
        ):
            self._refuse(
                f"{names[part]} differs from {names[table]}, and the config says that they are one",
                'say "tie_word_embeddings": false in config.json',
            )
        return True

    def _check_shapes(self, names: Mapping[str, str], wanted: Mapping[str, Place]) -> None:
        wrong = [
            f"{names[part]} is {self.tensors[names[part]].shape}, not {shape}"
            for place in wanted.values()
            for part, shape in place.shapes().items()
            if self.tensors[names[part]].shape != shape
        ]
        if wrong:
            self._refuse(
                f"{len(wrong)} tensors have other shapes: {_some(wrong)}",
                "the weights belong to another model than the config",
            )

    def _finite(self, name: str) -> Array:
        array = self.tensors[name].read()
        # The sum checks without a copy: it is not finite if any element is not.
        with np.errstate(all="ignore"):
            total = np.add.reduce(array, axis=None)
        if not np.isfinite(total) and not np.isfinite(array).all():
            self._refuse_infinite(name)
        return array

    def _refuse_infinite(self, name: str) -> NoReturn:
        self._refuse(
            f"the tensor {name} holds NaN or infinity",
            "the training that wrote it has failed, or the file is damaged: take an earlier one",
        )

    def _refuse(self, why: str, fix: str) -> NoReturn:
        raise FormatError(f"{self.path} does not hold the weights of its model", why=why, fix=fix)


def open_source(path: PathLike, *, writable: bool = False) -> Source:
    """Open a folder, a file or a hub name: read the config, and map the tensors.

    Args:
        path: a folder with config.json and safetensors (one file, or several with an index), a .safetensors
            file, a .gguf file, a run directory or checkpoint of ours, a folder of `python -m gpt chatbot`
            (its last run), `smollm2` or another package with weights (`package:NAME`), or a name on the
            Hugging Face hub.
        writable: return writable arrays (copy-on-write; the files are not changed).

    Returns:
        The source; no weights are read.

    Raises:
        ArgumentError: no such file, folder or name.
        FormatError: damaged or pickled weights, or an unsupported architecture.
        MissingLibraryError: gguf, huggingface_hub or the given package is not installed.
    """
    found = Path(path) if os.path.exists(path) else _named(str(path))
    if found.is_dir():
        found = last_stage(found)
        return _from_run(found, writable) if is_run(found) else _from_folder(found, writable)
    if found.suffix == ".gguf":
        return Source(found, *read_gguf(found, writable=writable))
    if found.suffix in _PICKLED:
        raise _pickled(found)
    return _from_file(found, writable)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory, or a checkpoint in one."""
    return (folder / "state.json").is_file() or bool(list_checkpoints(folder))


def is_model_folder(path: Path) -> bool:
    """Whether a folder has the layout of Hugging Face's save_pretrained."""
    return (path / CONFIG).is_file() and not is_run(path)


def is_foreign(origin: str) -> bool:
    """Whether weights are not of a run: a model folder, a file, a package or a name.

    Example:
        >>> is_foreign("smollm2"), is_foreign("model.gguf"), is_foreign(".")
        (True, True, False)
    """
    path = Path(origin)
    alone = path.is_file() and not (path.parent / "state.json").is_file()
    return alone or is_model_folder(path) or not path.exists()


def named_tokenizer(name: str, texts: Texts) -> Tokenizer:
    """Tokenizer of a config: char or word, trained on the texts; a saved one; or that of a model.

    Args:
        name: char, word, a path, or a model as `open_source` takes it, such as smollm2.
        texts: one text, or an iterable of texts; read for char and word only.

    Raises:
        ArgumentError: no such file or name, or the model has no tokenizer.
        FormatError: damaged, or a kind of tokenizer that would produce other ids here.
        MissingLibraryError: huggingface_hub or the given package is not installed.

    Example:
        >>> named_tokenizer("char", "banana")
        CharTokenizer(vocab_size=3)
    """
    if name in ("char", "word") or (os.path.exists(name) and Path(name).suffix != ".gguf"):
        return choose(name, texts)
    found = open_source(name).tokenizer()
    if found is None:
        raise ArgumentError(
            f"--tokenizer={name}: the model has no tokenizer",
            why="its file or folder holds none",
            fix="name a model that has one, or a tokenizer's file",
        )
    return found


# ---- sources ---------------------------------------------------------------------------------------------


def _from_run(folder: Path, writable: bool) -> Source:
    """Open a run directory (its best checkpoint, or its last one), or a checkpoint in it."""
    if (folder / "state.json").is_file():
        run, step = folder.parent, folder
    else:
        which = "best" if (folder / "best").is_file() else "latest"
        run, step = folder, checkpoint_folder(folder, which)
    state = read_state(step)
    require_kind(state, "GPT", step)
    config = from_dict(GPTConfig, state.get("model"), source=str(step / "state.json"))
    number = int(step.name.removeprefix("step_")) if step.name.removeprefix("step_").isdecimal() else 0
    tensors = tensors_of(read_safetensors(step / WEIGHTS, writable=writable))
    return Source(
        folder, config, OURS, tensors, lambda: _tokenizer(run), lambda: load_checkpoint(run, number)
    )


def _from_folder(folder: Path, writable: bool) -> Source:
    """Open a folder with the layout of Hugging Face's save_pretrained."""
    if not (folder / CONFIG).is_file():
        raise FormatError(
            f"{folder} holds no {CONFIG}",
            why="the file has the numbers of layers and heads, which the weights alone do not determine",
            fix=f"download {CONFIG} next to the weights, or use a run directory or a .gguf file",
        )
    config, naming = _read_config(folder / CONFIG)
    if (folder / INDEX).is_file():
        tensors = _sharded(folder / INDEX, writable)
    elif (folder / WEIGHTS).is_file():
        tensors = tensors_of(read_safetensors(folder / WEIGHTS, writable=writable))
    else:
        pickled = [file for file in sorted(folder.iterdir()) if file.suffix in _PICKLED]
        if pickled:
            raise _pickled(pickled[0])
        raise FormatError(
            f"{folder} holds no weights",
            why=f"there is neither {WEIGHTS} nor {INDEX}",
            fix="check the path, or download the weights",
        )
    return Source(folder, config, naming, tensors, lambda: _tokenizer(folder))


def _from_file(path: Path, writable: bool) -> Source:
    """Open a single file: ours, with its config in the metadata, or one next to config.json or state.json."""
    folder = path.parent
    if path.name == WEIGHTS and (folder / "state.json").is_file():
        return _from_run(folder, writable)
    file = read_safetensors(path, writable=writable)
    if METADATA in file.metadata:
        try:
            values = json.loads(file.metadata[METADATA])
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"{path}: its config is not JSON", why=str(error), fix="export the model again"
            ) from None
        config, naming = from_dict(GPTConfig, values, source=str(path)), OURS
    elif (folder / CONFIG).is_file():
        config, naming = _read_config(folder / CONFIG)
    else:
        raise FormatError(
            f"{path} comes without a config",
            why="the weights alone do not determine the number of heads",
            fix=f"put its {CONFIG} into the same folder",
        )
    return Source(path, config, naming, tensors_of(file), lambda: _tokenizer(folder))


def _read_config(path: Path) -> tuple[GPTConfig, Naming]:
    values = read_json(path, "from_pretrained")
    config = config_from_hf(values, str(path))
    return config, GPT2 if values["model_type"] == "gpt2" else LLAMA


def _sharded(index: Path, writable: bool) -> dict[str, Stored]:
    """Tensors of sharded files, by their index."""
    table = read_json(index, "from_pretrained").get("weight_map")
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


def _tokenizer(folder: Path) -> Tokenizer | None:
    """Tokenizer of a folder, or None."""
    return load_tokenizer(folder) if any((folder / name).is_file() for name in _TOKENIZERS) else None


def _pickled(path: Path) -> FormatError:
    return FormatError(
        f"{path} is a pickle",
        why="loading a pickle can execute arbitrary code, so this library never does",
        fix="use the .safetensors of the same model; if you trust the file, transformers can convert it: "
        "model.save_pretrained(folder, safe_serialization=True)",
    )


def _named(name: str) -> Path:
    """Local path of a package or hub name."""
    return weights_in(name) if is_package(name) else _from_hub(name)


def _from_hub(name: str) -> Path:
    """Download a hub name, and return its folder."""
    if Path(name).parent != Path() and Path(name).parent.is_dir():  # a path, if its parent is a folder
        raise no_such_run(name, "from_pretrained")
    missing = f"there is no file or folder {name!r} here"
    near = near_run(name)
    if not _HUB_NAME.fullmatch(name) or name.endswith((".safetensors", ".gguf", *_PICKLED)):
        raise ArgumentError(f"from_pretrained: {missing}", why="it does not exist", fix="check the path")
    try:
        import huggingface_hub
    except ImportError:
        raise MissingLibraryError(
            f"from_pretrained: {missing}",
            why=f"{existing_runs()}; a name on the Hugging Face hub needs the library "
            "huggingface_hub, which is missing",
            fix=near or "check the path, or pip install huggingface_hub",
        ) from None
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_HUB_FILES))
    except (OSError, ValueError) as error:  # no network, no such name
        raise ArgumentError(
            f"from_pretrained: {missing}, and the Hugging Face hub does not give it",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=near or "check the name and the network, or download the folder elsewhere and pass its path",
        ) from None


def _some(names: Iterable[str], at_most: int = 4) -> str:
    """First few names, for messages."""
    listed = sorted(names)
    return ", ".join(listed[:at_most]) + (", …" if len(listed) > at_most else "") or "none"
