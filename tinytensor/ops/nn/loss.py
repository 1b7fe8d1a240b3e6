"""Losses: nll_loss, mse_loss, bce_with_logits (cross_entropy is in cross_entropy.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.autograd.modes import inputs_of
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, unwrapped, vmap_batched
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.forward import jvp_linear
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dtypes import accumulator
from tinytensor.errors import ShapeError
from tinytensor.kernels.rows import as_rows, require_tensors, threads_per_row
from tinytensor.op import Array, Grads, Needs, Op, Saved, Shape, Spec, Specs, Tensor, fields_of, register
from tinytensor.ops.elementwise.comparison import not_equal
from tinytensor.ops.elementwise.exponential import softplus
from tinytensor.ops.nn.class_targets import (
    check_integers,
    check_reduction,
    each_loss,
    factor_on_device,
    flat_indices,
    on_device,
    reduce_on_device,
    sum_of_rows,
)
from tinytensor.ops.reductions.reduction import mean, sum
from tinytensor.ops.views.manipulation import cast, expand, reshape

__all__ = ["bce_with_logits", "mse_loss", "nll_loss"]


def reduced(what: str, losses: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses, or the losses."""
    check_reduction(what, reduction)
    return mean(losses) if reduction == "mean" else sum(losses) if reduction == "sum" else losses


def same_shape(what: str, x: Tensor, targets: Tensor) -> None:
    """ShapeError unless the shapes are equal; PyTorch warns here, or refuses, too."""
    if x.layout.shape != targets.layout.shape:
        raise ShapeError(
            f"{what}: shapes {x.layout.shape} and {targets.layout.shape} differ",
            why="each prediction has one target; broadcasting here is nearly always a mistake",
            fix="reshape or expand one of them to the shape of the other",
        )


def _pick(targets: Array, classes: int, ignore_index: int) -> tuple[Array, Array, Array]:
    """(rows, labels) of the positions that are not ignored, and their mask, (N,) bool."""
    labels = flat_indices("nll_loss", "targets", targets, classes, ignore_index)
    counted = labels != ignore_index
    return np.flatnonzero(counted), labels[counted], counted


@register
class NllLoss(Op):
    """Linear in log_probs; NllLossBackward is its transpose."""

    ignore_index: int
    reduction: str
    shape: Shape

    inputs = ("log_probs", "targets")
    vmap = each_loss
    jvp = jvp_linear
    outputs = ("loss",)
    saves = ("targets",)
    dense = ("log_probs",)
    flops = 1.0
    autocast = "wide"

    def infer(self, log_probs: Spec, targets: Spec) -> Specs:
        floating("nll_loss", log_probs)
        check_integers("nll_loss", "targets", targets)
        if not self.shape or self.shape[:-1] != targets.shape:
            raise ShapeError(
                f"nll_loss: log_probs {self.shape} and targets {targets.shape} do not fit",
                why="log_probs are (..., V) with one value per class, targets (...) with one class each",
                fix=f"give targets the shape {self.shape[:-1]}",
            )
        return (Spec(targets.shape if self.reduction == "none" else (), log_probs.dtype),)

    def cpu(self, loss: Array, log_probs: Array, targets: Array) -> None:
        rows, labels, counted = _pick(targets, self.shape[-1], self.ignore_index)
        picked = as_rows(log_probs)[rows, labels]
        if self.reduction == "none":
            flat = np.zeros(counted.shape, loss.dtype)
            flat[counted] = -picked
            loss[...] = flat.reshape(loss.shape)
        else:
            loss[...] = sum_of_rows(-picked, counted, self.reduction)

    def cuda(self, launch: Launch, loss: View, log_probs: View, targets: View) -> None:
        dtype, count = log_probs.dtype, targets.size
        labels, bounds = on_device(launch, "nll_loss", "targets", targets, self.shape[-1], self.ignore_index)
        losses = launch.scratch(targets.shape, accumulator(dtype))
        args = (losses, log_probs, labels, count, self.shape[-1], self.ignore_index, bounds)
        launch("nll_loss_forward", dtype, grid=blocks_for(count, 256), args=args)
        reduce_on_device(launch, self, loss, losses, labels)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dlog_probs = -grad * the row's weight at the target of each row, 0 elsewhere."""
        return apply(NllLossBackward(**fields_of(self)), grads[0], saved.targets), None


