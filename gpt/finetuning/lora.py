"""LoRA: trainable low-rank adapters of frozen linear layers; merged weights, saving and loading.

y = x W + b + (alpha / rank) x A B, with A (in, rank) and B (rank, out). B is initialized to 0,
so the output is unchanged at first. For a 768 × 768 matrix and rank 8 that is 1/48 of the parameters and of
the optimizer state.

Source: Hu et al. 2021, arXiv:2106.09685.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.fields import check_types, from_dict, to_dict
from gpt.models.concat_linear import ConcatLinear
from tinytensor import nn
from tinytensor.files import PathLike, atomic_write, read_json
from tinytensor.interop.safetensors_file import Array, read_safetensors, write_safetensors

WEIGHTS, SETTINGS = "adapters.safetensors", "adapters.json"
THIN = (".lora_a", ".lora_b")  # name suffixes of the adapters


@dataclass(frozen=True)
class LoraConfig:
    """Adapted layers, rank and scale."""

    lora_rank: int = 0  # columns of A and rows of B; 0: no adapters, the weights themselves are trained
    # the product is scaled by alpha / rank; with alpha fixed, another rank needs no other learning rate
    lora_alpha: float = 16.0
    lora_targets: str = "*"  # names of linear layers: comma-separated patterns with *

    def __post_init__(self) -> None:
        check_types(self)
        if self.lora_rank < 0 or not self.lora_alpha > 0:
            raise tt.ArgumentError(
                f"LoraConfig: lora_rank={self.lora_rank}, lora_alpha={self.lora_alpha}",
                why="a rank is 0 or more, and the product of A and B is scaled by alpha / rank",
                fix="use lora_rank=8, lora_alpha=16",
            )

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.lora_alpha / self.lora_rank if self.lora_rank else 0.0


class AdaptedLinear(nn.Module):
    """Linear layer with a low-rank adapter. It shares weight and bias, and their names, with the layer.

    Args:
        layer: the layer to adapt; it is not changed. A packed one stays packed (QLoRA);
            gradients are those of the unpacked weight.
        config: rank and scale.
        generator: of the initial A, uniform in ±1/sqrt(in); B is 0.

    Shapes:
        x (..., K) → (..., N); weight (K, N) or packed (N, bytes of a row), bias (N,), lora_a (K, r),
        lora_b (r, N).

    Source: packed weights: Dettmers et al. 2023 (QLoRA), arXiv:2305.14314.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> adapted = AdaptedLinear(layer, LoraConfig(lora_rank=2))
        >>> bool((adapted(tt.ones(2, 4)) == layer(tt.ones(2, 4))).all())
        True
    """

    def __init__(
        self, layer: nn.Linear | nn.QuantizedLinear, config: LoraConfig, generator: tt.Generator | None = None
    ) -> None:
        super().__init__()
        self.kind = layer.kind if isinstance(layer, nn.QuantizedLinear) else ""  # of a packed weight
        if isinstance(layer, nn.QuantizedLinear):
            self.register_buffer("packed", layer.packed)
            dtype, device = tt.float32, layer.packed.device
        else:
            self.weight = layer.weight
            dtype, device = layer.weight.dtype, layer.weight.device
        self.register_parameter("bias", layer.bias)
        self.scale = config.scale
        # the activation that is fused with the product in a layer without an adapter
        self.gelu = None if type(layer) is nn.Linear else layer.approximate
        K, N, rank = layer.in_features, layer.out_features, config.lora_rank
        self.lora_a = nn.Parameter(tt.empty(K, rank, dtype=dtype, device=device))
        nn.init.uniform_(self.lora_a, -1 / sqrt(K), 1 / sqrt(K), generator=generator)
        self.lora_b = nn.Parameter(tt.zeros(rank, N, dtype=dtype, device=device))

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., K) → (..., N)."""
        if not self.kind:
            y = tt.linear(x, self.weight, self.bias, transposed=False)
        else:
            y = tt.quantized_linear(x, self.packed, self.kind)
            y = y if self.bias is None else y + self.bias
        low = tt.linear(x, self.lora_a, transposed=False)
        y = y + tt.linear(low, self.lora_b, transposed=False) * self.scale
        return y if self.gelu is None else tt.gelu(y, approximate=self.gelu)

    def product(self) -> tt.Tensor:
        """(alpha / rank) A B, (K, N): what is added to the weight."""
        with tt.no_grad():
            product: tt.Tensor = (self.lora_a @ self.lora_b) * self.scale
        return product


