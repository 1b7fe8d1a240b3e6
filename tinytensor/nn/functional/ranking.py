"""The loss of similar and dissimilar inputs."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import reduced

__all__ = [
    "cosine_embedding_loss",
]


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of 1 - cos where target is 1, of max(0, cos - margin) where it is -1: (N, D), (N, D), (N,) → ().

    Example:
        >>> x = tt.tensor([[1.0, 0.0]])
        >>> tt.nn.functional.cosine_embedding_loss(x, x, tt.tensor([-1]), margin=0.5).item()
        0.5
    """
    squares = [(x * x).sum(-1) + 1e-12 for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / tt.sqrt(squares[0] * squares[1])
    alike = tt.where(target == 1, 1 - cosine, 0.0)
    unlike = tt.where(target == -1, tt.clip(cosine - margin, min=0.0), 0.0)
    return reduced("cosine_embedding_loss", alike + unlike, reduction)
