"""Dropout of elements, and of whole channels."""

from __future__ import annotations

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn.checks import check_share
from tinytensor.nn.module import Module

__all__ = ["Dropout", "Dropout1d", "Dropout2d"]


class Dropout(Module):
    """While training, set each element to 0 with probability p and scale the others by 1 / (1 - p).

    Args:
        p: probability of dropping, in [0, 1].
        inplace: write into x.
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

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, generator: tt.Generator | None = None
    ) -> None:
        super().__init__()
        self.p = check_share(type(self).__name__, "p", p)
        self.inplace, self.generator = inplace, generator

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        y = tt.dropout(x, self.p, self.training, generator=self.generator)
        return x.copy_(y) if self.inplace and y is not x else y

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p:g}"


class Dropout1d(Dropout):
    """Dropout of whole channels of sequences: (N, C, L) → the same (Tompson et al. 2014, 1411.4280)."""

    function = staticmethod(F.dropout1d)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """The same shape, each channel whole or 0."""
        y = type(self).function(x, self.p, self.training, generator=self.generator)
        return x.copy_(y) if self.inplace and y is not x else y


class Dropout2d(Dropout1d):
    """Dropout of whole channels of images: (N, C, H, W) → the same (Tompson et al. 2014, 1411.4280)."""

    function = staticmethod(F.dropout2d)
