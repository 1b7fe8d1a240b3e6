"""The loss of sequences whose alignment is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tinytensor.api as tt
from tinytensor.api import Tensor
from tinytensor.nn.functional.common import reduced

__all__ = ["ctc_loss"]

IMPOSSIBLE = -1e30  # a log-probability in place of -inf, whose differences are nan


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of the targets, summed over all their alignments with the steps of the input.

    In an alignment each step has a label or is blank; labels that follow each other and are equal are one,
    unless a blank is between them.

    Args:
        log_probs: log-probabilities of C labels at T steps, (T, N, C), or (T, C) for one sequence; floating.
        targets: labels (N, S), or (S,), or those of all sequences one after the other: (sum of the lengths,).
        input_lengths, target_lengths: numbers of steps and of labels of each sequence, (N,) or ().
        blank: the label that stands for none.
        reduction: "mean" (each loss over its number of labels, then the mean), "sum" or "none", (N,).
        zero_infinity: whether the loss of a target that is too long for its input is 0, not inf. It has no
            gradient.

    Raises:
        ShapeError: the shapes or the lengths do not fit.
        IndexRangeError: blank or a target is not a label.

    Differs from: torch.nn.functional.ctc_loss, whose gradient in log_probs is the one in logits, of which
        they are the log_softmax; the gradients in those logits are equal. Of a target that is too long for
        its input the loss is inf and the gradient 0, there nan: look at the loss, the weights do not show it.
    Source: Graves et al. 2006, Connectionist Temporal Classification.

    Example:
        >>> one_of_two = tt.log(tt.full((2, 2), 0.5))  # the target (1,) has the alignments 11, 01 and 10
        >>> tt.exp(-tt.nn.functional.ctc_loss(one_of_two, tt.tensor([1]), [2], [1])).item()
        0.75
    """
    x = log_probs.unsqueeze(1) if log_probs.ndim == 2 else log_probs  # (T, N, C)
    x = tt.clip(x.float() if x.dtype.itemsize == 2 else x, min=IMPOSSIBLE)
    steps, sizes = [_lengths(n, x) for n in (input_lengths, target_lengths)]
    _check(x, targets, steps, sizes, blank)
    labels = _with_blanks(targets, sizes, blank)  # (N, L), L = 2 * S + 1
    scores = tt.take_along_axis(x, labels.unsqueeze(0).expand(x.shape[0], *labels.shape), 2)  # (T, N, L)
    never = tt.full((labels.shape[0], 2), IMPOSSIBLE, dtype=x.dtype, device=x.device)
    jumps = (labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank)  # past a blank between two labels
    jumps = tt.cat([never > 0, jumps], 1)[:, : labels.shape[1]]
    before = tt.cat([tt.zeros_like(never[:, :1]), tt.full_like(scores[0, :, 1:], IMPOSSIBLE)], 1)
    for step in range(x.shape[0]):  # before: the probability to be at each of L places
        ways = [before, tt.cat([never[:, :1], before[:, :-1]], 1)]
        if step:
            ways.append(tt.where(jumps, tt.cat([never, before[:, :-2]], 1)[:, : labels.shape[1]], IMPOSSIBLE))
        after = tt.logsumexp(tt.stack(ways), 0) + scores[step]
        before = tt.where((steps > step).unsqueeze(1), after, before)
    ends = tt.stack([2 * sizes, tt.clip(2 * sizes - 1, min=0)], 1)  # the last label, with or without a blank
    found = tt.take_along_axis(before, ends, 1)
    found = tt.where((ends > 0) | (tt.arange(2, device=x.device) == 0), found, IMPOSSIBLE)
    losses = -tt.logsumexp(found, 1)
    losses = tt.where(losses > -IMPOSSIBLE / 2, 0.0 if zero_infinity else math.inf, losses)
    if reduction == "mean":
        losses = losses / tt.clip(sizes, min=1).astype(losses.dtype)
    return reduced(
        "ctc_loss", losses[0] if log_probs.ndim == 2 and reduction == "none" else losses, reduction
    )


def _lengths(given: Tensor | Sequence[int], like: Tensor) -> Tensor:
    """One number for each sequence, (N,), int64."""
    return tt.asarray(given, dtype=tt.int64).to(like.device).reshape(-1)


def _check(x: Tensor, targets: Tensor, steps: Tensor, sizes: Tensor, blank: int) -> None:
    """The errors of ctc_loss."""
    t, n, c = x.shape
    if not 0 <= blank < c:
        raise tt.IndexRangeError(
            f"ctc_loss: blank {blank} of {c} labels", why=f"labels are 0 to {c - 1}", fix="blank=0"
        )
    room = targets.shape[-1] if targets.ndim == 2 or n == 1 else int(sizes.sum())
    most = [int(lengths.max()) if lengths.size else 0 for lengths in (steps, sizes)]
    least = min([int(lengths.min()) if lengths.size else 0 for lengths in (steps, sizes)])
    fits = targets.shape[0] == n if targets.ndim == 2 else targets.ndim == 1 and room <= targets.size
    if steps.shape != (n,) or sizes.shape != (n,) or not fits or most[0] > t or most[1] > room or least < 0:
        raise tt.ShapeError(
            f"ctc_loss: lengths {steps.tolist()} and {sizes.tolist()} for log_probs of shape {x.shape} and "
            f"targets of shape {targets.shape}",
            why="each of N sequences has at most T steps, and at most as many labels as targets has for it",
            fix="log_probs (T, N, C), targets (N, S), input_lengths (N,), target_lengths (N,)",
        )


def _with_blanks(targets: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """The labels of each sequence with blanks around them, and blanks beyond its length: (N, 2 * S + 1)."""
    if targets.ndim == 1:
        at = (tt.cumulative_sum(sizes) - sizes).unsqueeze(1) + tt.arange(
            int(sizes.max()), device=sizes.device
        )
        targets = targets[tt.clip(at, max=max(targets.size - 1, 0))] if at.size else at
    targets = targets.to(sizes.device).astype(tt.int64)
    is_label = tt.arange(targets.shape[1], device=sizes.device) < sizes.unsqueeze(1)
    targets = tt.where(is_label, targets, blank)
    pairs = tt.stack([tt.full_like(targets, blank), targets], 2)
    return tt.cat([pairs.flatten(1), tt.full_like(sizes, blank).unsqueeze(1)], 1)
