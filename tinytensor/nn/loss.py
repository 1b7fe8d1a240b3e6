"""Losses: functions of predictions and targets, each with its module.

`reduction` is "mean", "sum" or "none", the loss of each element.
"""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.module import as_module
from tinytensor.ops.nn.cross_entropy import cross_entropy as _cross_entropy
from tinytensor.ops.nn.loss import bce_with_logits, mse_loss, reduced, same_shape
from tinytensor.ops.nn.loss import nll_loss as _nll_loss


def _classes_last(input: Tensor) -> Tensor:
    """(N, C, ...) → (N, ..., C)."""
    return tt.moveaxis(input, 1, -1) if input.ndim > 1 else input


def _rows(what: str, input: Tensor, target: Tensor) -> Tensor:
    """(N, C, ...) → (N, ..., C); ShapeError unless target has the shape (N, ...)."""
    wanted = input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()
    if target.shape != wanted:
        last = input.ndim > 2 and target.shape == input.shape[:-1]
        raise tt.ShapeError(
            f"{what}: input {input.shape} and target {target.shape} do not fit",
            why=f"the classes are on axis 1, as in PyTorch: a target for this input has the shape {wanted}",
            fix=f"input.view(-1, {input.shape[-1]}), target.view(-1)" if last else "give target this shape",
        )
    return _classes_last(input)


def _weights_of(target: Tensor, weight: Tensor, ignore_index: int) -> Tensor:
    """Weight of the class of each target, 0 where it is ignored."""
    ignored = target == ignore_index
    return tt.where(ignored, 0.0, tt.take(weight, tt.where(ignored, 0, target), 0))


