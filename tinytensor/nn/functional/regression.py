"""Losses of numbers."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import reduced, same_shape

__all__ = [
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of (input - target)², of equal shapes.

    Example:
        >>> tt.nn.functional.mse_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
        2.0
    """
    return tt.mse_loss(input, target, reduction=reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |input - target|, of equal shapes.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.l1_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
        1.0
    """
    same_shape("l1_loss", input, target)
    return reduced("l1_loss", tt.abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Mean of d² / (2 beta) where d = |input - target| is below beta, else of d - beta / 2.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.smooth_l1_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
        [0.5, 4.5]
    """
    same_shape("smooth_l1_loss", input, target)
    d = tt.abs(input - target)
    losses = d if beta == 0 else tt.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)
    return reduced("smooth_l1_loss", losses, reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Mean of d² / 2 where d = |input - target| is at most delta, else of delta * (d - delta / 2).

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> tt.nn.functional.huber_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
        [0.5, 4.5]
    """
    same_shape("huber_loss", input, target)
    d = tt.abs(input - target)
    return reduced("huber_loss", tt.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)
