"""Mean loss over a split. Independent of training."""

from itertools import islice

import tinytensor as tt
from gpt.data.batches import Tokens, consecutive_blocks
from gpt.models.gpt import GPT


def evaluate(model: GPT, tokens: Tokens, batch_size: int, batches: int = 0) -> float:
    """Mean cross-entropy in nats over all tokens (N,) of a split, or over some batches of it, in consecutive
    blocks.
    """
    total, count = 0.0, 0
    blocks = consecutive_blocks(tokens, model.config.block_size, batch_size)
    with model.evaluating():
        for inputs, targets in islice(blocks, batches or None):
            ids, wanted = [tt.from_numpy(x).to(model.device) for x in (inputs, targets)]
            total += model.loss(ids, wanted).item() * targets.size
            count += targets.size
    return total / count
