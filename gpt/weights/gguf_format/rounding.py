"""Packing of weights so that products stay right: errors are moved to weights that are rounded later.

To round each value to the nearest is best for the weights. But what counts are the products of the layer, for
inputs as they occur: a block of inputs is packed, and the weights of the inputs after it are changed so that
they make up for its error as well as they can. With inputs x, H = E[x xᵀ], the upper Cholesky factor U of the
inverse of H, and the error e of the weights of a block b:

    W[:, after b] -= e U[b, b]⁻¹ U[b, after b]

Source: Frantar et al. 2023 (GPTQ), arXiv:2210.17323, equation 3, a block at a time, as the blocks of GGUF are
packed together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from gpt.console import progress_bar
from gpt.models.gpt import GPT
from tinytensor import nn
from tinytensor.interop.safetensors_file import Array

_DAMPING = 0.01  # of the mean of H's diagonal, added to it


def packed_rows(rows: NDArray[np.float32], kind: str, moments: Array | None = None) -> NDArray[np.uint8]:
    """Pack the rows of a matrix.

    Args:
        rows: W, shape (out, in).
        kind: a key of tt.QUANTIZED.
        moments: H, shape (in, in): sums of products of the inputs; None: each value is rounded by itself.

    Returns:
        shape (out, bytes of a row).

    Example:
        >>> rows = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)
        >>> packed_rows(rows, "q4_0").shape, packed_rows(rows, "q4_0", np.eye(64)).shape
        ((2, 36), (2, 36))
    """
    if moments is None:
        return tt.quantize(tt.from_numpy(rows), kind).numpy()
    left, width, factor = rows.copy(), tt.QUANTIZED[kind].values, _factor(moments)
    blocks = []
    for first in range(0, rows.shape[1], width):
        end = first + width
        wanted = left[:, first:end]
        blocks.append(tt.quantize(tt.from_numpy(np.ascontiguousarray(wanted)), kind))
        error = wanted - tt.dequantize(blocks[-1], kind).numpy()
        spread = np.linalg.solve(factor[first:end, first:end], factor[first:end, end:])
        left[:, end:] -= error @ spread.astype(np.float32)
    return tt.concat(blocks, axis=1).numpy()


def _factor(moments: Array) -> NDArray[np.float64]:
    """Upper Cholesky factor of the inverse of the damped moments."""
    damped = moments.astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * np.trace(damped) / len(damped) or 1.0
    found: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).T
    return found


def input_moments(model: GPT, ids: Sequence[int], length: int = 512) -> dict[str, Array]:
    """Sums of products of the inputs of each linear layer, H = Σ x xᵀ, over a text.

    Args:
        model: run in evaluation mode.
        ids: tokens, read in pieces of `length`, or of the context if that is shorter.
        length: tokens in a piece.

    Returns:
        Name of the layer → shape (in, in), float32.

    Raises:
        ArgumentError: no tokens.

    Memory: 4 in² bytes for each layer.
    """
    if not len(ids):
        raise tt.ArgumentError(
            "input_moments: no tokens", why="they are what the layers are fitted to", fix="give a longer text"
        )
    length = min(length, model.config.block_size)
    found: dict[str, Array] = {}
    starts = range(0, len(ids), length)
    with model.evaluating(), _watched(model, found), progress_bar("pieces of the text", len(starts)) as watch:
        for start in watch(starts):
            model.through(model.embed(tt.tensor([list(ids[start : start + length])])), None, 0, len(model.h))
    return found


@contextmanager
def _watched(model: GPT, found: dict[str, Array]) -> Iterator[None]:
    """Context in which the linear layers add their inputs to the sums."""
    removals = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):

            def add(layer: Any, inputs: tuple[Any, ...], name: str = name) -> None:
                x = inputs[0].numpy().reshape(-1, inputs[0].shape[-1])  # (T, in)
                found[name] = found.get(name, 0) + x.T @ x

            removals.append(layer.register_forward_pre_hook(add))
    try:
        yield
    finally:
        for removal in removals:
            removal.remove()
