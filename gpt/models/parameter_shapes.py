"""Sizes of a model that may be too large to build, such as GPT-3, from those of small ones that are built."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tinytensor.errors import ArgumentError

Sizes = Mapping[str, tuple[int, ...]]


def from_small_models(model: GPTConfig, sizes: Callable[[GPTConfig], Sizes]) -> dict[str, tuple[int, ...]]:
    """Integers of a model of any size that are linear in head size, inner_size, vocab_size and block_size.

    Args:
        sizes: the integers by name, for a small config, which differs from `model` in these sizes alone; it
            may build the model. It is called five times. Random numbers that it draws are drawn again later.

    Example:
        >>> config = GPTConfig(50257, block_size=1024, n_layer=12, n_head=12, n_embd=768)
        >>> from_small_models(config, lambda small: {"c_fc": (small.n_embd, small.inner_size)})
        {'c_fc': (768, 3072)}
    """
    channels = 2 * model.n_head  # rope needs an even head size
    steps: dict[str, Any] = {"n_embd": channels, "n_inner": 1, "vocab_size": 1, "block_size": 1}
    # So many tokens that they are sorted by expert, as in training: `MixtureOfExperts`.
    least: dict[str, Any] = {
        "n_embd": channels,
        "n_inner": 2,
        "vocab_size": 2,
        "block_size": 4 + model.n_expert,
    }
    small = replace(model, **least, sliding_window=int(model.window < model.block_size))
    wanted = replace(model, n_inner=model.inner_size)
    before = tt.default_generator.get_state()
    try:
        start = sizes(small)
        grown = {name: sizes(replace(small, **{name: least[name] + steps[name]})) for name in steps}
    finally:
        tt.default_generator.set_state(before)

    def linear(key: str, at: int) -> int:
        value = first = start[key][at]
        for name, step in steps.items():
            value += (getattr(wanted, name) - least[name]) * (grown[name][key][at] - first) // step
        return value

    return {key: tuple([linear(key, at) for at in range(len(values))]) for key, values in start.items()}


def parameter_shapes(model: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by name (as in GPT-2 files), without building the model. Matrices are stored
    (in, out); a tied head and a fixed position table are not listed.

    Example:
        >>> from gpt.presets import preset
        >>> shapes = parameter_shapes(preset("gpt2")[0])
        >>> shapes["wte.weight"], shapes["h.11.attn.c_attn.weight"]
        ((50257, 768), (768, 2304))
    """
    if model.vocab_size == 0:
        raise ArgumentError(
            "parameter_shapes: vocab_size is 0",
            why="it is resolved by the tokenizer when training begins",
            fix="use model.with_vocab_size(65)",
        )
    one = _one_block(replace(model, n_layer=1))
    block = [(name.removeprefix("h.0."), shape) for name, shape in one.items() if name.startswith("h.0.")]
    layers = {f"h.{i}.{name}": shape for i in range(model.n_layer) for name, shape in block}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in one.items():
        shapes |= layers if name.startswith("h.0.") else {name: shape}  # all blocks in place of the first
    return shapes


@lru_cache(maxsize=64)
def _one_block(model: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of a model of one block; kept, since building models takes milliseconds."""
    return from_small_models(model, lambda small: {n: p.shape for n, p in GPT(small).named_parameters()})


def parameter_count(model: GPTConfig) -> int:
    """Number of parameters, a tied head counted once; of packed weights the number of values.

    Example:
        >>> from gpt.presets import preset
        >>> parameter_count(preset("gpt2")[0])
        124439808
    """
    return sum([prod(shape) for shape in parameter_shapes(model).values()])
