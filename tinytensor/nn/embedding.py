"""Embedding: rows of a weight table."""

from __future__ import annotations

from typing import Any

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.module import Module, Parameter, check_size
from tinytensor.ops.nn.embedding import embedding as _embedding


def embedding(input: tt.Tensor, weight: tt.Tensor, padding_idx: int | None = None) -> tt.Tensor:
    """Rows of a table.

    Args:
        input: integers below V, from the end if negative, shape (...).
        weight: the table (V, C).
        padding_idx: a row that gets no gradient.

    Returns:
        shape (..., C).

    >>> tt.nn.functional.embedding(tt.tensor([1, 0]), tt.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    rows = _embedding(weight, input)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % weight.shape[0]).unsqueeze(-1)  # (..., 1)
    return tt.where(padding, rows.detach(), rows)


class Embedding(Module):
    """y[..., :] = weight[indices[...], :]: a learned vector for each index.

    Args:
        padding_idx: a row, from the end if negative, that begins as 0 and gets no gradient.

    Shapes:
        indices (...), integers below V → (..., C); weight (V, C), initially standard normal.

    >>> layer = tt.nn.Embedding(10, 3)
    >>> layer(tt.tensor([[1, 2], [3, 4]])).shape
    (2, 2, 3)
    >>> layer
    Embedding(weight (10, 3))  # 30 parameters
    """

    weight: tt.Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = check_size("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = check_size("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise tt.ArgumentError(
                f"Embedding: padding_idx {padding_idx} of {num_embeddings} rows",
                why="it is one of the rows",
                fix="padding_idx=0",
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(tt.empty(num_embeddings, embedding_dim))
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            init.zeros_(self.weight[self.padding_idx])
        self.to(device, dtype)

    @classmethod
    def from_pretrained(
        cls, embeddings: tt.Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """An embedding with a copy of the matrix (V, C) as weight; freeze: without gradients."""
        with init.skipped():
            layer = cls(embeddings.shape[0], embeddings.shape[1], padding_idx)
        with tt.no_grad():
            layer.weight.copy_(embeddings)
        layer.weight.requires_grad_(not freeze)
        return layer

    def forward(self, indices: tt.Tensor) -> tt.Tensor:
        """(...) → (..., C)."""
        return embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The padding row."""
        return "" if self.padding_idx is None else f"padding_idx={self.padding_idx}"
