"""Linear layers side by side, for weights that are packed in different kinds."""

from collections.abc import Sequence

import tinytensor as tt
from tinytensor import nn


class ConcatLinear(nn.Module):
    """Linear layers of one input, whose results are joined: queries, keys and values that are packed in
    different kinds.
    """

    bias: tt.Tensor | None

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(layers)
        self.register_parameter("bias", None)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., K) → (..., sum of the layers' N)."""
        y = tt.concat([layer(x) for layer in self.parts], axis=-1)
        return y if self.bias is None else y + self.bias
