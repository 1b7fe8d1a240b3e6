"""Architectures of llama.cpp that are models of ours, and the metadata that describe their sizes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt.config import GPTConfig
from gpt.fields import from_dict
from gpt.weights.gguf_format.metadata import Entry, Metadata, number
from gpt.weights.hf_names import GGUF_GPT2, GGUF_LLAMA, GGUF_QWEN3, ROTATED, Architecture, nearest
from gpt.weights.weight_tensor import Stored

_SIZES = {
    "context_length": "block_size",
    "block_count": "n_layer",
    "attention.head_count": "n_head",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
}
_LLAMA = ROTATED | {"activation": "swiglu"}
_FREE = {"rope_theta", "n_kv_head"}
ARCHITECTURES = {
    # Absent biases are zeros in a file of gpt2.
    "gpt2": Architecture(GGUF_GPT2, free={"bias", "rope_theta"}),
    "llama": Architecture(GGUF_LLAMA, _LLAMA, _FREE | {"bias"}),
    "qwen3": Architecture(GGUF_QWEN3, _LLAMA | {"qk_norm": True}, _FREE),
    "arcee": Architecture(GGUF_LLAMA, ROTATED | {"activation": "relu2"}, _FREE),
}


def architecture_for(config: GPTConfig) -> str:
    """Architecture of llama.cpp that computes what a model of ours computes."""
    what = "save_gguf: no architecture of llama.cpp is this model"
    fix = "write it for our own commands: python -m gpt convert RUN model.safetensors"
    return nearest(config, ARCHITECTURES, what, fix)


def describe_config(config: GPTConfig) -> dict[str, Entry]:
    """Metadata of a model's sizes."""
    name = architecture_for(config)
    sizes = {theirs: getattr(config, ours) for theirs, ours in _SIZES.items()}
    sizes |= {"feed_forward_length": config.inner_size, "vocab_size": config.vocab_size}
    epsilon = "attention.layer_norm_epsilon"
    more: dict[str, Entry] = {}
    if name != "gpt2":
        epsilon = "attention.layer_norm_rms_epsilon"
        sizes |= {"attention.head_count_kv": config.kv_heads, "rope.dimension_count": config.head_size}
        more["rope.freq_base"] = Entry("float32", config.rope_theta)
    more[epsilon] = Entry("float32", config.norm_eps)
    return {
        f"{name}.{key}": value for key, value in ({k: number(v) for k, v in sizes.items()} | more).items()
    }


def read_config(values: Metadata, tensors: Mapping[str, Stored]) -> GPTConfig:
    """Config of a model from the metadata of its file."""
    if values.architecture not in ARCHITECTURES:
        values.refuse(f"its architecture is {values.architecture!r}; there are {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[values.architecture]
    fields: dict[str, Any] = dict(kind.fixed)
    fields |= {ours: values.size(f"{{arch}}.{theirs}") for theirs, ours in _SIZES.items()}
    table, head = (tensors.get(name) for name in ("token_embd.weight", "output.weight"))
    if table is None or not table.shape:
        values.refuse("there is no tensor token_embd.weight of token embeddings")
    if fields["n_inner"] == 4 * fields["n_embd"]:
        del fields["n_inner"]  # the default size
    fields |= {
        "vocab_size": table.shape[0],
        # GPT-2 files repeat the embeddings as the head.
        "tied_head": head is None or (head.dtype == table.dtype and np.array_equal(head.array, table.array)),
    }
    epsilon = "attention.layer_norm_epsilon"
    if values.architecture != "gpt2":
        epsilon = "attention.layer_norm_rms_epsilon"
        fields |= _rotations(values, fields["n_embd"] // fields["n_head"])
        groups = values.get("{arch}.attention.head_count_kv", fields["n_head"])
        fields["n_kv_head"] = 0 if groups == fields["n_head"] else groups
        fields["bias"] = "bias" in kind.free and "blk.0.attn_output.bias" in tensors
    fields["norm_eps"] = values.number(f"{{arch}}.{epsilon}", 1e-5)
    if values.get("{arch}.expert_count", 0):
        values.refuse("it is a mixture of experts")
    return from_dict(GPTConfig, fields, source=str(values.path))


def _rotations(values: Metadata, head_size: int) -> dict[str, Any]:
    """Fields of RoPE; raises for scaled or partial rotations."""
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if values.get(f"{{arch}}.{key}", head_size) != head_size:
            values.refuse(
                f"its {key} is {values.get(f'{{arch}}.{key}')}, its heads have {head_size} channels"
            )
    if values.text("{arch}.rope.scaling.type", "none") != "none":
        values.refuse("its rotations are scaled")
    return {"rope_theta": values.number("{arch}.rope.freq_base", 10000.0)}
