"""Linear, and LinearGelu, which fuses it with GELU."""

from __future__ import annotations

from math import sqrt
from typing import Any

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.module import Module, Parameter, check_size


class Linear(Module):
    """Affine map of the last axis: y = x @ weight + bias.

    The weight is stored as (in, out), as GPT-2's Conv1D does, so the product needs no transpose.

    Shapes:
        x (..., K) → (..., N); weight (K, N), bias (N,).

    Differs from: torch.nn.Linear, whose weight is (out, in); transpose weights loaded from there.
    Source: initial values from U(-1/sqrt(K), 1/sqrt(K)), as LeCun et al. 1998, "Efficient BackProp", 4.6.

    >>> layer = tt.nn.Linear(3, 4)
    >>> layer(tt.ones(2, 3)).shape
    (2, 4)
    >>> layer
    Linear(weight (3, 4), bias (4,))  # 16 parameters
    """

    weight: tt.Tensor
    bias: tt.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_size("Linear", "in_features", in_features)
        self.out_features = check_size("Linear", "out_features", out_features)
        bound = 1 / sqrt(in_features)
        self.weight = Parameter(tt.empty(in_features, out_features))
        init.uniform_(self.weight, -bound, bound, generator=generator)
        self.register_parameter("bias", Parameter(tt.empty(out_features)) if bias else None)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., K) → (..., N)."""
        return tt.linear(x, self.weight, self.bias, transposed=False)


class LinearGelu(Linear):
    """Fused affine map and GELU: y = gelu(x @ weight + bias), as in the MLP of GPT-2.

    Args:
        approximate: "tanh" or "none", the formula of `tt.gelu`.

    Shapes:
        x (..., K) → (..., N); weight (K, N), bias (N,).

    >>> layer = tt.nn.LinearGelu(3, 4)
    >>> layer(tt.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        approximate: str = "tanh",
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype, generator=generator)
        self.approximate = approximate

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., K) → (..., N)."""
        return tt.linear_gelu(x, self.weight, self.bias, approximate=self.approximate)
