"""Many sampled answers at once, for reinforcement learning and evaluation.

`generate_rows` samples row by row, with all filters. Here all rows are sampled together, by a temperature
alone: for hundreds of rows of a small model, sampling one by one takes longer than the model.
"""

from collections.abc import Collection, Sequence

import numpy as np

import tinytensor as tt
from gpt.generation.context import Context
from gpt.generation.sampling import Floats, Tokens
from gpt.models.gpt import GPT


def sample_answers(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    stop_ids: Collection[int],
    copies: int = 1,
    temperature: float = 1.0,
    vocab_size: int | None = None,
    generator: tt.Generator | None = None,
) -> list[list[int]]:
    """Sample `copies` answers to each prompt.

    Each prompt is processed once, up to the length of the shortest; then all rows go on together.

    Args:
        stop_ids: ids that end an answer; the id is part of it. An answer without one was cut.
        temperature: divides the logits; 0 is greedy.
        vocab_size: number of valid ids; a padded model has more logits.

    Returns:
        Answers (P * copies): those to the first prompt, then those to the second, …
    """
    shortest, longest = min(map(len, prompts), default=0), max(map(len, prompts), default=0) + max_new_tokens
    if shortest == 0 or max_new_tokens < 1 or longest > model.config.block_size:
        raise tt.ArgumentError(
            f"sample_answers: prompts of {shortest} to {longest - max_new_tokens} tokens, and "
            f"{max_new_tokens} new ones",
            why=f"a prompt is not empty, and fits with an answer into {model.config.block_size} tokens",
            fix="shorten the prompts or the answers, or use a model with a longer context",
        )
    stops, groups = np.array(sorted(stop_ids), np.int64), np.repeat(np.arange(len(prompts)), copies)
    begins = np.array([len(prompt) for prompt in prompts])[groups]  # (B,)
    ids = np.zeros((len(groups), longest), np.int64)  # (B, T); 0 after the end of an answer
    for row, group in enumerate(groups):
        ids[row, : begins[row]] = prompts[int(group)]
    context = Context(model, len(prompts), longest)
    logits = context.logits(prompts, shortest)[groups]  # (B, V)
    context = context.selected(groups.tolist())
    ends = begins + max_new_tokens  # of prompt and answer
    for place in range(shortest, longest):
        sampling = (begins <= place) & (place < ends)
        tokens = _sampled(logits[:, :vocab_size], temperature, generator)  # (B,)
        ids[sampling, place] = tokens[sampling]
        ends[sampling & np.isin(tokens, stops)] = place + 1
        if place + 1 >= ends.max():
            break
        logits = context.logits(ids, place + 1)  # type: ignore[arg-type]
    return [row[begin:end].tolist() for row, begin, end in zip(ids, begins, ends, strict=True)]


def _sampled(logits: Floats, temperature: float, generator: tt.Generator | None) -> Tokens:
    """A token for each row of logits (B, V): (B,)."""
    if temperature == 0:
        greedy: Tokens = logits.argmax(1)
        return greedy
    scaled = logits / np.float32(temperature)
    top = scaled.max(1, keepdims=True)
    if not np.isfinite(top).all():
        raise tt.ArgumentError(
            "sample_answers: a logit is infinite or NaN",
            why="it gives no probabilities: the weights or the logits overflowed",
            fix="check the weights and the training loss; lower the learning rate",
        )
    sums = np.exp(scaled - top).cumsum(1, dtype=np.float64)  # (B, V)
    drawn = tt.uniform(len(logits), dtype=tt.float64, generator=generator).numpy() * sums[:, -1]  # (B,)
    tokens: Tokens = np.minimum((sums <= drawn[:, None]).sum(1), logits.shape[1] - 1)
    return tokens
