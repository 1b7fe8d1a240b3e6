"""PyTorch's `nn.utils`: clipping of gradients, and all parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import tinytensor.api as tt
from tinytensor.argument_errors import NN_UTILS as _NN_UTILS
from tinytensor.argument_errors import missing as _missing
from tinytensor.optim import clip_grad_norm_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


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


def parameters_to_vector(parameters: Iterable[tt.Tensor]) -> tt.Tensor:
    """All elements of the parameters in one vector, differentiable.

    >>> tt.nn.utils.parameters_to_vector(tt.nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    return tt.concat([tt.flatten(p) for p in parameters])


def vector_to_parameters(vec: tt.Tensor, parameters: Iterable[tt.Tensor]) -> None:
    """Write the elements of a vector into the parameters, in place.

    >>> w = tt.nn.Parameter(tt.zeros(2, 2))
    >>> tt.nn.utils.vector_to_parameters(tt.arange(4.0), [w])
    >>> w.tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    into = list(parameters)
    sizes = [p.size for p in into]
    if vec.shape != (sum(sizes),):
        raise tt.ShapeError(
            f"vector_to_parameters: a vector of shape {vec.shape} for {sum(sizes)} elements",
            why="each element goes to one place",
            fix="the vector of parameters_to_vector(the same parameters)",
        )
    with tt.no_grad():
        for p, part in zip(into, tt.split(vec, sizes), strict=True):
            p.copy_(part.reshape(p.shape))


if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _NN_UTILS, name)
