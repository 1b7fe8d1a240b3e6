"""Embedding: lookup of rows in a weight table."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """y[..., :] = weight[indices[...], :]: a learned vector for each index.

    Args:
        num_embeddings: V, number of rows.
        embedding_dim: C, size of a row.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        indices (...), integers below V → (..., C); weight (V, C), initially standard normal.

    Raises:
        ArgumentError: a size is not positive.

    Example:
        >>> layer = tt.nn.Embedding(10, 3)
        >>> layer(tt.tensor([[1, 2], [3, 4]])).shape
        (2, 2, 3)
        >>> layer
        Embedding(weight (10, 3))  # 30 parameters
    """

    weight: tt.Tensor

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, generator: tt.Generator | None = None
    ) -> None:
        super().__init__()
        self.num_embeddings = check_size("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = check_size("Embedding", "embedding_dim", embedding_dim)
        self.weight = Parameter(tt.empty(num_embeddings, embedding_dim))
        init.normal_(self.weight, generator=generator)

    def forward(self, indices: tt.Tensor) -> tt.Tensor:
        """(...) → (..., C)."""
        return tt.embedding(self.weight, indices)
