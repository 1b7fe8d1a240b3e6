"""Distances and similarities of vectors."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.normalization import normalize

__all__ = [
    "cosine_similarity",
]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between x1 and x2 along dim, which is reduced; norms are at least eps.

    Example:
        >>> tt.nn.functional.cosine_similarity(tt.tensor([3.0, 4.0]), tt.tensor([1.0, 0.0]), dim=0).item()
        0.6
    """
    x1, x2 = tt.broadcast_arrays(x1, x2)
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)
