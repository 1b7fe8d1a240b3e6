"""cross_entropy of logits with class targets: fused log-softmax, loss and gradient.

Forward allocates no second array of the size of the logits; backward writes into the memory of the logits if
no other reference to them exists.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from tinytensor.autograd.modes import autocast_dtype
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import composed
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import accumulator, int64
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.kernels.rows import as_rows, require_tensors, threads_per_row
from tinytensor.op import Grads, HostCall, Needs, Op, Saved, Spec, Specs, fields_of, per_input, register
from tinytensor.ops.double_backward import partial_vjp
from tinytensor.ops.elementwise.arithmetic import maximum
from tinytensor.ops.elementwise.comparison import equal, not_equal
from tinytensor.ops.nn.class_targets import (
    as_int64,
    check_integers,
    check_reduction,
    each_loss,
    factor_on_device,
    flat_indices,
    on_device,
    reduce_on_device,
    sum_of_rows,
)
from tinytensor.ops.nn.softmax import softmax
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.reductions.summing import row_sum
from tinytensor.ops.views.manipulation import cast, unsqueeze
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["cross_entropy"]

kernels = HostKernels("cross_entropy")


def _labels(targets: Array, classes: int, ignore_index: int) -> tuple[Array, Array]:
    """(labels (N,), counted (N,) bool): classes, with 0 where the position is ignored."""
    labels = flat_indices("cross_entropy", "targets", targets, classes, ignore_index)
    counted = labels != ignore_index
    return np.where(counted, labels, 0), counted


def _row_weights(counted: Array, reduction: str) -> Array:
    """Weight of each row's loss in the result, float64: 0 where ignored, 1 / count for the mean."""
    weights = counted.astype(np.float64)
    if reduction == "mean":
        weights /= max(int(np.count_nonzero(counted)), 1)
    return weights


@register
class CrossEntropy(Op):
    """Hidden outputs, per row: the maximum, and log(sum(exp(x - maximum))). Both are kept, since their sum,
    the logsumexp, loses the digits of the smaller one if logits are large. If `wide`, the loss of 16-bit
    logits is not rounded to their dtype.
    """

    ignore_index: int
    label_smoothing: float
    reduction: str
    wide: bool

    inputs = ("logits", "targets")
    vmap = each_loss
    outputs = ("loss", "top", "log")
    saves = ("logits", "targets", "top", "log")
    contiguous = ("logits",)
    flops = per_input(3.0)

    def infer(self, logits: Spec, targets: Spec) -> Specs:
        floating("cross_entropy", logits)
        check_integers("cross_entropy", "targets", targets)
        if not logits.shape or logits.shape[:-1] != targets.shape or not logits.shape[-1]:
            raise ShapeError(
                f"cross_entropy: logits {logits.shape} and targets {targets.shape} do not fit",
                why="logits are (..., V) with one value per class, targets (...) with one class each",
                fix=f"give targets the shape {logits.shape[:-1]}",
            )
        shape = targets.shape if self.reduction == "none" else ()
        rows = Spec(targets.shape, accumulator(logits.dtype))
        return Spec(shape, rows.dtype if self.wide else logits.dtype), rows, rows

    def cpu(self, loss: Array, top: Array | None, log: Array | None, logits: Array, targets: Array) -> None:
        x = as_rows(logits)  # (N, V)
        labels, counted = _labels(targets, x.shape[1], self.ignore_index)
        tops = x.max(1)
        below = x - tops[:, None]
        logs = np.log(row_sum(np.exp(below)))
        rows = logs - below[np.arange(len(x)), labels]
        if self.label_smoothing:
            average = row_sum(below) / x.shape[1]
            rows = (1 - self.label_smoothing) * rows + self.label_smoothing * (logs - average)
        if top is not None and log is not None:
            tops[~counted] = logs[~counted] = 0  # backward reads none of these
            top[...], log[...] = tops.reshape(top.shape), logs.reshape(log.shape)
        rows[~counted] = 0
        if self.reduction == "none":
            loss[...] = rows.reshape(loss.shape)
        else:
            loss[...] = sum_of_rows(rows, counted, self.reduction)

    def host(
        self, loss: Array, top: Array | None, log: Array | None, logits: Array, targets: Array
    ) -> HostCall:
        sums = self.reduction == "none", self.reduction == "mean"
        labels = as_int64(targets)
        return partial(
            kernels.cross_entropy_forward,
            loss,
            top,
            log,
            logits,
            labels,
            self.ignore_index,
            self.label_smoothing,
            *sums,
        )

    def cuda(
        self, launch: Launch, loss: View, top: View | None, log: View | None, logits: View, targets: View
    ) -> None:
        dtype, width, count = logits.dtype, logits.shape[-1], targets.size
        labels, bounds = on_device(launch, "cross_entropy", "targets", targets, width, self.ignore_index)
        losses, block = launch.scratch(targets.shape, accumulator(dtype)), threads_per_row(width, dtype)
        x = launch.rows(logits, op="cross_entropy", operand="the logits")
        numbers = (count, width, x.strides[0], self.ignore_index, self.label_smoothing, bounds)
        args = (losses, top, log, x, labels, *numbers)
        launch("cross_entropy_forward", dtype, grid=blocks_for(count, block[1]), block=block, args=args)
        reduce_on_device(launch, self, loss, losses, labels)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        op = CrossEntropyBackward(
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, reduction=self.reduction
        )
        return apply(op, grads[0], saved.logits, saved.targets, saved.top, saved.log), None


