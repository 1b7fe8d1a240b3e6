"""PyTorch's Transformer of an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import inf
from typing import Any, ClassVar

import tinytensor.api as tt
from tinytensor.nn import init
from tinytensor.nn.activation import Dropout
from tinytensor.nn.attention import MultiheadAttention
from tinytensor.nn.container import ModuleList
from tinytensor.nn.linear import Linear
from tinytensor.nn.module import Module
from tinytensor.nn.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

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


class _Layer(Module):
    """Base class of both layers: attentions and a network, each added to its input, and normalized."""

    has_memory: ClassVar[bool] = False

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
        parts = 3 if self.has_memory else 2
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        if self.has_memory:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        for i in range(1, parts + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias))
        for i in range(1, parts + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.to(device, dtype)

    def _through(self, x: tt.Tensor, *attentions: Callable[[tt.Tensor], tt.Tensor]) -> tt.Tensor:
        """Through the attentions and the network."""

        def feed(x: tt.Tensor) -> Any:
            return self.linear2(self.dropout(self.activation(self.linear1(x))))

        for i, part in enumerate((*attentions, feed), 1):
            norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            x = x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))
        return x


def _attending(
    attention: MultiheadAttention, memory: tt.Tensor | None, padding: Any, mask: Any, causal: bool
) -> Callable[[tt.Tensor], tt.Tensor]:
    """Attention to a memory, or to x itself."""

    def attend(x: tt.Tensor) -> tt.Tensor:
        to = x if memory is None else memory
        return attention(x, to, to, padding, need_weights=False, attn_mask=mask, is_causal=causal)[0]  # type: ignore[no-any-return]

    return attend


class TransformerEncoderLayer(_Layer):
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

    def forward(
        self,
        src: tt.Tensor,
        src_mask: tt.Tensor | None = None,
        src_key_padding_mask: tt.Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        """The same shape; masks as in MultiheadAttention."""
        return self._through(src, _attending(self.self_attn, None, src_key_padding_mask, src_mask, is_causal))


class TransformerDecoderLayer(_Layer):
    """A TransformerEncoderLayer, of the same arguments, that attends to a memory after itself.

    Shapes:
        tgt (T, N, C) and memory (S, N, C), or both without N → the shape of tgt.

    >>> tt.nn.TransformerDecoderLayer(8, 2, 16)(tt.ones(3, 1, 8), tt.ones(5, 1, 8)).shape
    (3, 1, 8)
    """

    has_memory = True

    def forward(
        self,
        tgt: tt.Tensor,
        memory: tt.Tensor,
        tgt_mask: tt.Tensor | None = None,
        memory_mask: tt.Tensor | None = None,
        tgt_key_padding_mask: tt.Tensor | None = None,
        memory_key_padding_mask: tt.Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """The shape of tgt; masks as in MultiheadAttention."""
        own = _attending(self.self_attn, None, tgt_key_padding_mask, tgt_mask, tgt_is_causal)
        other = (self.multihead_attn, memory, memory_key_padding_mask, memory_mask, memory_is_causal)
        return self._through(tgt, own, _attending(*other))


class _Copies(Module):
    """Base class: copies of a layer, with its weights, one after the other, and a norm at the end."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([deepcopy(layer) for _ in range(num_layers)])
        self.norm = norm

    def _through(self, x: tt.Tensor, *others: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *others)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Copies):
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
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: tt.Tensor,
        mask: tt.Tensor | None = None,
        src_key_padding_mask: tt.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Any:
        """The same shape; masks as in MultiheadAttention."""
        return self._through(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Copies):
    """Copies of a layer, one after the other, each of which attends to the same memory.

    Shapes:
        tgt (T, N, C), memory (S, N, C) → the shape of tgt.

    >>> layer = tt.nn.TransformerDecoderLayer(8, 2, 16)
    >>> tt.nn.TransformerDecoder(layer, 3)(tt.ones(3, 1, 8), tt.ones(5, 1, 8)).shape
    (3, 1, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: tt.Tensor,
        memory: tt.Tensor,
        tgt_mask: tt.Tensor | None = None,
        memory_mask: tt.Tensor | None = None,
        tgt_key_padding_mask: tt.Tensor | None = None,
        memory_key_padding_mask: tt.Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """The shape of tgt; masks as in MultiheadAttention."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self._through(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)


class Transformer(Module):
    """An encoder, and a decoder that attends to its result.

    Shapes:
        src (S, N, C), tgt (T, N, C), or both without N → the shape of tgt.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    >>> model = tt.nn.Transformer(8, 2, 1, 1, 16)
    >>> mask = tt.nn.Transformer.generate_square_subsequent_mask(3)
    >>> model(tt.ones(5, 1, 8), tt.ones(3, 1, 8), tgt_mask=mask).shape
    (3, 1, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes: Any = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        sizes = (*sizes, batch_first, norm_first, bias)
        norms = [LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(2)]
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*sizes), num_encoder_layers, norms[0]
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*sizes), num_decoder_layers, norms[1]
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)
        self.to(device, dtype)

    def forward(
        self,
        src: tt.Tensor,
        tgt: tt.Tensor,
        src_mask: tt.Tensor | None = None,
        tgt_mask: tt.Tensor | None = None,
        memory_mask: tt.Tensor | None = None,
        src_key_padding_mask: tt.Tensor | None = None,
        tgt_key_padding_mask: tt.Tensor | None = None,
        memory_key_padding_mask: tt.Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """The shape of tgt; masks as in MultiheadAttention."""
        batch = 0 if self.batch_first else 1
        batches = [x.shape[batch] for x in (src, tgt) if x.ndim == 3]
        if src.ndim != tgt.ndim or len(set(batches)) > 1 or {src.shape[-1], tgt.shape[-1]} != {self.d_model}:
            raise tt.ShapeError(
                f"Transformer: src has shape {src.shape}, tgt {tgt.shape}",
                why=f"both have the same batch, on axis {batch}, and {self.d_model} channels",
                fix="src (S, N, C), tgt (T, N, C); with batch_first=True (N, S, C) and (N, T, C)",
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        padding = (tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, *padding, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> tt.Tensor:
        """(sz, sz), to be added to scores: -inf for later keys, else 0.

        >>> tt.nn.Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        later = tt.triu(tt.ones(sz, sz, dtype=tt.bool, device=device), 1)
        return tt.where(later, -inf, 0.0).astype(tt.float32 if dtype is None else dtype)
