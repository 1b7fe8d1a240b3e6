"""Weights that are packed so that the layers' products on a text stay right."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from gpt.console import progress_bar
from gpt.models.gpt import GPT
from gpt.weights.gguf_format.architecture import ARCHITECTURES, architecture_for
from gpt.weights.gguf_format.rounding import packed_rows
from gpt.weights.gguf_format.writer import kind_in_file
from gpt.weights.hf_names import places
from tinytensor import nn
from tinytensor.interop.safetensors_file import Array


def calibrated(model: GPT, ids: Sequence[int], dtype: str, length: int = 512) -> dict[str, NDArray[np.uint8]]:
    """Packed rows of the linear layers of a model, fitted to a text.

    Block by block, the layers are fitted to the inputs that come out of the blocks before, already packed.

    Args:
        model: of an architecture of llama.cpp, with float weights; not changed.
        ids: tokens, read in pieces of `length`, or of the context if that is shorter.
        dtype: of the file, as in `save_gguf`; tensors that have no packed kind there are left out.
        length: tokens in a piece.

    Returns:
        Name in the file → packed rows.

    Raises:
        ArgumentError: no tokens, or no architecture of llama.cpp is this model.

    Memory: the packed rows, a block's float weights, 4 bytes for each channel of each token, and 4 in² bytes
        for each layer of a block.
    """
    if not len(ids):
        raise tt.ArgumentError(
            "quantize: no tokens", why="they are what the layers are fitted to", fix="give a longer text"
        )
    where = places(model.config, ARCHITECTURES[architecture_for(model.config)].naming)
    length, found = min(length, model.config.block_size), {}
    with model.evaluating(), progress_bar("blocks", len(model.h)) as watch:
        starts = range(0, len(ids), length)
        streams = [model.embed(tt.tensor([list(ids[start : start + length])])) for start in starts]
        for n in watch(range(len(model.h))):
            modules = model.h[n].named_modules()
            layers = {name: layer for name, layer in modules if isinstance(layer, nn.Linear)}
            with _moments(layers) as moments:
                for x in streams:
                    model.through(x, None, n, n + 1)
            floats = {name: layer.weight for name, layer in layers.items()}
            try:
                for name, layer in layers.items():
                    place = where[f"h.{n}.{name}.weight"]
                    parts = place.scatter(layer.weight.detach().cpu().numpy())
                    for part, rows in parts.items():
                        kind = kind_in_file(part, rows.shape, dtype).lower()
                        if kind in tt.QUANTIZED:
                            found[part] = packed_rows(rows, kind, moments[name])
                            parts[part] = tt.dequantize(tt.from_numpy(found[part]), kind).numpy()
                    rounded = tt.from_numpy(np.ascontiguousarray(place.gather(parts.__getitem__)))
                    layer.weight = nn.Parameter(rounded.to(layer.weight.device))
                streams = [model.through(x, None, n, n + 1) for x in streams]
            finally:
                for name, layer in layers.items():
                    layer.weight = floats[name]
    return found


@contextmanager
def _moments(layers: dict[str, nn.Linear]) -> Iterator[dict[str, Array]]:
    """Context in which layers add products of their inputs to sums, H = Σ x xᵀ, (in, in) for each name."""
    found: dict[str, Array] = {}
    removals = []
    for name, layer in layers.items():

        def add(layer: Any, inputs: tuple[Any, ...], name: str = name) -> None:
            x = inputs[0].cpu().numpy().reshape(-1, inputs[0].shape[-1])  # (T, in)
            found[name] = found.get(name, 0) + x.T @ x

        removals.append(layer.register_forward_pre_hook(add))
    try:
        yield found
    finally:
        for removal in removals:
            removal.remove()