def _weighted(what: str, losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    """Losses, which contain their weights already; "mean" divides by the sum of the weights."""
    return losses.sum() / weights.sum() if reduction == "mean" else reduced(what, losses, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of each target class, times the weight of the class.

    Args:
        input: log-probabilities, shape (N, C, ...) or (C,).
        target: shape (N, ...) or (), classes or ignore_index.
        weight: shape (C,), or None for 1; "mean" divides by the sum of the weights.

    >>> tt.nn.functional.nll_loss(tt.tensor([[-1.0, -2.0], [-3.0, -4.0]]), tt.tensor([0, 1])).item()
    2.5
    """
    rows = _rows("nll_loss", input, target)
    if weight is None:
        return _nll_loss(rows, target, ignore_index=ignore_index, reduction=reduction)
    losses = _nll_loss(rows, target, ignore_index=ignore_index, reduction="none")
    weights = _weights_of(target, weight, ignore_index)
    return _weighted("nll_loss", losses * weights, weights, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-probability of the targets under softmax(input), whose classes are on axis 1.

    Args:
        input: logits, shape (N, C, ...) or (C,).
        target: shape (N, ...) or (), classes or ignore_index; or probabilities of the shape of input.
        weight: of each class, shape (C,), or None for 1; "mean" divides by the sum of the weights of targets.
        label_smoothing: share of the target that is spread evenly over all classes.

    Raises:
        DTypeError: floating targets in the shape of classes.

    >>> tt.nn.functional.cross_entropy(tt.zeros(2, 4, 3), tt.zeros(2, 3, dtype=tt.int64)).item()
    1.3863
    """
    if target.dtype.is_floating:
        return _cross_entropy_of_shares(_classes_last(input), target, weight, reduction, label_smoothing)
    rows = _rows("cross_entropy", input, target)  # (N, ..., C)
    if weight is None:
        return _cross_entropy(
            rows, target, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction
        )
    log_probs = tt.log_softmax(rows, -1)
    weights = _weights_of(target, weight, ignore_index)  # (N, ...)
    losses = _nll_loss(log_probs, target, ignore_index=ignore_index, reduction="none") * weights
    if label_smoothing:
        evenly = tt.where(target == ignore_index, 0.0, -(log_probs * weight).mean(-1))
        losses = (1 - label_smoothing) * losses + label_smoothing * evenly
    return _weighted("cross_entropy", losses, weights, reduction)


def _cross_entropy_of_shares(
    rows: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """cross_entropy of logits (N, ..., C) with probabilities (N, C, ...)."""
    if target.shape == rows.shape[:-1] != rows.shape:
        raise tt.DTypeError(
            f"cross_entropy: targets of shape {target.shape} and dtype {target.dtype}",
            why="classes are integers; floating targets are probabilities, in the shape of the input",
            fix="targets.long()",
        )
    shares = _classes_last(target)  # (N, ..., C)
    same_shape("cross_entropy", rows, shares)
    shares = shares * (1 - label_smoothing) + label_smoothing / shares.shape[-1]
    log_probs = tt.log_softmax(rows, -1)
    losses = -(shares * (log_probs if weight is None else log_probs * weight)).sum(-1)
    return reduced("cross_entropy", losses, reduction)


def _log(p: Tensor) -> Tensor:
    """log(p), but at least -100; at 0 with the slope that PyTorch has there, which keeps it finite."""
    return tt.where(p == 0, 1e12 * p - 100, tt.clip(tt.log(tt.where(p == 0, 1.0, p)), min=-100.0))


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Mean of -target * log(input) - (1 - target) * log(1 - input), the logarithms at least -100.

    Args:
        input: probabilities in [0, 1], any shape; outside the loss is nan.

    >>> tt.nn.functional.binary_cross_entropy(tt.tensor([0.5, 1.0]), tt.ones(2)).item()
    0.3466
    """
    same_shape("binary_cross_entropy", input, target)
    losses = -(target * _log(input) + (1 - target) * _log(1 - input))
    return reduced("binary_cross_entropy", losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), finite for all logits.

    Args:
        pos_weight: factor of the term with log(sigmoid(input)); broadcasts.

    >>> F = tt.nn.functional
    >>> F.binary_cross_entropy_with_logits(tt.tensor([0.0, 1000.0]), tt.ones(2)).item()
    0.3466
    """
    what = "binary_cross_entropy_with_logits"
    same_shape(what, input, target)
    if pos_weight is None:
        losses = bce_with_logits(input, target, reduction="none")
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * tt.softplus(-input)
    return reduced(what, losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Mean of target * (log(target) - input): the divergence of exp(input) from target.

    Args:
        target: probabilities, or with log_target their logarithms.
        reduction: "mean" over all elements, "batchmean" (the sum over the size of axis 0), "sum" or "none".

    >>> x = tt.log(tt.tensor([0.5, 0.5]))
    >>> tt.nn.functional.kl_div(x, tt.tensor([0.0, 1.0]), reduction="sum").item()
    0.6931
    """
    same_shape("kl_div", input, target)
    if log_target:
        losses = tt.exp(target) * (target - input)
    else:
        losses = target * tt.log(tt.where(target == 0, 1.0, target)) - target * input
    if reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return reduced("kl_div", losses, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |input - target|, of equal shapes.

    >>> tt.nn.functional.l1_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
    1.0
    """
    same_shape("l1_loss", input, target)
    return reduced("l1_loss", tt.abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Mean of d² / (2 beta) where d = |input - target| is below beta, else of d - beta / 2.

    >>> tt.nn.functional.smooth_l1_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
    [0.5, 4.5]
    """
    same_shape("smooth_l1_loss", input, target)
    d = tt.abs(input - target)
    losses = d if beta == 0 else tt.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)
    return reduced("smooth_l1_loss", losses, reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Mean of d² / 2 where d = |input - target| is at most delta, else of delta * (d - delta / 2).

    >>> tt.nn.functional.huber_loss(tt.tensor([1.0, 5.0]), tt.zeros(2), reduction="none").tolist()
    [0.5, 4.5]
    """
    same_shape("huber_loss", input, target)
    d = tt.abs(input - target)
    return reduced("huber_loss", tt.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


BCELoss = as_module("BCELoss", binary_cross_entropy, inputs=2)
BCEWithLogitsLoss = as_module("BCEWithLogitsLoss", binary_cross_entropy_with_logits, inputs=2)
CrossEntropyLoss = as_module("CrossEntropyLoss", cross_entropy, inputs=2)
HuberLoss = as_module("HuberLoss", huber_loss, inputs=2)
KLDivLoss = as_module("KLDivLoss", kl_div, inputs=2)
L1Loss = as_module("L1Loss", l1_loss, inputs=2)
MSELoss = as_module("MSELoss", mse_loss, inputs=2)
NLLLoss = as_module("NLLLoss", nll_loss, inputs=2)
SmoothL1Loss = as_module("SmoothL1Loss", smooth_l1_loss, inputs=2)
