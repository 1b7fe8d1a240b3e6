"""`load`: the model and the tokenizer of any path or name.

Matrices with our layout in a safetensors file are not copied: the model uses the memory-mapped file, with
copy-on-write pages in training.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import to_dict
from gpt.models.concat_linear import ConcatLinear
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Texts, Tokenizer
from gpt.tokenizers.tokenizer import choose
from gpt.weights.checkpoint import require_kind
from gpt.weights.gguf_format.reader import GgufFile
from gpt.weights.hf import HuggingFaceFolder, SafetensorsFile, local_path
from gpt.weights.run import RunFolder, last_stage, run_of
from gpt.weights.source import Source
from gpt.weights.weight_tensor import PackedRows
from tinytensor.errors import ArgumentError
from tinytensor.files import PathLike
from tinytensor.nn import Embedding, LinearGelu, Module, Parameter, QuantizedEmbedding, QuantizedLinear, init


def open_source(path: PathLike, *, kind: str | None = None, writable: bool = False) -> Source:
    """Open what `load` takes: read the config, and map the tensors; no weights are read.

    Args:
        path: see `load`.
        kind: required class of the model, by name.
        writable: whether arrays are writable (copy-on-write; the files are not changed).
    """
    if (run := run_of(path)) is not None:
        source: Source = RunFolder(last_stage(Path(path)), run, writable)
    else:
        found = Path(path) if os.path.exists(path) else local_path(str(path))
        form = (
            HuggingFaceFolder if found.is_dir() else GgufFile if found.suffix == ".gguf" else SafetensorsFile
        )
        source = form(found, writable)
    if kind is not None:
        require_kind({"kind": source.kind}, kind, source.path)
    return source


def load(
    path: PathLike,
    *,
    kind: type[GPT] = GPT,
    block_size: int = 0,
    dropout: float = 0.0,
    device: tt.Device | str = "cpu",
    packed: bool = False,
) -> tuple[GPT, Tokenizer | None]:
    """Load a model, in evaluation mode, and its tokenizer, which is None if there is none.

    Args:
        path: a run directory (its best checkpoint, or else the latest), one of its checkpoints `step_N`, or a
            folder of `python -m gpt chatbot` (its last run); a folder with config.json and safetensors (one
            file, or several with an index); a .safetensors file of ours or next to its config.json; a .gguf
            file; `smollm2` or another package with weights (`package:NAME`); or a name on the Hugging Face
            hub such as gpt2.
        kind: class of the model.
        block_size: a shorter context than the model's; 0: the model's.
        dropout: for further training; that of the file is ignored.
        device: device of the weights.
        packed: whether matrices that are quantised in a GGUF file stay so, as nn.QuantizedLinear and
            nn.QuantizedEmbedding: for generation, which reads them faster, and for adapters. Without it all
            weights become float32: smollm2 generates about half as fast.

    Raises:
        ArgumentError: no such file, folder or name; or a longer context than the model's.
        FormatError: damaged or pickled weights, another kind of model, or an unsupported architecture.
        MissingLibraryError: gguf, huggingface_hub or the given package is not installed.

    Memory: float32 weights with our layout (GPT-2's) and packed ones stay in the file, and pages are copied
        on write; of packed ones all but queries, keys and values, which are joined. Others take 4 bytes per
        parameter.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.weights.save import save_pretrained
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "tiny"
        >>> model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> save_pretrained(model, folder)
        >>> again, tokenizer = load(folder)
        >>> bool((again.wte.weight == model.wte.weight).all())
        True
    """
    source = open_source(path, kind=kind.__name__, writable=True)
    config = replace(source.config, dropout=dropout, block_size=block_size or source.config.block_size)
    if config.block_size > source.config.block_size:
        raise ArgumentError(
            f"load: block_size={block_size} is longer than the model's {source.config.block_size}",
            why="it was not trained on longer contexts",
            fix=f"use block_size={source.config.block_size} or less",
        )
    words = source.tokenizer()
    if words is not None and kind is GPT:  # raises if the tokenizer has more ids than the embedding has rows
        config.with_vocab_size(words.vocab_size)
    weights = _shortened(source.weights(packed=packed), config)
    if kind is GPT:
        model = _build(config, weights)
    else:
        model = kind(config)
        model.load_state_dict({name: tt.tensor(np.asarray(array)) for name, array in weights.items()})
    return model.to(device).eval(), words


def require_tokenizer(
    loaded: tuple[GPT, Tokenizer | None], who: str, path: PathLike
) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer that `load` returned; raises ArgumentError if there is no tokenizer."""
    model, tokenizer = loaded
    if tokenizer is None:
        folder = Path(path).parent if Path(path).is_file() else path
        raise ArgumentError(
            f"{who}: {path} has no tokenizer.json",
            why="it is needed to encode text",
            fix=f"copy the tokenizer to {folder}/tokenizer.json",
        )
    return model, tokenizer


def load_weights(model: GPT, source: Source) -> None:
    """Copy the weights of a source into a model, which may have a shorter context."""
    config, saved = model.config, source.config
    free = {"dropout", "init"} | ({"block_size"} if config.block_size <= saved.block_size else set())
    now, before = to_dict(config), to_dict(saved)
    if differing := [name for name in before if name not in free and now[name] != before[name]]:
        name = differing[0]
        raise ArgumentError(
            f"train: --init_from={source.path}: its model has {name}={before[name]}, not {now[name]}",
            why="the weights have the shapes of that model",
            fix=f"leave --{name} and --preset out: the model is that of the folder",
        )
    arrays = _shortened(source.weights(), config)
    model.load_state_dict({name: tt.tensor(np.asarray(array)) for name, array in arrays.items()})


def named_tokenizer(name: str, texts: Texts) -> Tokenizer:
    """Tokenizer of a config: char, trained on the texts; a saved one; or that of a model."""
    if name == "char" or (os.path.exists(name) and Path(name).suffix != ".gguf"):
        return choose(name, texts)
    found = open_source(name).tokenizer()
    if found is None:
        raise ArgumentError(
            f"--tokenizer={name}: the model has no tokenizer",
            why="its file or folder holds none",
            fix="name a model that has one, or a tokenizer's file",
        )
    return found


def _shortened(weights: dict[str, Any], config: GPTConfig) -> dict[str, Any]:
    """Weights with the positions of a context that may be shorter."""
    if "wpe.weight" in weights:
        weights["wpe.weight"] = weights["wpe.weight"][: config.block_size]
    return weights


def _build(config: GPTConfig, weights: dict[str, Any]) -> GPT:
    """Model on these arrays, which are popped from `weights`; contiguous ones are not copied."""
    with init.skipped():
        model = GPT(config)
    owners = dict(model.named_modules())
    for name in list(weights):
        owner, _, kind = name.rpartition(".")
        found = weights.pop(name)
        if isinstance(found, list):
            above, _, last = owner.rpartition(".")
            owners[owner] = _packed_layer(owners[owner], found)
            setattr(owners[above], last, owners[owner])
        else:
            setattr(owners[owner], kind, Parameter(tt.from_numpy(found)))
    return model


def _packed_layer(layer: Module, parts: list[PackedRows]) -> Module:
    """The layer with these rows as its weight."""
    rows = [(tt.from_numpy(part.rows), part.kind) for part in parts]
    if isinstance(layer, Embedding):
        return QuantizedEmbedding(*rows[0])
    approximate = layer.approximate if isinstance(layer, LinearGelu) else None
    layers = [QuantizedLinear(*part, approximate=approximate) for part in rows]
    return layers[0] if len(layers) == 1 else ConcatLinear(layers)