def _cross_entropy_backward(
    grad: Tensor,
    logits: Tensor,
    targets: Tensor,
    *_: Tensor,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> tuple[Tensor]:
    """CrossEntropyBackward in unfused ops, for double backward; grad may be wider than the logits."""
    width, dtype = logits.layout.shape[-1], logits.storage.dtype
    classes = constant(np.arange(width), int64, logits.storage.device)
    hit = cast(equal(unsqueeze(cast(targets, int64), -1), classes), accumulator(dtype))  # (..., V)
    target = cast(hit * (1.0 - label_smoothing) + label_smoothing / width, dtype)
    factor = cast(not_equal(targets, ignore_index), accumulator(dtype))  # (...)
    if reduction == "mean":
        factor = factor / maximum(sum(factor), 1.0)
    g = unsqueeze(grad, -1) if reduction == "none" else grad
    weights = unsqueeze(cast(factor, g.storage.dtype), -1) * g
    return (cast((softmax(logits, -1) - target) * weights, dtype),)


@register
class CrossEntropyBackward(Op):
    """dlogits = (softmax(logits) - smoothed one-hot of the target) * the row's weight * grad."""

    ignore_index: int
    label_smoothing: float
    reduction: str

    inputs = ("grad", "logits", "targets", "top", "log")
    vmap = composed(_cross_entropy_backward)
    outputs = ("dlogits",)
    saves = ("grad", "logits", "targets")
    dense = ("grad", "top", "log")
    may_reuse: ClassVar[dict[str, str]] = {"dlogits": "logits"}
    contiguous = ("grad", "logits", "top", "log")
    flops = 3.0

    def infer(self, grad: Spec, logits: Spec, targets: Spec, top: Spec, log: Spec) -> Specs:
        return (logits._replace(aligned=True),)

    def cpu(self, dlogits: Array, grad: Array, logits: Array, targets: Array, top: Array, log: Array) -> None:
        x, d = as_rows(logits), as_rows(dlogits)
        tops, logs = top.reshape(-1, 1), log.reshape(-1, 1)
        labels, counted = _labels(targets, x.shape[1], self.ignore_index)
        factors = (_row_weights(counted, self.reduction) * grad.reshape(-1)).astype(x.dtype)[:, None]
        p = np.exp(x - tops - logs) - x.dtype.type(self.label_smoothing / x.shape[1])
        p[np.arange(len(p)), labels] -= 1.0 - self.label_smoothing
        np.multiply(p, factors, out=d)
        if not counted.all():
            d[~counted] = 0  # also where the logits are inf or nan

    def host(
        self, dlogits: Array, grad: Array, logits: Array, targets: Array, top: Array, log: Array
    ) -> HostCall:
        sums = self.reduction == "none", self.reduction == "mean"
        labels = as_int64(targets)
        return partial(
            kernels.cross_entropy_backward,
            dlogits,
            grad,
            logits,
            labels,
            top,
            log,
            self.ignore_index,
            self.label_smoothing,
            *sums,
        )

    def cuda(
        self, launch: Launch, dlogits: View, grad: View, logits: View, targets: View, top: View, log: View
    ) -> None:
        dtype, width, count = logits.dtype, logits.shape[-1], targets.size
        labels, _ = on_device(launch, "cross_entropy", "targets", targets, width, self.ignore_index)
        factor = factor_on_device(launch, "cross_entropy", self, labels)
        block, per_row = threads_per_row(width, dtype), self.reduction == "none"
        x, dx = launch.rows(logits, op="cross_entropy", operand="the logits"), launch.rows(dlogits)
        numbers = (
            count,
            width,
            x.strides[0],
            dx.strides[0],
            per_row,
            self.ignore_index,
            self.label_smoothing,
        )
        args = (dx, grad, x, labels, top, log, factor, *numbers)
        launch(
            "cross_entropy_backward",
            dtype,
            grad.dtype,
            grid=blocks_for(count, block[1]),
            block=block,
            args=args,
        )

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dlogits = (softmax(logits) - smoothed one-hot) * weight * grad."""
        found = partial_vjp(
            _cross_entropy_backward,
            (saved.grad, saved.logits),
            grads,
            needs[:2],
            targets=saved.targets,
            **fields_of(self),
        )
        return (*found, None, None, None)


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-probability of the target classes under softmax(logits).

    loss = logsumexp(x) - (1 - s) * x[target] - s * mean(x), with s = label_smoothing, for each row x of
    logits

    Args:
        logits: shape (..., V); floating. The classes are on the last axis.
        targets: shape (...), any integer dtype; class numbers 0 to V - 1, or ignore_index.
        ignore_index: positions with this target do not contribute to loss and gradient.
        label_smoothing: fraction of the target probability spread evenly over all classes, in [0, 1].
        reduction: "mean" over the positions that are not ignored (nan if there are none), "sum", or "none".

    Returns:
        shape (), or (...) with reduction="none"; dtype of logits, float32 in an autocast block.

    Raises:
        IndexRangeError: a target is not a valid class; on a GPU at the next read-back, and its loss is nan.

    Memory: keeps the logits and two values per row; forward allocates no second array of their size, and
        backward overwrites them if the caller no longer references them.
    Accuracy: the maximum of a row is subtracted first, so large logits lose nothing. 16-bit floats are
        computed in float32; the mean is summed in float64.
    Differs from: torch.nn.functional.cross_entropy, where the classes are on axis 1.
    Source: label smoothing: Szegedy et al. 2015, arXiv:1512.00567.
    """
    require_tensors("cross_entropy", logits, targets)
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"cross_entropy: label_smoothing is {label_smoothing}",
            why="it is a fraction of the target probability",
            fix="choose a number from 0 to 1, for example 0.1",
        )
    return apply(
        CrossEntropy(
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction=reduction,
            wide=autocast_dtype(logits) is not None and logits.storage.dtype.narrow,
        ),
        logits,
        targets,
    )
