"""Models from the files of others, and files for others: `from_pretrained` and `save_pretrained`.

Matrices that lie in a safetensors file as ours do stay where they are: the model works on the mapped file,
and what training writes goes to memory of its own.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Literal

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.fields import to_dict
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.hf_config import config_to_hf, naming_for
from gpt.weights.hf_names import GPT2, OURS, Naming, places
from gpt.weights.safetensors_file import Array, Entry, sync_folder, write_safetensors
from gpt.weights.sources import CONFIG, METADATA, WEIGHTS, open_source
from gpt.weights.weight_tensor import DTYPES, as_stored
from tinytensor.files import atomic_folder
from tinytensor.nn import Parameter, init

__all__ = ["from_pretrained", "save_pretrained", "save_single"]

Dtype = Literal["float32", "bfloat16", "float16"]


def from_pretrained(
    path: str | os.PathLike[str],
    *,
    block_size: int = 0,
    dropout: float = 0.0,
    device: tt.Device | str = "cpu",
    tokenizer: bool = True,
) -> tuple[GPT, Tokenizer | None]:
    """A trained model and its tokenizer, from a folder, a file, a package, or a name on the Hugging Face hub.

    Args:
        path: a folder with config.json and safetensors (one file, or several with an index), a .safetensors
            file of ours or beside its config.json, a .gguf file, a run directory of ours, `smollm2` or
            another package with weights (`package:NAME`), or a name on the hub such as gpt2.
        block_size: a shorter context than the model's; 0: that one.
        dropout: for training on; a file's own is not taken over.
        device: where the weights go.
        tokenizer: whether to read the tokenizer.

    Returns:
        The model, in evaluation mode, and the tokenizer, None if there is none.

    Raises:
        ArgumentError: there is no such file, folder or name; or a longer context than the model's.
        FormatError: damaged or pickled weights, or an architecture that our model does not have.
        MissingLibraryError: gguf, huggingface_hub or the package that was named is not installed.

    Memory: float32 weights that lie in the file as ours do (GPT-2's) stay there, and the pages that are
        written to are copied. Others take 4 bytes a parameter.

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
            why="it has not learned what lies beyond",
            fix=f"use block_size={source.config.block_size} or less",
        )
    words = source.tokenizer() if tokenizer else None
    if words is not None:
        config.with_vocab_size(words.vocab_size)  # refuses a tokenizer with more ids than the table has rows
    weights = source.weights()
    if "wpe.weight" in weights:
        weights["wpe.weight"] = weights["wpe.weight"][: config.block_size]
    return _build(config, weights).to(device).eval(), words


def save_pretrained(
    model: GPT,
    folder: str | os.PathLike[str],
    tokenizer: Tokenizer | None = None,
    *,
    dtype: Dtype = "float32",
) -> None:
    """Write a model so that transformers reads it: config.json, model.safetensors, tokenizer.json.

    Args:
        model: of GPT-2's or Llama's architecture; biases that it lacks for GPT-2 are written as zeros.
        folder: a new one; it appears when it is complete.
        tokenizer: written beside it; transformers reads it, too, if it is byte-level BPE.
        dtype: of the written weights.

    Raises:
        ArgumentError: the folder exists, or no architecture of Hugging Face is this model.
        SaveError: the folder cannot be written; nothing is left of it.

    Memory: the weights once more, if they are rounded or turned round.

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
    with atomic_folder(folder, "save_pretrained") as new:
        (new / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        write_safetensors(new / WEIGHTS, _named(model, naming, dtype), {"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(new / "tokenizer.json")
        sync_folder(new)


def save_single(model: GPT, path: str | os.PathLike[str], *, dtype: Dtype = "float32") -> None:
    """Write a model of any variant into one file, under our names and with its config inside.

    Args:
        model: any.
        path: the .safetensors file; replaced in one step if it exists.
        dtype: of the written weights.

    Raises:
        SaveError: the file cannot be written; an earlier one is unharmed.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.safetensors"
        >>> save_single(GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4)), path)
        >>> from_pretrained(path)[0].config.n_head
        2
    """
    write_safetensors(path, _named(model, OURS, dtype), {METADATA: json.dumps(to_dict(model.config))})


def _build(config: GPTConfig, weights: dict[str, Array]) -> GPT:
    """A model on these arrays, which are taken out of `weights`: those that are packed are not copied."""
    with init.skipped():
        model = GPT(config)
    owners = dict(model.named_modules())
    for name in list(weights):
        owner, _, kind = name.rpartition(".")
        setattr(owners[owner], kind, Parameter(tt.from_numpy(weights.pop(name))))
    return model


def _named(model: GPT, naming: Naming, dtype: Dtype) -> dict[str, Entry]:
    """The weights under the names of a file, as views of ours where they are neither rounded nor turned."""
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
