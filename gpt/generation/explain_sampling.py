"""Explanation of a sampled token: model probability, effect of each filter, remaining candidates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.console import counted
from gpt.generation.candidates import Choices, choices, in_words
from gpt.generation.sampling import Candidates, Floats, Past, Sampler, SamplingConfig, softmax
from gpt.tokenizers.base import Tokenizer
from tinytensor.lab.html import visible


@dataclass(frozen=True)
class Stage:
    """Effect of one filter.

    Args:
        name: name of the filter.
        removed: number of removed tokens.
        mass: their probability before the filter.
        likeliest: the most likely of them, with their probability before the filter.
        entropy: entropy of the remaining tokens, in bits.
    """

    name: str
    removed: int
    mass: float
    likeliest: Choices
    entropy: float


@dataclass(frozen=True)
class Draw:
    """A sampled token with its explanation.

    Args:
        token: its text.
        probability: probability with which it was sampled.
        model_probability: its probability under the model.
        model_entropy: entropy of the model's probabilities, in bits.
        model_choices: most likely tokens under the model.
        stages: effects of the filters, in order.
        left: number of candidates after all filters.
        candidates: the most likely of them.
    """

    token: str
    probability: float
    model_probability: float
    model_entropy: float
    model_choices: Choices
    stages: tuple[Stage, ...]
    left: int
    candidates: Choices


def explain(
    sampler: Sampler, logits: Floats, past: Past, token: int, tokenizer: Tokenizer, *, top: int = 5
) -> Draw:
    """Apply the filters of a sampler to logits step by step.

    Args:
        sampler: sampler that chose the token.
        logits: of the model, (V,).
        past: text before the token.
        token: the sampled token.
        tokenizer: decodes the ids.
        top: number of tokens to list per stage.

    Example:
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> sampler, logits = Sampler(SamplingConfig(top_k=2), 3), np.log([0.5, 0.3, 0.2])
        >>> draw = explain(sampler, logits, Past([0], []), 0, CharTokenizer("abc"))
        >>> stage = draw.stages[0]
        >>> stage.name, stage.removed, stage.likeliest[0][0], round(stage.mass, 9)
        ('top-k 2', 1, 'c', 0.2)
    """
    whole = left = sampler.whole(logits)
    model_p = p = softmax(whole.logits)
    stages = []
    for name, keep in sampler.filters:
        after = keep(left, past)
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
    """Sampler that explains each sampled token.

    Args:
        config: sampling parameters.
        tokenizer: decodes the ids.
        tell: called with each explanation.
        top: number of tokens to list per stage.

    Example:
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> draws = []
        >>> sampler = ExplainingSampler(SamplingConfig(temperature=0), CharTokenizer("abc"), draws.append)
        >>> sampler.draw(np.log([0.2, 0.5, 0.3]), Past([0], []), tt.Generator(0)), draws[0].token
        (1, 'b')
    """

    def __init__(
        self, config: SamplingConfig, tokenizer: Tokenizer, tell: Callable[[Draw], object], top: int = 5
    ) -> None:
        super().__init__(config, tokenizer.vocab_size)
        self._tokenizer, self._tell, self._top = tokenizer, tell, top

    def draw(self, logits: Floats, past: Past, generator: tt.Generator) -> int:
        """Sample a token from logits (V,), and report its explanation."""
        token = super().draw(logits, past, generator)
        self._tell(explain(self, logits, past, token, self._tokenizer, top=self._top))
        return token


def render(draw: Draw) -> str:
    """Explanation as lines of text.

    Returns:
        The token, a line for the model and one for each filter, and the candidates.

    Example:
        >>> stage = Stage("top-k 1", 1, 0.25, (("b", 0.25),), 0.0)
        >>> print(render(Draw("a", 1.0, 0.75, 0.81, (("a", 0.75), ("b", 0.25)), (stage,), 1, (("a", 1.0),))))
        a                   100.0% (the model gave it 75.0%)
          model              0.81 bits   a 75.0%  b 25.0%
          top-k 1            0.00 bits   took 1 token with 25.0%: b 25.0%
          1 candidate        a 100.0%
    """
    count = counted(draw.left, "candidate")
    lines = [
        f"{visible(draw.token):<18}  {draw.probability:.1%} (the model gave it {draw.model_probability:.1%})"
    ]
    lines.append(f"  {'model':<17} {draw.model_entropy:5.2f} bits   {in_words(draw.model_choices)}")
    for stage in draw.stages:
        lines.append(f"  {stage.name:<17} {stage.entropy:5.2f} bits   {_taken(stage)}")
    return "\n".join([*lines, f"  {count:<17}  {in_words(draw.candidates)}"])


def _taken(stage: Stage) -> str:
    if not stage.removed:
        return "took none"
    return f"took {counted(stage.removed, 'token')} with {stage.mass:.1%}: {in_words(stage.likeliest)}"
