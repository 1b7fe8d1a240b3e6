"""MultiHeadAttention: scaled dot-product self-attention and cross-attention with several heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tinytensor.api as tt
from tinytensor.argument_errors import NN_ATTENTION as _NN_ATTENTION
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn import init
from tinytensor.nn.checks import check_share, check_size
from tinytensor.nn.linear import Linear
from tinytensor.nn.module import Module

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Multi-head attention: y = concatenation over heads of softmax(q k' / sqrt(D)) v, times a matrix.

    Self-attention for one input, cross-attention for keys and values from another sequence.

    Args:
        embed_dim: C, channels of input and output.
        num_heads: H; each head has D = C / H channels.
        bias: whether the four linear maps have a bias.
        dropout: probability of dropping a weight while training.
        generator: random generator for the initial weights and dropout; default: the global one.

    Shapes:
        q (B, Tq, C), k and v (B, Tk, C) → (B, Tq, C); weights, if requested, (B, H, Tq, Tk).

    Raises:
        ArgumentError: a size is not positive, or C is not a multiple of H.

    Differs from: torch.nn.MultiheadAttention, where True in a mask excludes a key, the batch is the second
        axis by default, and the weights are averaged over the heads.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; initial values of Glorot, Bengio 2010.

    Example:
        >>> attention = tt.nn.MultiHeadAttention(8, 2)
        >>> x, memory = tt.ones(1, 3, 8), tt.ones(1, 5, 8)
        >>> attention(x, causal=True).shape, attention(x, memory).shape
        ((1, 3, 8), (1, 3, 8))
        >>> y, weights = attention(x, memory, need_weights=True)
        >>> weights.shape
        (1, 2, 3, 5)
    """

    query: Linear
    key: Linear
    value: Linear
    out: Linear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        generator: tt.Generator | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim = check_size("MultiHeadAttention", "embed_dim", embed_dim)
        self.num_heads = check_size("MultiHeadAttention", "num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            fitting = [h for h in range(1, min(self.num_heads, 1000)) if self.embed_dim % h == 0]
            raise tt.ArgumentError(
                f"MultiHeadAttention: {num_heads} heads of {embed_dim} channels",
                why="each head has the same number of channels",
                fix=f"num_heads={max(fitting)}",
            )
        self.dropout = check_share("MultiHeadAttention", "dropout", dropout)
        self.generator = generator
        for name in ("query", "key", "value", "out"):
            linear = Linear(embed_dim, embed_dim, bias, generator=generator)
            init.xavier_uniform_(linear.weight, generator=generator)
            if linear.bias is not None:
                init.zeros_(linear.bias)
            setattr(self, name, linear)

    def forward(
        self,
        q: tt.Tensor,
        k: tt.Tensor | None = None,
        v: tt.Tensor | None = None,
        *,
        mask: tt.Tensor | None = None,
        causal: bool = False,
        need_weights: bool = False,
    ) -> Any:
        """Attend from q to k.

        Args:
            q: (B, Tq, C).
            k: (B, Tk, C); default q.
            v: (B, Tk, C); default k.
            mask: (Tq, Tk), or four axes that broadcast to (B, H, Tq, Tk). bool: True where a query may attend
                to a key; floating: added to the scores.
            causal: queries do not attend to later keys.
            need_weights: also return the weights.

        Returns:
            (B, Tq, C); with need_weights, a tuple of this and the weights (B, H, Tq, Tk).

        Raises:
            ShapeError: the shapes do not fit.
        """
        k = q if k is None else k
        v = k if v is None else v
        for name, x in (("q", q), ("k", k), ("v", v)):
            self._check(name, x)
        if mask is not None and mask.ndim == 3:
            raise tt.ShapeError(
                f"MultiHeadAttention: the mask has shape {mask.shape}",
                why="three axes could mean (B, Tq, Tk) or (H, Tq, Tk)",
                fix="mask[:, None] for one mask per sequence, mask[None] for one per head",
            )
        Q, K, V = self._heads(self.query(q)), self._heads(self.key(k)), self._heads(self.value(v))
        options: dict[str, Any] = {
            "mask": mask,
            "causal": causal,
            "dropout": self.dropout if self.training else 0.0,
            "generator": self.generator,
        }
        if need_weights:
            y, weights = tt.scaled_dot_product_attention(Q, K, V, **options, need_weights=True)
            return self._merged(y), weights
        return self._merged(tt.scaled_dot_product_attention(Q, K, V, **options))

    def _check(self, name: str, x: tt.Tensor) -> None:
        if x.ndim != 3 or x.shape[2] != self.embed_dim:
            raise tt.ShapeError(
                f"MultiHeadAttention: {name} has shape {x.shape}",
                why=f"it is (B, T, C) with C = {self.embed_dim}",
                fix=f"a single sequence is {name}[None]",
            )

    def _heads(self, x: tt.Tensor) -> tt.Tensor:
        """Split into heads: (B, T, C) → (B, H, T, D), a view."""
        B, T, C = x.shape
        return x.reshape(B, T, self.num_heads, C // self.num_heads).permute(0, 2, 1, 3)

    def _merged(self, y: tt.Tensor) -> Any:
        """(B, H, Tq, D) → (B, Tq, C), through the last matrix."""
        B, _, Tq, _ = y.shape
        return self.out(y.permute(0, 2, 1, 3).reshape(B, Tq, self.embed_dim))

    def extra_repr(self) -> str:
        """Heads and dropout."""
        return f"num_heads={self.num_heads}" + (f", dropout={self.dropout:g}" if self.dropout else "")


if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _NN_ATTENTION, name)
