"""GPT model: embeddings, transformer blocks, and head. Read from top to bottom.

Shapes: B sequences, T tokens, C = n_embd channels, V = vocab_size. The layers of a block are in attention.py
and feed_forward.py, the stream between them is in residual.py. The weights have GPT-2's names. Independent of
training, files and text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any, assert_never

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.attention import CausalSelfAttention, SelfAttention
from gpt.models.experts import MixtureOfExperts
from gpt.models.feed_forward import MLP
from gpt.models.initial_weights import init_weights
from gpt.models.kv_cache import KVCache, check_context
from gpt.models.positions import sinusoidal_positions
from gpt.models.residual import Residual, Stream, residual
from tinytensor import nn

BALANCE = 0.01  # weight of the load-balancing loss in training: Switch Transformer, section 2.2


def norm(config: GPTConfig) -> nn.Module:
    """Normalization layer over the channels for a config."""
    narrow = config.norm_position == "pre"  # read by products alone; after a sum it is the residual stream
    match config.norm:
        case "rms_norm":
            return nn.RMSNorm(config.n_embd, eps=config.norm_eps, narrow=narrow)
        case "layer_norm":
            return nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias, narrow=narrow)
        case _:
            assert_never(config.norm)


class Block(nn.Module):
    """Transformer block: attention, then feed-forward, each with a residual connection.

    Normalization is before each sublayer (GPT-2: gradients flow through the sums unchanged), or after each
    sum (the 2017 transformer). Subclasses may have another `attention`.
    """

    attention: type[SelfAttention] = CausalSelfAttention

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.pre_norm, self.dropout = config.norm_position == "pre", config.dropout
        self.ln_1 = norm(config)
        self.attn = self.attention(config)
        self.ln_2 = norm(config)
        self.mlp = MixtureOfExperts(config) if config.n_expert else MLP(config)

    def forward(self, x_BTC: Stream, cache: KVCache | None = None, layer: int = 0) -> Stream:
        """(B, T, C) → (B, T, C); a Residual becomes one, a tensor a tensor."""
        return self.through(x_BTC, (self.ln_1, self.attn, cache, layer), (self.ln_2, self.mlp))

    def through(self, x_BTC: Stream, *sublayers: tuple[Any, ...]) -> Stream:
        """Apply sublayers, each with its residual connection: (norm, sublayer, more arguments of it)."""
        stream, p = residual(x_BTC), self.dropout if self.training else 0.0
        for ln, sublayer, *more in sublayers:
            if self.pre_norm:  # x + sublayer(norm(x))
                x, h = stream.normed(ln)
                stream = Residual(x, sublayer(h, *more), p)
            else:  # norm(x + sublayer(x))
                x = stream.total()
                stream = Residual(ln(Residual(x, sublayer(x, *more), p).total()))
        return stream.like(x_BTC)


class GPT(nn.Module):
    """Decoder-only transformer: token ids to next-token logits. Subclasses may have another `block`.

    Attributes:
        token_scale: factor of token embeddings: sqrt(C) with sinusoidal positions, which would dominate them
            (Vaswani et al. 2017, section 3.4); else 1.

    Source: Radford et al. 2019 (GPT-2), section 2.3; the released code for initial weights.

    Example:
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model(tt.tensor([[1, 2, 3]])).shape
        (1, 3, 5)
    """

    block: type[Block] = Block

    def __init__(self, config: GPTConfig, generator: tt.Generator | None = None) -> None:
        super().__init__()
        if config.vocab_size == 0:
            raise tt.ArgumentError(
                "GPT: vocab_size is 0",
                why="it is resolved by the tokenizer when training begins",
                fix="use config.with_vocab_size(tokenizer.vocab_size)",
            )
        self.config = config
        self.wte: Any = nn.Embedding(config.vocab_size, config.n_embd)  # or an nn.QuantizedEmbedding
        self.token_scale = sqrt(config.n_embd) if config.position == "sinusoidal" else 1.0
        match config.position:
            case "learned":
                self.wpe = nn.Embedding(config.block_size, config.n_embd)
            case "sinusoidal":
                waves = sinusoidal_positions(config.block_size, config.n_embd)
                self.register_buffer("positions", waves, persistent=False)
            case "rope" | "alibi" | "none":  # in the attention
                pass
            case _:
                assert_never(config.position)
        self.h = nn.ModuleList([self.block(config) for _ in range(config.n_layer)])
        if config.norm_position == "pre":  # a post-norm block already ends with a norm
            self.ln_f = norm(config)
        if not config.tied_head:
            self.lm_head: Any = nn.Embedding(config.vocab_size, config.n_embd)  # (V, C), used as a matrix
        self.checkpoint_blocks = 0  # activation checkpointing over groups of so many blocks; 0: off
        init_weights(self, config, generator)

    @property
    def device(self) -> tt.Device:
        """Device of the weights; token ids must be on it."""
        packed = isinstance(self.wte, nn.QuantizedEmbedding)
        device: tt.Device = (self.wte.packed if packed else self.wte.weight).device
        return device

    @property
    def dtype(self) -> tt.DType:
        """Dtype of the token embeddings, and so of keys and values; float32 if the weights are packed."""
        packed = isinstance(self.wte, nn.QuantizedEmbedding)
        dtype: tt.DType = tt.float32 if packed else self.wte.weight.dtype
        return dtype

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context in evaluation mode, without recording gradients; the mode before it is restored."""
        training = self.training
        self.eval()
        try:
            with tt.no_grad():
                yield
        finally:
            self.train(training)

    def embed(self, idx: tt.Tensor, cache: KVCache | None = None) -> tt.Tensor:
        """Token embeddings (B, T, C) of ids (B, T), which follow those in the cache; plus position
        embeddings, if the model has them.
        """
        if idx.ndim != 2:
            raise tt.ShapeError(
                f"GPT: ids of shape {idx.shape}",
                why="the shape must be (B, T): sequences of tokens",
                fix="for a single sequence pass ids.reshape(1, -1)",
            )
        x_BTC: tt.Tensor = self.wte(idx)
        if self.token_scale != 1:
            x_BTC = x_BTC * self.token_scale
        places = None if cache is None else cache.claim(idx.shape[1])  # (T,)
        if self.config.positions_end:
            learned = self.config.position == "learned"
            table = self.wpe.weight if learned else self.positions  # (block_size, C)
            if places is None:
                check_context(idx.shape[1], self.config.block_size)
                x_BTC = x_BTC + table[: idx.shape[1]]
            else:
                x_BTC = x_BTC + tt.embedding(places, table)
        if self.training and self.config.dropout:
            x_BTC = tt.dropout(x_BTC, self.config.dropout, training=True)
        return x_BTC

    def head(self, x_BTC: tt.Tensor | Residual) -> tt.Tensor:
        """Logits (B, T, V) of the residual stream (B, T, C)."""
        stream = residual(x_BTC)
        x_BTC = stream.normed(self.ln_f)[1] if self.config.norm_position == "pre" else stream.total()
        table = self.wte if self.config.tied_head else self.lm_head  # (V, C)
        packed = isinstance(table, nn.QuantizedEmbedding)
        logits: tt.Tensor = table.attend(x_BTC) if packed else tt.linear(x_BTC, table.weight)
        cap = self.config.logit_soft_cap
        return cap * tt.tanh(logits / cap) if cap else logits

    def forward(self, idx: tt.Tensor, cache: KVCache | None = None, *, last_only: bool = False) -> tt.Tensor:
        """Logits (B, T, V) of the next token at each position of ids (B, T).

        Args:
            cache: KV cache of the tokens before idx; those of idx are appended.
            last_only: only those of the last position, (B, 1, V), as generation needs.
        """
        if cache is not None and idx.ndim == 2 and len(sizes := cache.pieces(idx.shape[1])) > 1:
            found = [self(piece, cache, last_only=last_only) for piece in idx.split(sizes, 1)]
            return found[-1] if last_only else tt.concat(found, axis=1)
        stream = Residual(self.embed(idx, cache))
        together, L = self.checkpoint_blocks, len(self.h)
        if together and cache is None:
            for first in range(0, L, together):
                x_BTC = tt.checkpoint(self.through, stream.total(), cache, first, first + together)
                stream = Residual(x_BTC)
        else:
            stream = self.through(stream, cache, 0, L)
        return self.head(stream.total()[:, -1:] if last_only else stream)

    def through(self, x_BTC: Stream, cache: KVCache | None, first: int, end: int) -> Stream:
        """Apply the blocks from `first` to before `end` to the residual stream (B, T, C)."""
        for layer, block in list(enumerate(self.h))[first:end]:
            x_BTC = block(x_BTC, cache, layer)
        return x_BTC

    def loss(self, idx: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy, in nats, of targets (B, T) given ids (B, T); targets of -100 are ignored. In
        training mode, plus the load-balancing loss of experts.
        """
        loss = tt.cross_entropy(self(idx).flatten(0, 1), targets.flatten())
        balance = self.balance() if self.training else None
        # Backward begins with the last term, and so comes to each balance with its block: checkpoints
        # recompute one group of blocks at a time.
        return loss if balance is None else BALANCE * balance + loss

    def balance(self) -> tt.Tensor | None:
        """Mean `MixtureOfExperts.balance` over the layers in the last call: 1 for uniform use of experts."""
        parts = [block.mlp for block in self.h if isinstance(block.mlp, MixtureOfExperts)]
        values = [part.balance for part in parts if part.balance is not None]
        return tt.stack(values).mean() if values else None

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW: weight decay for matrices, none for biases and norms."""
        named = list(self.named_parameters())
        matrices = [p for name, p in named if p.ndim >= 2 and not name.endswith(".bias")]
        others = [p for name, p in named if p.ndim < 2 or name.endswith(".bias")]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return [g for g in groups if g["params"]]
