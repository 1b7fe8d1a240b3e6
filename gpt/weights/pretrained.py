"""`from_pretrained` and `save_pretrained`: load and save models in the formats of other libraries.

Matrices with our layout in a safetensors file are not copied: the model uses the memory-mapped file, with
copy-on-write pages in training.
"""

import json
from dataclasses import replace
from typing import Any, Literal

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import to_dict
from gpt.models.attention import SideBySide
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.chat_template import END, ChatTemplate
from gpt.tokenizers.tokenizer_config import write_config
from gpt.weights.hf_config import config_to_hf, naming_for
from gpt.weights.hf_names import GPT2, OURS, Naming, places
from gpt.weights.sources import CONFIG, METADATA, WEIGHTS, open_source
from gpt.weights.weight_tensor import DTYPES, PackedRows, as_stored
from tinytensor.files import PathLike, atomic_folder, sync_folder
from tinytensor.interop.safetensors_file import Entry, write_safetensors
from tinytensor.nn import (
    Embedding,
    LinearGelu,
    Module,
    Parameter,
    QuantizedEmbedding,
    QuantizedLinear,
    init,
)

Dtype = Literal["float32", "bfloat16", "float16"]


def from_pretrained(
    path: PathLike,
    *,
    block_size: int = 0,
    dropout: float = 0.0,
    device: tt.Device | str = "cpu",
    tokenizer: bool = True,
    packed: bool = False,
) -> tuple[GPT, Tokenizer | None]:
    """Load a model and its tokenizer from a folder, a file, a package, or the Hugging Face hub.

    Args:
        path: a folder with config.json and safetensors (one file, or several with an index), a .safetensors
            file of ours or next to its config.json, a .gguf file, a run directory of ours, `smollm2` or
            another package with weights (`package:NAME`), or a name on the hub such as gpt2.
        block_size: a shorter context than the model's; 0: the model's.
        dropout: for further training; that of the file is ignored.
        device: device of the weights.
        tokenizer: whether to load the tokenizer.
        packed: whether matrices that are quantised in a GGUF file stay so, as nn.QuantizedLinear and
            nn.QuantizedEmbedding: for generation, which reads them faster, and for adapters. Without it all
            weights become float32: smollm2 generates about half as fast.

    Returns:
        The model, in evaluation mode, and the tokenizer, None if there is none.

    Raises:
        ArgumentError: no such file, folder or name; or a longer context than the model's.
        FormatError: damaged or pickled weights, or an unsupported architecture.
        MissingLibraryError: gguf, huggingface_hub or the given package is not installed.

    Memory: float32 weights with our layout (GPT-2's) and packed ones stay in the file, and pages are copied
        on write; of packed ones all but queries, keys and values, which are joined. Others take 4 bytes per
        parameter.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "tiny"
        >>> model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> save_pretrained(model, folder)
        >>> again, tokenizer = from_pretrained(folder)
        >>> bool((again.wte.weight == model.wte.weight).all())
        True
    """
    source = open_source(path, writable=True)
    config = replace(source.config, dropout=dropout, block_size=block_size or source.config.block_size)
    if config.block_size > source.config.block_size:
        raise tt.ArgumentError(
            f"from_pretrained: block_size={block_size} is longer than the model's {source.config.block_size}",
            why="it was not trained on longer contexts",
            fix=f"use block_size={source.config.block_size} or less",
        )
    words = source.tokenizer() if tokenizer else None
    if words is not None:  # raises if the tokenizer has more ids than the embedding has rows
        config.with_vocab_size(words.vocab_size)
    weights: dict[str, Any] = source.packed_weights() if packed else dict(source.weights())
    if "wpe.weight" in weights:
        weights["wpe.weight"] = weights["wpe.weight"][: config.block_size]
    return _build(config, weights).to(device).eval(), words


def save_pretrained(
    model: GPT,
    folder: PathLike,
    tokenizer: Tokenizer | None = None,
    *,
    dtype: Dtype = "float32",
) -> None:
    """Save a model for transformers: config.json, model.safetensors, tokenizer.json, tokenizer_config.json.

    Args:
        model: of GPT-2's or Llama's architecture; missing biases of GPT-2 are written as zeros.
        folder: a new folder; created atomically.
        tokenizer: also saved; transformers can load it if it is byte-level BPE, with its chat template.
        dtype: of the written weights.

    Raises:
        ArgumentError: the folder exists, or no Hugging Face architecture is equivalent.
        SaveError: the folder cannot be written; it is removed.

    Memory: a copy of the weights, if they are rounded or transposed.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "tiny"
        >>> model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> save_pretrained(model, folder, dtype="bfloat16")
        >>> sorted(file.name for file in folder.iterdir())
        ['config.json', 'model.safetensors']
    """
    _, naming = naming_for(model.config)
    separator = tokenizer.separator if tokenizer is not None else None
    description = config_to_hf(model.config, dtype=dtype, separator=separator)
    if isinstance(tokenizer, BPETokenizer) and (tokenizer.chat_template or END in tokenizer.special_tokens):
        description["eos_token_id"] = list(ChatTemplate(tokenizer).stop_ids)
    with atomic_folder(folder, "save_pretrained") as new:
        (new / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        write_safetensors(new / WEIGHTS, _named(model, naming, dtype), {"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(new / "tokenizer.json")
        if isinstance(tokenizer, BPETokenizer):
            write_config(tokenizer, new, model.config.block_size)
        sync_folder(new)


def save_single(model: GPT, path: PathLike, *, dtype: Dtype = "float32") -> None:
    """Save a model of any variant to one file, with our names and its config in the metadata.

    Args:
        model: the model.
        path: the .safetensors file; replaced atomically if it exists.
        dtype: of the written weights.

    Raises:
        SaveError: the file cannot be written; an earlier one stays intact.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.safetensors"
        >>> save_single(GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4)), path)
        >>> from_pretrained(path)[0].config.n_head
        2
    """
    write_safetensors(path, _named(model, OURS, dtype), {METADATA: json.dumps(to_dict(model.config))})


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
    return layers[0] if len(layers) == 1 else SideBySide(layers)


def _named(model: GPT, naming: Naming, dtype: Dtype) -> dict[str, Entry]:
    """Weights under the names of a format; views, unless they are rounded or transposed."""
    if dtype not in DTYPES:
        raise tt.ArgumentError(
            f"save_pretrained: dtype={dtype!r}", why=f"there are {', '.join(DTYPES)}", fix='use "float32"'
        )
    state = model.state_dict()
    config = replace(model.config, bias=True) if naming is GPT2 else model.config  # GPT-2 always has biases
    return {
        naming.full(part): as_stored(array, dtype)
        for name, place in places(config, naming).items()
        for part, array in place.scatter(
            state[name].cpu().numpy() if name in state else np.zeros(place.shape, np.float32)
        ).items()
    }
