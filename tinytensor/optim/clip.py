"""Clipping of gradients by their norm."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import tinytensor as tt

from .optimizer import move

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(
    parameters: tt.Tensor | Iterable[tt.Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> tt.Tensor:
    """Scale all gradients together, in place, so that their norm is at most max_norm.

    grad = grad * min(1, max_norm / (norm + 1e-6)), with the Euclidean norm of all gradients as one vector

    Args:
        parameters: a tensor or tensors; those without a gradient are left out.
        max_norm: the highest norm, above 0; infinity only measures.
        error_if_nonfinite: raise, before anything is written, if the norm is infinite or nan. Otherwise such
            gradients become 0 and nan.

    Returns:
        shape (): the norm before clipping, at least float32.

    Raises:
        ArgumentError: max_norm is not positive.
        GradError: no parameter has a gradient; or the norm is not finite, and error_if_nonfinite is set.

    Memory: nothing of the size of a gradient.
    Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1.

    Example:
        >>> w = tt.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> float(tt.optim.clip_grad_norm_([w], 1.0)), w.grad.tolist()
        (10.0, [0.6, 0.8])
    """
    if not max_norm > 0:
        raise tt.ArgumentError(
            f"clip_grad_norm_: max_norm is {max_norm}",
            why="a norm of 0 would throw all gradients away",
            fix="max_norm=1.0, or math.inf to measure only",
        )
    params = [parameters] if isinstance(parameters, tt.Tensor) else list(parameters)
    grads = [p.grad.detach() for p in params if p.grad is not None]
    if not grads:
        raise tt.GradError(
            f"clip_grad_norm_: none of {len(params)} parameters has a gradient",
            why="there is nothing to measure; an iterator is empty the second time",
            fix="call loss.backward() first, and pass model.parameters() anew",
        )
    with tt.no_grad():
        norm = tt.grad_norm(grads)
        if error_if_nonfinite and not bool(tt.isfinite(norm)):
            raise tt.GradError(
                f"clip_grad_norm_: the norm of {len(grads)} gradients is {float(norm)}",
                why="a gradient has overflowed, or the loss is nan",
                fix="look for its origin with tt.detect_anomaly(), or lower the learning rate",
            )
        if max_norm < inf:
            scale = (max_norm / (norm + 1e-6)).clip(max=1.0)  # stays where the gradients are
            if norm.device.type == "cpu" and float(scale) == 1.0:
                return norm  # in host memory a look at the number costs less than a pass over the gradients
            for grad in grads:
                move(grad, formula=lambda G: G.mul_(scale))
    return norm
