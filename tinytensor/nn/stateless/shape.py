"""Modules that change shapes, and the cosine of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn.module import Module
from tinytensor.nn.stateless.base import Stateless

__all__ = [
    "CosineSimilarity",
    "Flatten",
    "Identity",
    "Unflatten",
    "Unfold",
]

Numbers = int | Sequence[int]


class Identity(Module):
    """The input as it is; all arguments are ignored, as they are in PyTorch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """x → x."""
        return x


class Flatten(Stateless):
    """Axes start_dim to end_dim made one; by default all but the first, as between convolutions and a Linear.

    Example:
        >>> tt.nn.Flatten()(tt.ones(2, 3, 4)).shape
        (2, 12)
    """

    start_dim: int = 1
    end_dim: int = -1
    function = staticmethod(tt.flatten)


class Unflatten(Stateless):
    """One axis split into several.

    Example:
        >>> tt.nn.Unflatten(1, (3, 4))(tt.ones(2, 12)).shape
        (2, 3, 4)
    """

    dim: int
    unflattened_size: Sequence[int]

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., N, ...) → (..., *unflattened_size, ...)."""
        return tt.unflatten(x, self.dim, self.unflattened_size)


class Unfold(Stateless):
    """Windows of images as columns: (N, C, H, W) → (N, C * kh * kw, number of windows)."""

    kernel_size: Numbers
    dilation: Numbers = 1
    padding: Numbers = 0
    stride: Numbers = 1
    function = staticmethod(F.unfold)


class CosineSimilarity(Stateless):
    """Cosine of the angle between x1 and x2 along dim, which is reduced."""

    dim: int = 1
    eps: float = 1e-8
    function = staticmethod(F.cosine_similarity)
