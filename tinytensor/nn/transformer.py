"""The encoder of a transformer, by PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import tinytensor.api as tt
from tinytensor.nn.activation import Dropout
from tinytensor.nn.attention import MultiheadAttention
from tinytensor.nn.container import ModuleList
from tinytensor.nn.linear import Linear
from tinytensor.nn.module import Module
from tinytensor.nn.normalization import LayerNorm

__all__ = ["TransformerEncoder", "TransformerEncoderLayer"]

Activation = str | Callable[[tt.Tensor], tt.Tensor]


def _activation(layer: str, given: Activation) -> Callable[[tt.Tensor], tt.Tensor]:
    """The function that an argument names, or is."""
    if not isinstance(given, str):
        return given
    named: dict[str, Callable[[tt.Tensor], tt.Tensor]] = {"relu": tt.relu, "gelu": tt.gelu}
    if given not in named:
        raise tt.ArgumentError(
            f"{layer}: activation {given!r}",
            why='it is "relu", "gelu" or a function',
            fix='activation="relu"',
        )
    return named[given]


class TransformerEncoderLayer(Module):
    """Self-attention and a network of two layers, each added to its input and normalized.

    Args:
        activation: "relu", "gelu" or a function, between the two layers.
        norm_first: whether to normalize before attention and network, as GPT-2, not after the additions.

    Shapes:
        src (T, N, C), or (T, C) → the same.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.1.

    >>> tt.nn.TransformerEncoderLayer(8, 2, 16)(tt.ones(3, 1, 8)).shape
    (3, 1, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.activation = _activation(type(self).__name__, activation)
        self.norm_first = norm_first
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.to(device, dtype)

    def forward(
        self,
        src: tt.Tensor,
        src_mask: tt.Tensor | None = None,
        src_key_padding_mask: tt.Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        """The same shape; masks as in MultiheadAttention."""

        def attend(x: tt.Tensor) -> Any:
            given: Any = {"attn_mask": src_mask, "is_causal": is_causal, "need_weights": False}
            return self.dropout1(self.self_attn(x, x, x, src_key_padding_mask, **given)[0])

        def feed(x: tt.Tensor) -> Any:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = src + attend(self.norm1(src))
            return x + feed(self.norm2(x))
        x = self.norm1(src + attend(src))
        return self.norm2(x + feed(x))


class TransformerEncoder(Module):
    """Copies of a layer, one after the other.

    Args:
        encoder_layer: which is copied with its weights.

    Shapes:
        src (T, N, C) → the same.

    >>> layer = tt.nn.TransformerEncoderLayer(8, 2, 16)
    >>> tt.nn.TransformerEncoder(layer, 3)(tt.ones(3, 1, 8)).shape
    (3, 1, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([deepcopy(encoder_layer) for _ in range(num_layers)])
        self.norm = norm

    def forward(
        self,
        src: tt.Tensor,
        mask: tt.Tensor | None = None,
        src_key_padding_mask: tt.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Any:
        """The same shape; masks as in MultiheadAttention."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)
