"""A BERT-style encoder: a GPT with bidirectional attention. An encoder-decoder: a GPT that reads a source.

Shapes: B sequences, S tokens of a source, T of a target or text, C = n_embd channels, nh query heads and nkv
key/value heads, each of hs = C / nh channels.
"""

from __future__ import annotations

from typing import NamedTuple

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.attention import SelfAttention
from gpt.models.gpt import GPT, Block, norm
from gpt.models.initial_weights import init_weights
from gpt.models.kv_cache import KVCache
from gpt.models.residual import Stream
from tinytensor import nn


def real_tokens(lengths: tt.Tensor, count: int) -> tt.Tensor:
    """Attention mask (B, 1, 1, T) of padded sequences with lengths (B,): True for tokens, False for padding.

    Example:
        >>> real_tokens(tt.tensor([1, 3]), 3).reshape(2, 3).tolist()
        [[True, False, False], [True, True, True]]
    """
    places = tt.arange(count, device=lengths.device)  # (T,)
    return (places < lengths.reshape(-1, 1)).reshape(-1, 1, 1, count)


class TwoWayAttention(SelfAttention):
    """Bidirectional multi-head self-attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        if config.position == "alibi" or config.sliding_window:
            raise tt.ArgumentError(
                f"TwoWayAttention: position={config.position}, sliding_window={config.sliding_window}",
                why="ALiBi and windows are defined for causal attention, and this one is bidirectional",
                fix="use position='learned' or 'rope', and sliding_window=0",
            )

    def forward(self, x_BTC: tt.Tensor, seen: tt.Tensor | None = None) -> tt.Tensor:
        """(B, T, C) → (B, T, C); attends to the tokens where `seen`, (B, 1, 1, T), is True."""
        p = self.config.dropout if self.training else 0.0
        return self.merge(tt.scaled_dot_product_attention(*self.heads(x_BTC), seen, p, enable_gqa=True))


class EncoderBlock(Block):
    """Transformer block with bidirectional attention."""

    attention = TwoWayAttention

    def forward(
        self, x_BTC: Stream, cache: KVCache | None = None, layer: int = 0, seen: tt.Tensor | None = None
    ) -> Stream:
        """(B, T, C) → (B, T, C); attends to the tokens where `seen`, (B, 1, 1, T), is True."""
        if cache is not None:
            raise tt.ArgumentError(
                "Encoder: called with a cache of keys and values",
                why="attention is bidirectional, so no state is final before the text is complete",
                fix="pass the whole text at once",
            )
        return self.through(x_BTC, (self.ln_1, self.attn, seen), (self.ln_2, self.mlp))


class Encoder(GPT):
    """BERT-style encoder: logits of the token at each position.

    Differs from: BERT, which normalizes the embeddings, has segment embeddings, and has one more layer before
        its logits.
    Source: Devlin et al. 2019, arXiv:1810.04805.
    """

    block = EncoderBlock


class Memory(NamedTuple):
    """Cross-attention keys, values and mask of one decoder layer."""

    keys: tt.Tensor  # (B, nkv, S, hs)
    values: tt.Tensor  # (B, nkv, S, hs)
    seen: tt.Tensor | None  # (B, 1, 1, S), False for padding

    def for_rows(self, count: int) -> Memory:
        """Expand a single source to `count` targets."""
        if self.keys.shape[0] == count:
            return self
        if self.keys.shape[0] > 1:
            raise tt.ShapeError(
                f"EncoderDecoder: {count} targets, but {self.keys.shape[0]} sources were encoded",
                why="each target needs its source",
                fix="encode as many sources, or one",
            )
        keys, values = [tt.expand(x, (count, *x.shape[1:])) for x in (self.keys, self.values)]
        return Memory(keys, values, self.seen)


class CrossAttention(nn.Module):
    """Multi-head cross-attention to another sequence.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        C, hs = config.n_embd, config.head_size
        self.c_q = nn.Linear(C, C, bias=config.bias)
        self.c_kv = nn.Linear(C, 2 * config.kv_heads * hs, bias=config.bias)  # keys, values
        self.c_proj = nn.Linear(C, C, bias=config.bias)
        self.q_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None
        self.k_norm = nn.RMSNorm(hs, eps=config.norm_eps) if config.qk_norm else None

    def remember(self, states_BSC: tt.Tensor, seen: tt.Tensor | None = None) -> Memory:
        """Keys and values of a source (B, S, C), computed once per source."""
        B, S, _ = states_BSC.shape
        kv = self.c_kv(states_BSC).reshape(B, S, 2, self.config.kv_heads, self.config.head_size)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, nkv, S, hs) each
        return Memory(k if self.k_norm is None else self.k_norm(k).astype(v.dtype), v, seen)

    def forward(self, x_BTC: tt.Tensor, memory: Memory) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        B, T, C = x_BTC.shape
        p = self.config.dropout if self.training else 0.0
        k, v, seen = memory.for_rows(B)
        q = self.c_q(x_BTC).reshape(B, T, self.config.n_head, self.config.head_size).transpose(1, 2)
        q = q if self.q_norm is None else self.q_norm(q).astype(k.dtype)  # (B, nh, T, hs)
        y = tt.scaled_dot_product_attention(q, k, v, seen, p, enable_gqa=True)
        merged: tt.Tensor = self.c_proj(y.permute(0, 2, 1, 3).reshape(B, T, C))
        return merged


