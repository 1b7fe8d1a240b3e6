"""Feed-forward layer of a block.

Shapes: B sequences, T tokens, C = n_embd channels, F = n_inner hidden units.
"""

from typing import assert_never

import tinytensor as tt
from gpt.config import Activation, GPTConfig
from tinytensor import nn


def activate(h: tt.Tensor, activation: Activation) -> tt.Tensor:
    """Apply an activation by its name in GPTConfig; for swiglu the silu of the gate."""
    match activation:
        case "gelu" | "gelu_erf":
            return tt.gelu(h, approximate="tanh" if activation == "gelu" else "none")
        case "relu":
            return tt.relu(h)
        case "relu2":
            h = tt.relu(h)
            return h * h
        case "swiglu":
            return tt.silu(h)
        case _:
            assert_never(activation)


class MLP(nn.Module):
    """Feed-forward layer: y = activation(x W_1 + b_1) W_2 + b_2; swiglu: (silu(x W_g) * (x W_1)) W_2.

    Source: swiglu: Shazeer 2020, arXiv:2002.05202; relu2: So et al. 2021, arXiv:2109.08668.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = config.activation
        C, F, bias = config.n_embd, config.inner_size, config.bias
        self.fused = config.activation in ("gelu", "gelu_erf")  # product and activation in one op
        formula = "tanh" if config.activation == "gelu" else "none"
        self.c_fc: nn.Linear = (
            nn.LinearGelu(C, F, bias=bias, approximate=formula) if self.fused else nn.Linear(C, F, bias=bias)
        )
        self.c_gate = nn.Linear(C, F, bias=bias) if config.gated else None
        self.c_proj = nn.Linear(F, C, bias=bias)

    def forward(self, x_BTC: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        h: tt.Tensor = self.c_fc(x_BTC)  # (B, T, F)
        if self.c_gate is not None:
            h = activate(self.c_gate(x_BTC), self.activation) * h
        elif not self.fused:
            h = activate(h, self.activation)
        y: tt.Tensor = self.c_proj(h)
        return y
