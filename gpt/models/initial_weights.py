"""Initial weights of a model."""

from math import sqrt

import tinytensor as tt
from gpt.config import GPTConfig
from tinytensor import nn


def initial_deviation(config: GPTConfig, name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation of the initial weights of a matrix (…, in, out) or a table, by its name.

    With config.init "gpt2" 0.02, and 0.02 / sqrt(2 n_layer) for output projections, since the residual stream
    sums 2 n_layer of them. With "scaled" 1 / sqrt(in), so that products keep the size of their inputs at any
    width, and 0 for output projections and an untied head: each block begins as the identity. Embeddings
    keep 0.02, which a norm follows.

    Source: Radford et al. 2019 for gpt2; Yang et al. 2022, arXiv:2203.03466, table 3, for scaled.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4, init="scaled")
        >>> initial_deviation(config, "h.0.mlp.c_fc.weight", (4, 16))
        0.5
    """
    projection = name.endswith("c_proj.weight")
    if config.init == "gpt2":
        return 0.02 / sqrt(2 * config.n_layer) if projection else 0.02
    if projection or name.startswith("lm_head"):
        return 0.0
    return 0.02 if name.startswith(("wte", "wpe")) else float(shape[-2]) ** -0.5


def init_weights(model: nn.Module, config: GPTConfig, generator: tt.Generator | None = None) -> None:
    """Initialize weights: matrices by `initial_deviation`, biases 0."""
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim >= 2:
            std = initial_deviation(config, name, parameter.shape)
            if std:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.zeros_(parameter)
