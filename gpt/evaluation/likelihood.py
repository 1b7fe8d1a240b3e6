"""Log-likelihoods of continuations of texts."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

import tinytensor as tt
from gpt.console import progress_bar
from gpt.data.examples import padded
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED

MOST = 1 << 26  # logits at a time: 256 MiB


class Likelihood(NamedTuple):
    """The likelihood of a continuation."""

    log_p: float  # sum of the log-probabilities of its tokens, in nats
    greedy: bool  # whether each of its tokens is the most likely one
    tokens: int  # their number


def log_likelihoods(model: GPT, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """Log-likelihood of each continuation given its context.

    Both are encoded together; the continuation begins at the first token that is not the same as without it.
    Of long contexts only the last tokens are read.
    """
    rows = [_row(model, tokenizer, *pair) for pair in pairs]  # inputs and targets
    found: dict[int, Likelihood] = {}
    batches = _batches([len(inputs) for inputs, _ in rows], MOST // model.config.vocab_size)
    with model.evaluating(), progress_bar("batches", len(batches)) as watched:
        for batch in watched(batches):
            inputs = tt.from_numpy(padded([rows[i][0] for i in batch], 0)).to(model.device)
            targets = padded([rows[i][1] for i in batch], IGNORED)  # (B, T)
            wanted = tt.from_numpy(targets).to(model.device)
            logits = model(inputs)
            lost = tt.cross_entropy(logits.astype(tt.float32).mT, wanted, reduction="none").cpu().numpy()
            best = (logits.argmax(-1) == wanted).cpu().numpy() | (targets == IGNORED)
            for i, losses, right, row in zip(batch, lost, best, targets, strict=True):
                log_p = -float(losses.astype(np.float64).sum())
                if not isfinite(log_p):
                    raise tt.ArgumentError(
                        f"log_likelihoods: the log-likelihood of {pairs[i][1][:40]!r} is {log_p}",
                        why="the model's weights or logits are not finite, so no choice is likelier",
                        fix="use an earlier checkpoint: RUN/step_N",
                    )
                found[i] = Likelihood(log_p, bool(right.all()), int((row != IGNORED).sum()))
    return [found[i] for i in range(len(rows))]


def _row(model: GPT, tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Inputs and targets of a pair; targets in the context are -100."""
    whole, alone = tokenizer.encode(context + continuation), tokenizer.encode(context)
    if not context and tokenizer.separator is not None:
        whole, alone = [tokenizer.separator, *whole], [tokenizer.separator]
    begin = next((i for i, (a, b) in enumerate(zip(whole, alone, strict=False)) if a != b), len(alone))
    count, size = len(whole) - begin, model.config.block_size
    if not 0 < count <= size or begin == 0:
        raise tt.ArgumentError(
            f"log_likelihoods: {continuation[:40]!r} has {count} tokens after {begin} others",
            why=f"one or more follow a context, and fit into the model's of {size}",
            fix="give a context, or use a model with a longer one",
        )
    targets = [IGNORED] * (begin - 1) + whole[begin:]
    return whole[:-1][-size:], targets[-size:]


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in batches of similar lengths, of up to `most` padded tokens and 64 rows."""
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if found and len(found[-1]) < 64 and (len(found[-1]) + 1) * lengths[i] <= most:
            found[-1].append(i)
        else:
            found.append([i])
    return found
