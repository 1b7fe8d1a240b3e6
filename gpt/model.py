"""GPT: embeddings, causal self-attention, feed-forward, blocks. To be read from top to bottom.

Shapes: B sequences, T tokens, C = n_embd channels, nh heads of hs = C / nh channels, V = vocab_size.
The names of the weights are GPT-2's. The model knows nothing of training, files or text.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from tinytensor import nn

__all__ = ["GPT", "MLP", "Block", "CausalSelfAttention", "KVCache", "sinusoidal_positions"]


def sinusoidal_positions(block_size: int, n_embd: int) -> tt.Tensor:
    """Fixed position embeddings: sines and cosines of geometrically growing wavelengths.

    p[t, 2i] = sin(t / 10000^(2i/C)), p[t, 2i+1] = cos(t / 10000^(2i/C)).

    Args:
        block_size: T, number of positions.
        n_embd: C, number of channels.

    Returns:
        shape (T, C), float32.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.

    Example:
        >>> sinusoidal_positions(2, 4)[0].tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    positions = np.arange(block_size)[:, None]  # (T, 1)
    rates = np.exp(-log(10000.0) * np.arange(0, n_embd, 2) / n_embd)  # (C/2,)
    waves = np.empty((block_size, n_embd), np.float32)
    waves[:, 0::2] = np.sin(positions * rates)
    waves[:, 1::2] = np.cos(positions * rates[: n_embd // 2])
    return tt.from_numpy(waves)


class KVCache:
    """Keys and values of the tokens seen so far, per layer, in memory allocated once. For evaluation: nothing
    written here has a gradient, and attention to it drops no weights.

    Args:
        config: sizes of the model.
        batch_size: B, sequences that are continued side by side.
        device: where the model is.
        dtype: of the keys and values, in which attention computes.

    Attributes:
        length: tokens seen so far, at most `config.block_size`.

    Example:
        >>> cache = KVCache(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=4), 1)
        >>> cache.length, cache.keys[0].shape
        (0, (1, 1, 8, 4))
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        device: tt.Device | str = "cpu",
        dtype: tt.DType = tt.float32,
    ) -> None:
        shape = (batch_size, config.n_head, config.block_size, config.head_size)  # (B, nh, T, hs)
        self.keys = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.values = [tt.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.length = 0
        self._start = tt.zeros(1, dtype=tt.int64, device=device)  # position of the first new token
        self._steps = tt.arange(config.block_size, device=device)

    def claim(self, count: int) -> tt.Tensor:
        """Take the next places for `count` new tokens: their positions (T,). A captured step takes them at
        each replay.
        """

        def take() -> None:
            check_context(self.length + count, len(self._steps))
            self._start.copy_(self.length)
            self.length += count

        tt.before_replay(take)
        return self._start + self._steps[:count]

    def attend(self, layer: int, qkv: tt.Tensor) -> tt.Tensor:
        """Keep the keys and values of the new tokens, (B, T, 3C), and attend to all: (B, T, C)."""
        return tt.cached_self_attention(qkv, self.keys[layer], self.values[layer], self._start)


def check_context(count: int, block_size: int) -> None:
    """ShapeError if so many tokens have no positions."""
    if count > block_size:
        raise tt.ShapeError(
            f"GPT: {count} tokens are longer than the context of {block_size}",
            why=f"there are {block_size} position embeddings",
            fix="pass the last tokens only: idx[:, -model.config.block_size:]",
        )


class CausalSelfAttention(nn.Module):
    """Each token gathers values from itself and the tokens before it, in several heads.

    Args:
        config: sizes, bias and dropout.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> CausalSelfAttention(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)  # queries, keys, values
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def heads(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor, tt.Tensor]:
        """Queries, keys and values of each head: three views, each (B, nh, T, hs), of one product."""
        B, T, C = x_BTC.shape
        qkv = self.c_attn(x_BTC).reshape(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, nh, T, hs)
        return q, k, v

    def forward(self, x_BTC: tt.Tensor, cache: KVCache | None = None, layer: int = 0) -> tt.Tensor:
        """(B, T, C) → (B, T, C); with a cache, also looks at the tokens in it."""
        p = self.dropout if self.training else 0.0
        qkv = self.c_attn(x_BTC)  # (B, T, 3C)
        if cache is None:
            y = tt.causal_self_attention(qkv, self.n_head, dropout=p)  # (B, T, C)
        else:
            y = cache.attend(layer, qkv)  # (B, T, C)
        y = self.c_proj(y)
        return tt.dropout(y, p, training=True) if p else y

    def forward_with_weights(self, x_BTC: tt.Tensor) -> tuple[tt.Tensor, tt.Tensor]:
        """What `forward` gives in evaluation, (B, T, C), and the weights of its averages, (B, nh, T, T)."""
        q, k, v = self.heads(x_BTC)
        y, weights = tt.scaled_dot_product_attention(q, k, v, causal=True, need_weights=True)
        return self.c_proj(y.permute(0, 2, 1, 3).reshape(x_BTC.shape)), weights


class MLP(nn.Module):
    """The feed-forward part: each token by itself, through 4 C hidden neurons.

    Args:
        config: sizes, activation, bias and dropout.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> MLP(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.dropout = config.dropout
        C, bias = config.n_embd, config.bias
        formula = "tanh" if self.activation == "gelu" else "none"
        self.c_fc: nn.Linear = (
            nn.Linear(C, 4 * C, bias=bias)
            if self.activation == "relu"
            else nn.LinearGelu(C, 4 * C, bias=bias, approximate=formula)
        )
        self.c_proj = nn.Linear(4 * C, C, bias=bias)

    def forward(self, x_BTC: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        h = self.c_fc(x_BTC)  # (B, T, 4C)
        y = self.c_proj(tt.relu(h) if self.activation == "relu" else h)
        return tt.dropout(y, self.dropout, training=True) if self.training and self.dropout else y


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream.

    Layer norm stands before each part (GPT-2: gradients flow through the sums unchanged), or after each sum
    (the 2017 transformer).

    Args:
        config: sizes and variants.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> Block(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm_position == "pre"
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x_BTC: tt.Tensor, cache: KVCache | None = None, layer: int = 0) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        if self.pre_norm:
            x_BTC = x_BTC + self.attn(self.ln_1(x_BTC), cache, layer)
            x_BTC = x_BTC + self.mlp(self.ln_2(x_BTC))
        else:
            x_BTC = self.ln_1(x_BTC + self.attn(x_BTC, cache, layer))
            x_BTC = self.ln_2(x_BTC + self.mlp(x_BTC))
        return x_BTC


class GPT(nn.Module):
    """A decoder-only transformer: token ids in, logits of the next token out.

    Args:
        config: sizes and variants.
        generator: of the initial weights; default: tinytensor's.

    Raises:
        ArgumentError: the vocabulary is not settled yet (vocab_size is 0).

    Source: Radford et al. 2019 (GPT-2), section 2.3; the released code for initial weights.

    Example:
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model(tt.tensor([[1, 2, 3]])).shape
        (1, 3, 5)
    """

    def __init__(self, config: GPTConfig, generator: tt.Generator | None = None) -> None:
        super().__init__()
        if config.vocab_size == 0:
            raise tt.ArgumentError(
                "GPT: vocab_size is 0",
                why="the tokenizer decides it when training begins",
                fix="use config.with_vocab_size(tokenizer.vocab_size)",
            )
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        else:
            waves = sinusoidal_positions(config.block_size, config.n_embd)
            self.register_buffer("positions", waves, persistent=False)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        if config.norm_position == "pre":  # after the last sum; a post-norm block ends with one already
            self.ln_f = nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)
        if not config.tied_head:
            self.lm_head = nn.Embedding(config.vocab_size, config.n_embd)  # (V, C), used as a matrix
        self.checkpoint_blocks = 0  # so many in a row are computed again in backward instead of kept; 0: none
        self.init_weights(generator)

    def init_weights(self, generator: tt.Generator | None = None) -> None:
        """Normal with deviation 0.02; smaller where 2 n_layer sums would let the residual stream grow; biases
        0.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                std = 0.02 / sqrt(2 * self.config.n_layer) if name.endswith("c_proj.weight") else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    @property
    def device(self) -> tt.Device:
        """Where the weights are; token ids must be there, too."""
        return self.wte.weight.device

    def embed(self, idx: tt.Tensor, cache: KVCache | None = None) -> tt.Tensor:
        """Token plus position embeddings (B, T, C) of ids (B, T), which come behind those in the cache."""
        if idx.ndim != 2:
            raise tt.ShapeError(
                f"GPT: ids of shape {idx.shape}",
                why="they come as (B, T): sequences of tokens",
                fix="a single sequence is ids.reshape(1, -1)",
            )
        table = self.wpe.weight if self.config.position == "learned" else self.positions  # (block_size, C)
        if cache is None:
            check_context(idx.shape[1], self.config.block_size)
            places = table[: idx.shape[1]]  # (T, C)
        else:
            places = tt.embedding(table, cache.claim(idx.shape[1]))  # (T, C)
        x_BTC: tt.Tensor = self.wte(idx) + places
        if self.training and self.config.dropout:
            x_BTC = tt.dropout(x_BTC, self.config.dropout, training=True)
        return x_BTC

    def head(self, x_BTC: tt.Tensor) -> tt.Tensor:
        """Logits (B, T, V) of the residual stream (B, T, C)."""
        if self.config.norm_position == "pre":
            x_BTC = self.ln_f(x_BTC)
        weight = self.wte.weight if self.config.tied_head else self.lm_head.weight  # (V, C)
        return tt.linear(x_BTC, weight, transposed=True)

    def forward(self, idx: tt.Tensor, cache: KVCache | None = None, *, last_only: bool = False) -> tt.Tensor:
        """Logits of the token after each position.

        Args:
            idx: token ids (B, T), integers below vocab_size.
            cache: keys and values of the tokens before idx; gets those of idx.
            last_only: only the last position's logits, (B, 1, V): all that generation needs.

        Returns:
            shape (B, T, V).

        Raises:
            ShapeError: idx is not (B, T), or longer than the context.
            IndexRangeError: an id is not in the vocabulary.
        """
        x_BTC = self.embed(idx, cache)
        together, L = self.checkpoint_blocks, len(self.h)
        if together and cache is None:
            for first in range(0, L, together):
                x_BTC = tt.checkpoint(self.through, x_BTC, cache, first, first + together)
        else:
            x_BTC = self.through(x_BTC, cache, 0, L)
        return self.head(x_BTC[:, -1:] if last_only else x_BTC)

    def through(self, x_BTC: tt.Tensor, cache: KVCache | None, first: int, end: int) -> tt.Tensor:
        """The residual stream (B, T, C) after the blocks from `first` to before `end`."""
        for layer, block in list(enumerate(self.h))[first:end]:
            x_BTC = block(x_BTC, cache, layer)
        return x_BTC

    def loss(self, idx: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy, in nats, of the targets (B, T) after the ids (B, T); a target of -100 is left
        out.
        """
        return tt.cross_entropy(self(idx), targets)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """For AdamW: matrices decay, biases and norms do not."""
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        others = [p for p in self.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return [g for g in groups if g["params"]]
