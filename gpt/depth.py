"""One dial: model and training of a modern small GPT from its depth alone, `python -m gpt train --depth=N`.

Independent of data and tokenizer. `docs/developers/decisions/gpt.md` says where the constants come from.
"""

from math import sqrt

from gpt.config import GPTConfig, TrainConfig
from tinytensor.errors import ArgumentError

CHANNELS_PER_LAYER = 32  # width / depth; also the size of a head
CONTEXT = 128  # tokens
TOKENS_PER_WEIGHT = 10  # of training, for each weight of the blocks
SEQUENCES_PER_LAYER = 3  # of a step, so that the number of steps grows by depth²
RATE = 3e-3  # AdamW: embeddings, head, norms
MATRIX_RATE = 1e-2  # Muon: matrices of the blocks, at REFERENCE
REFERENCE = 3  # depth at which the rates were tuned
MOST = 64


def of_depth(depth: int, *, max_steps: int = 0) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a depth of 1 to 64 layers: Llama's design, trained by Muon and AdamW with a rate that falls
    to 0.

    A layer more is 32 channels and one head more: the blocks have about 12,288 depth³ weights. The number of
    training tokens is 10 times that (unless max_steps is given), so the FLOPs grow by depth⁶; a step has 384
    depth of them. Rates follow muP: that of the matrices falls by 1 / sqrt(width), as Muon's updates grow by
    sqrt(width) in spectral norm; that of embeddings is constant.

    Source: the dial is nanochat's; the scaling Yang et al. 2022, arXiv:2203.03466, and Bernstein 2024,
        "Deriving Muon".

    Example:
        >>> model, train = of_depth(4)
        >>> model.n_embd, model.n_head, train.max_steps * train.batch_size * model.block_size
        (128, 4, 7864320)
        >>> train.max_steps
        5120
    """
    if not 1 <= depth <= MOST:
        raise ArgumentError(
            f"--depth={depth}: out of range",
            why=f"it is the number of layers, and the width is {CHANNELS_PER_LAYER} times that",
            fix=f"use 1 to {MOST}; 4 trains in minutes on two cores",
        )
    width = CHANNELS_PER_LAYER * depth
    model = GPTConfig(
        vocab_size=0,
        block_size=CONTEXT,
        n_layer=depth,
        n_head=depth,
        n_embd=width,
        n_inner=gated_size(width),
        bias=False,
        position="rope",
        norm="rms_norm",
        activation="swiglu",
        init="scaled",
    )
    weights = 12 * depth * width * width
    batch = SEQUENCES_PER_LAYER * depth
    steps = max_steps or round(TOKENS_PER_WEIGHT * weights / (batch * CONTEXT))
    train = TrainConfig(
        out_dir=f"runs/depth-{depth}",
        batch_size=batch,
        max_steps=steps,
        learning_rate=RATE,
        matrix_learning_rate=MATRIX_RATE * sqrt(REFERENCE / depth),
        min_learning_rate=0.0,
        warmup_steps=min(100, steps // 10),
        schedule="linear",
        optimizer="muon",
        muon_iterations=3,
        eval_interval=max(1, steps // 8),
        sample_interval=max(1, steps // 4),
        checkpoint_interval=100,
        keep_checkpoints=1,
    )
    return model, train


def gated_size(width: int) -> int:
    """Hidden size of a gated feed-forward layer, with three matrices, of as many weights as 4 width with two.

    Example:
        >>> gated_size(128)
        344
    """
    return round(width * 8 / 3 / 8) * 8
