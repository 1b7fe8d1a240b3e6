"""BERT-style encoder: a GPT with bidirectional attention, for masked language modeling.

Shapes: B sequences, T tokens, C = n_embd channels.
"""

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.attention import SelfAttention
from gpt.models.gpt import GPT, Block
from gpt.models.kv_cache import KVCache
from gpt.models.residual import Stream


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

    Example:
        >>> model = Encoder(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model(tt.tensor([[1, 2, 3]])).shape
        (1, 3, 5)
    """

    block = EncoderBlock
