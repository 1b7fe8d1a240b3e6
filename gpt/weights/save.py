"""Write models: run directories, folders of Hugging Face's layout, single .safetensors files."""

import json
from dataclasses import replace
from typing import Literal

import numpy as np

from gpt.config import TrainConfig
from gpt.fields import to_dict
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.chat_template import END, ChatTemplate
from gpt.tokenizers.tokenizer_config import write_config
from gpt.weights.checkpoint import save_checkpoint
from gpt.weights.hf import CONFIG, METADATA, WEIGHTS
from gpt.weights.hf_config import config_to_hf, naming_for
from gpt.weights.hf_names import GPT2, OURS, Naming, places
from gpt.weights.weight_tensor import DTYPES, as_stored
from tinytensor.errors import ArgumentError
from tinytensor.files import PathLike, atomic_folder, atomic_write, sync_folder
from tinytensor.interop.safetensors_file import Entry, write_safetensors

Dtype = Literal["float32", "bfloat16", "float16"]


def write_run(model: GPT, tokenizer: Tokenizer | None, folder: PathLike, who: str = "write_run") -> None:
    """Write a new run directory: config, tokenizer, and a checkpoint at step 0; created atomically.

    Without a tokenizer, commands that read text cannot use the run.
    """
    train = TrainConfig(out_dir=str(folder))
    if tokenizer is not None:
        train = replace(train, tokenizer=f"{folder}/tokenizer.json")
    configs = {"model": to_dict(model.config), "train": to_dict(train)}
    weights = {name: p.cpu().numpy() for name, p in model.state_dict().items()}
    with atomic_folder(folder, who) as new:
        with atomic_write(new / CONFIG) as file:
            file.write(json.dumps(configs, indent=2).encode())
        if tokenizer is not None:
            tokenizer.save(new / "tokenizer.json")
            if tokenizer.chat_template:
                write_config(tokenizer, new, model.config.block_size)
        save_checkpoint(new, 0, weights, {}, configs)


def save_pretrained(
    model: GPT, folder: PathLike, tokenizer: Tokenizer | None = None, *, dtype: Dtype = "float32"
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
        >>> from gpt.config import GPTConfig
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
    """Save a model of any variant to one .safetensors file, with our names and its config in the metadata.

    Args:
        model: the model.
        path: the file; an earlier one is replaced atomically.
        dtype: of the written weights.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.config import GPTConfig
        >>> from gpt.weights.load import load
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.safetensors"
        >>> save_single(GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4)), path)
        >>> load(path)[0].config.n_head
        2
    """
    write_safetensors(path, _named(model, OURS, dtype), {METADATA: json.dumps(to_dict(model.config))})


def _named(model: GPT, naming: Naming, dtype: Dtype) -> dict[str, Entry]:
    """Weights under the names of a format; views, unless they are rounded or transposed."""
    if dtype not in DTYPES:
        raise ArgumentError(
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