def _nll_backward_each(call: VmapCall) -> Any:
    """Gradients of single losses; a mean divides them by the number of targets of its sample."""
    if call.op.reduction == "none":
        return vmap_batched(call)
    grad, targets = call.given
    if call.op.reduction == "mean":
        counted = not_equal(targets, call.op.ignore_index)
        grad = grad / sum(cast(counted, grad.storage.dtype))
    grads = expand(reshape(grad, (1,) * len(targets.layout.shape)), targets.layout.shape)
    return unwrapped(apply(call.op.replace(reduction="none"), grads, targets), call.level)


@register
class NllLossBackward(Op):
    ignore_index: int
    reduction: str
    shape: Shape

    inputs = ("grad", "targets")
    vmap = _nll_backward_each
    outputs = ("dlog_probs",)
    saves = ("targets",)
    dense = ("grad",)
    flops = 1.0

    def infer(self, grad: Spec, targets: Spec) -> Specs:
        return (Spec(self.shape, grad.dtype),)

    def cpu(self, dlog_probs: Array, grad: Array, targets: Array) -> None:
        rows, labels, counted = _pick(targets, self.shape[-1], self.ignore_index)
        dlog_probs[...] = 0
        g = -grad.reshape(-1)
        value = g[counted] if self.reduction == "none" else g / len(rows) if self.reduction == "mean" else g
        as_rows(dlog_probs)[rows, labels] = value

    def cuda(self, launch: Launch, dlog_probs: View, grad: View, targets: View) -> None:
        count, width, dtype = targets.size, self.shape[-1], grad.dtype
        labels, _ = on_device(launch, "nll_loss", "targets", targets, width, self.ignore_index)
        factor = factor_on_device(launch, "nll_loss", self, labels)
        block = threads_per_row(width, dtype)
        args = (dlog_probs, grad, labels, factor, count, width, self.reduction == "none", self.ignore_index)
        launch("nll_loss_backward", dtype, grid=blocks_for(count, block[1]), block=block, args=args)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dgrad = -the row's weight * the gradient at the target, of each row."""
        return apply(NllLoss(**fields_of(self)), grads[0], saved.targets), None


def nll_loss(
    log_probs: Tensor, targets: Tensor, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log-likelihood: minus the log-probability of each target class.

    Args:
        log_probs: shape (..., V), for example from log_softmax; floating.
        targets: shape (...), any integer dtype; class numbers 0 to V - 1, or ignore_index.
        reduction: "mean" over the positions that are not ignored (nan if there are none), "sum", or "none".

    Returns:
        shape (), or (...) with reduction="none"; dtype of log_probs.

    Raises:
        IndexRangeError: a target is not a valid class; on a GPU at the next read-back, and its loss is nan.

    Differs from: torch.nn.functional.nll_loss, where the classes are on axis 1.
    """
    require_tensors("nll_loss", log_probs, targets)
    check_reduction("nll_loss", reduction)
    shape = log_probs.layout.shape
    return apply(NllLoss(ignore_index=ignore_index, reduction=reduction, shape=shape), log_probs, targets)


def _check_pair(what: str, x: Tensor, targets: Tensor) -> None:
    require_tensors(what, x, targets)
    floating(what, Spec(x.layout.shape, x.storage.dtype))
    same_shape(what, x, targets)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of (input - target)², of equal shapes; the target may require a gradient, too.

    >>> tt.nn.functional.mse_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
    2.0
    """
    input, target = inputs_of("wide", input, target)
    _check_pair("mse_loss", input, target)
    d = input - target
    return reduced("mse_loss", d * d, reduction)


def bce_with_logits(logits: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of logits with probabilities, without computing the sigmoid.

    loss = softplus(x) - x * target = -target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x))

    Args:
        targets: the same shape; probabilities in [0, 1].

    Accuracy: softplus neither overflows nor underflows, so logits may have any magnitude.
    """
    _check_pair("bce_with_logits", logits, targets)
    logits, targets = inputs_of("wide", logits, targets)
    return reduced("bce_with_logits", softplus(logits) - logits * targets, reduction)
