"""PyTorch's `nn.utils`: clipping of gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import tinytensor.api as tt
from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import NN_UTILS as _NN_UTILS
from tinytensor.optim import clip_grad_norm_

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_value_(parameters: tt.Tensor | Iterable[tt.Tensor], clip_value: float) -> None:
    """Clip each element of all gradients to [-clip_value, clip_value], in place.

    >>> w = tt.tensor([3.0, 0.5], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tt.nn.utils.clip_grad_value_([w], 2.0)
    >>> w.grad.tolist()
    [2.0, 1.0]
    """
    for p in [parameters] if isinstance(parameters, tt.Tensor) else parameters:
        if p.grad is not None:
            with tt.no_grad():
                p.grad.clip_(-clip_value, clip_value)


if not TYPE_CHECKING:
    _publish(globals(), _NN_UTILS)
