"""Linear functions, rows of tables (embedding, one_hot), and dropout."""

from __future__ import annotations

from collections.abc import Callable

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import written

__all__ = [
    "bilinear",
    "dropout",
    "dropout1d",
    "dropout2d",
    "embedding",
    "linear",
    "one_hot",
]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., K) with weight (N, K) and bias (N,) → (..., N).

    Example:
        >>> tt.nn.functional.linear(tt.tensor([1.0, 2.0]), tt.tensor([[3.0, 4.0]])).tolist()
        [11.0]
    """
    return tt.linear(input, weight, bias, transposed=True)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1' A x2 + bias for each matrix A of weight (N, K1, K2): (..., K1), (..., K2) → (..., N).

    Example:
        >>> tt.nn.functional.bilinear(tt.ones(2), tt.ones(3), tt.ones(1, 2, 3)).tolist()
        [6.0]
    """
    y = tt.einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight (V, C): integers (...) → (..., C). The row padding_idx gets no gradient.

    Example:
        >>> tt.nn.functional.embedding(tt.tensor([1, 0]), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[3.0, 4.0], [1.0, 2.0]]
    """
    rows = tt.embedding(weight, input)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % weight.shape[0]).unsqueeze(-1)  # (..., 1)
    return tt.where(padding, rows.detach(), rows)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (...) → (..., num_classes), int64, with a 1 each; -1: as many classes as are needed.

    Example:
        >>> tt.nn.functional.one_hot(tt.tensor([2, 0])).tolist()
        [[0, 0, 1], [1, 0, 0]]
    """
    return tt.one_hot(tensor, int(tensor.max()) + 1 if num_classes == -1 else num_classes)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """0 with probability p, else x / (1 - p); x itself if not training.

    Example:
        >>> tt.nn.functional.dropout(tt.ones(2), 0.5, training=False).tolist()
        [1.0, 1.0]
    """
    return written(input, tt.dropout(input, p, training), inplace)


def _channel_dropout(axes: int, name: str) -> Callable[..., Tensor]:
    """Dropout of whole channels, which have so many axes."""

    def function(
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        generator: tt.Generator | None = None,
    ) -> Tensor:
        ones = tt.ones(*input.shape[:-axes], *[1] * axes, dtype=input.dtype, device=input.device)
        kept = tt.dropout(ones, p, training, generator=generator)
        return input if kept is ones else written(input, input * kept, inplace)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Channels whole 0 with probability p, else x / (1 - p): (N, C, {axes} more axes).

    Example:
        >>> x = tt.ones(2, 3, 4, 5)
        >>> tt.nn.functional.{name}(x, training=False) is x
        True
    """
    return function


dropout1d, dropout2d = _channel_dropout(1, "dropout1d"), _channel_dropout(2, "dropout2d")
