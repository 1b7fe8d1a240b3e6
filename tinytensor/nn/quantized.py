"""QuantizedLinear and QuantizedEmbedding, whose weights stay packed in 4 to 8 bits; quantize_layers."""

from __future__ import annotations

from collections.abc import Callable

import tinytensor.api as tt
from tinytensor.nn.embedding import Embedding
from tinytensor.nn.linear import Linear, LinearGelu
from tinytensor.nn.module import Module

__all__ = ["QuantizedEmbedding", "QuantizedLinear", "quantize_layers"]


def _values(packed: tt.Tensor, kind: str) -> int:
    """Values in a packed row."""
    blocks = packed.shape[-1] // tt.QUANTIZED[kind].nbytes
    return blocks * tt.QUANTIZED[kind].values


class QuantizedLinear(Module):
    """Affine map with a packed weight: y = x @ dequantize(packed, kind).T + bias, then GELU if asked for.

    In evaluation mode activations of at most `rounded_rows` rows are rounded to 16 bits (`rounded` of
    `tt.quantized_linear`), which reads the weight packed; in training mode, and for more rows, they are not.
    The weight is a buffer, without gradient; that of x passes.

    Args:
        packed: shape (N, bytes of a row), uint8; K values in a row.
        kind: the kind that it was packed as, a key of `tt.QUANTIZED`.
        bias: shape (N,), or None.
        approximate: "tanh" or "none", the formula of a GELU behind the product; None: no GELU.
        rounded_rows: most rows whose activations are rounded.

    Shapes:
        x (..., K) → (..., N).

    >>> layer = tt.nn.QuantizedLinear.of(tt.nn.Linear(64, 4), "q8_0")
    >>> layer(tt.ones(2, 64)).shape, layer.packed.shape
    ((2, 4), (4, 68))
    """

    packed: tt.Tensor
    bias: tt.Tensor | None

    def __init__(
        self,
        packed: tt.Tensor,
        kind: str,
        bias: tt.Tensor | None = None,
        *,
        approximate: str | None = None,
        rounded_rows: int = 16,
    ) -> None:
        super().__init__()
        tt.dequantize(packed[:0], kind)  # raises unless it is of this kind
        self.kind, self.approximate, self.rounded_rows = kind, approximate, rounded_rows
        self.out_features, self.in_features = packed.shape[0], _values(packed, kind)
        self.register_buffer("packed", packed)
        self.register_parameter("bias", bias)

    @classmethod
    def of(cls, layer: Linear, kind: str) -> QuantizedLinear:
        """The packed version of a layer; a LinearGelu keeps its GELU."""
        with tt.no_grad():
            packed = tt.quantize(layer.weight.T, kind)
        approximate = layer.approximate if isinstance(layer, LinearGelu) else None
        return cls(packed, kind, layer.bias, approximate=approximate)

    def weight(self) -> tt.Tensor:
        """The unpacked matrix, (K, N) as in Linear: a new float32 tensor at each call."""
        return tt.dequantize(self.packed, self.kind).T

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(..., K) → (..., N)."""
        few = not self.training and x.size <= self.rounded_rows * self.in_features
        y = tt.quantized_linear(x, self.packed, self.kind, rounded=few)
        if self.bias is not None:
            y = y + self.bias
        return y if self.approximate is None else tt.gelu(y, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Kind and shape."""
        return f"{self.kind}, packed {tuple(self.packed.shape)}"


class QuantizedEmbedding(Module):
    """y[..., :] = dequantize(packed, kind)[indices[...], :]: a table that stays packed.

    Args:
        packed: shape (V, bytes of a row), uint8; C values in a row.
        rounded_rows: of `attend`, as in QuantizedLinear.

    Shapes:
        indices (...), integers below V → (..., C), float32.

    >>> table = tt.nn.QuantizedEmbedding.of(tt.nn.Embedding(10, 32), "q4_0")
    >>> table(tt.tensor([[1, 2]])).shape, table.attend(tt.ones(1, 32)).shape
    ((1, 2, 32), (1, 10))
    """

    packed: tt.Tensor

    def __init__(self, packed: tt.Tensor, kind: str, *, rounded_rows: int = 16) -> None:
        super().__init__()
        tt.dequantize(packed[:0], kind)  # raises unless it is of this kind
        self.kind, self.rounded_rows = kind, rounded_rows
        self.num_embeddings, self.embedding_dim = packed.shape[0], _values(packed, kind)
        self.register_buffer("packed", packed)

    @classmethod
    def of(cls, layer: Embedding, kind: str) -> QuantizedEmbedding:
        """The packed version of a layer."""
        with tt.no_grad():
            return cls(tt.quantize(layer.weight, kind), kind)

    def weight(self) -> tt.Tensor:
        """The unpacked table, (V, C): a new float32 tensor at each call."""
        return tt.dequantize(self.packed, self.kind)

    def forward(self, indices: tt.Tensor) -> tt.Tensor:
        """(...) → (..., C)."""
        return tt.quantized_embedding(indices, self.packed, self.kind)

    def attend(self, x: tt.Tensor) -> tt.Tensor:
        """Products with all rows, as a language model with tied weights has them: (..., C) → (..., V)."""
        few = not self.training and x.size <= self.rounded_rows * self.embedding_dim
        return tt.quantized_linear(x, self.packed, self.kind, rounded=few)

    def extra_repr(self) -> str:
        """Kind and shape."""
        return f"{self.kind}, packed {tuple(self.packed.shape)}"


def quantize_layers(
    module: Module, kind: str | Callable[[str, Module], str | None], *, embeddings: bool = False
) -> list[str]:
    """Replace the linear layers below a module by packed ones, in place.

    Args:
        module: changed; of its parameters, weights of the replaced layers are dropped.
        kind: a key of `tt.QUANTIZED`, or a function that gives it for a layer's name and the layer; None
            leaves the layer.

    Returns:
        The names of the replaced layers.

    Memory: packed and float weights of one layer at a time.

    >>> model = tt.nn.Sequential(tt.nn.Linear(64, 32), tt.nn.ReLU(), tt.nn.Linear(32, 2))
    >>> tt.nn.quantize_layers(model, lambda name, layer: "q8_0" if name == "0" else None)
    ['0']
    >>> model(tt.ones(3, 64)).shape
    (3, 2)
    """
    names = []
    for above, owner in list(module.named_modules()):
        for last, layer in list(owner.named_children()):
            name = f"{above}.{last}" if above else last
            new: Module
            if type(layer) in (Linear, LinearGelu) or (embeddings and type(layer) is Embedding):
                found = kind(name, layer) if callable(kind) else kind
                if found is None:
                    continue
                if isinstance(layer, Linear):
                    new = QuantizedLinear.of(layer, found)
                elif isinstance(layer, Embedding):
                    new = QuantizedEmbedding.of(layer, found)
                setattr(owner, last, new.train(layer.training))
                names.append(name)
    return names
