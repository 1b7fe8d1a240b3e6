"""Gradient clipping by the global norm."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import tinytensor.api as tt


def clip_grad_norm_(
    parameters: tt.Tensor | Iterable[tt.Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> tt.Tensor:
    """Clip the global norm of all gradients to max_norm, in place.

    grad = grad * min(1, max_norm / (norm + 1e-6)), with the Euclidean norm of all gradients as one vector

    Args:
        max_norm: maximum norm, above 0; with infinity, the norm is only computed.
        error_if_nonfinite: raise, before anything is written, if the norm is infinite or nan. Otherwise such
            gradients become 0 and nan. The check synchronizes with a device.

    Returns:
        shape (): the norm before clipping, at least float32.

    Raises:
        GradError: no parameter has a gradient; or the norm is not finite and error_if_nonfinite is set.

    Memory: nothing of the size of a gradient.
    Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1.

    >>> w = tt.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> float(tt.optim.clip_grad_norm_([w], 1.0)), w.grad.tolist()
    (10.0, [0.6, 0.8])
    """
    grads = _gradients("clip_grad_norm_", parameters, max_norm)
    with tt.no_grad():
        norm = tt.grad_norm(grads)
        if error_if_nonfinite and not bool(tt.isfinite(norm)):
            raise tt.GradError(
                f"clip_grad_norm_: the norm of {len(grads)} gradients is {float(norm)}",
                why="a gradient has overflowed, or the loss is nan",
                fix="find its origin with tt.detect_anomaly(), or lower the learning rate",
            )
        if max_norm < inf:
            scale = _scale(norm, max_norm)
            # in host memory, reading the norm is cheaper than a pass over the gradients
            if norm.device.type != "cpu" or tt.is_capturing() or float(scale) != 1.0:
                tt.scale_all_(grads, scale)
    return norm


def clip_scale(parameters: tt.Tensor | Iterable[tt.Tensor], max_norm: float) -> tuple[tt.Tensor, tt.Tensor]:
    """Global norm of all gradients, and the factor by which `clip_grad_norm_` would multiply them.

    The gradients are not modified: `AdamW.step(scale)` applies the factor while it reads them.

    Args:
        max_norm: maximum norm, above 0; infinity gives the factor 1.

    Returns:
        (norm, factor), both of shape (), on the device of the gradients, without synchronization.

    >>> w = tt.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> [float(x) for x in tt.optim.clip_scale([w], 1.0)]
    [10.0, 0.1]
    """
    grads = _gradients("clip_scale", parameters, max_norm)
    with tt.no_grad():
        norm = tt.grad_norm(grads)
        return norm, _scale(norm, max_norm)


def _gradients(what: str, parameters: tt.Tensor | Iterable[tt.Tensor], max_norm: float) -> list[tt.Tensor]:
    """The existing gradients, detached."""
    if not max_norm > 0:
        raise tt.ArgumentError(
            f"{what}: max_norm is {max_norm}",
            why="a norm of 0 would discard all gradients",
            fix="max_norm=1.0, or math.inf to compute the norm only",
        )
    params = [parameters] if isinstance(parameters, tt.Tensor) else list(parameters)
    grads = [p.grad.detach() for p in params if p.grad is not None]
    if grads:
        return grads
    raise tt.GradError(
        f"{what}: none of {len(params)} parameters has a gradient",
        why="there is nothing to clip; an iterator is empty the second time",
        fix="call loss.backward() first, and call model.parameters() again",
    )


def _scale(norm: tt.Tensor, max_norm: float) -> tt.Tensor:
    """Clipping factor, on the device of the norm."""
    if max_norm == inf:
        return tt.ones(norm.shape, dtype=norm.dtype, device=norm.device)
    return (max_norm / (norm + 1e-6)).clip(max=1.0)
