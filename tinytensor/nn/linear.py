"""Linear, LinearGelu, which fuses it with GELU, and Bilinear; PReLU, an activation with a weight."""

from __future__ import annotations

from math import sqrt
from typing import Any

import tinytensor.api as tt
import tinytensor.nn.functional as F
from tinytensor.nn import init
from tinytensor.nn.checks import check_size
from tinytensor.nn.module import Module
from tinytensor.nn.parameter import Parameter

__all__ = ["Bilinear", "Linear", "LinearGelu", "PReLU"]


class Linear(Module):
    """Affine map of the last axis: y = x @ weight + bias.

    The weight is stored as (in, out), as GPT-2's Conv1D does, so the product needs no transpose.

    Args:
        in_features: K, size of the last axis of the input.
        out_features: N, size of the last axis of the output.
        bias: whether to add a bias.
        device, dtype: of the weights; default the CPU and float32.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        x (..., K) → (..., N); weight (K, N), bias (N,).

    Raises:
        ArgumentError: a size is not positive.

    Differs from: torch.nn.Linear, whose weight is (out, in); transpose weights loaded from there.
    Source: initial values from U(-1/sqrt(K), 1/sqrt(K)), as LeCun et al. 1998, "Efficient BackProp", 4.6.

    Example:
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
        return tt.linear(x, self.weight, self.bias)


class LinearGelu(Linear):
    """Fused affine map and GELU: y = gelu(x @ weight + bias), as in the MLP of GPT-2.

    Args:
        in_features: K, size of the last axis of the input.
        out_features: N, size of the last axis of the output.
        bias: whether to add a bias.
        device, dtype: of the weights; default the CPU and float32.
        approximate: "tanh" or "none", the formula of `tt.gelu`.
        generator: random generator for the initial weights, which are those of Linear.

    Shapes:
        x (..., K) → (..., N); weight (K, N), bias (N,).

    Raises:
        ArgumentError: a size is not positive; on call: approximate is invalid.

    Example:
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


class Bilinear(Module):
    """y = x1' A x2 + bias, with a matrix A for each output.

    Args:
        in1_features: K1, size of the last axis of x1.
        in2_features: K2, size of the last axis of x2.
        out_features: N, size of the last axis of the output.
        bias: whether to add a bias.
        device, dtype: of the weights; default the CPU and float32.
        generator: random generator for the initial weights; default: the global one.

    Shapes:
        x1 (..., K1), x2 (..., K2) → (..., N); weight (N, K1, K2), bias (N,), initially from
        U(-1/sqrt(K1), 1/sqrt(K1)).

    Raises:
        ArgumentError: a size is not positive.

    Example:
        >>> tt.nn.Bilinear(2, 3, 4)(tt.ones(5, 2), tt.ones(5, 3)).shape
        (5, 4)
    """

    weight: tt.Tensor
    bias: tt.Tensor | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {"out_features": out_features, "in1_features": in1_features, "in2_features": in2_features}
        shape = [check_size("Bilinear", name, size) for name, size in sizes.items()]
        bound = 1 / sqrt(in1_features)
        self.weight = Parameter(init.uniform_(tt.empty(shape), -bound, bound, generator))
        self.register_parameter("bias", None)
        if bias:
            self.bias = Parameter(init.uniform_(tt.empty(out_features), -bound, bound, generator))
        self.to(device, dtype)

    def forward(self, x1: tt.Tensor, x2: tt.Tensor) -> tt.Tensor:
        """(..., K1) and (..., K2) → (..., N)."""
        return F.bilinear(x1, x2, self.weight, self.bias)


class PReLU(Module):
    """x where it is positive, else weight * x.

    Args:
        num_parameters: 1, or the number of channels, on axis 1.
        init: the initial weight.
        device, dtype: of the weight; default the CPU and float32.

    Shapes:
        x, any → the same; weight (num_parameters,).

    Raises:
        ArgumentError: num_parameters is not positive.

    Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852.

    Example:
        >>> tt.nn.PReLU()(tt.tensor([-1.0, 2.0])).tolist()
        [-0.25, 2.0]
    """

    weight: tt.Tensor

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.weight = Parameter(tt.full((check_size("PReLU", "num_parameters", num_parameters),), init))
        self.to(device, dtype)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """Any shape → the same."""
        return F.prelu(x, self.weight)
