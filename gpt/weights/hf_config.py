"""Conversion between Hugging Face's config.json and GPTConfig: GPT-2, and the Llama family (Mistral, Qwen3).

Fields of config.json without a counterpart in ours must have the value that our model implements; others
raise, since the model would differ.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from gpt.config import GPTConfig
from gpt.fields import from_dict, to_dict
from gpt.weights.hf_names import GPT2, LLAMA, ROTATED, Architecture, Naming, nearest
from tinytensor.errors import FormatError

_GELUS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_erf", "relu": "relu"}
_GPT2_FIELDS = {
    "vocab_size": "vocab_size",
    "n_positions": "block_size",
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
}
_LLAMA_FIELDS = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "block_size",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
}
# Values that our model implements for options of theirs. The first is the default of an absent field.
_GPT2_FIXED: dict[str, tuple[object, ...]] = {
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
_LLAMA_FIXED: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "partial_rotary_factor": (1.0, None),
}
_LLAMA = ROTATED | {"activation": "swiglu"}
_FREE = {"rope_theta", "n_kv_head"}
_LLAMAS = {
    "llama": Architecture(LLAMA, _LLAMA, _FREE),
    "mistral": Architecture(LLAMA, _LLAMA, _FREE | {"sliding_window"}),
    "qwen3": Architecture(LLAMA, _LLAMA | {"qk_norm": True}, _FREE),
}


def naming_for(config: GPTConfig) -> tuple[str, Naming]:
    """Hugging Face architecture equivalent to a model; absent biases of GPT-2 are written as zeros."""
    free = {"bias", "activation"} if config.activation in _GELUS.values() else {"bias"}
    kinds = {"gpt2": Architecture(GPT2, free=free), **_LLAMAS}
    kind = nearest(
        config,
        kinds,
        "naming_for: no architecture of Hugging Face is this model",
        "write it with our own names: python -m gpt convert RUN model.safetensors",
    )
    return kind, kinds[kind].naming


def config_from_hf(values: Mapping[str, Any], path: str) -> GPTConfig:
    """GPTConfig from a config.json."""
    kind = values.get("model_type")
    if kind == "gpt2":
        fields = _gpt2(values, path)
    elif kind in _LLAMAS:
        fields = _llama(values, path)
    else:
        _refuse(path, f"its model_type is {kind!r}; there are gpt2, {', '.join(_LLAMAS)}")
    if fields.get("n_kv_head") == fields["n_head"]:
        fields["n_kv_head"] = 0
    return from_dict(GPTConfig, fields, source=path)


def config_to_hf(
    config: GPTConfig, *, dtype: str = "float32", separator: int | None = None
) -> dict[str, Any]:
    """Contents of a config.json for transformers."""
    kind, _ = naming_for(config)
    tokens = {"bos_token_id": separator, "eos_token_id": separator, "pad_token_id": None}
    return {**_described(config, kind), **tokens, "torch_dtype": dtype}


def _gpt2(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    fields = _sizes(values, path, _GPT2_FIELDS)
    _check(values, path, _GPT2_FIXED)
    activation = values.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in _GELUS:
        _refuse(path, f"its activation_function is {activation!r}; there are {', '.join(_GELUS)}")
    inner = values.get("n_inner")
    if inner not in (None, 4 * fields["n_embd"]):
        fields["n_inner"] = inner
    return fields | {
        "activation": _GELUS[activation],
        "norm_eps": values.get("layer_norm_epsilon", 1e-5),
        "tied_head": values.get("tie_word_embeddings", True),
    }


def _llama(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    fields = _sizes(values, path, _LLAMA_FIELDS)
    _check(values, path, _LLAMA_FIXED)
    kind = values["model_type"]
    head_size = values.get("head_dim")
    if head_size not in (None, fields["n_embd"] // fields["n_head"]):
        _refuse(path, f"its head_dim is {head_size}; ours is hidden_size / num_attention_heads")
    if fields["n_inner"] == 4 * fields["n_embd"]:
        fields["n_inner"] = 0
    window = values.get("sliding_window") if values.get("use_sliding_window", kind == "mistral") else None
    return fields | {
        "n_kv_head": values.get("num_key_value_heads") or fields["n_head"],
        **_LLAMAS[kind].fixed,
        "rope_theta": _rope_theta(values, path),
        "norm_eps": values.get("rms_norm_eps", 1e-6),
        "sliding_window": window or 0,
        "tied_head": values.get("tie_word_embeddings", False),
    }


def _rope_theta(values: Mapping[str, Any], path: str) -> object:
    """Base of RoPE; since version 5 of transformers it is in rope_parameters."""
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else rope
    if kind != "default" or set(rope) - {"rope_type", "type", "rope_theta", "partial_rotary_factor"}:
        _refuse(path, f"its rotations are scaled: {rope}")
    _check(rope, path, {"partial_rotary_factor": (1.0, None)})
    return rope.get("rope_theta", values.get("rope_theta", 10000.0))


def _described(config: GPTConfig, kind: str) -> dict[str, Any]:
    """config.json of a model for an architecture."""
    own = to_dict(config)
    if kind == "gpt2":
        drops = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout)
        return {
            "model_type": kind,
            "architectures": ["GPT2LMHeadModel"],
            **{theirs: own[ours] for theirs, ours in _GPT2_FIELDS.items()},
            "n_inner": own.get("n_inner") or None,
            "activation_function": {"gelu": "gelu_new", "gelu_erf": "gelu"}.get(
                config.activation, config.activation
            ),
            "layer_norm_epsilon": config.norm_eps,
            "tie_word_embeddings": config.tied_head,
            **drops,
        }
    return {
        "model_type": kind,
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        **{theirs: own[ours] for theirs, ours in _LLAMA_FIELDS.items() if ours in own},
        "intermediate_size": own.get("n_inner") or 4 * config.n_embd,
        "num_key_value_heads": own.get("n_kv_head") or config.n_head,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": own.get("rope_theta", 10000.0),
        "attention_bias": False,
        "attention_dropout": config.dropout,
        "tie_word_embeddings": config.tied_head,
        **({"sliding_window": own.get("sliding_window") or None} if kind == "mistral" else {}),
    }


def _sizes(values: Mapping[str, Any], path: str, names: Mapping[str, str]) -> dict[str, Any]:
    for theirs in names:
        if type(values.get(theirs)) is not int or values[theirs] < 1:
            _refuse(path, f"its {theirs} is {values.get(theirs)!r}, not a positive integer")
    return {ours: values[theirs] for theirs, ours in names.items()}


def _check(values: Mapping[str, Any], path: str, fixed: Mapping[str, tuple[object, ...]]) -> None:
    for name, allowed in fixed.items():
        if values.get(name, allowed[0]) not in allowed:
            _refuse(path, f"its {name} is {values[name]!r}; our model computes with {allowed[0]!r}")


def _refuse(path: str, why: str) -> NoReturn:
    raise FormatError(
        f"{path} describes a model that cannot be built here",
        why=why,
        fix="use a model of GPT-2's or Llama's architecture; download a damaged config.json again",
    )
