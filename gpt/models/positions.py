"""Position encodings: sinusoidal embeddings, rotary embeddings (RoPE) and ALiBi slopes."""

from math import log, log2

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from tinytensor import nn


def alibi_slopes(n_head: int) -> tt.Tensor:
    """ALiBi slopes (nh,): the scores of a head decrease by slope x distance of the key.

    For n heads, n a power of 2: 2^(-8/n), 2^(-16/n), …, 2^-8. Otherwise those of the next lower power,
    followed by every other one of the next higher.

    Source: Press et al. 2022, arXiv:2108.12409; the released code for other numbers of heads.

    Example:
        >>> alibi_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]
    """
    lower = 2 ** int(log2(n_head))
    slopes = 2.0 ** (-8 / lower * np.arange(1, lower + 1))
    between = 2.0 ** (-4 / lower * np.arange(1, 2 * (n_head - lower), 2))
    return tt.from_numpy(np.concatenate([slopes, between]).astype(np.float32))


class Rotary(nn.Module):
    """RoPE: rotates queries and keys by angles proportional to the position, so that a score depends on their
    distance alone.

    Channels i and i + hs/2 of a head are a 2-d vector, rotated by position / theta^(2i/hs).

    Source: Su et al. 2021, arXiv:2104.09864; the pairs are those of Llama's released weights in HF's order.

    Example:
        >>> rotary = Rotary(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=2))
        >>> turned = rotary.turn(tt.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]]), rotary.table[:, :2])
        >>> turned[0, :, 0].tolist()  # at position 1: cos 1 and sin 1
        [[1.0, 0.0], [0.5403022766113281, 0.8414710164070129]]
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.theta = config.rope_theta
        # Integers, since a cast of the model to 16 bits must not round angles.
        self.register_buffer("pairs", tt.arange(config.head_size // 2), persistent=False)  # (hs/2,)
        table = self.angles(tt.arange(config.block_size))
        self.register_buffer("table", table, persistent=False)  # (2, block_size, hs)

    def angles(self, positions: tt.Tensor) -> tt.Tensor:
        """Cosines and signed sines of positions (T,) per channel: (2, T, hs), float32."""
        pairs: tt.Tensor = self.pairs
        rates = (self.theta ** (pairs.astype(tt.float64) / -len(pairs))).astype(tt.float32)  # (hs/2,)
        angles = positions.astype(tt.float32).reshape(-1, 1) * rates  # (T, hs/2)
        cos, sin = tt.cos(angles), tt.sin(angles)
        return tt.stack([tt.concat([cos, cos], axis=-1), tt.concat([-sin, sin], axis=-1)])

    def first(self, count: int) -> tt.Tensor:
        """Angles of positions 0 … count - 1, (2, T, hs)."""
        table: tt.Tensor = self.table
        if count <= table.shape[1]:
            return table[:, :count]
        return self.angles(tt.arange(count, device=table.device)).astype(table.dtype)

    @staticmethod
    def turn(x_BTnd: tt.Tensor, angles: tt.Tensor) -> tt.Tensor:
        """Rotate (B, T, heads, hs) by the angles (2, T, hs) of its positions."""
        cos, sin = angles.unsqueeze(2)  # (T, 1, hs) each
        turned: tt.Tensor = x_BTnd * cos + tt.roll(x_BTnd, x_BTnd.shape[-1] // 2, axis=-1) * sin
        return turned


def sinusoidal_positions(block_size: int, n_embd: int) -> tt.Tensor:
    """Sinusoidal position embeddings (T, C): sines and cosines of geometrically increasing wavelengths.

    p[t, 2i] = sin(t / 10000^(2i/C)), p[t, 2i+1] = cos(t / 10000^(2i/C)).

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
