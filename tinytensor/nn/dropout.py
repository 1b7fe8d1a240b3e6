"""Dropout."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.nn.checks import check_share
from tinytensor.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """While training, set each element to 0 with probability p and scale the others by 1 / (1 - p).

    Args:
        p: probability of dropping, in [0, 1].
        generator: random generator; default: the global one.

    Shapes:
        x, any → the same; x itself in evaluation.

    Raises:
        ArgumentError: p is outside [0, 1].

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way to prevent
        neural networks from overfitting"; scaled while training, so that evaluation changes nothing.

    Example:
        >>> layer = tt.nn.Dropout(0.5)
        >>> x = tt.ones(4)
        >>> layer.eval()(x) is x
        True
        >>> layer
        Dropout(p=0.5)
    """

    def __init__(self, p: float = 0.5, *, generator: tt.Generator | None = None) -> None:
        super().__init__()
        self.p = check_share("Dropout", "p", p)
        self.generator = generator

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.dropout(x, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p:g}"
