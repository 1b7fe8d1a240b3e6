"""Losses of margins: of similar and dissimilar inputs."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import reduced, same_shape
from tinytensor.nn.functional.distance import pairwise_distance

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
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


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of max(0, margin - target * (input1 - input2)); target 1: input1 should be larger, else -1.

    Example:
        >>> x, y = tt.tensor([1.0, 2.0]), tt.tensor([0.0, 5.0])
        >>> tt.nn.functional.margin_ranking_loss(x, y, tt.ones(2), reduction="none").tolist()
        [0.0, 3.0]
    """
    losses = tt.clip(-target * (input1 - input2) + margin, min=0.0)
    return reduced("margin_ranking_loss", losses, reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Mean of x where target is 1, of max(0, margin - x) where it is -1.

    Example:
        >>> tt.nn.functional.hinge_embedding_loss(tt.tensor([3.0, 0.5]), tt.tensor([1, -1])).item()
        1.75
    """
    unlike = tt.where(target != 1, tt.clip(margin - input, min=0.0), 0.0)
    return reduced("hinge_embedding_loss", unlike + tt.where(target != -1, input, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of log(1 + exp(-target * x)), target 1 or -1, of equal shapes.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.soft_margin_loss(tt.tensor([0.0, 1000.0]), tt.ones(2)).item()
        0.3466
    """
    same_shape("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", tt.softplus(-target * input), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Mean of max(0, margin + distance to positive - distance to negative): three of (N, D) → ().

    swap takes the distance of positive and negative where it is the smaller one.

    Example:
        >>> x, far = tt.zeros(1, 2), tt.tensor([[3.0, 4.0]])
        >>> tt.nn.functional.triplet_margin_loss(x, far, x).item()
        6.0
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = tt.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", tt.clip(margin + near - far, min=0.0), reduction)
