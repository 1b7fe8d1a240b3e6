"""Activation modules: ReLU, GELU, SiLU, Tanh, Sigmoid and Softmax."""

from __future__ import annotations

from typing import Literal

import tinytensor.api as tt
from tinytensor.nn.module import Module

__all__ = ["GELU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """max(x, 0).

    Shapes:
        x, any → the same.

    Example:
        >>> tt.nn.ReLU()(tt.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.relu(x)


class GELU(Module):
    """Gaussian error linear unit: x times the standard normal cumulative distribution function of x.

    Args:
        approximate: "tanh" (as in GPT-2) or "none", see `tt.gelu`.

    Shapes:
        x, any → the same.

    Raises:
        ArgumentError: approximate is neither of the two.

    Differs from: torch.nn.GELU, whose default is "none".
    Source: Hendrycks, Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> tt.nn.GELU()(tt.tensor([-100.0, 0.0, 100.0])).tolist()
        [0.0, 0.0, 100.0]
    """

    def __init__(self, approximate: Literal["tanh", "none"] = "tanh") -> None:
        super().__init__()
        if approximate not in ("tanh", "none"):
            raise tt.ArgumentError(
                f"GELU: approximate is {approximate!r}",
                why='it must be "tanh" or "none"',
                fix='GELU(approximate="tanh")',
            )
        self.approximate = approximate

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The approximation."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x / (1 + exp(-x)), also called swish.

    Shapes:
        x, any → the same.

    Source: Elfwing, Uchibe, Doya 2017, arXiv:1702.03118.

    Example:
        >>> tt.nn.SiLU()(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.silu(x)


class Tanh(Module):
    """Hyperbolic tangent.

    Shapes:
        x, any → the same.

    Example:
        >>> tt.nn.Tanh()(tt.tensor([0.0, 100.0])).tolist()
        [0.0, 1.0]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    Shapes:
        x, any → the same.

    Example:
        >>> tt.nn.Sigmoid()(tt.tensor([0.0, 100.0])).tolist()
        [0.5, 1.0]
    """

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.sigmoid(x)


class Softmax(Module):
    """Softmax along an axis: exp(x) / sum(exp(x)), positive values that sum to 1.

    Args:
        axis: the axis; default the last.

    Shapes:
        x, any with that axis → the same.

    Example:
        >>> tt.nn.Softmax()(tt.zeros(1, 4)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return tt.softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
