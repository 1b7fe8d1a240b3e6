"""Architectures of other programs, Hugging Face's GPT-2 and Llama and those of GGUF: names and layouts.

Ours are GPT-2's: matrices (in, out), with queries, keys and values packed into one. If a file has separate or
transposed matrices, a tensor of ours is concatenated from its parts and transposed by strides. Works on names
and shapes, independent of files and models.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt.config import GPTConfig
from gpt.models.parameter_shapes import parameter_shapes
from tinytensor.errors import ArgumentError
from tinytensor.interop.safetensors_file import Array

_IN_BLOCK = re.compile(r"h\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Naming:
    """Naming scheme of a file format.

    Args:
        title: for messages.
        prefix: of all names but the head's; files without it are accepted, too.
        block: prefix of the names of block N, with {} for N.
        names: our module → theirs, several for separate parts; within a block without `h.N.`.
        turned: whether matrices of linear layers are transposed, (out, in).
        interleaved: whether rows of queries and keys are in the order of RoPE on adjacent channels.
        ignored: names of buffers without weights in old files.
    """

    title: str
    prefix: str = ""
    block: str = "h.{}."
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    turned: bool = False
    interleaved: bool = False
    ignored: re.Pattern[str] = re.compile(r"(?!)")

    def plain(self, name: str) -> str:
        """Name without the prefix."""
        return name.removeprefix(self.prefix)

    def full(self, name: str) -> str:
        """Name with the prefix, as in files."""
        return name if name.startswith("lm_head.") else self.prefix + name

    def theirs(self, name: str) -> tuple[str, ...]:
        """Names, without prefix, of the parts of our tensor."""
        inside = _IN_BLOCK.fullmatch(name)
        module, kind = (inside[2], inside[3]) if inside else name.rsplit(".", 1)
        before = self.block.format(inside[1]) if inside else ""
        return tuple(f"{before}{part}.{kind}" for part in self.names.get(module, (module,)))


_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

OURS = Naming("a file of ours")
GPT2 = Naming("GPT-2", prefix="transformer.", ignored=_BUFFERS)
LLAMA = Naming(
    "Llama",
    prefix="model.",
    block="layers.{}.",
    names={
        "wte": ("embed_tokens",),
        "ln_f": ("norm",),
        "ln_1": ("input_layernorm",),
        "ln_2": ("post_attention_layernorm",),
        "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attn.c_proj": ("self_attn.o_proj",),
        "attn.q_norm": ("self_attn.q_norm",),
        "attn.k_norm": ("self_attn.k_norm",),
        "mlp.c_gate": ("mlp.gate_proj",),
        "mlp.c_fc": ("mlp.up_proj",),
        "mlp.c_proj": ("mlp.down_proj",),
    },
    turned=True,
    ignored=_BUFFERS,
)
_GGUF_BLOCK = {
    "wte": ("token_embd",),
    "wpe": ("position_embd",),
    "ln_f": ("output_norm",),
    "lm_head": ("output",),
    "ln_1": ("attn_norm",),
    "ln_2": ("ffn_norm",),
    "attn.c_proj": ("attn_output",),
    "attn.q_norm": ("attn_q_norm",),
    "attn.k_norm": ("attn_k_norm",),
    "mlp.c_gate": ("ffn_gate",),
    "mlp.c_fc": ("ffn_up",),
    "mlp.c_proj": ("ffn_down",),
}
GGUF_GPT2 = Naming(
    "GPT-2 in GGUF", block="blk.{}.", names=_GGUF_BLOCK | {"attn.c_attn": ("attn_qkv",)}, turned=True
)
GGUF_LLAMA = Naming(
    "Llama in GGUF",
    block="blk.{}.",
    names=_GGUF_BLOCK | {"attn.c_attn": ("attn_q", "attn_k", "attn_v")},
    turned=True,
    interleaved=True,
)
GGUF_QWEN3 = replace(GGUF_LLAMA, title="Qwen 3 in GGUF", interleaved=False)


_FREE = {
    *("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_inner", "n_expert_active"),
    *("dropout", "tied_head", "norm_eps", "init"),
}
ROTATED = {"position": "rope", "norm": "rms_norm", "bias": False}


class Architecture(NamedTuple):
    """An architecture of another program that is a model of ours."""

    naming: Naming  # names and layouts of its tensors
    fixed: Mapping[str, Any] = {}  # values of our fields that it implements; others have the default
    free: Set[str] = frozenset()  # fields of any value, beside sizes

    def differences(self, config: GPTConfig) -> list[str]:
        """Fields of a config that it does not implement, as `field=value, not ours`."""
        wanted = {f.name: self.fixed.get(f.name, f.default) for f in fields(config)}
        own = {name: getattr(config, name) for name in wanted if name not in _FREE | self.free}
        wanted["n_kv_head"] = config.n_head if config.n_kv_head else 0
        return [f"{name}={wanted[name]}, not {value}" for name, value in own.items() if value != wanted[name]]


def nearest(config: GPTConfig, kinds: Mapping[str, Architecture], what: str, fix: str) -> str:
    """Name of the architecture that computes what our model does; ArgumentError if there is none."""
    differing = {name: kind.differences(config) for name, kind in kinds.items()}
    found = min(differing, key=lambda name: len(differing[name]))
    if differing[found]:
        why = f"{found} is the closest, but has {', '.join(differing[found])}"
        raise ArgumentError(what, why=why, fix=fix)
    return found


@dataclass(frozen=True)
class Place:
    """Location of our tensor in a file."""

    shape: tuple[int, ...]  # of our tensor
    parts: tuple[str, ...]  # names of the parts, in the order of concatenation along our last axis
    widths: tuple[int, ...]  # size of each part along our last axis
    turned: bool  # whether the parts are transposed, (out, in)
    heads: tuple[int, ...]  # number of heads of each part with interleaved rows, else 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part in the file."""
        ours = {part: (*self.shape[:-1], width) for part, width in zip(self.parts, self.widths, strict=True)}
        return {part: shape[::-1] if self.turned else shape for part, shape in ours.items()}

    def gather(self, read: Callable[[str], Array]) -> Array:
        """Our tensor from its parts: a view of a single part, or the concatenation of several."""
        arrays = self.gather_rows(read)
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=0 if self.turned else -1)
        return joined.T if self.turned else joined

    def gather_rows(self, read: Callable[[str], Array]) -> list[Array]:
        """Rows of each part of a matrix as they are stored, (out, …), in our order: for packed rows."""
        return [
            _rotate_half(read(part), n) if n else read(part)
            for part, n in zip(self.parts, self.heads, strict=True)
        ]

    def scatter(self, array: Array) -> dict[str, Array]:
        """Parts of our tensor: the inverse of `gather`. Views, but for interleaved rows."""
        ends = np.cumsum(self.widths)
        views = [array[..., end - width : end] for width, end in zip(self.widths, ends, strict=True)]
        rows = [view.T if self.turned else view for view in views]
        return {
            part: _interleave(each, n) if n else each
            for part, each, n in zip(self.parts, rows, self.heads, strict=True)
        }


def places(config: GPTConfig, naming: Naming) -> dict[str, Place]:
    """Location of every tensor of a model in a file."""
    found = {}
    for name, shape in parameter_shapes(config).items():
        parts = naming.theirs(name)
        together = len(parts) == 1
        query, rest = config.n_embd, (shape[-1] - config.n_embd) // 2  # fewer keys with grouped queries
        widths = (shape[-1],) if together else (query, rest, rest)
        heads = (0,) * len(parts)
        if naming.interleaved and not together:
            heads = (query // config.head_size, rest // config.head_size, 0)
        turned = naming.turned and len(shape) == 2 and name.startswith("h.")
        found[name] = Place(shape, parts, widths, turned, heads)
    return found


def _rotate_half(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder rows from RoPE on adjacent channels (GGUF) to RoPE on halves (Hugging Face, ours)."""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])  # (nh, hs/2, 2, C)
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _interleave(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Inverse of `_rotate_half`."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])  # (nh, 2, hs/2, C)
    return halves.swapaxes(1, 2).reshape(rows.shape)
