"""Losses of numbers."""

from __future__ import annotations

import math

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import reduced, same_shape

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
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


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Mean of (log(var) + (input - target)² / var) / 2, var at least eps; full adds log(2 pi) / 2.

    Args:
        input, target: any equal shapes (N, ..., D).
        var: variances: that shape, (N, ..., 1) or (N, ...).

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a variance is negative.

    Example:
        >>> tt.nn.functional.gaussian_nll_loss(tt.tensor([1.0]), tt.tensor([3.0]), tt.ones(1)).item()
        2.0
    """
    same_shape("gaussian_nll_loss", input, target)
    if var.shape == input.shape[:-1] != ():
        var = var.unsqueeze(-1)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        same_shape("gaussian_nll_loss", input, var)
    if (var < 0).any():
        raise tt.ArgumentError(
            "gaussian_nll_loss: a variance is negative", why="it is a mean of squares", fix="var.exp()"
        )
    var = var + (tt.clip(var, min=eps) - var).detach()  # derivative 1 also below eps, as in PyTorch
    losses = 0.5 * (tt.log(var) + tt.square(input - target) / var)
    return reduced("gaussian_nll_loss", losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Mean of exp(input) - target * input; without log_input of input - target * log(input + eps).

    full adds Stirling's approximation of log(target!) where target is above 1.

    Example:
        >>> tt.nn.functional.poisson_nll_loss(tt.tensor([0.0, 0.0]), tt.tensor([1.0, 3.0])).item()
        1.0
    """
    losses = tt.exp(input) - target * input if log_input else input - target * tt.log(input + eps)
    if full:
        t = tt.where(target > 1, target, 1.0)
        stirling = t * tt.log(t) - t + 0.5 * tt.log(2 * math.pi * t)
        losses = losses + tt.where(target > 1, stirling, 0.0)
    return reduced("poisson_nll_loss", losses, reduction)
