"""Causal self-attention: grouped heads, RoPE, ALiBi, sliding windows, and the KV cache.

Shapes: B sequences, T tokens, C = n_embd channels, nh query heads and nkv key/value heads, each of
hs = C / nh channels.
"""

from typing import Any

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.kv_cache import KVCache
from gpt.models.positions import Rotary, alibi_slopes
from tinytensor import nn


class SelfAttention(nn.Module):
    """Base of causal and bidirectional self-attention: projections, heads, and the attention mask."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        hs, packed = config.head_size, config.n_head + 2 * config.kv_heads
        self.c_attn = nn.Linear(config.n_embd, packed * hs, bias=config.bias)  # queries, keys, values
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.rotary = Rotary(config) if config.position == "rope" else None
        self.q_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None
        self.k_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None

    def pack(self, x_BTC: tt.Tensor, cache: KVCache | None = None) -> tt.Tensor:
        """Packed queries, keys and values, (B, T, (nh + 2 nkv) hs), after QK norm and RoPE."""
        qkv: tt.Tensor = self.c_attn(x_BTC)
        if self.q_norm is None and self.k_norm is None and self.rotary is None:
            return qkv
        B, T, _ = qkv.shape
        nh, nkv, hs = self.config.n_head, self.config.kv_heads, self.config.head_size
        qk, v = qkv.split([(nh + nkv) * hs, nkv * hs], axis=-1)
        qk = qk.reshape(B, T, nh + nkv, hs)
        if self.q_norm is not None and self.k_norm is not None:
            qk = tt.concat([self.q_norm(qk[:, :, :nh]), self.k_norm(qk[:, :, nh:])], axis=2)
        if self.rotary is not None:
            angles = self.rotary.first(T) if cache is None else cache.angles(self.rotary)
            qk = self.rotary.turn(qk, angles)
        return tt.concat([qk.reshape(B, T, (nh + nkv) * hs).to(v.dtype), v], axis=-1)

    def heads(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor, tt.Tensor]:
        """Queries (B, nh, T, hs), keys and values (B, nkv, T, hs): three views of `pack`."""
        B, T, _ = x_BTC.shape
        nh, nkv, hs = self.config.n_head, self.config.kv_heads, self.config.head_size
        every = self.pack(x_BTC).reshape(B, T, nh + 2 * nkv, hs).transpose(1, 2)
        q, k, v = every.split([nh, nkv, nkv], axis=1)
        return q, k, v

    def mask_options(self, count: int) -> dict[str, Any]:
        """Mask options of scaled_dot_product_attention for `count` tokens: none, for full attention."""
        return {}

    def merge(self, y_BHTD: tt.Tensor) -> tt.Tensor:
        """Output projection of the joined heads, (B, nh, T, hs) → (B, T, C)."""
        B, nh, T, hs = y_BHTD.shape
        y: tt.Tensor = self.c_proj(y_BHTD.permute(0, 2, 1, 3).reshape(B, T, nh * hs))
        return y

    def forward_with_weights(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        """Result of `forward` in evaluation mode, (B, T, C), and the attention weights, (B, nh, T, T)."""
        q, k, v = self.heads(x_BTC)
        options = self.mask_options(x_BTC.shape[1])
        y, weights = tt.scaled_dot_product_attention(q, k, v, **options, enable_gqa=True, need_weights=True)
        return self.merge(y), weights


class CausalSelfAttention(SelfAttention):
    """Causal multi-head self-attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        slopes = alibi_slopes(config.n_head) if config.position == "alibi" else None
        self.register_buffer("slopes", slopes, persistent=False)  # (nh,)

    def mask_options(self, count: int) -> dict[str, Any]:
        """Mask options for `count` tokens: causal, with a sliding window and ALiBi slopes."""
        return {"is_causal": True, "window": self._window(count), "slopes": self.slopes}

    def _window(self, count: int) -> int:
        """Window size, or 0 if the window covers all `count` tokens."""
        return self.config.window if count > self.config.window else 0

    def forward(self, x_BTC: tt.Tensor, cache: KVCache | None = None, layer: int = 0) -> tt.Tensor:
        """(B, T, C) → (B, T, C); with a cache, also attends to the tokens in it."""
        p = self.config.dropout if self.training else 0.0
        qkv = self.pack(x_BTC, cache)
        if cache is None:
            y = tt.causal_self_attention(
                qkv,
                self.config.n_head,
                n_kv_head=self.config.kv_heads,
                window=self._window(x_BTC.shape[1]),
                slopes=self.slopes,
                dropout=p,
            )  # (B, T, C)
        else:
            y = cache.attend(layer, qkv, self.slopes)  # (B, T, C)
        merged: tt.Tensor = self.c_proj(y)
        return merged
