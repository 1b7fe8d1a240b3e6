"""An encoder: a GPT whose tokens see all others, those after them, too. It fills the gaps of a text.

Shapes: B sequences, T tokens, C = n_embd channels.
"""

from __future__ import annotations

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.attention import SelfAttention
from gpt.models.gpt import GPT, Block
from gpt.models.kv_cache import KVCache

__all__ = ["Encoder", "EncoderBlock", "TwoWayAttention", "real_tokens"]


def real_tokens(lengths: tt.Tensor, count: int) -> tt.Tensor:
    """Which of `count` places hold tokens, and no padding: the mask of attention to them.

    Args:
        lengths: (B,), tokens of each sequence.
        count: T.

    Returns:
        bool, (B, 1, 1, T).

    Example:
        >>> real_tokens(tt.tensor([1, 3]), 3).reshape(2, 3).tolist()
        [[True, False, False], [True, True, True]]
    """
    places = tt.arange(count, device=lengths.device)  # (T,)
    return (places < lengths.reshape(-1, 1)).reshape(-1, 1, 1, count)


class TwoWayAttention(SelfAttention):
    """Each token gathers values from all tokens of its sequence, in several heads.

    Args:
        config: sizes, positions, bias and dropout.

    Raises:
        ArgumentError: positions or a window that only mean something looking back.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> TwoWayAttention(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        if config.position == "alibi" or config.sliding_window:
            raise tt.ArgumentError(
                f"TwoWayAttention: position={config.position}, sliding_window={config.sliding_window}",
                why="ALiBi and windows count how far back a token looks, and these look forward, too",
                fix="use position='learned' or 'rope', and sliding_window=0",
            )

    def forward(self, x_BTC: tt.Tensor, seen: tt.Tensor | None = None) -> tt.Tensor:
        """(B, T, C) → (B, T, C); only the tokens are looked at where `seen`, (B, 1, 1, T), is true."""
        p = self.config.dropout if self.training else 0.0
        y = self.merge(tt.scaled_dot_product_attention(*self.heads(x_BTC), mask=seen, dropout=p))
        return tt.dropout(y, p, training=True) if p else y


class EncoderBlock(Block):
    """A block with attention to both sides.

    Args:
        config: sizes and variants.

    Example:
        >>> config = GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4)
        >>> EncoderBlock(config)(tt.ones(1, 3, 4)).shape
        (1, 3, 4)
    """

    attention = TwoWayAttention

    def forward(
        self, x_BTC: tt.Tensor, cache: KVCache | None = None, layer: int = 0, seen: tt.Tensor | None = None
    ) -> tt.Tensor:
        """(B, T, C) → (B, T, C); only the tokens are looked at where `seen`, (B, 1, 1, T), is true."""
        if cache is not None:
            raise tt.ArgumentError(
                "Encoder: called with a cache of keys and values",
                why="each token sees those after it, so no state is final before the text is complete",
                fix="read the whole text at once",
            )
        x_BTC = self.add(x_BTC, self.ln_1, self.attn, seen)
        return self.add(x_BTC, self.ln_2, self.mlp)


class Encoder(GPT):
    """The model of BERT: for each token, logits of what may stand at its own place.

    Args:
        config: sizes and variants; positions and windows that only look back are none of it.
        generator: of the initial weights; default: tinytensor's.

    Raises:
        ArgumentError: as GPT and TwoWayAttention.

    Differs from: BERT, which norms the embeddings, knows two segments of a text, and has one more layer
        before its logits.
    Source: Devlin et al. 2019, arXiv:1810.04805.

    Example:
        >>> model = Encoder(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model(tt.tensor([[1, 2, 3]])).shape
        (1, 3, 5)
    """

    block = EncoderBlock
