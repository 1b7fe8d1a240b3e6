"""Loss modules. `reduction` is "mean", "sum" or "none", the loss of each element.

Shapes and formulas are those of the functions of `tinytensor.nn.functional` that they call.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn.stateless.base import Stateless

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]

Reduction = Literal["mean", "sum", "none"]


class BCELoss(Stateless):
    """-target * log(p) - (1 - target) * log(1 - p) of probabilities p; any shape."""

    weight: tt.Tensor | None = None
    _: KW_ONLY
    reduction: Reduction = "mean"
    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(Stateless):
    """BCELoss of sigmoid(logits), finite for all logits; any shape.

    Example:
        >>> tt.nn.BCEWithLogitsLoss()(tt.tensor([0.0, 1000.0]), tt.ones(2)).item()
        0.3466
    """

    weight: tt.Tensor | None = None
    _: KW_ONLY
    reduction: Reduction = "mean"
    pos_weight: tt.Tensor | None = None
    function = staticmethod(F.binary_cross_entropy_with_logits)


class CosineEmbeddingLoss(Stateless):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1: (N, D), (N, D), (N,) → ()."""

    margin: float = 0.0
    _: KW_ONLY
    reduction: Reduction = "mean"
    function = staticmethod(F.cosine_embedding_loss)


class CrossEntropyLoss(Stateless):
    """Negative log-probability of the targets under softmax(logits), whose classes are on axis 1.

    Logits (N, C) or (N, C, ...), targets (N) or (N, ...): classes, or probabilities shaped as the logits.

    Args:
        weight: factor of each class, shape (C,).
        ignore_index: positions with this target do not contribute to loss and gradient.
        reduction: "mean" over the positions that are not ignored, "sum", or "none".
        label_smoothing: share of the target that is distributed uniformly over all classes, in [0, 1].

    Differs from: `tt.cross_entropy`, which has the classes on the last axis.

    Example:
        >>> loss = tt.nn.CrossEntropyLoss()
        >>> loss(tt.zeros(2, 10, 3), tt.tensor([[1, 2, 3], [4, 5, -100]])).item()
        2.3026
    """

    weight: tt.Tensor | None = None
    _: KW_ONLY
    ignore_index: int = -100
    reduction: Reduction = "mean"
    label_smoothing: float = 0.0
    function = staticmethod(F.cross_entropy)


class HuberLoss(Stateless):
    """d² / 2 where d = |x - target| is at most delta, else delta * (d - delta / 2); any shape."""

    reduction: Reduction = "mean"
    delta: float = 1.0
    function = staticmethod(F.huber_loss)


class KLDivLoss(Stateless):
    """target * (log(target) - x), x log-probabilities; "batchmean" divides the sum by the size of axis 0."""

    _: KW_ONLY
    reduction: Literal["mean", "sum", "none", "batchmean"] = "mean"
    log_target: bool = False
    function = staticmethod(F.kl_div)


class L1Loss(Stateless):
    """|x - target|; any shape."""

    _: KW_ONLY
    reduction: Reduction = "mean"
    function = staticmethod(F.l1_loss)


class MSELoss(Stateless):
    """(x - target)²; any shape.

    Example:
        >>> tt.nn.MSELoss()(tt.tensor([1.0, 3.0]), tt.zeros(2)).item()
        5.0
    """

    _: KW_ONLY
    reduction: Reduction = "mean"
    function = staticmethod(F.mse_loss)


class NLLLoss(Stateless):
    """Minus the log-probability of each target class: (N, C, ...), (N, ...) → ()."""

    weight: tt.Tensor | None = None
    _: KW_ONLY
    ignore_index: int = -100
    reduction: Reduction = "mean"
    function = staticmethod(F.nll_loss)


class SmoothL1Loss(Stateless):
    """d² / (2 beta) where d = |x - target| is below beta, else d - beta / 2; any shape."""

    _: KW_ONLY
    reduction: Reduction = "mean"
    beta: float = 1.0
    function = staticmethod(F.smooth_l1_loss)