class DecoderBlock(Block):
    """Causal self-attention, cross-attention, feed-forward, each with a residual connection."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.ln_cross = norm(config)
        self.cross = CrossAttention(config)

    def forward(
        self, x_BTC: Stream, cache: KVCache | None = None, layer: int = 0, memory: Memory | None = None
    ) -> Stream:
        """(B, T, C) → (B, T, C)."""
        attention = (self.ln_1, self.attn, cache, layer)
        return self.through(x_BTC, attention, (self.ln_cross, self.cross, memory), (self.ln_2, self.mlp))


class EncoderDecoder(GPT):
    """Encoder-decoder transformer (2017): after `read` of a source, a GPT that continues the target.

    Source, target and head share the token embedding, source and target the position embedding.

    Attributes:
        memory: cross-attention keys and values of each layer for the last sources.

    Source: Vaswani et al. 2017, arXiv:1706.03762; with its choices norm_position="post", activation="relu",
        position="sinusoidal".

    Example:
        >>> model = EncoderDecoder(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model.read(tt.tensor([[4, 3, 2, 1], [2, 1, 0, 0]]), tt.tensor([4, 2]))
        >>> model(tt.tensor([[1, 2, 3], [1, 1, 1]])).shape
        (2, 3, 5)
    """

    block = DecoderBlock

    def __init__(self, config: GPTConfig, generator: tt.Generator | None = None) -> None:
        if config.n_expert:
            raise tt.ArgumentError(
                f"EncoderDecoder: n_expert={config.n_expert}",
                why="the loss has no balance term for the experts of both stacks",
                fix="use n_expert=0",
            )
        super().__init__(config, generator)
        self.encoder = nn.ModuleList([EncoderBlock(config) for _ in range(config.n_layer)])
        if config.norm_position == "pre":
            self.ln_encoder = norm(config)
        init_weights(self, config, generator)
        self.memory: list[Memory] = []

    def read(self, source: tt.Tensor, lengths: tt.Tensor | None = None) -> None:
        """Encode sources (B, S) for all following calls; lengths (B,) without the padding at their ends."""
        seen = None if lengths is None else real_tokens(lengths, source.shape[-1])
        x_BSC = self.embed(source)
        for block in self.encoder:
            x_BSC = block(x_BSC, seen=seen)
        if self.config.norm_position == "pre":
            x_BSC = self.ln_encoder(x_BSC)
        self.memory = [block.cross.remember(x_BSC, seen) for block in self.h]

    def through(self, x_BTC: Stream, cache: KVCache | None, first: int, end: int) -> Stream:
        """Apply the blocks from `first` to before `end` to the residual stream (B, T, C)."""
        if not self.memory:
            raise tt.ArgumentError(
                "EncoderDecoder: no source was encoded",
                why="the decoder attends to a source",
                fix="call model.read(source) first",
            )
        for layer, block in list(enumerate(self.h))[first:end]:
            x_BTC = block(x_BTC, cache, layer, self.memory[layer])
        return x_BTC