def matches(name: str, patterns: str) -> bool:
    """Whether a name matches one of the comma-separated patterns.

    Example:
        >>> matches("h.3.attn.c_attn", "*.mlp.*, *.attn.*"), matches("h.3.attn.c_attn", "h.2.*")
        (True, False)
    """
    return any(fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


def add_adapters(model: nn.Module, config: LoraConfig, generator: tt.Generator | None = None) -> list[str]:
    """Add adapters to linear layers, and freeze all other parameters.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.models.gpt import GPT
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4))
        >>> add_adapters(model, LoraConfig(lora_rank=2, lora_targets="*.attn.*"))
        ['h.0.attn.c_attn', 'h.0.attn.c_proj']
        >>> trainable_counts(model)
        (48, 336)
    """
    kinds = (nn.Linear, nn.QuantizedLinear)
    linear = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    chosen = [name for name in linear if matches(name, config.lora_targets)]
    if config.lora_rank == 0 or not chosen or any(True for _ in adapters(model)):
        raise tt.ArgumentError(
            f"add_adapters: lora_rank={config.lora_rank}, {len(chosen)} layers match {config.lora_targets!r}",
            why="adapters have a rank, belong to linear layers, and are added once; the linear layers "
            f"are {', '.join(list(linear)[:4])}, …",
            fix="for example lora_rank=8, lora_targets='*.attn.*'",
        )
    most = max(min(linear[name].in_features, linear[name].out_features) for name in chosen)
    if config.lora_rank > most:
        raise tt.ArgumentError(
            f"add_adapters: lora_rank={config.lora_rank}",
            why=f"A B has at most the rank of the smaller side of its matrix, here {most} or less",
            fix=f"use lora_rank={most} or less; with lora_rank=0 the weights themselves are trained",
        )
    model.requires_grad_(False)
    places = dict(model.named_modules())
    for name in chosen:
        above, _, last = name.rpartition(".")
        setattr(places[above], last, AdaptedLinear(linear[name], config, generator))
    return chosen


def adapters(model: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """Names and layers with an adapter."""
    return ((name, m) for name, m in model.named_modules() if isinstance(m, AdaptedLinear))


def merged_weights(model: nn.Module) -> dict[str, Array]:
    """State dict of the equivalent model without adapters, all float; the model is not changed."""
    inside = (*THIN, ".packed")
    state = {
        name: p.cpu().numpy()
        for name, p in model.state_dict().items()
        if not name.endswith(inside) and _PARTS not in name
    }
    kinds = (AdaptedLinear, nn.QuantizedLinear, nn.QuantizedEmbedding, ConcatLinear)
    for name, layer in model.named_modules():
        if isinstance(layer, kinds) and _PARTS not in name:
            state[f"{name}.weight"] = _weight(layer)
    return state


_PARTS = ".parts."  # in names of what ConcatLinear joins


def _weight(layer: Any) -> Array:
    """Weight of a layer as floats, with its adapter merged."""
    if isinstance(layer, ConcatLinear):
        return np.concatenate([_weight(part) for part in layer.parts], axis=-1)
    if not isinstance(layer, AdaptedLinear):
        return layer.weight().cpu().numpy()  # type: ignore[no-any-return]
    weight = tt.dequantize(layer.packed, layer.kind).T if layer.kind else layer.weight
    return (weight.detach() + layer.product()).cpu().numpy()


def trainable_counts(model: nn.Module) -> tuple[int, int]:
    """Number of trainable parameters, and of all parameters."""
    trainable = sum(p.size for p in model.parameters() if p.requires_grad)
    return trainable, model.num_parameters() + sum([_values(m) for m in model.modules()])


def _values(layer: nn.Module) -> int:
    """Number of packed values of a layer, which are no parameters."""
    kind, packed = getattr(layer, "kind", ""), getattr(layer, "packed", None)
    return 0 if packed is None else packed.size // tt.QUANTIZED[kind].nbytes * tt.QUANTIZED[kind].values


def save_adapters(model: nn.Module, config: LoraConfig, folder: PathLike) -> Path:
    """Write the matrices A and B, and their config."""
    folder = Path(folder)
    thin = {name: p.cpu().numpy() for name, p in model.state_dict().items() if name.endswith(THIN)}
    with atomic_write(folder / SETTINGS) as file:
        file.write(json.dumps(to_dict(config), indent=2).encode())
    write_safetensors(folder / WEIGHTS, thin)
    return folder / WEIGHTS


def load_adapters(model: nn.Module, folder: PathLike) -> LoraConfig:
    """Add the adapters of a folder to the base model that they were trained on."""
    folder = Path(folder)
    settings = read_json(folder / SETTINGS, "load_adapters")
    config = from_dict(LoraConfig, settings, source=str(folder / SETTINGS))
    arrays = read_safetensors(folder / WEIGHTS).arrays()
    add_adapters(model, config, tt.Generator(0))
    own = {name for name in model.state_dict() if name.endswith(THIN)}
    if own != arrays.keys():
        raise tt.ArgumentError(
            f"load_adapters: {folder} has {len(arrays)} matrices, the model takes {len(own)}",
            why="adapters belong to the layers of the base model that they were trained on",
            fix="load them into the model that the run started from",
        )
    model.load_state_dict({name: tt.tensor(np.asarray(a)) for name, a in arrays.items()}, strict=False)
    return config
