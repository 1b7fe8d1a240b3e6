"""Explanation of a sampled token: model probability, effect of each filter, remaining candidates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.console import counted
from gpt.generation.candidates import Choices, choices, in_words
from gpt.generation.sampling import Candidates, Floats, Sampler, SamplingConfig, softmax
from gpt.tokenizers.base import Tokenizer
from tinytensor.lab.html import visible


@dataclass(frozen=True)
class Stage:
    """Effect of one filter."""

    name: str  # name of the filter
    removed: int  # number of removed tokens
    mass: float  # their probability before the filter
    likeliest: Choices  # the most likely of them, with their probability before the filter
    entropy: float  # entropy of the remaining tokens, in bits


@dataclass(frozen=True)
class Draw:
    """A sampled token with its explanation."""

    token: str  # its text
    probability: float  # probability with which it was sampled
    model_probability: float  # its probability under the model
    model_entropy: float  # entropy of the model's probabilities, in bits
    model_choices: Choices  # most likely tokens under the model
    stages: tuple[Stage, ...]  # effects of the filters, in order
    left: int  # number of candidates after all filters
    candidates: Choices  # the most likely of them


def explain(sampler: Sampler, logits: Floats, token: int, tokenizer: Tokenizer, *, top: int = 5) -> Draw:
    """Apply the filters of a sampler to logits step by step."""
    whole = left = sampler.whole(logits)
    model_p = p = softmax(whole.logits)
    stages = []
    for name, keep in sampler.filters:
        after = keep(left)
        gone = ~np.isin(left.tokens, after.tokens, assume_unique=True)
        stages.append(
            Stage(
                name,
                int(gone.sum()),
                float(p[gone].sum()),
                choices(p[gone], tokenizer, top, left.tokens[gone]),
                entropy_of(after),
            )
        )
        left, p = after, softmax(after.logits)
    return Draw(
        tokenizer.decode([token]),
        float(p[left.tokens == token].sum()),
        float(model_p[whole.tokens == token].sum()),
        entropy_of(whole),
        choices(model_p, tokenizer, top),
        tuple(stages),
        len(left.tokens),
        choices(p, tokenizer, top, left.tokens),
    )


def entropy_of(candidates: Candidates) -> float:
    """Entropy of candidates in bits: 0 for one, n for 2^n equally likely ones."""
    p = softmax(candidates.logits)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum()) + 0.0  # no -0


class ExplainingSampler(Sampler):
    """Sampler that explains each sampled token."""

    def __init__(self, config: SamplingConfig, tokenizer: Tokenizer, tell: Callable[[Draw], object]) -> None:
        super().__init__(config, tokenizer.vocab_size)
        self._tokenizer, self._tell = tokenizer, tell

    def draw(self, logits: Floats, generator: tt.Generator) -> int:
        """Sample a token from logits (V,), and report its explanation."""
        token = super().draw(logits, generator)
        self._tell(explain(self, logits, token, self._tokenizer))
        return token


def render(draw: Draw) -> str:
    """Explanation as lines of text.

    Example:
        >>> stage = Stage("top-k 1", 1, 0.25, (("b", 0.25),), 0.0)
        >>> print(render(Draw("a", 1.0, 0.75, 0.81, (("a", 0.75), ("b", 0.25)), (stage,), 1, (("a", 1.0),))))
        a                   100.0% (the model gave it 75.0%)
          model              0.81 bits   a 75.0%  b 25.0%
          top-k 1            0.00 bits   took 1 token with 25.0%: b 25.0%
          1 candidate        a 100.0%
    """
    given = f"{draw.probability:.1%} (the model gave it {draw.model_probability:.1%})"
    lines = [
        f"{visible(draw.token):<18}  {given}",
        f"  {'model':<17} {draw.model_entropy:5.2f} bits   {in_words(draw.model_choices)}",
    ]
    for s in draw.stages:
        taken = f"{counted(s.removed, 'token')} with {s.mass:.1%}: {in_words(s.likeliest)}"
        lines.append(f"  {s.name:<17} {s.entropy:5.2f} bits   took {taken if s.removed else 'none'}")
    return "\n".join([*lines, f"  {counted(draw.left, 'candidate'):<17}  {in_words(draw.candidates)}"])
