"""Normalization modules over the last axis: LayerNorm and RMSNorm."""

from __future__ import annotations

import tinytensor.api as tt
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(Module):
    """Layer normalization over the last axis, with a learned scale and shift.

    y = (x - mean) / sqrt(variance + eps) * weight + bias

    Args:
        features: C, size of the last axis.
        eps: added to the variance.
        bias: whether to add a bias; False as in nanoGPT's bias-free GPT.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1, bias (C,), initially 0.

    Raises:
        ArgumentError: features is not positive.

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

    Example:
        >>> tt.nn.LayerNorm(2)(tt.tensor([[1.0, 3.0]])).tolist()
        [[-1.0, 1.0]]
        >>> tt.nn.LayerNorm(4, bias=False)
        LayerNorm(eps=1e-05; weight (4,))  # 4 parameters
    """

    weight: tt.Tensor
    bias: tt.Tensor | None

    def __init__(self, features: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = Parameter(tt.ones(check_size("LayerNorm", "features", features)))
        self.register_parameter("bias", Parameter(tt.zeros(features)) if bias else None)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., C) → (..., C)."""
        return tt.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """The eps."""
        return f"eps={self.eps:g}"


class RMSNorm(Module):
    """Root mean square normalization over the last axis, with a learned scale.

    y = x / sqrt(mean(x²) + eps) * weight

    Args:
        features: C, size of the last axis.
        eps: added to the mean square.

    Shapes:
        x (..., C) → (..., C); weight (C,), initially 1.

    Raises:
        ArgumentError: features is not positive.

    Source: Zhang, Sennrich 2019, arXiv:1910.07467.

    Example:
        >>> tt.nn.RMSNorm(2)(tt.tensor([3.0, -3.0])).tolist()
        [1.0, -1.0]
    """

    weight: tt.Tensor

    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = Parameter(tt.ones(check_size("RMSNorm", "features", features)))

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., C) → (..., C)."""
        return tt.rms_norm(x, self.weight, eps=self.eps)

    def extra_repr(self) -> str:
        """The eps."""
        return f"eps={self.eps:g}"
